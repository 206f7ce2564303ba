r"""Say what pre-trained backbones are worth for land cover or heights: one linear layer on frozen maps.

Examples:
    $program RUN.pth --images D/img_dir/train --labels D/ann_dir/train --reduce-zero-label \
        --test-images D/img_dir/val --test-labels D/ann_dir/val
    $program RUN.pth --images D/img_dir/train --labels D/ndsm_dir/train --heights \
        --test-images D/img_dir/val --test-labels D/ndsm_dir/val

Images and labels have one name. Labels are classes (uint8, 255 for none), or heights in metres with --heights. Images
are cut into tiles of the size of pre-training. Beside the checkpoints stand random weights, as they are initialized and
with BatchNorm's statistics measured, and mean and deviation of cells of 16 pixels.
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_pixel_arguments, whole


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('checkpoints', nargs='+', help='files of any program that mmrs-ssl inspect reads')
    for name in ('images', 'labels', 'test-images', 'test-labels'):
        parser.add_argument(f'--{name}', required=True, metavar='FOLDER')
    parser.add_argument('--heights', action='store_true', help='labels are heights in metres')
    parser.add_argument('--reduce-zero-label', action='store_true', help='label 0 is none, classes begin at 1')
    parser.add_argument('--seed', type=whole(0), default=0, help='of the drawn pixels')
    parser.add_argument('--device', help='cpu or cuda (default: cuda if there is one)')
    add_pixel_arguments(parser)


def run(args: Namespace) -> None:
    """Measure all checkpoints and floors, and print the table."""
    from mmrs_ssl.cli.evaluate_dense import evaluate_dense

    evaluate_dense(args)
