"""The warning of a collapse, with a limit for every measure; what a resumed run knows of the steps before it."""

import logging
from types import SimpleNamespace

import pytest
import torch

from mmrs_ssl.engine.hooks import CollapseMonitorHook
from mmrs_ssl.models.protocol import Monitored
from tests.conftest import log_of, train
from tests.engine.test_hooks import option


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


def monitored(make_config, work, calls=None, **changes):
    """A run of two epochs of four iterations, measured after 3 of each epoch and at its end; two steps a window."""
    cfg = make_config(
        'default_hooks = dict(logger=dict(interval=3))\n'
        f'train_cfg = dict(type="mmrs_ssl.ResumableTrainLoop", max_epochs=2)\nwork_dir = {str(work)!r}'
    )
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Picture' not in hook['type']]
    option(cfg, 'CollapseMonitorHook', window=16, warmup=0, min_rank=1e6)
    cfg.update(changes)
    return train(cfg, **(calls or {}))


def measures(runner):
    return {
        name: buffer.data[0].tolist()
        for name, buffer in runner.message_hub.log_scalars.items()
        if name.endswith(('_std', '_rank'))
    }


def test_a_run_resumed_between_two_measurements_measures_and_warns_as_if_nothing_had_happened(make_config, tmp_path):
    def save(runner):
        if runner.iter == 5:  # the next measurement, after the seventh step, is of the sixth, too
            runner.save_checkpoint(str(tmp_path), 'between.pth', by_epoch=False)

    whole = monitored(make_config, tmp_path / 'whole', dict(after_train_iter=save))
    assert log_of(whole.work_dir).count('has collapsed') == 1
    saved = torch.load(tmp_path / 'between.pth', weights_only=True)['collapse_monitor']
    assert [len(rows) for rows in saved['window']['student']] == [16, 16]
    again = monitored(make_config, tmp_path / 'again', load_from=str(tmp_path / 'between.pth'), resume=True)
    assert again.iter == whole.iter == 8
    assert len(measures(whole)['train/student_rank']) == 4
    assert measures(again) == measures(whole)
    assert 'has collapsed' not in log_of(again.work_dir)
    fresh = monitored(make_config, tmp_path / 'fresh', load_from=str(tmp_path / 'between.pth'))  # weights alone
    assert log_of(fresh.work_dir).count('has collapsed') == 1
    assert measures(fresh)['train/student_rank'][0] != measures(whole)['train/student_rank'][0]


def test_a_large_batch_is_saved_no_larger_than_the_window():
    hook = CollapseMonitorHook(window=5)
    features = torch.randn(12, 3)
    model = SimpleNamespace(monitor=lambda: Monitored(dict(student=features)))
    hook.after_train_iter(SimpleNamespace(model=model, iter=0, hooks=[], train_dataloader=[0] * 9, max_iters=9), 0)
    hook.before_save_checkpoint(None, checkpoint := {})
    rows, origins = checkpoint['collapse_monitor']['window']['student']
    assert torch.equal(rows, features[-5:])
    assert origins.tolist() == [[0, 0]] * 5
