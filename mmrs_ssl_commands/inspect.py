"""Say what a checkpoint is: who wrote it, which backbone and bands it has, and how to load it.

Example:
    $program work_dirs/RUN/epoch_100.pth
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_branch


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('checkpoint', help='a .pth or .safetensors file; nothing in it is run')
    add_branch(parser)


def run(args: Namespace) -> None:
    """Print what a checkpoint is, and the lines that load it."""
    from mmrs_ssl.cli.inspect import describe_checkpoint

    describe_checkpoint(args)
