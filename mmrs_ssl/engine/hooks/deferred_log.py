"""Keep what a step logs on the device until somebody reads it."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, Hook, LoggerHook, RuntimeInfoHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from mmrs_ssl.registry import HOOKS

HISTORY = 10_000  # steps whose values are kept, at least


def is_due(hook: Hook, runner: Any, batch_idx: int) -> bool:
    """Tell whether values of the device are wanted after this iteration, whatever waiting for it costs.

    That is when the logger writes a line, when a checkpoint is saved (its hook may remove an older one first), and when
    an epoch or the training ends.
    """
    logged = (each.interval for each in runner.hooks if isinstance(each, LoggerHook))
    saved = (each.interval for each in runner.hooks if isinstance(each, CheckpointHook) and not each.by_epoch)
    return (
        any(hook.every_n_inner_iters(batch_idx, interval) for interval in logged)
        or any(hook.every_n_train_iters(runner, interval) for interval in saved)
        or hook.end_of_epoch(runner.train_dataloader, batch_idx)
        or hook.is_last_train_iter(runner)
    )


def forget_old_values(runner: Any) -> None:
    """Let mmengine keep of all logged values no more than the log reads."""
    processor = runner.log_processor
    windows = [processor.window_size, *(each.get('window_size', 0) for each in processor.custom_cfg)]
    if 'global' in windows:
        return
    kept = max(HISTORY, len(runner.train_dataloader), *(window for window in windows if isinstance(window, int)))
    for history in runner.message_hub.log_scalars.values():
        history.max_length = min(history.max_length, kept)


@HOOKS.register_module()
class DeferredLogHook(RuntimeInfoHook):
    """Log as mmengine's ``RuntimeInfoHook`` does, without asking the device for every value of every step.

    Asking makes the host wait until the device has done all it was given. Losses and the gradients' norm are kept where
    they are and fetched together, in one transfer, before the logger writes them and before a checkpoint is saved. The
    log, its averages and what a checkpoint has of them are the same.

    But for their age: of each value the last epoch is kept, or 10,000 steps or what the log averages over if that is
    more. mmengine keeps a million, which it copies at every step and writes into every checkpoint: after 774,000 steps
    (MillionAID's 200 epochs) 32 ms and 165 MB. Where a value is averaged over all (``window_size='global'``) it does.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[str, Tensor | float]] = []  # scalars in the order of the steps
        self._clipping: list[tuple[OptimWrapper, Callable]] = []

    def before_train_epoch(self, runner: Any) -> None:
        """Wrap the optimizers' clipping, which other hooks may have set before the training, to keep its norm."""
        super().before_train_epoch(runner)
        if self._clipping:
            return
        several = isinstance(runner.optim_wrapper, OptimWrapperDict)
        for wrapper in runner.optim_wrapper.values() if several else [runner.optim_wrapper]:
            if wrapper.clip_grad_kwargs:
                self._clipping.append((wrapper, wrapper.clip_func))
                wrapper.clip_func = self._keeping_norm(wrapper.clip_func, f'train/{wrapper.grad_name}')

    def _keeping_norm(self, clip: Callable[..., Tensor | None], key: str) -> Callable[..., None]:
        def clip_and_keep(*args: Any, **options: Any) -> None:  # mmengine logs at once what a clipping returns
            norm = clip(*args, **options)
            if norm is not None:
                self._pending.append((key, norm.detach()))

        return clip_and_keep

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep this step's values where they are, and fetch all that were kept when they are due."""
        for key, value in (outputs or {}).items():
            self._pending.append((f'train/{key}', value.detach() if isinstance(value, Tensor) else value))
        if is_due(self, runner, batch_idx):
            self._fetch(runner)
            forget_old_values(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Fetch what was kept, so that the checkpoint has the values of the steps before it."""
        if self._pending:
            self._fetch(runner)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def after_train(self, runner: Any) -> None:
        """Fetch what is left, and give the clipping back."""
        self._fetch(runner)
        for wrapper, clip in self._clipping:
            wrapper.clip_func = clip
        self._clipping.clear()
        super().after_train(runner)

    def _fetch(self, runner: Any) -> None:
        kept = [value.float().reshape(()) for _, value in self._pending if isinstance(value, Tensor)]
        fetched = iter(torch.stack(kept).tolist() if kept else [])
        for key, value in self._pending:
            runner.message_hub.update_scalar(key, next(fetched) if isinstance(value, Tensor) else value)
        self._pending.clear()
