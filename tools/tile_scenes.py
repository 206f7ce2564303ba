"""Cut scenes, with their labels, into tiles in mmsegmentation's folder layout.

``mmrs-ssl tile`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('tile')
