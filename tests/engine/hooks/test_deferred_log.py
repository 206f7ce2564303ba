"""Logged values stay on the device: the log and checkpoints are those of mmengine's own hook."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner

from mmrs_ssl.engine.hooks import deferred_log
from tests.conftest import TestProbe, cmid_config, dino_config, log_of, train
from tests.engine.test_hooks import option, without


def small(make_config, kind, interval, model=None, **clipping):
    """A run of two epochs of four iterations with a hook that logs at once, or later."""
    cfg = without(make_config(model=model, name=kind.split('.')[-1]), 'PictureHook', 'CollapseMonitorHook')
    cfg.default_hooks.runtime_info.type = kind
    cfg.default_hooks.logger.interval = interval
    cfg.optim_wrapper.update(clipping)
    cfg.work_dir += kind
    return cfg


def lines(runner):
    text = Path(f'{runner.log_dir}/vis_data/scalars.json').read_text()
    times = ('time', 'data_time', 'memory')
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in text.splitlines()]


@pytest.mark.parametrize(
    ('model', 'clipping', 'interval'),
    [
        (cmid_config(), dict(clip_grad=dict(max_norm=0.5)), 3),
        (dino_config(), dict(accumulative_counts=2), 50),  # clipped by its hook, every second iteration
    ],
)
def test_log_and_checkpoint_are_the_same(model, clipping, interval, make_config):
    runs, saved = [], []
    for kind in ('RuntimeInfoHook', 'mmrs_ssl.DeferredLogHook'):
        cfg = small(make_config, kind, interval, model, **clipping)
        cfg.default_hooks.checkpoint.update(interval=3, by_epoch=False)
        runs.append(lines(train(cfg)))
        files = sorted(Path(cfg.work_dir).glob('*.pth'))
        saved.append([torch.load(file, weights_only=True)['message_hub']['log_scalars'] for file in files])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 2
    for names in zip(*saved, strict=True):  # after iterations 3, 6 and 8; after 4 where a step is of two iterations
        assert names[0].keys() == names[1].keys() >= {'train/loss', 'train/grad_norm', 'train/lr'}
        for key in names[0].keys() - {'train/time', 'train/data_time'}:
            values = [part[key].data[0].tolist() for part in names]
            assert values[0] == values[1], key
    counts = [len(names['train/loss'].data[0]) for names in saved[1]]
    assert counts == [4 if 'accumulative_counts' in clipping else 3, 6, 8]


def test_clipping_is_given_back(make_config):
    cfg = small(make_config, 'mmrs_ssl.DeferredLogHook', 50, clip_grad=dict(max_norm=0.5))
    runner = Runner.from_cfg(cfg)
    runner.build_train_loop(runner._train_loop)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper, clip = wrapper, wrapper.clip_func
    seen = []
    runner.register_hook(dict(type='TestProbe'))
    TestProbe.calls = dict(after_train_iter=lambda runner: seen.append(runner.optim_wrapper.clip_func))
    runner.train()
    assert all(each is seen[0] for each in seen)
    assert seen[0] is not clip
    assert wrapper.clip_func is clip


@pytest.mark.parametrize(('by_epoch', 'own'), [(True, True), (False, True), (False, False)])
def test_nan_between_two_lines_of_the_log(by_epoch, own, make_config):
    """It is noticed before anything is saved or removed, and the first bad iteration is named.

    mmengine's own hook removes an older checkpoint before it saves.
    """
    cfg = without(make_config(), 'PictureHook')
    if not own:
        cfg.default_hooks.checkpoint = ConfigDict(type='CheckpointHook')
    cfg.default_hooks.logger.interval = 50
    cfg.default_hooks.checkpoint.update(interval=1 if by_epoch else 3, by_epoch=by_epoch, max_keep_ckpts=1)

    def spoil(runner):
        if runner.iter == 4:
            next(runner.model.backbone.parameters()).data[0] = math.nan

    good = Path(cfg.work_dir) / ('epoch_1.pth' if by_epoch else 'iter_3.pth')
    with pytest.raises(FloatingPointError) as caught:
        train(cfg, after_train_iter=spoil)
    assert 'not finite at epoch 2, iteration 6' in str(caught.value)
    assert f'Last good checkpoint: {good}.' in str(caught.value)
    assert list(Path(cfg.work_dir).glob('*.pth')) == [good]


def test_nan_in_the_last_iteration_of_a_loop_without_epochs(make_config):
    """No line of the log, no interval of the checkpoints and no epoch ends there, but the last weights are saved."""
    cfg = without(make_config(), 'PictureHook', 'StepSeedHook', 'ScheduleHook', 'CollapseMonitorHook')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=7)
    cfg.param_scheduler = []
    cfg.default_hooks.logger.interval = 50
    cfg.default_hooks.checkpoint.update(interval=5, by_epoch=False, max_keep_ckpts=1)

    def spoil(runner):
        if runner.iter == 5:
            next(runner.model.backbone.parameters()).data[0] = math.nan

    with pytest.raises(FloatingPointError, match=r'iteration 7 .*Last good checkpoint: .*iter_5\.pth'):
        train(cfg, after_train_iter=spoil)
    assert [file.name for file in Path(cfg.work_dir).glob('*.pth')] == ['iter_5.pth']


def test_monitor_measures_when_the_log_is_written(make_config):
    cfg = without(make_config(), 'PictureHook')
    cfg.default_hooks.logger.interval = 3
    option(cfg, 'CollapseMonitorHook', warmup=0, min_rank=1e6)
    counts = []

    def look(runner):
        buffer = runner.message_hub.log_scalars.get('train/student_rank')
        counts.append(0 if buffer is None else len(buffer.data[0]))

    runner = train(cfg, after_train_iter=look)
    assert counts == [0, 0, 1, 2, 2, 2, 3, 4]  # after 3 iterations of an epoch and at its end
    assert all('teacher_std' in line for line in lines(runner))
    assert 'at iteration 3 ' in log_of(cfg.work_dir)


def test_a_checkpoint_between_two_lines_of_the_log_has_the_steps_before_it(make_config, tmp_path):
    cfg = make_config('default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=2))')

    def save(runner):
        if runner.iter == 2:
            runner.save_checkpoint(str(tmp_path), 'between.pth')

    train(cfg, after_train_iter=save)
    hub = torch.load(tmp_path / 'between.pth', weights_only=True)['message_hub']
    history, _ = hub['log_scalars']['train/loss'].data
    assert len(history) == 3


@pytest.mark.parametrize(
    ('processor', 'lengths'),
    [
        (dict(window_size=3), {4}),  # an epoch
        (dict(window_size=6), {6}),
        (dict(window_size=3, custom_cfg=[dict(data_src='loss', method_name='mean', window_size=7)]), {7}),
        (
            dict(
                window_size=3,
                custom_cfg=[dict(data_src='loss', method_name='max', window_size='epoch', log_name='most')],
            ),
            {4},
        ),
        (
            dict(
                window_size=3,
                custom_cfg=[dict(data_src='loss', method_name='max', window_size='global', log_name='most')],
            ),
            {12},
        ),
    ],
)
def test_old_values_are_forgotten_and_the_log_is_the_same(processor, lengths, make_config, monkeypatch):
    """Three epochs of four iterations, with and without."""
    monkeypatch.setattr(deferred_log, 'HISTORY', 2)
    runs = []
    for kind in ('RuntimeInfoHook', 'mmrs_ssl.DeferredLogHook'):
        cfg = small(make_config, kind, 2, clip_grad=dict(max_norm=0.5))
        cfg.train_cfg.max_epochs = 3
        cfg.log_processor = processor
        runner = train(cfg)
        runs.append(lines(runner))
    assert runs[0] == runs[1]
    assert len(runs[0]) == 6
    steps = ('train/loss', 'train/grad_norm', 'train/lr', 'train/time')
    assert {len(runner.message_hub.log_scalars[name].data[0]) for name in steps} == lengths
