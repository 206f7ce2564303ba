"""The demo: generate scenes, pre-train on them without labels, compare with random weights.

``mmrs-ssl demo`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('demo')
