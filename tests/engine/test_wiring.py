"""What hooks and tools take from where: the process's rank, the newest file, each limit, the step that is saved."""

import logging
import os
import runpy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmrs_ssl.engine.hooks import CollapseMonitorHook, EpochSeedHook
from mmrs_ssl.engine.hooks.finite_loss import newest_finite_checkpoint
from tests.conftest import ROOT, build_cmid, train


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


@pytest.mark.parametrize('changes', [{}, dict(min_std=0.2), dict(min_rank=7.0), dict(min_information=0.3)])
def test_every_measure_has_its_own_limit(changes, caplog):
    limits = {**dict(min_std=0.05, min_rank=2.0, min_information=0.01), **changes}
    for name in ('student_std', 'teacher_std', 'student_rank', 'teacher_rank', 'teacher_information'):
        limit = limits[f'min_{name.split("_")[1]}']
        for value in (0.99 * limit, 1.01 * limit):
            caplog.clear()
            runner = SimpleNamespace(iter=200, logger=logging.getLogger('limits'))
            CollapseMonitorHook(**changes)._warn(runner, {name: value})
            assert [f'{name}=' in text for text in caplog.messages] == [True] * (value < limit)


def test_a_checkpoint_between_two_lines_of_the_log_has_the_steps_before_it(make_config, tmp_path):
    cfg = make_config('default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=2))')

    def save(runner):
        if runner.iter == 2:
            runner.save_checkpoint(str(tmp_path), 'between.pth')

    train(cfg, after_train_iter=save)
    hub = torch.load(tmp_path / 'between.pth', weights_only=True)['message_hub']
    history, _ = hub['log_scalars']['train/loss'].data
    assert len(history) == 3


def test_nothing_is_said_of_the_teachers_parameters(monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.optim.optimizer.default_constructor.print_log', lambda text, **_: said.append(text))
    model = build_cmid()
    config = dict(
        type='OptimWrapper',
        constructor='mmrs_ssl.StudentOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
        paramwise_cfg=dict(bias_decay_mult=0.0),
    )
    build_optim_wrapper(model, config)
    assert any('backbone' in text for text in said)
    assert not [text for text in said if 'teacher' in text]


@pytest.mark.parametrize(('counts', 'expected'), [(1, 256), (4, 64)])
def test_batches_of_a_step_count_for_the_learning_rate(counts, expected):
    """mmengine multiplies it by the loader's batch over this size: four batches a step are four times as many."""
    count = runpy.run_path(str(ROOT / 'tools' / 'train.py'))['count_accumulation']
    for enabled in (True, False):
        scale = dict(enable=enabled, base_batch_size=256)
        cfg = Config(dict(auto_scale_lr=scale, optim_wrapper=dict(accumulative_counts=counts)))
        count(cfg)
        assert cfg.auto_scale_lr.base_batch_size == (expected if enabled else 256)
