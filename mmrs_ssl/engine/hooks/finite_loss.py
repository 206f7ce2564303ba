"""Stop at a loss that is not a number, and say where to go on from."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from mmrs_ssl.engine.hooks.deferred_log import is_due
from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """End the run if a loss was NaN or infinite, before anything is saved.

    Losses stay on the device; they are looked at together when the logger writes a line, before a checkpoint, before
    validation and when an epoch or the training ends.

    Raises:
        FloatingPointError: naming the first such iteration, the value of every term and the newest checkpoint whose
            weights are all finite.
    """

    priority = 'VERY_HIGH'  # before the checkpoint hook, which would save weights that are no numbers

    def __init__(self) -> None:
        self._unseen: list[tuple[int, int, dict[str, Tensor]]] = []  # epoch, iteration and terms of a step

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the loss of this step, and check all that were kept when that is due."""
        terms = {name: value.detach() for name, value in outputs.items()}
        self._unseen.append((runner.epoch, runner.iter, terms))
        if is_due(self, runner, batch_idx):
            self._check(runner)

    def before_val(self, runner: Any) -> None:
        """Check before weights that are no numbers replace the best checkpoint so far."""
        self._check(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Check before weights that are no numbers are saved."""
        self._check(runner)

    def _check(self, runner: Any) -> None:
        steps, self._unseen = self._unseen, []
        finite = torch.stack([terms['loss'] for _, _, terms in steps]).isfinite().tolist() if steps else []
        if all(finite):
            return
        epoch, iteration, values = steps[finite.index(False)]
        terms = ', '.join(f'{name}={float(value):.4g}' for name, value in values.items())
        good = newest_finite_checkpoint(Path(runner.work_dir))
        advice = f'--resume {good}' if good else 'there is no earlier checkpoint: start again'
        raise FloatingPointError(
            f'the loss is not finite at epoch {epoch + 1}, iteration {iteration + 1} ({terms}). Last good '
            f'checkpoint: {good or "none"}. Lower optim_wrapper.optimizer.lr, clip gradients '
            f'(optim_wrapper.clip_grad.max_norm, or that of ClipEachGradientHook) or use bfloat16 instead of float16, '
            f'and look for nodata values in float rasters; then: {advice}'
        )


def newest_finite_checkpoint(work_dir: Path) -> Path | None:
    """Find the newest ``*.pth`` of a folder with finite weights alone: NaN weights may have been saved before."""
    for path in sorted(work_dir.glob('*.pth'), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            weights = torch.load(path, map_location='cpu', weights_only=True)['state_dict']
        except (OSError, RuntimeError, EOFError, KeyError, UnpicklingError):
            continue  # cut off while it was written, or no checkpoint at all
        if all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point()):
            return path
    return None
