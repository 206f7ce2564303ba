"""Train any OpenMMLab config: pre-training with mmrs_ssl, or a downstream task of any of its libraries.

``mmrs-ssl train`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('train')
