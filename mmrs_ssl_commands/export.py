"""Write the backbone of a pre-training checkpoint to a small file that any OpenMMLab config can start from.

Examples:
    $program work_dirs/RUN/epoch_100.pth backbone.pth
    $program work_dirs/RUN/epoch_100.pth backbone.pth --for mmseg
    $program work_dirs/RUN/epoch_100.pth backbone.pth --format torchvision
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_branch


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('checkpoint', help='checkpoint of a pre-training run')
    parser.add_argument('out', help='file to write')
    add_branch(parser)
    parser.add_argument(
        '--modality', help='of MSSDF: whose patch embedding to take (default: the first one of the config)'
    )
    parser.add_argument(
        '--format',
        choices=['openmmlab', 'timm', 'torchvision', 'safetensors'],
        default='openmmlab',
        help='timm and torchvision: a plain state dict in their names, without what is known of the bands',
    )
    parser.add_argument(
        '--for',
        dest='library',
        choices=['mmpretrain', 'mmseg', 'mmdet', 'opencd'],
        help='whose class is to take the file, of formats openmmlab and safetensors (default: mmpretrain)',
    )


def run(args: Namespace) -> None:
    """Export the backbone, and print what to paste into a downstream config."""
    from mmrs_ssl.cli.export import write_backbone

    write_backbone(args)
