"""Prepare a config for the machine: launchers and mixed precision."""

import sys
from typing import Any

import torch
from mmengine.config import Config

from mmrs_ssl.engine.distributed import start_gloo


def set_launcher(cfg: Config, launcher: str) -> None:
    """Prepare a config for a launcher; without a GPU processes talk by gloo and the model gets a CPU wrapper."""
    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise ValueError(f'--launcher {launcher} needs a GPU; on the CPU use tools/dist_train.sh (--launcher pytorch)')
    start_gloo()
    cfg.model_wrapper_cfg = dict(
        type='mmrs_ssl.CPUDistributedDataParallel', find_unused_parameters=cfg.get('find_unused_parameters', False)
    )


def set_precision(cfg: Config, amp: bool) -> None:
    """Turn on mixed precision when asked, and make a mixed-precision config run on the CPU.

    bfloat16 where the device has it (and on the CPU), else float16.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        raise ValueError('the config has no optim_wrapper: there is nothing to train')
    kind = wrapper.get('type', 'OptimWrapper')
    kind = (kind if isinstance(kind, str) else kind.__name__).rsplit('.', 1)[-1]
    if amp and kind == 'OptimWrapper':
        wrapper.type, wrapper.loss_scale, kind = 'AmpOptimWrapper', 'dynamic', 'AmpOptimWrapper'
        wrapper.dtype = 'bfloat16' if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else 'float16'
    elif amp and 'Amp' not in kind:
        raise ValueError(f'--amp does not know how to change optim_wrapper.type={kind!r}; set an Amp wrapper there')
    if kind == 'AmpOptimWrapper' and not torch.cuda.is_available():
        print('no GPU: mixed precision on the CPU is bfloat16', file=sys.stderr)
        wrapper.type = 'mmrs_ssl.CPUAmpOptimWrapper'
        wrapper.pop('loss_scale', None)
        wrapper.pop('dtype', None)


def make_resumable(cfg: Config) -> None:
    """Put in the loop that goes on inside an epoch and the hook whose checkpoints are never half, of any library.

    A loop or a checkpoint hook that is not mmengine's own stays.
    """
    loop = cfg.get('train_cfg')
    if loop is None:
        raise ValueError('the config has no train_cfg: there is nothing to train')
    if _short(cfg.get('runner_type')) == 'FlexibleRunner':
        return  # its strategies write files of their own
    if _short(loop.get('type')) == 'EpochBasedTrainLoop' or ('type' not in loop and loop.get('by_epoch', False)):
        loop.pop('by_epoch', None)
        loop.type = 'mmrs_ssl.ResumableTrainLoop'
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    if 'checkpoint' not in cfg.default_hooks:  # mmengine puts this in by itself
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    checkpoint = cfg.default_hooks.checkpoint
    if checkpoint is not None and _short(checkpoint.get('type')) == 'CheckpointHook':
        checkpoint['type'] = 'mmrs_ssl.SafeCheckpointHook'


def _short(kind: Any) -> str:
    """Return the name of a type, which a config gives as a class or by its name, with or without a scope."""
    return str(getattr(kind, '__name__', kind)).rsplit('.', 1)[-1]
