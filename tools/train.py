"""Train any OpenMMLab config: pre-training with mmrs_ssl, or a downstream task of any of its libraries.

python tools/train.py configs/cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py --cfg-options data_root=my/images
"""

import argparse

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import mmrs_ssl  # noqa: F401  (registers its modules)
from mmrs_ssl.cli import add_config_arguments, clear_errors, keep_freed_memory, read_config, set_precision


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the newest checkpoint of the work dir, or from the one given',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16 on the CPU)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch size'
    )
    return parser.parse_args()


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = read_config(args)
    set_precision(cfg, args.amp)
    keep_freed_memory()
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError('--auto-scale-lr: the config names no auto_scale_lr.base_batch_size to scale from')
        cfg.auto_scale_lr.enable = True
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    runner.train()


if __name__ == '__main__':
    with clear_errors():
        main()
