"""Pre-train a backbone on your images: all that is not given is worked out from them.

``mmrs-ssl pretrain`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('pretrain')
