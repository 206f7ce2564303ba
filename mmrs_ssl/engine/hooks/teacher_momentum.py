"""Let the teacher's momentum fit the length of the training."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrs_ssl.engine.hooks.schedule import ScheduleHook
from mmrs_ssl.options import PROPER_SHARE, SHARE, check_choice, check_numbers, refuse
from mmrs_ssl.registry import HOOKS

PUBLISHED = 0.996, 1.0  # of CMID, DINO, DINO-MC and MSSDF, for hundreds of thousands of updates


@HOOKS.register_module()
class TeacherMomentumHook(ScheduleHook):
    """Schedule ``teacher.momentum``, and begin lower where the training is too short for the published values.

    A teacher starts as the random student. The share of that start which is left in it at the end is the product of the
    momenta of all its updates. Where the given momentum leaves at most ``start_left``, which that of the papers does
    from about 2,300 updates on, it is used as it is. In a shorter training the first value is lowered, the last kept,
    until exactly that share is left. What is used and why is logged at the start.

    The value depends on the iteration and the length of the training alone, so a resumed run goes on where it was; one
    that goes on with another length follows the plan of that length from there. Batches that are accumulated to one
    step are one update.

    Args:
        start, end: first and last momentum, 0 <= start <= end <= 1.
        schedule: ``'cosine'`` or ``'linear'``, as in ``ScheduleHook``.
        start_left: the largest share of the start to be left at the end, between 0 and 1.
    """

    def __init__(
        self, start: float = PUBLISHED[0], end: float = PUBLISHED[1], schedule: str = 'cosine', start_left: float = 0.01
    ) -> None:
        check_choice('schedule of TeacherMomentumHook', schedule, ('cosine', 'linear'))
        check_numbers(self, SHARE, start=start, end=end)
        if start > end:
            refuse(self, 'start', start, f'at most end={end}; the papers use {PUBLISHED[0]} and {PUBLISHED[1]}')
        # to keep the momentum whatever the length is there is ScheduleHook
        check_numbers(self, PROPER_SHARE, start_left=start_left)
        super().__init__('teacher.momentum', start, end, schedule)
        self.given = start
        self.start_left = start_left

    def before_train(self, runner: Any) -> None:
        """Find the first momentum that fits this training, and say why it is that one."""
        super().before_train(runner)
        total = runner.max_iters
        every = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        # as OptimWrapper.should_update has it: what is left of the batches at the end is a step, too
        updates = np.append(np.arange(every - 1, total - 1, every), total - 1)
        shares = shares_of_first(self.schedule, updates, total)
        self.start = start_that_leaves(self.start_left, self.given, self.end, shares)
        runner.logger.info(self._explanation(shares))

    def _explanation(self, shares: NDArray[np.float64]) -> str:
        count = len(shares)
        span, given = (f'{start:.4g} rising to {self.end:g}' for start in (self.start, self.given))
        now, before = (percent(left_of_start(start, self.end, shares)) for start in (self.start, self.given))
        half, half_given = (half_life(start) for start in (self.start, self.given))
        renewed = f'At the start half of it is renewed in {half:.4g} updates, {percent(half / count)} of the training'
        if self.start == self.given:
            kind = 'published' if (self.given, self.end) == PUBLISHED else 'configured'
            return (
                f'Teacher momentum {span}, as {kind}: after the {count} updates of this training {now} of the random '
                f'start is left in the teacher (limit {percent(self.start_left)}). {renewed}.'
            )
        return (
            f'Teacher momentum {span} instead of {given}, which would leave {before} of the random start in the '
            f'teacher after the {count} updates of this training; now {now} is left. {renewed}, instead of '
            f'{half_given:.4g}, {percent(half_given / count)}.'
        )


def shares_of_first(schedule: str, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    """Compute how much of a schedule's first value is in that of each step, as ``ScheduleHook`` has it, in one go."""
    if schedule == 'cosine':
        return (1 + np.cos(np.pi * steps / total)) / 2
    return np.where(steps < total - 1, 1 - steps / max(1, total - 1), 0)


def start_that_leaves(left: float, start: float, end: float, shares: NDArray[np.float64]) -> float:
    """Lower a first momentum until a teacher keeps a share of its start over all updates, and no more.

    Args:
        left: the share, between 0 and 1.
        start, end: first and last momentum.
        shares: (N,) of the first momentum in that of each update, 1 to 0; the rest is the last one's.

    Returns:
        ``start``, if it leaves no more than that.

    Raises:
        ValueError: if even 0 leaves more.
    """
    if left_of_start(start, end, shares) <= left:
        return start
    low, high = 0.0, start
    if (least := left_of_start(low, end, shares)) > left:
        raise ValueError(
            f'TeacherMomentumHook: a training of {len(shares)} updates of the teacher is too short: even a momentum of '
            f'0 at the start leaves {percent(least)} of the random start in it, and start_left={left} is wanted; train '
            f'longer, accumulate fewer batches, lower end={end}, or raise start_left'
        )
    while low < (middle := (low + high) / 2) < high:  # until there is no number in between
        if left_of_start(middle, end, shares) > left:
            high = middle
        else:
            low = middle
    return low


def left_of_start(start: float, end: float, shares: NDArray[np.float64]) -> float:
    """Multiply the momenta of all updates: that much of a teacher's start is left in it."""
    return float(np.prod(end + (start - end) * shares))


def half_life(momentum: float) -> float:
    """Count the updates in which half of a teacher is renewed."""
    if momentum in (0, 1):
        return math.inf if momentum else 0.0
    return math.log(0.5) / math.log(momentum)


def percent(share: float) -> str:
    """Format a share for people, without exponents."""
    if share < 1e-5:
        return 'less than 0.001 %'
    return f'{100 * share:.3g} %' if share < 10 else f'{100 * share:.0f} %'
