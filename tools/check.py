"""Check a config, its data and this machine before hours of training.

    python tools/check.py configs/cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py --cfg-options data_root=my/images

One table: what was seen, what was expected, and the line to change. It ends with exit code 1 if there is an error.
Memory, time and pictures are those of one real step, which runs in a process of its own; --steps 0 leaves it out.
"""

import argparse
import sys

import mmrs_ssl  # noqa: F401  (registers its modules)
from mmrs_ssl.cli.check import add_check_arguments, run_check
from mmrs_ssl.cli.errors import clear_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_check_arguments(parser)
    return parser.parse_args()


def main() -> int:
    """Check the config."""
    return run_check(parse_args())


if __name__ == '__main__':
    with clear_errors():
        sys.exit(main())
