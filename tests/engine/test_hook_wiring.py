"""What hooks take from where: the process's rank, and the newest of several files."""

import os
from types import SimpleNamespace

import pytest
import torch
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmrs_ssl.engine.hooks import EpochSeedHook
from mmrs_ssl.engine.hooks.finite_loss import newest_finite_checkpoint


@pytest.fixture
def be_process():
    """Be one of several processes, without the others: a group that knows its ranks and sends nothing."""

    def start(rank, world):
        torch.distributed.init_process_group('fake', store=FakeStore(), rank=rank, world_size=world)

    yield start
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def test_every_process_draws_its_own(be_process):
    def drawn(epoch, seed=3):
        loader = SimpleNamespace(sampler=SimpleNamespace(seed=seed))
        runner = SimpleNamespace(seed=seed, epoch=epoch, iter=0, train_dataloader=loader)
        hook = EpochSeedHook()
        hook.before_train_epoch(runner)
        hook.before_train_iter(runner, 0)
        return torch.rand(1).item()

    alone = [drawn(epoch) for epoch in range(2)]
    found = {}
    for rank in range(3):
        be_process(rank, 3)
        found[rank] = [drawn(epoch) for epoch in range(2)]
        torch.distributed.destroy_process_group()
    assert found[0] == alone  # the first of several draws what a single one draws
    assert len({value for values in found.values() for value in values}) == 6


def test_the_newest_good_checkpoint_is_named(tmp_path):
    for number, weight in enumerate((1.0, 2.0, float('nan'))):
        path = tmp_path / f'epoch_{9 - number}.pth'  # names say nothing of their age
        torch.save(dict(state_dict=dict(weight=torch.tensor([weight]))), path)
        os.utime(path, (1000 + number, 1000 + number))
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_8.pth'
    (tmp_path / 'epoch_8.pth').write_bytes(b'cut off')
    assert newest_finite_checkpoint(tmp_path) == tmp_path / 'epoch_9.pth'
