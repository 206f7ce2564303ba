"""Write one Markdown table about this project on one GPU, row by row, for ``tools/gpu_check.sh``.

    tools/gpu_check.sh                       # at most nine minutes on one GPU
    tools/gpu_check.sh --images FOLDER       # the training at the end on real images, a folder for each class
    tools/gpu_check.sh --cpu                 # reduced, to see that it works
    tools/gpu_check.sh --wheels FOLDER       # with the packages of that folder, where no package index is reached

Exit code 0: every row that was run holds; 1: a row failed. The others went on.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=int, default=9, help='for everything; what does not fit is not run')
    parser.add_argument('--cpu', action='store_true', help='small networks and few steps on the CPU')
    parser.add_argument('--images', help='folder of RGB images for the training (default: generated scenes)')
    folder = os.environ.get('OUT') or 'work_dirs'
    parser.add_argument('--out', type=Path, default=Path(folder) / 'gpu_check.md', help='the table')
    parser.add_argument('--started', type=float, help='seconds since 1970 from which the minutes count (default: now)')
    parser.add_argument('--go-on', action='store_true', help='keep the rows that an earlier process has written')
    return parser.parse_args()


def main(args: argparse.Namespace) -> int:
    """Measure all rows that fit into the time; returns the exit code."""
    from mmrs_ssl.benchmarks.gpu_plan import plan, run_plan
    from mmrs_ssl.benchmarks.gpu_setup import Workshop
    from mmrs_ssl.benchmarks.gpu_table import Deadline, Table
    from mmrs_ssl.benchmarks.measure import DEVICE
    from mmrs_ssl.ops.memory import keep_freed_memory

    if args.cpu != (DEVICE == 'cpu'):
        raise ValueError('no GPU is found: give --cpu' if DEVICE == 'cpu' else '--cpu: set CUDA_VISIBLE_DEVICES to ""')
    if args.images and not Path(args.images).is_dir():
        raise FileNotFoundError(f'--images {args.images}: no such folder')
    warnings.filterwarnings('ignore')
    keep_freed_memory()
    left = (args.started or time.time()) + 60 * args.minutes - time.time()  # importing has taken some of it
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shop = Workshop(Path(folder), args.cpu, args.images, Deadline(left))
        return run_plan(plan(args.cpu), shop, Table(args.out, args.go_on))


if __name__ == '__main__':
    given = parse_args()  # imports are below, so that help comes at once
    from mmrs_ssl.cli.errors import clear_errors

    with clear_errors():
        sys.exit(main(given))
