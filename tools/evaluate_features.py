"""Say what pre-trained backbones are worth on labelled images, beside random weights and statistics of the images.

python tools/evaluate_features.py work_dirs/RUN/epoch_100.pth --data SCENES   # a folder with a folder for each class
python tools/evaluate_features.py A.pth B.pth --data train.txt --test test.txt --root images --out results.jsonl
torchrun --nproc_per_node 2 tools/evaluate_features.py A.pth --data SCENES --pictures pictures
python tools/evaluate_features.py A.pth --export-torchgeo-bench OUT   # to run it beside the rows of torchgeo-bench

Nothing is trained but classifiers on frozen features: k nearest neighbors and logistic regression, of all labelled
images and of few. Size, bands and normalization are those of the checkpoint unless they are given, and are printed.
"""

import argparse
import os
from pathlib import Path

from mmengine.dist import init_dist

from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.cli.evaluate import add_pixel_arguments, evaluate
from mmrs_ssl.engine.distributed import start_gloo
from mmrs_ssl.evaluation.measuring import FEW
from mmrs_ssl.evaluation.torchgeo_bench import export_torchgeo_bench


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', nargs='+', help='files of any program that tools/inspect_checkpoint.py reads')
    parser.add_argument('--data', help='a folder of class folders, or a list: a line "PATH LABEL" each')
    parser.add_argument('--test', help='the test images, likewise (default: half of --data, each class alike)')
    parser.add_argument('--root', help='folder that the paths of a list start from (default: that of the list)')
    parser.add_argument('--seed', type=int, default=0, help='of the split, the probes and the intervals')
    parser.add_argument('--few', type=int, nargs='*', default=list(FEW), help='labelled images a class, besides all')
    parser.add_argument('--out', help='file of rows (.jsonl; a .csv is written beside it); what it has is not repeated')
    parser.add_argument('--pictures', help='folder for confusion matrix and nearest neighbors, as PNG')
    parser.add_argument('--workers', type=int, default=2, help='processes that read images')
    parser.add_argument('--device', help='cpu or cuda (default: cuda if there is one)')
    parser.add_argument('--bf16', action='store_true', help='compute in bfloat16')
    parser.add_argument(
        '--export-torchgeo-bench',
        metavar='OUT',
        help='write model and configuration for torchgeo-bench to this folder, and measure nothing here without --data',
    )
    add_pixel_arguments(parser)
    args = parser.parse_args()
    if args.data is None and args.export_torchgeo_bench is None:
        parser.error('give --data, or --export-torchgeo-bench')
    return args


def export(args: argparse.Namespace) -> None:
    """Write each checkpoint for torchgeo-bench, several to folders of their names."""
    for checkpoint in args.checkpoints:
        out = Path(args.export_torchgeo_bench)
        out = out / Path(checkpoint).stem if len(args.checkpoints) > 1 else out
        for file in export_torchgeo_bench(checkpoint, out, args.branch, args.modality):
            print(file)


def main() -> None:
    """Measure, and print the table."""
    args = parse_args()
    if args.export_torchgeo_bench:
        export(args)
    if args.data is None:
        return
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        if args.device == 'cpu':
            start_gloo()
        else:
            init_dist('pytorch')
    evaluate(args)


if __name__ == '__main__':
    with clear_errors():
        main()
