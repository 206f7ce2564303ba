"""Train any OpenMMLab config: pre-training with mmrs_ssl, or a downstream task of any of its libraries.

Example:
    $program ${configs}cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py --cfg-options data_root=my/images
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_allow_missing, add_config_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    add_config_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the newest checkpoint of the work dir that is whole, or from the one given',
    )
    parser.add_argument(
        '--init',
        metavar='FILE',
        help='start from the backbone in a file (a checkpoint, an exported or a published one); with --resume only '
        'where there is nothing to go on from',
    )
    parser.add_argument(
        '--init-branch',
        choices=['student', 'teacher'],
        help='which network of that file (default: the one that its authors evaluate)',
    )
    parser.add_argument('--no-check', action='store_true', help='train even where the quick checks find an error')
    parser.add_argument('--overwrite', action='store_true', help='remove the checkpoints of an earlier run')
    add_allow_missing(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16 on the CPU)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch size'
    )


def run(args: Namespace) -> None:
    """Build the config's runner as the options say, and train."""
    from mmrs_ssl.cli.train import train_config

    train_config(args)
