"""Findings about the learning rate and its schedule, each with one mistake planted."""

import pytest

from mmrs_ssl.cli.checks.schedule import check_learning_rate, check_size, check_temperatures, check_warmup
from mmrs_ssl.cli.train import count_accumulation
from tests.cli.checks.planning import above_notes, only, plan
from tests.conftest import dino_config


def test_what_fits_is_not_named(make_config):
    planned = plan(make_config('auto_scale_lr = dict(enable=True)\n'))
    assert not [*check_learning_rate(planned), *check_warmup(planned)]


@pytest.mark.parametrize(('devices', 'accumulated', 'total'), [(1, 1, 4), (2, 3, 24), (64, 1, 256), (8, 8, 256)])
def test_a_learning_rate_of_another_batch(make_config, devices, accumulated, total):
    planned = plan(make_config(f'optim_wrapper = dict(accumulative_counts={accumulated})\n'), devices=devices)
    found = above_notes(check_learning_rate(planned))
    assert len(found) == (total != 256)
    if found:
        assert f'lr = 0.004 is that of 256 images, a step has {total} (4 on each of {devices} devices' in found[0].seen
        assert found[0].expected == f'lr = {0.004 * total / 256:.4g}'
        assert 'auto_scale_lr.enable = True (--auto-scale-lr)' in found[0].change


@pytest.mark.parametrize(
    ('scheduler', 'epochs', 'words', 'change'),
    [
        (dict(type='mmrs_ssl.WarmupLR', share=0.6), 10, 'rises for 60% of 10 epochs', 'warmup = 0.1 (that is param_'),
        (dict(type='LinearLR', start_factor=0.1, end=6), 10, 'rises for 60% of 10 epochs', 'param_scheduler.0.end = 1'),
        (dict(type='LinearLR', by_epoch=False, end=30), 10, 'rises for 75% of 40 steps', 'param_scheduler.0.end = 4'),
        (
            dict(type='CosineAnnealingLR', T_max=20),
            10,
            'after 20 epochs, the training after 10',
            'scheduler.0.end = 10',
        ),
        (dict(type='CosineAnnealingLR', end=5), 10, 'the rest has its lowest value', 'param_scheduler.0.end = 10'),
        (dict(type='mmrs_ssl.WarmupLR', share=0.5), 10, None, None),
        (dict(type='LinearLR', start_factor=0.1, end=5), 10, None, None),
        (dict(type='CosineAnnealingLR', T_max=9, begin=1), 10, None, None),
    ],
)
def test_schedules_against_the_length(make_config, scheduler, epochs, words, change):
    cfg = make_config()
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler = [scheduler]
    found = above_notes(check_warmup(plan(cfg)))
    assert len(found) == (words is not None)
    if words:
        assert words in found[0].seen
        assert change in found[0].change


def test_a_learning_rate_that_no_network_trains_with(make_config):
    cfg = make_config('auto_scale_lr = dict(enable=True)\n')
    cfg.optim_wrapper.optimizer.lr = 6.4
    assert not above_notes(check_size(plan(cfg)))  # scaled to a batch of 4 it is 0.1
    cfg.optim_wrapper.optimizer.lr = 64
    found = only(check_size(plan(cfg)))
    assert found.seen == 'BlockAdan with 1 for a step of 4 images'
    cfg.optim_wrapper.optimizer.lr = 0
    assert only(check_size(plan(cfg))).seen == 'lr = 0 changes no weight'
    cfg.optim_wrapper.optimizer.lr = 64
    cfg.optim_wrapper.optimizer.type = 'LARS'  # whose rates are of another kind
    assert not above_notes(check_size(plan(cfg)))


def test_batches_that_are_accumulated_count_once(make_config):
    """At the start of a training the batch that the rate is of was divided by them before."""
    cfg = make_config('auto_scale_lr = dict(enable=True)\noptim_wrapper = dict(accumulative_counts=8)\n')
    cfg.optim_wrapper.optimizer.lr = 0.6  # of 256 images; a step has 32
    count_accumulation(cfg)
    assert not above_notes(check_size(plan(cfg)))
    cfg.optim_wrapper.optimizer.lr = 1.6
    assert only(check_size(plan(cfg))).seen == 'BlockAdan with 0.2 for a step of 32 images'


def test_a_cosine_that_rises(make_config):
    cfg = make_config()
    assert not above_notes(check_size(plan(cfg)))
    cfg.param_scheduler[-1].eta_min = 0.004
    found = only(check_size(plan(cfg)))
    assert found.seen == 'the learning rate falls from 0.004 to 0.004, which is not below'
    assert found.change == f'param_scheduler.{len(cfg.param_scheduler) - 1}.eta_min = 4e-06'


@pytest.mark.parametrize('model', [None, dino_config()])
def test_a_teacher_that_is_not_sharper(make_config, model):
    cfg = make_config(model=model)
    assert not [*check_temperatures(plan(cfg))]
    cfg.custom_hooks.append(dict(type='mmrs_ssl.ScheduleHook', path='teacher_temperature', start=0.04, end=5))
    found = only(check_temperatures(plan(cfg)))
    assert found.seen == "end of the hook of teacher_temperature is 5, the student's 0.1"
    cfg.custom_hooks.pop()
    cfg.model.teacher_temperature = 0.1
    assert only(check_temperatures(plan(cfg))).seen == "model.teacher_temperature is 0.1, the student's 0.1"


def test_the_cosine_after_a_long_warm_up_is_not_named_again(make_config):
    cfg = make_config()
    for each in cfg.param_scheduler:
        each.share = 0.75
    assert only(check_warmup(plan(cfg))).about == 'warm-up'
