"""Train a config as a command line says."""

from argparse import Namespace

from mmengine.config import Config
from mmengine.runner import Runner

from mmrs_ssl.cli.checks.quick import StartCheck
from mmrs_ssl.cli.config import count_images, read_config
from mmrs_ssl.cli.console import build_runner
from mmrs_ssl.cli.launch import make_resumable, set_precision
from mmrs_ssl.cli.live_line import live_line
from mmrs_ssl.cli.starting import start_from
from mmrs_ssl.cli.work_dir import check_load_from, held_work_dir
from mmrs_ssl.engine.interruption import keep_children_apart
from mmrs_ssl.engine.resuming import CheckpointGuard
from mmrs_ssl.ops.memory import keep_freed_memory


def count_accumulation(cfg: Config) -> None:
    """Scale the learning rate from the total batch of a step; mmengine forgets what gradients are accumulated over."""
    scale = cfg.get('auto_scale_lr')
    if scale is not None and scale.get('enable'):
        scale.accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)  # which the batch is divided by already
        scale.base_batch_size /= scale.accumulated


def train_config(args: Namespace) -> Runner:
    """Build the config's runner as the options say, and train; returns the runner."""
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
    with held_work_dir(cfg, args.resume, args.overwrite) as room:
        start_from(cfg, args.init, args.init_branch)
        room.check(cfg)
        check_load_from(cfg)
        runner = build_runner(cfg)
        if cfg.get('load_from'):
            runner.register_hook(CheckpointGuard(str(cfg.load_from), bool(cfg.get('resume')), args.allow_missing))
        if not args.no_check:
            runner.register_hook(StartCheck(), priority='LOWEST')
        runner.register_hook(room)
        room.set_aside()
        with live_line(runner):
            runner.train()
    return runner
