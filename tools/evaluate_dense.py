"""Say what pre-trained backbones are worth for land cover or heights: one linear layer on frozen maps.

python tools/evaluate_dense.py RUN.pth --images D/img_dir/train --labels D/ann_dir/train --reduce-zero-label
    --test-images D/img_dir/val --test-labels D/ann_dir/val
python tools/evaluate_dense.py RUN.pth --images D/img_dir/train --labels D/ndsm_dir/train --heights
    --test-images D/img_dir/val --test-labels D/ndsm_dir/val

Images and labels have one name. Labels are classes (uint8, 255 for none), or heights in metres with --heights. Images
are cut into tiles of the size of pre-training. Beside the checkpoints stand random weights, as they are initialized and
with BatchNorm's statistics measured, and mean and deviation of cells of 16 pixels.
"""

import argparse

import torch

from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.cli.evaluate import add_pixel_arguments
from mmrs_ssl.cli.evaluate_dense import evaluate_dense


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', nargs='+', help='files of any program that tools/inspect_checkpoint.py reads')
    for name in ('images', 'labels', 'test-images', 'test-labels'):
        parser.add_argument(f'--{name}', required=True, metavar='FOLDER')
    parser.add_argument('--heights', action='store_true', help='labels are heights in metres')
    parser.add_argument('--reduce-zero-label', action='store_true', help='label 0 is none, classes begin at 1')
    parser.add_argument('--seed', type=int, default=0, help='of the drawn pixels')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add_pixel_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    with clear_errors():
        evaluate_dense(parse_args())
