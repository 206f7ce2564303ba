"""Say what a checkpoint is: who wrote it, which backbone and bands it has, and how to load it.

``mmrs-ssl inspect`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('inspect')
