"""Say what pre-trained backbones are worth for land cover or heights: one linear layer on frozen maps.

``mmrs-ssl evaluate-dense`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('evaluate-dense')
