"""Let indices carry the epoch, so that a sample's randomness is a function of (seed, epoch, index) alone.

Worker processes do not know the epoch: without this every resume, and every epoch without persistent workers, would
repeat the same random stream, and results would depend on the number of workers.
"""

import random
from collections.abc import Iterator, Sized
from itertools import islice

import numpy as np
import torch
from mmengine.dataset import DefaultSampler

from mmrs_ssl.options import WHOLE, check_numbers, check_switches, or_none
from mmrs_ssl.registry import DATA_SAMPLERS


class SampleIndex(int):
    """An index that also says for which epoch and seed the sample is drawn; any data set can be indexed by it."""

    epoch: int
    seed: int

    def __new__(cls, index: int, epoch: int, seed: int) -> 'SampleIndex':
        """Make an int that has an epoch and a seed."""
        self = super().__new__(cls, index)
        self.epoch = epoch
        self.seed = seed
        return self

    def __reduce__(self) -> tuple:
        return SampleIndex, (int(self), self.epoch, self.seed)


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` yielding :class:`SampleIndex`.

    Where the number of samples is no multiple of the number of processes, the last of an epoch's order are left out:
    mmengine repeats the first instead, and a repeated index is the same window with the same augmentation.

    Raises:
        ValueError: if there are fewer samples than processes.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        check_switches(self, shuffle=shuffle)
        check_numbers(self, or_none(WHOLE), seed=seed)
        super().__init__(dataset, shuffle, seed, round_up=False)
        self.num_samples = len(dataset) // self.world_size
        self._skipped = 0
        if self.num_samples == 0:
            raise ValueError(f'{len(dataset)} samples for {self.world_size} processes, expected one for each at least')

    def __iter__(self) -> Iterator[SampleIndex]:
        """Yield the indices of this process, in this epoch's order."""
        skipped, self._skipped = self._skipped, 0
        indices = islice(super().__iter__(), skipped, self.num_samples)
        return (SampleIndex(index, self.epoch, self.seed) for index in indices)

    def skip(self, samples: int) -> None:
        """Leave out the first samples of this process in the next epoch, and in that alone; the length stays."""
        self._skipped = samples


def sample_rng(index: int) -> np.random.Generator:
    """Make the random generator of one sample; a plain int counts as epoch 0 of seed 0.

    numpy's, Python's and torch's global generators are seeded from it too, for transforms of other libraries that draw
    there; a worker that persists would else go on in its own stream.
    """
    rng = np.random.default_rng((getattr(index, 'seed', 0), getattr(index, 'epoch', 0), int(index)))
    random.seed(int(rng.integers(2**32)))
    seed = int(rng.integers(2**32))
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed + 1)  # of the same kind as numpy's: not with the same seed
    return rng
