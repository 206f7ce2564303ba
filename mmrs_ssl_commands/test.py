"""Evaluate a checkpoint with any OpenMMLab config that has a test loader.

Example:
    $program my/config.py work_dirs/config/epoch_100.pth
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_allow_missing, add_config_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    add_allow_missing(parser)


def run(args: Namespace) -> None:
    """Build the config's runner with the checkpoint, and evaluate it."""
    from mmrs_ssl.cli.test import evaluate_config

    evaluate_config(args)
