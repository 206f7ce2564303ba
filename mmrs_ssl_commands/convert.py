"""Convert checkpoints of the published CMID, DINO-MC, DINO-TP and MSSDF programs to this project's, and back.

Examples:
    $program CMID_FILE.pth converted.pth --to mmrs
    $program work_dirs/RUN/epoch_100.pth for_dino_mc.pth --to dino-mc
"""

from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('checkpoint', help='file to read; its program is seen from what is in it')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--to', choices=['mmrs', 'cmid', 'dino-mc', 'dino-tp', 'mssdf'], required=True, help="mmrs: this project's"
    )


def run(args: Namespace) -> None:
    """Convert the checkpoint, and say what was left out."""
    from mmrs_ssl.cli.convert import write_converted

    write_converted(args)
