"""Write synthetic scenes in the folder layout of a data set.

``mmrs-ssl make-scenes`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('make-scenes')
