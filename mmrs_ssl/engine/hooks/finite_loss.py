"""Stop at a loss that is not a number, and say where to go on from."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_gather_object, all_reduce, broadcast_object_list, get_rank, get_world_size
from mmengine.hooks import Hook
from mmpretrain.utils import get_ori_model
from torch import Tensor

from mmrs_ssl.engine.checkpoint_files import list_checkpoints, read_checkpoint
from mmrs_ssl.engine.hooks.deferred_log import is_due
from mmrs_ssl.registry import HOOKS

NEVER = 2**62  # an iteration that no training reaches


class BadStep(NamedTuple):
    """A step whose loss is not finite."""

    epoch: int
    iteration: int
    terms: dict[str, float]


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """End the run if a loss was NaN or infinite, before anything is saved.

    Losses stay on the device; they are looked at together when the logger writes a line, before a checkpoint, before
    validation and when an epoch or the training ends. Several processes decide together, and all end in the same
    iteration, whoever has the loss. Where a checkpoint is written by rank 0 alone, which may not know of it yet, its
    weights are looked at, too: every process's gradients have reached them.

    Raises:
        FloatingPointError: naming the first such iteration, the process, the value of every term and the newest
            checkpoint whose weights are all finite.
    """

    priority = 'VERY_HIGH'  # before the checkpoint hook, which would save weights that are no numbers

    def __init__(self) -> None:
        self._unseen: list[tuple[int, int, dict[str, Tensor]]] = []  # epoch, iteration and terms of a step

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the loss of this step, and check all that were kept when that is due."""
        terms = {name: value.detach() for name, value in outputs.items()}
        self._unseen.append((runner.epoch, runner.iter, terms))
        if is_due(self, runner, batch_idx):
            self._check_together(runner)

    def before_val(self, runner: Any) -> None:
        """Check before weights that are no numbers replace the best checkpoint so far."""
        self._check_together(runner)

    def before_save_together(self, runner: Any) -> None:
        """Check before ``SafeCheckpointHook`` saves; every process calls this."""
        self._check_together(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Check before weights that are no numbers are saved: this process's losses, and the weights."""
        if (bad := self._first_bad()) is not None:
            raise FloatingPointError(explanation(runner, bad, get_rank()))
        parameters = dict(get_ori_model(runner.model).named_parameters())
        finite = torch.stack([each.detach().isfinite().all() for each in parameters.values()]).tolist()
        if not all(finite):
            name = list(parameters)[finite.index(False)]
            raise FloatingPointError(
                f'weights are not finite after iteration {checkpoint["meta"]["iter"]} ({finite.count(False)} of '
                f'{len(finite)}, first {name}); they are not saved. {advice(runner)}'
            )

    def _first_bad(self) -> BadStep | None:
        """Look at this process's losses since the last time."""
        steps, self._unseen = self._unseen, []
        finite = torch.stack([terms['loss'] for _, _, terms in steps]).isfinite().tolist() if steps else []
        if all(finite):
            return None
        epoch, iteration, terms = steps[finite.index(False)]
        return BadStep(epoch, iteration, {name: float(value) for name, value in terms.items()})

    def _check_together(self, runner: Any) -> None:
        """Look at the losses of all processes: one number travels as long as all is well."""
        bad = self._first_bad()
        if get_world_size() == 1:
            if bad is not None:
                raise FloatingPointError(explanation(runner, bad, 0))
            return
        first = torch.tensor(bad.iteration if bad else NEVER)
        all_reduce(first, 'min')
        if first == NEVER:
            return
        found = all_gather_object(bad)
        rank = next(i for i, step in enumerate(found) if step is not None and step.iteration == first)
        said = [explanation(runner, found[rank], rank) if get_rank() == 0 else None]
        broadcast_object_list(said)  # who ends early makes a launcher end the others, before rank 0 has said it
        raise FloatingPointError(said[0])


def explanation(runner: Any, bad: BadStep, rank: int) -> str:
    """Say where a loss is not finite, and what to do."""
    terms = ', '.join(f'{name}={value:.4g}' for name, value in bad.terms.items())
    where = f' on rank {rank}' if get_world_size() > 1 else ''
    return (
        f'the loss is not finite at epoch {bad.epoch + 1}, iteration {bad.iteration + 1}{where} ({terms}). '
        f'{advice(runner)}'
    )


def advice(runner: Any) -> str:
    """Name the last good checkpoint, and what helps."""
    good = newest_finite_checkpoint(Path(runner.work_dir))
    then = f'--resume {good}' if good else 'there is no earlier checkpoint: start again'
    return (
        f'Last good checkpoint: {good or "none"}. Lower optim_wrapper.optimizer.lr, clip gradients '
        '(optim_wrapper.clip_grad.max_norm, or that of ClipEachGradientHook) or use bfloat16 instead of float16, '
        f'and look for nodata values in float rasters; then: {then}'
    )


def newest_finite_checkpoint(work_dir: Path) -> Path | None:
    """Find the checkpoint of a folder that is furthest in its training, whole, and has finite weights alone."""
    for found in list_checkpoints(work_dir):
        if found.progress is None:
            continue
        try:
            weights = read_checkpoint(found.path)['state_dict']
        except (OSError, ValueError):
            continue  # cut off or changed
        if all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point()):
            return found.path
    return None
