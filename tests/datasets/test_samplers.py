"""Indices that carry epoch and seed, and the random generators made of them."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler

from mmrs_ssl.datasets import EpochSampler, SampleIndex, sample_rng


def test_global_generators_follow_the_sample():
    def draws(index):
        rng = sample_rng(index)
        return rng.random(), random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    assert draws(SampleIndex(1, 2, 3)) == draws(SampleIndex(1, 2, 3))
    first, other = draws(SampleIndex(1, 2, 3)), draws(SampleIndex(1, 3, 2))
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_sample_index_survives_pickling():
    index = pickle.loads(pickle.dumps([SampleIndex(5, 6, 7)]))[0]
    assert (index, index.epoch, index.seed) == (5, 6, 7)
    assert isinstance(index, SampleIndex)
    assert ['a', 'b', 'c', 'd', 'e', 'f'][index] == 'f'


@pytest.mark.parametrize('shuffle', [True, False])
def test_ranks_share_mmengines_order_and_repeat_nothing(monkeypatch, shuffle):
    data = list(range(11))
    samplers = []
    for rank in range(3):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 3))
        kinds = (EpochSampler(data, shuffle, 3), DefaultSampler(data, shuffle, 3))
        samplers.append(kinds)
    for epoch in (0, 5):
        seen = []
        for mine, default in samplers:
            mine.set_epoch(epoch)
            default.set_epoch(epoch)
            indices = list(mine)
            assert len(indices) == len(mine) == 3
            assert indices == list(default)[:3]
            assert {(index.epoch, index.seed) for index in indices} == {(epoch, 3)}
            seen += indices
        assert len(set(seen)) == 9
    with pytest.raises(ValueError, match='2 samples for 3 processes'):
        EpochSampler(data[:2])


def test_what_was_seen_is_left_out_once():
    sampler = EpochSampler(range(7), True, 3)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.skip(4)
    assert len(sampler) == 7
    assert list(sampler) == whole[4:]
    assert list(sampler) == whole
