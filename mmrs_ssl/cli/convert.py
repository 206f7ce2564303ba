"""Convert a checkpoint, and say what was left out."""

from argparse import Namespace
from pathlib import Path

from mmrs_ssl.transfer.convert import convert_checkpoint
from mmrs_ssl.transfer.inspect import count_by_prefix


def write_converted(args: Namespace) -> None:
    """Convert the checkpoint, and say what was left out."""
    done = convert_checkpoint(args.checkpoint, args.out, args.to)
    branches = ', '.join(f'{branch} ({layout.name})' for branch, layout in done.branches.items())
    print(f'{args.checkpoint}: of {done.source}, {branches}')
    print(f'{args.out}: {done.count} weights, {Path(args.out).stat().st_size / 1e6:.1f} MB, for {args.to}')
    if done.computed:
        print(f'not in the file, computed as its program does: {done.computed}')
    print(f'left out, no part of a backbone: {count_by_prefix(done.left_out) or "nothing"}')
