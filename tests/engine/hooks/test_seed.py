"""Draws of a step depend on seed, step and process, not on who loads the data or where the run was interrupted."""

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmrs_ssl.engine.hooks import ScheduleHook, StepSeedHook
from tests.conftest import train
from tests.engine.test_hooks import without
from tests.forked import differences, load


def draws(cfg, **loader):
    """What torch would draw first in every step of two epochs."""
    seen = []
    cfg.train_dataloader.update(loader)
    train(cfg, before_train_iter=lambda runner, batch: seen.append(torch.get_rng_state()[:64].tolist()))
    return seen


def test_workers_that_persist_change_no_draw(make_config):
    """Workers are started in the first epoch, with a draw for their seed, and not again in the second."""
    here = draws(make_config())
    there = draws(make_config(), num_workers=1, persistent_workers=True)
    assert len(here) == 8
    assert there == here
    assert len({tuple(draw) for draw in here}) == 8


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
        """What torch, numpy and Python draw."""
        loader = SimpleNamespace(sampler=SimpleNamespace(seed=seed))
        runner = SimpleNamespace(seed=seed, epoch=epoch, iter=0, train_dataloader=loader)
        hook = StepSeedHook()
        hook.before_train_epoch(runner)
        hook.before_train_iter(runner, 0)
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    alone = [drawn(epoch) for epoch in range(2)]
    found = {}
    for rank in range(3):
        be_process(rank, 3)
        found[rank] = [drawn(epoch) for epoch in range(2)]
        torch.distributed.destroy_process_group()
    assert found[0] == alone  # the first of several draws what a single one draws
    for generator in range(3):
        assert len({value[generator] for values in found.values() for value in values}) == 6


def test_a_loop_without_epochs_resumes_exactly(make_config):
    """mmengine's own goes through the data again; what is scheduled by epochs is refused."""
    runner = SimpleNamespace(train_loop=object.__new__(IterBasedTrainLoop))
    with pytest.raises(ValueError, match='by_epoch=False'):
        ScheduleHook('teacher_temperature', 0.04, 0.07, 'linear', by_epoch=True).before_train(runner)

    def run(**options):
        cfg = without(make_config(), 'PictureHook', 'ScheduleHook')
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4)
        cfg.param_scheduler = []
        cfg.default_hooks.checkpoint.update(interval=2, by_epoch=False)
        cfg.update(options)
        train(cfg)
        return load(Path(cfg.work_dir, 'iter_4.pth')), f'{cfg.work_dir}/iter_2.pth'

    whole, middle = run()
    again, _ = run(resume=True, load_from=middle)
    assert differences(whole, again) == []
    assert whole['optimizer']['state']
