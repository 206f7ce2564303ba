"""Schedule learning rates whose warm-up is a share of the training, however long that is.

mmengine's own schedulers, told where to begin and end; their states are the same, so that checkpoints written with
``LinearLR`` and ``CosineAnnealingLR`` resume with these.
"""

from typing import Any

from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.optim.scheduler.param_scheduler import INF

from mmrs_ssl.registry import PARAM_SCHEDULERS


def warmup_steps(share: float, begin: int, end: int) -> int:
    """Compute the length of the warm-up of a training from ``begin`` to ``end``, rounded, one step at least.

    Raises:
        ValueError: for a share outside [0, 1); if the end is not known.
    """
    if not isinstance(share, int | float) or not 0 <= share < 1:
        raise ValueError(f'share={share!r} of the warm-up, expected at least 0 (none) and less than 1 of the training')
    if end >= INF:
        raise ValueError('the warm-up is a share of the training, whose length is not known: set end, or train_cfg')
    return max(1, round(share * (end - begin)))


@PARAM_SCHEDULERS.register_module()
class WarmupLR(LinearLR):
    """Raises the learning rate linearly over the first ``share`` of the training.

    Args:
        optimizer: the wrapped optimizer.
        share: of the steps from ``begin`` to ``end``, 0 <= share < 1. A warm-up of one step or none is left out: the
            learning rate is then the full one from the start.
        start_factor: of the learning rate at the first step.
        begin, end: of the whole training, in steps; mmengine's Runner fills the end in.
        **kwargs: of mmengine's ``LinearLR``.

    Raises:
        ValueError: for an impossible share, or a training of unknown length.
    """

    def __init__(
        self, optimizer: Any, share: float, start_factor: float = 0.01, begin: int = 0, end: int = INF, **kwargs: Any
    ) -> None:
        steps = warmup_steps(share, begin, end)
        # one step would leave the learning rate at its start: the next one's factor is relative to it
        factor = start_factor if steps > 1 else 1.0
        super().__init__(optimizer, start_factor=factor, begin=begin, end=begin + steps, **kwargs)


@PARAM_SCHEDULERS.register_module()
class CosineAfterWarmupLR(CosineAnnealingLR):
    """Lowers the learning rate by half a cosine, from where a :class:`WarmupLR` of the same ``share`` ends.

    Args:
        optimizer: the wrapped optimizer.
        share: of the warm-up.
        begin, end: of the whole training, the warm-up included, in steps; mmengine's Runner fills the end in.
        **kwargs: of mmengine's ``CosineAnnealingLR``.

    Raises:
        ValueError: for an impossible share, or a training of unknown length.
    """

    def __init__(self, optimizer: Any, share: float, begin: int = 0, end: int = INF, **kwargs: Any) -> None:
        first = begin + warmup_steps(share, begin, end)
        super().__init__(optimizer, begin=first, end=max(end, first + 1), **kwargs)
