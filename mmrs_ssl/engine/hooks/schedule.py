"""Schedule every value that changes during training."""

import math
from collections.abc import Callable
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop
from mmpretrain.utils import get_ori_model
from torch import Tensor

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.options import (
    COUNT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    PROPER_SHARE,
    SHARE,
    Number,
    check_choice,
    check_numbers,
    check_switches,
    or_none,
)
from mmrs_ssl.registry import HOOKS


def linear(start: float, end: float, step: int, length: int) -> float:
    """Go from ``start`` at step 0 to ``end`` at the last step, ``length - 1``, and stay there."""
    if step >= length - 1:
        return end
    return start + (end - start) * step / (length - 1)


def cosine(start: float, end: float, step: int, length: int) -> float:
    """Go from ``start`` at step 0 along half a cosine to ``end`` at step ``length``, one after the last."""
    return end + (start - end) * (1 + math.cos(math.pi * min(step, length) / length)) / 2


def stepwise(start: float, end: float, step: int, every: int, rise: float) -> float:
    """Rise (or fall) from ``start`` by ``rise`` every ``every`` steps, never beyond ``end``."""
    value = start + rise * (step // every)
    return min(value, end) if rise >= 0 else max(value, end)


SCHEDULES: dict[str, Callable[..., float]] = dict(linear=linear, cosine=cosine, step=stepwise)


# What a value may be, by how the attribute's name ends.
_KINDS = {
    'momentum': SHARE,
    'temperature': POSITIVE,
    'ratio': PROPER_SHARE,
    'substitution': Number(0, 1, below=True),
    'weight': NOT_NEGATIVE,
}


def kind_of(path: str) -> Number:
    """Return what a scheduled value may be; any number where the name of the attribute does not say it."""
    return next((kind for ending, kind in _KINDS.items() if path.endswith(ending)), FINITE)


def check_steps(owner: object, schedule: str, options: dict[str, Any]) -> None:
    """Refuse other options than a schedule has, and impossible ones.

    Raises:
        ValueError: saying what is expected.
    """
    wanted = ('every', 'rise') if schedule == 'step' else ()
    for option in options:
        check_choice(f'an option of the schedule {schedule!r}', option, wanted or ('none, as it has no further ones',))
    if wanted:
        check_numbers(owner, COUNT, every=options.get('every'))
        check_numbers(owner, FINITE, rise=options.get('rise'))


@HOOKS.register_module()
@accept_old_options
class ScheduleHook(Hook):
    """Set an attribute of the model from a schedule before every iteration.

    The value depends on the iteration (or epoch) alone, so a resumed run goes on where it was. It is logged under the
    attribute's path.

    Args:
        path: attribute of the model, e.g. ``'teacher.momentum'``; a plain number or a one-element buffer.
        start, end: first and last value.
        schedule: ``'linear'``, ``'cosine'`` or ``'step'``, the functions of this module.
        by_epoch: count epochs instead of iterations.
        length: steps from start to end; the whole training by default.
        **options: of ``'step'``: ``every`` and ``rise``.
    """

    def __init__(
        self,
        path: str,
        start: float,
        end: float,
        schedule: str = 'cosine',
        by_epoch: bool = False,
        length: int | None = None,
        **options: Any,
    ) -> None:
        if schedule not in SCHEDULES:
            raise ValueError(f'schedule={schedule!r} of {path} is not one of {", ".join(SCHEDULES)}')
        check_numbers(self, kind_of(path), start=start, end=end)
        check_numbers(self, or_none(COUNT), length=length)
        check_switches(self, by_epoch=by_epoch)
        check_steps(self, schedule, options)
        self.path = path
        self.start = start
        self.end = end
        self.schedule = schedule
        self.by_epoch = by_epoch
        self.length = length
        self.options = options

    def value(self, step: int, total: int) -> float:
        """Compute the value at a step (iteration or epoch, from 0) of a training of ``total`` steps."""
        if self.schedule == 'step':
            return stepwise(self.start, self.end, step, **self.options)
        return SCHEDULES[self.schedule](self.start, self.end, step, self.length or total, **self.options)

    def before_train(self, runner: Any) -> None:
        """Fail at the start if the model has no such attribute, or the training no epochs to count."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                f'ScheduleHook: {self.path} is scheduled by epoch, but an IterBasedTrainLoop has none; set '
                'by_epoch=False and give length in iterations'
            )
        owner, name = self._owner(runner)
        if not hasattr(owner, name):
            raise AttributeError(f'ScheduleHook: {type(owner).__name__} has no {name!r} (path={self.path!r})')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the attribute to this step's value, in place if it is a buffer, and log it."""
        step, total = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        value = self.value(step, total)
        owner, name = self._owner(runner)
        current = getattr(owner, name)
        if isinstance(current, Tensor):
            current.fill_(value)
        else:
            setattr(owner, name, value)
        runner.message_hub.update_scalar(f'train/{self.path}', value)

    def _owner(self, runner: Any) -> tuple[Any, str]:
        parent, _, name = self.path.rpartition('.')
        return get_ori_model(runner.model).get_submodule(parent), name
