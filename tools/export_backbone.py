"""Write the backbone of a pre-training checkpoint to a small file that any OpenMMLab config can start from.

python tools/export_backbone.py work_dirs/RUN/epoch_100.pth backbone.pth
"""

import argparse
from pathlib import Path

from mmrs_ssl.cli import clear_errors
from mmrs_ssl.transfer.export import BRANCHES, PREFIX, export_backbone


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of a pre-training run')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--branch', choices=list(BRANCHES), help="default: the one that the method's authors evaluate (CMID: student)"
    )
    parser.add_argument(
        '--modality', help='of MSSDF: whose patch embedding to take (default: the first one of the config)'
    )
    return parser.parse_args()


def main() -> None:
    """Export, and print what to paste into a downstream config."""
    args = parse_args()
    meta = export_backbone(args.checkpoint, args.out, args.branch, args.modality)
    settings = {**meta['backbone'], 'type': f'mmpretrain.{meta["backbone"]["type"].split(".")[-1]}'}
    if meta['bands'] != 3:
        settings['in_channels'] = meta['bands']
    lines = ''.join(f'    {key}={value!r},\n' for key, value in settings.items())
    print(
        f'{args.out}: {Path(args.out).stat().st_size / 1e6:.1f} MB, the {meta["branch"]}, {meta["bands"]} bands. '
        f'For a downstream config:\n\n'
        f'backbone = dict(\n{lines}'
        f"    init_cfg=dict(type='Pretrained', prefix={PREFIX!r}, checkpoint={args.out!r}),\n)\n"
        f'# pixels as in pre-training: bands in the order of the files, then (pixel - mean) / std\n'
        f'mean = {meta["mean"]}\nstd = {meta["std"]}'
    )


if __name__ == '__main__':
    with clear_errors():
        main()
