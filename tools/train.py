"""Train any OpenMMLab config: pre-training with mmrs_ssl, or a downstream task of any of its libraries.

python tools/train.py configs/cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px.py --cfg-options data_root=my/images
"""

import argparse

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import mmrs_ssl  # noqa: F401  (registers its modules)
from mmrs_ssl.cli.checks.quick import StartCheck
from mmrs_ssl.cli.config import add_allow_missing, add_config_arguments, count_images, read_config
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.cli.launch import make_resumable, set_precision
from mmrs_ssl.cli.starting import add_init, start_from
from mmrs_ssl.cli.work_dir import check_load_from, held_work_dir
from mmrs_ssl.engine.interruption import keep_children_apart
from mmrs_ssl.engine.resuming import CheckpointGuard
from mmrs_ssl.ops.memory import keep_freed_memory


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the newest checkpoint of the work dir that is whole, or from the one given',
    )
    add_init(parser)
    parser.add_argument('--no-check', action='store_true', help='train even where the quick checks find an error')
    parser.add_argument('--overwrite', action='store_true', help='remove the checkpoints of an earlier run')
    add_allow_missing(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16 on the CPU)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch size'
    )
    return parser.parse_args()


def count_accumulation(cfg: Config) -> None:
    """Scale the learning rate from the total batch of a step; mmengine forgets what gradients are accumulated over."""
    scale = cfg.get('auto_scale_lr')
    if scale is not None and scale.get('enable'):
        scale.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)


def main() -> None:
    """Build the config's runner as the options say, and train."""
    args = parse_args()
    cfg = read_config(args)
    set_precision(cfg, args.amp)
    keep_freed_memory()
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError('--auto-scale-lr: the config names no auto_scale_lr.base_batch_size to scale from')
        cfg.auto_scale_lr.enable = True
    count_accumulation(cfg)
    count_images(cfg)
    make_resumable(cfg)
    keep_children_apart()
    with held_work_dir(cfg, args.resume, args.overwrite) as make_room:
        start_from(cfg, args.init, args.init_branch)
        check_load_from(cfg)
        runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
        if cfg.get('load_from'):
            runner.register_hook(CheckpointGuard(str(cfg.load_from), bool(cfg.get('resume')), args.allow_missing))
        if not args.no_check:
            runner.register_hook(StartCheck(), priority='LOWEST')
        make_room()
        runner.train()


if __name__ == '__main__':
    with clear_errors():
        main()
