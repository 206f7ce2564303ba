"""Convert checkpoints of the published CMID, DINO-MC, DINO-TP and MSSDF programs to this project's, and back.

python tools/convert_checkpoint.py CMID_FILE.pth converted.pth --to mmrs
python tools/convert_checkpoint.py work_dirs/RUN/epoch_100.pth for_dino_mc.pth --to dino-mc
"""

import argparse
from pathlib import Path

from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.transfer.convert import DESTINATIONS, convert_checkpoint
from mmrs_ssl.transfer.inspect import count_by_prefix


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='file to read; its program is seen from what is in it')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--to', choices=DESTINATIONS, required=True, help="mmrs: this project's")
    return parser.parse_args()


def main() -> None:
    """Convert the checkpoint, and say what was left out."""
    args = parse_args()
    done = convert_checkpoint(args.checkpoint, args.out, args.to)
    branches = ', '.join(f'{branch} ({layout.name})' for branch, layout in done.branches.items())
    print(f'{args.checkpoint}: of {done.source}, {branches}')
    print(f'{args.out}: {done.count} weights, {Path(args.out).stat().st_size / 1e6:.1f} MB, for {args.to}')
    if done.computed:
        print(f'not in the file, computed as its program does: {done.computed}')
    print(f'left out, no part of a backbone: {count_by_prefix(done.left_out) or "nothing"}')


if __name__ == '__main__':
    with clear_errors():
        main()
