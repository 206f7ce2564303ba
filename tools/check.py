"""Check a config, its data and this machine before hours of training.

``mmrs-ssl check`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('check')
