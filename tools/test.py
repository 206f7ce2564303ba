"""Evaluate a checkpoint with any OpenMMLab config that has a test loader.

python tools/test.py CONFIG CHECKPOINT
"""

import argparse

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import mmrs_ssl  # noqa: F401  (registers its modules)
from mmrs_ssl.cli.config import add_allow_missing, add_config_arguments, read_config
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.cli.work_dir import check_load_from
from mmrs_ssl.engine.resuming import CheckpointGuard


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    add_allow_missing(parser)
    return parser.parse_args()


def main() -> None:
    """Build the config's runner with the checkpoint, and evaluate it."""
    args = parse_args()
    cfg = read_config(args)
    if cfg.get('test_dataloader') is None:
        raise ValueError(f'{args.config} has no test_dataloader: a pre-training config has nothing to test')
    cfg.load_from, cfg.resume = args.checkpoint, False
    check_load_from(cfg)
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    runner.register_hook(CheckpointGuard(args.checkpoint, resume=False, allow_missing=args.allow_missing))
    runner.test()


if __name__ == '__main__':
    with clear_errors():
        main()
