"""Collect statistics of one band piece by piece, in parts that can be merged.

Integers of at most 16 bits are counted value by value, which makes every number exact. Other types keep the count,
mean and sum of squared deviations of what was seen so far, merged by the formula of Chan, Golub and LeVeque ("Updating
formulae and a pairwise algorithm for computing sample variances", 1979), and a KLL sketch of the quantiles (Karnin,
Lang and Liberty, https://arxiv.org/abs/1603.05346).

A quantile q is the smallest value that at least a share q of the values does not exceed: numpy's ``inverted_cdf``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasketches import kll_doubles_sketch, kll_floats_sketch

from mmrs_ssl.rasters.arrays import Array

STRETCH = (0.02, 0.98)
PATCH = 32  # pixels a side
_SKETCH_SIZE = 16384  # 99 of 100 sketches of this size are off by less than 0.0002 of all values


@dataclass(frozen=True)
class BandSummary:
    """The statistics of one band.

    Attributes:
        count: number of values.
        mean, std: population moments.
        low, high: smallest and largest value.
        quantiles: one value per quantile asked for.
        limits: the quantiles of ``STRETCH``.
        stretched: mean and population deviation after the limits became 0 and 255, and what lies outside with them.
    """

    count: int
    mean: float
    std: float
    low: float
    high: float
    quantiles: tuple[float, ...]
    limits: tuple[float, float]
    stretched: tuple[float, float]


class Histogram:
    """Count how often every value of an integer type of at most 16 bits occurs, which makes its statistics exact."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.counts = np.zeros(2 ** (8 * dtype.itemsize), np.int64)  # from the type's smallest value to its largest

    @property
    def count(self) -> int:
        """Return how many values were seen."""
        return int(self.counts.sum())

    def update(self, values: Array) -> None:
        """Add (N,) values of the histogram's type."""
        counts = np.bincount(values.view(f'u{self.dtype.itemsize}'), minlength=len(self.counts))
        # Read as unsigned, the negative values come after the positive ones.
        self.counts += np.roll(counts, len(counts) // 2) if self.dtype.kind == 'i' else counts

    def merge(self, other: Histogram) -> None:
        """Add what another histogram of the same type has seen."""
        self.counts += other.counts

    def summary(self, shares: Sequence[float]) -> BandSummary:
        """Compute the statistics of at least one value; ``shares`` are the quantiles, in [0, 1]."""
        levels = np.arange(len(self.counts), dtype=np.int64) + np.iinfo(self.dtype).min
        count = self.count
        ranks = [max(math.ceil(share * count - 1), 0) for share in (*STRETCH, *shares)]
        found = levels[np.searchsorted(np.cumsum(self.counts), ranks, side='right')].tolist()
        low, high = levels[np.flatnonzero(self.counts)[[0, -1]]].tolist()
        return BandSummary(
            count,
            *_moments(levels, self.counts),
            low,
            high,
            quantiles=tuple(found[2:]),
            limits=(found[0], found[1]),
            stretched=_moments(_stretch(levels, found[0], found[1]), self.counts),
        )


class Sketch:
    """Collect statistics of any real type: merged moments, and quantiles within a rank error of 0.001.

    The sketch draws which values it keeps and cannot be seeded: what depends on it varies from run to run within that
    error, unless there are fewer values than it holds. Everything else depends only on the values and the order of
    merging. Types other than float32 and float16 are held as float64, which rounds integers above 2**53.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.type = np.dtype(np.float32 if dtype in (np.float16, np.float32) else np.float64)
        self.quantiles = self._class(_SKETCH_SIZE)
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf

    @property
    def _class(self) -> Any:
        return kll_floats_sketch if self.type == np.float32 else kll_doubles_sketch

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), 'quantiles': self.quantiles.serialize()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.quantiles = self._class.deserialize(state['quantiles'])

    def update(self, values: Array) -> None:
        """Add (N,) finite values, N at least 1."""
        values = np.sort(values.astype(self.type))  # the sketch takes sorted values four times as fast
        self.quantiles.update(values)
        self.low, self.high = min(self.low, float(values[0])), max(self.high, float(values[-1]))
        values = values.astype(np.float64)  # before anything is summed: float32 has 7 digits, which an offset uses up
        mean = float(values.mean())
        self._add(len(values), mean, float(((values - mean) ** 2).sum()))

    def merge(self, other: Sketch) -> None:
        """Add what another sketch of the same type has seen."""
        self.quantiles.merge(other.quantiles)
        self._add(other.count, other.mean, other.squares)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def median(self) -> float | None:
        """Return the median; None if nothing was seen."""
        return float(self.quantiles.get_quantiles([0.5], True)[0]) if self.count else None

    def _add(self, count: int, mean: float, squares: float) -> None:
        if count == 0:
            return
        total, apart = self.count + count, mean - self.mean
        self.squares += squares + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count = total

    def summary(self, shares: Sequence[float]) -> BandSummary:
        """Compute the statistics of at least one value; ``shares`` are the quantiles, in [0, 1]."""
        found = self.quantiles.get_quantiles([*STRETCH, *shares], True)
        values, weights = np.array(list(self.quantiles)).T
        return BandSummary(
            self.count,
            self.mean,
            math.sqrt(self.squares / self.count),
            self.low,
            self.high,
            quantiles=tuple(found[2:]),
            limits=(found[0], found[1]),
            stretched=_moments(_stretch(values, found[0], found[1]), weights),
        )


def patch_deviations(band: Array, valid: Array, side: int = PATCH) -> Array:
    """Compute how much a band varies within patches, as far as it does.

    Args:
        band: (H, W) of any real type.
        valid: which of its pixels are valid, bool.
        side: of a patch, in pixels.

    Returns:
        The population deviation of every patch (smaller where the band is, else what is left over at the lower and
        right edge is left out), that is at least half valid and not constant: (N,) float64.
    """
    height, width = (min(side, length) for length in band.shape)
    rows, columns = band.shape[0] // height, band.shape[1] // width

    def patches(values: Array) -> Array:  # (N, pixels)
        cut = values[: rows * height, : columns * width].reshape(rows, height, columns, width)
        return cut.transpose(0, 2, 1, 3).reshape(rows * columns, -1)

    masks = patches(valid)
    counts = masks.sum(axis=1)
    enough = 2 * counts >= height * width
    values, masks, counts = patches(band)[enough].astype(np.float64), masks[enough], counts[enough]
    values[~masks] = 0
    means = values.sum(axis=1) / counts
    squares = np.where(masks, (values - means[:, None]) ** 2, 0).sum(axis=1)
    deviations: Array = np.sqrt(squares / counts)
    return deviations[deviations > 0]


def _stretch(values: Array, low: float, high: float) -> Array:
    return np.clip((values - low) * (255 / max(high - low, 1e-6)), 0, 255)


def _moments(values: Array, weights: Array) -> tuple[float, float]:
    """Compute the weighted mean and population deviation of (N,) values."""
    total = float(weights.sum())
    mean = float(weights @ values.astype(np.float64)) / total
    return mean, math.sqrt(float(weights @ (values - mean) ** 2) / total)


Accumulator = Histogram | Sketch


def make_accumulator(dtype: np.dtype) -> Accumulator:
    """Choose the accumulator for values of a type: exact where a histogram of all its values is small enough."""
    return Histogram(dtype) if dtype.kind in 'iu' and dtype.itemsize <= 2 else Sketch(dtype)
