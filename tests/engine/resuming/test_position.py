"""A position in epochs of another length, and schedules that are replayed to it."""

import copy

import pytest
from mmengine.runner import Runner

from mmrs_ssl.engine.resuming.position import convert, length_before, replay
from tests.conftest import dino_config
from tests.forked import load


@pytest.mark.parametrize(
    ('position', 'before', 'now', 'step', 'expected'),
    [
        ((8, 2), 4, 4, 1, (8, 2)),
        ((8, 1), 4, 4, 1, (8, 1)),  # the end of an epoch whose hooks were not called yet stays that
        ((8, 2), 4, 2, 1, (4, 2)),
        ((8, 2), 4, 8, 1, (16, 2)),
        ((6, 1), 4, 2, 1, (3, 1)),
        ((7, 1), 4, 2, 1, (3, 1)),  # a bit is seen again rather than left out
        ((9, 2), 4, 8, 4, (16, 2)),  # four iterations make a step
        ((5, 1), 5, 3, 2, (2, 0)),
        ((999999, 333333), 3, 7, 1, (2333331, 333333)),
    ],
)
def test_position(position, before, now, step, expected):
    assert convert(position, before, now, step) == expected


@pytest.mark.parametrize(
    ('position', 'now', 'other_batch', 'expected'),
    [
        ((7, 1), 4, False, 4),  # inside the second epoch
        ((8, 2), 4, False, 4),
        ((12, 2), 4, False, 4),  # the end of the third, whose hooks were not called yet
        ((3, 0), 4, False, 4),
        ((8, 2), 2, False, 4),  # more images than before
        ((7, 1), 4, True, 7),
        ((8, 2), 3, True, 4),
        ((1, 2), 4, True, 1),
    ],
)
def test_length_of_an_epoch_that_is_not_said(position, now, other_batch, expected):
    assert length_before(position, now, other_batch) == expected


def built(cfg):
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    return runner


def test_replay_is_what_a_training_saves(make_config, tmp_path):
    """Also where schedules are stepped by iterations and by epochs in turn, on one value."""
    cfg = make_config(model=dino_config())  # weight decay is scheduled too
    cfg.param_scheduler.append(dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=True))
    cfg.train_cfg.type = 'mmrs_ssl.ResumableTrainLoop'
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=1, max_keep_ckpts=-1)
    cfg.train_cfg.max_epochs = 3
    Runner.from_cfg(cfg).train()
    for iteration in (4, 6, 9):
        saved = load(tmp_path / 'work' / f'iter_{iteration}.pth')
        runner = built(make_like(cfg, iteration))
        checkpoint = copy.deepcopy(saved)
        for group in checkpoint['optimizer']['param_groups']:
            group.update(lr=77.0, weight_decay=77.0)
        checkpoint['param_schedulers'] = None
        epoch = saved['meta']['epoch']
        replay(runner, checkpoint, iteration, epoch, 4)
        assert checkpoint['optimizer']['param_groups'] == saved['optimizer']['param_groups'], iteration
        assert checkpoint['param_schedulers'] == saved['param_schedulers'], iteration
        assert checkpoint['optimizer']['state'].keys() == saved['optimizer']['state'].keys()


def make_like(cfg, number):
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = f'replayed_{number}_{id(cfg)}'  # mmengine keeps one logger per name
    return cfg


def test_schedules_that_follow_results_are_refused(make_config):
    cfg = make_config()
    cfg.param_scheduler = [dict(type='ReduceOnPlateauLR', monitor='accuracy', rule='greater')]
    with pytest.raises(ValueError, match='follows validation results'):
        replay(built(cfg), {}, 4, 1, 4)
