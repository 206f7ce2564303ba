"""Say what pre-trained backbones are worth on labelled images, beside random weights and statistics of the images.

``mmrs-ssl evaluate`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('evaluate')
