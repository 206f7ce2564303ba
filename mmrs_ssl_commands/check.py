"""Check a config, its data and this machine before hours of training.

Example:
    $program ${configs}cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py --cfg-options data_root=my/images

One table: what was seen, what was expected, and the line to change. It ends with exit code 1 if there is an error.
Memory, time and pictures are those of one real step, which runs in a process of its own; --steps 0 leaves it out.
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_config_arguments, whole


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    add_config_arguments(parser)
    parser.add_argument(
        '--steps', type=whole(0), default=1, help='real steps to be timed (default: 1; 0: quick checks only)'
    )
    parser.add_argument('--devices', type=whole(), default=1, help='how many GPUs or processes will train (default: 1)')
    parser.add_argument('--amp', action='store_true', help='check the training with mixed precision')


def run(args: Namespace) -> int:
    """Check, and print the findings; returns the exit code, 1 if there are errors."""
    from mmrs_ssl.cli.check import run_check

    return run_check(args)
