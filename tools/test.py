"""Evaluate a checkpoint with any OpenMMLab config that has a test loader.

``mmrs-ssl test`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('test')
