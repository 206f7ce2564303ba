"""Evaluate a checkpoint by the test loader of a config."""

from argparse import Namespace

from mmrs_ssl.cli.config import read_config
from mmrs_ssl.cli.console import build_runner
from mmrs_ssl.cli.work_dir import check_load_from
from mmrs_ssl.engine.resuming import CheckpointGuard


def evaluate_config(args: Namespace) -> None:
    """Build the config's runner with the checkpoint, and evaluate it."""
    cfg = read_config(args)
    if cfg.get('test_dataloader') is None:
        raise ValueError(f'{args.config} has no test_dataloader: a pre-training config has nothing to test')
    cfg.load_from, cfg.resume = args.checkpoint, False
    check_load_from(cfg)
    runner = build_runner(cfg)
    runner.register_hook(CheckpointGuard(args.checkpoint, resume=False, allow_missing=args.allow_missing))
    runner.test()
