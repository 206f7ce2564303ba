"""Convert checkpoints of the published CMID, DINO-MC, DINO-TP and MSSDF programs to this project's, and back.

``mmrs-ssl convert`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('convert')
