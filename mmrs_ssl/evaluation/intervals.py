"""Say how far a figure may be off because the test images are but a sample."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

LEVEL = 0.95
BOOTSTRAP_DRAWS = 1000


class Figure(NamedTuple):
    """A figure with its interval, in the units of the figure."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    per_image: np.ndarray,
    statistic: Callable[[np.ndarray], float] | None = None,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the 95 % interval of a statistic over images, by drawing as many images with replacement again and again.

    Args:
        per_image: (N, ...), what each test image contributes: 1 where it is classified correctly, or a row of scores.
        statistic: of drawn rows (N, ...); their mean by default.
        draws: how often.
        seed: of the draws.

    Returns:
        The quantiles 0.025 and 0.975 of the draws. An average precision is biased in drawn samples: where its interval
        would leave out the figure itself, it is widened to it.

    Raises:
        ValueError: for fewer than two images, or a figure that is not finite.
    """
    rows = np.asarray(per_image)
    if len(rows) < 2:
        raise ValueError(f'an interval over {len(rows)} test images; expected two at least')
    value = float(rows.mean()) if statistic is None else statistic(rows)
    if not np.isfinite(value):
        raise ValueError(f'the figure to give an interval for is {value}; look for NaN in what it is computed of')
    if statistic is None and rows.ndim == 1:
        found = bootstrap(
            (rows,), np.mean, n_resamples=draws, confidence_level=LEVEL, method='percentile', random_state=seed
        )
    else:
        measure = np.mean if statistic is None else statistic

        def of_drawn(numbers: np.ndarray) -> float:
            return float(measure(rows[numbers]))

        numbers = (np.arange(len(rows)),)
        found = bootstrap(
            numbers,
            of_drawn,
            n_resamples=draws,
            confidence_level=LEVEL,
            vectorized=False,
            method='percentile',
            random_state=seed,
        )
    low, high = map(float, found.confidence_interval)
    return min(low, value), max(high, value)


def figure_of(per_image: np.ndarray, statistic: Callable[[np.ndarray], float] | None = None, seed: int = 0) -> Figure:
    """Compute a figure over images with its interval, see :func:`bootstrap_interval`."""
    value = float(np.mean(per_image)) if statistic is None else statistic(per_image)
    return Figure(value, *bootstrap_interval(per_image, statistic, seed=seed))
