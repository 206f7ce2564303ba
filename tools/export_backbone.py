"""Write the backbone of a pre-training checkpoint to a small file that any OpenMMLab config can start from.

``mmrs-ssl export`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('export')
