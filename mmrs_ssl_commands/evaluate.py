"""Say what pre-trained backbones are worth on labelled images, beside random weights and statistics of the images.

Examples:
    $program work_dirs/RUN/epoch_100.pth --data SCENES   # a folder with a folder for each class
    $program A.pth B.pth --data train.txt --test test.txt --root images --out results.jsonl
    $program A.pth --export-torchgeo-bench OUT   # to run it beside the rows of torchgeo-bench

On several GPUs, or processes, by torchrun --nproc_per_node 2 --no-python mmrs-ssl evaluate ..., or
torchrun --nproc_per_node 2 tools/evaluate_features.py ...

Nothing is trained but classifiers on frozen features: k nearest neighbors and logistic regression, of all labelled
images and of few. Size, bands and normalization are those of the checkpoint unless they are given, and are printed.
"""

from argparse import ArgumentParser, Namespace

from mmrs_ssl_commands.arguments import add_pixel_arguments, whole


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument('checkpoints', nargs='+', help='files of any program that mmrs-ssl inspect reads')
    parser.add_argument('--data', help='a folder of class folders, or a list: a line "PATH LABEL" each')
    parser.add_argument('--test', help='the test images, likewise (default: half of --data, each class alike)')
    parser.add_argument('--root', help='folder that the paths of a list start from (default: that of the list)')
    parser.add_argument('--seed', type=whole(0), default=0, help='of the split, the probes and the intervals')
    parser.add_argument(
        '--few', type=whole(), nargs='*', default=[5, 10, 50], help='labelled images a class, besides all'
    )
    parser.add_argument('--out', help='file of rows (.jsonl; a .csv is written beside it); what it has is not repeated')
    parser.add_argument('--pictures', help='folder for confusion matrix and nearest neighbors, as PNG')
    parser.add_argument('--workers', type=whole(0), default=2, help='processes that read images')
    parser.add_argument('--device', help='cpu or cuda (default: cuda if there is one)')
    parser.add_argument('--bf16', action='store_true', help='compute in bfloat16')
    parser.add_argument(
        '--export-torchgeo-bench',
        metavar='OUT',
        help='write model and configuration for torchgeo-bench to this folder, and measure nothing here without --data',
    )
    add_pixel_arguments(parser)
    parser.set_defaults(refuse=parser.error)


def run(args: Namespace) -> None:
    """Measure, and print the table."""
    if args.data is None and args.export_torchgeo_bench is None:
        args.refuse('give --data, or --export-torchgeo-bench')
    from mmrs_ssl.cli.evaluate import evaluate_or_export

    evaluate_or_export(args)
