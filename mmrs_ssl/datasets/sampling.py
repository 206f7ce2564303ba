"""Indices that carry the epoch, so that a sample's randomness is a function of (seed, epoch, index) alone.

Worker processes do not know the epoch: without this every resume, and every epoch without persistent workers, would
repeat the same random stream, and results would depend on the number of workers.
"""

import random
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler

from mmrs_ssl.registry import DATA_SAMPLERS


class SampleIndex(int):
    """An index that also says for which epoch and seed the sample is drawn; any data set can be indexed by it."""

    epoch: int
    seed: int

    def __new__(cls, index: int, epoch: int, seed: int) -> 'SampleIndex':
        """An int with an epoch and a seed."""
        self = super().__new__(cls, index)
        self.epoch = epoch
        self.seed = seed
        return self

    def __reduce__(self) -> tuple:
        return SampleIndex, (int(self), self.epoch, self.seed)


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` yielding :class:`SampleIndex`."""

    def __iter__(self) -> Iterator[SampleIndex]:
        """Indices of this process, in this epoch's order."""
        return (SampleIndex(index, self.epoch, self.seed) for index in super().__iter__())


def sample_rng(index: int) -> np.random.Generator:
    """The random generator of one sample; a plain int counts as epoch 0 of seed 0.

    numpy's and Python's global generators are seeded from it too, for transforms of other libraries that draw there.
    """
    rng = np.random.default_rng((getattr(index, 'seed', 0), getattr(index, 'epoch', 0), int(index)))
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    return rng
