"""Time full training steps of a pre-training config, or its input pipeline.

``mmrs-ssl benchmark`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('benchmark')
