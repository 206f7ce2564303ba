"""The warning of a collapse, with a limit for every measure; what a resumed run knows of the steps before it."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmrs_ssl.engine.hooks import CollapseMonitorHook
from mmrs_ssl.evaluation.collapse import effective_rank, normalized_std
from mmrs_ssl.models.algorithms.cmid import CMID
from mmrs_ssl.models.protocol import Monitored
from tests.conftest import log_of, train
from tests.engine.test_hooks import option


@pytest.mark.parametrize('changes', [{}, dict(min_std=0.2), dict(min_rank=7.0), dict(min_information=0.3)])
def test_every_measure_has_its_own_limit(changes, caplog):
    limits = {**dict(min_std=0.05, min_rank=2.0, min_information=0.01), **changes}
    for name in ('student_std', 'student_dsm_class_std', 'student_rank', 'teacher_a_rank', 'teacher_information'):
        limit = limits[f'min_{name.split("_")[-1]}']
        for value in (0.99 * limit, 1.01 * limit):
            caplog.clear()
            runner = SimpleNamespace(iter=200, logger=logging.getLogger('limits'))
            CollapseMonitorHook(**changes)._warn(runner, {name: value})
            assert [f'{name}=' in text for text in caplog.messages] == [True] * (value < limit)


def monitored(make_config, work, calls=None, min_rank=1e6, **changes):
    """A run of two epochs of four iterations, measured after 3 of each epoch and at its end; two steps a window."""
    cfg = make_config(
        'default_hooks = dict(logger=dict(interval=3))\n'
        f'train_cfg = dict(type="mmrs_ssl.ResumableTrainLoop", max_epochs=2)\nwork_dir = {str(work)!r}'
    )
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Picture' not in hook['type']]
    option(cfg, 'CollapseMonitorHook', window=16, warmup=0, min_rank=min_rank)
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


def several(features):
    """Features by modality and kind; one of them is the same for all images."""
    student, teacher = features['student'], features['teacher']
    return dict(
        student_rgb_class=student,
        student_near_ir_class=torch.ones_like(student),
        student_rgb_map=student[:, :40],
        teacher_rgb_class=teacher,
        teacher_rgb_map=teacher[:, 8:],
    )


def test_many_features_are_told_apart_in_the_curves_and_the_lowest_are_in_the_line(make_config, monkeypatch, tmp_path):
    original, seen = CMID.monitor, []

    def monitor(model):
        features, choices = original(model)
        seen.append(several(features))
        return Monitored(seen[-1], choices)

    monkeypatch.setattr(CMID, 'monitor', monitor)
    runner = monitored(make_config, tmp_path / 'work', min_rank=2.0)
    hub = runner.message_hub
    last = {name: torch.cat([step[name] for step in seen[-2:]]) for name in seen[0]}  # a window is of two steps
    expected = {f'{name}_std': normalized_std(rows) for name, rows in last.items()}
    expected |= {f'{name}_rank': effective_rank(rows) for name, rows in last.items()}
    for name, value in expected.items():
        assert hub.get_scalar(f'monitor/{name}').current() == pytest.approx(value, rel=1e-5, abs=1e-7), name
    assert expected['student_near_ir_class_rank'] == 1
    for branch in ('student', 'teacher'):
        for kind in ('std', 'rank'):
            of_branch = [value for name, value in expected.items() if name.startswith(branch) and name.endswith(kind)]
            assert len(of_branch) == (3 if branch == 'student' else 2)
            assert hub.get_scalar(f'train/{branch}_{kind}').current() == pytest.approx(min(of_branch), abs=1e-6)
    lines = [json.loads(line) for line in Path(f'{runner.log_dir}/vis_data/scalars.json').read_text().splitlines()]
    details = [line for line in lines if 'loss' not in line]
    assert [line['step'] for line in details] == [3, 4, 7, 8]
    assert details[-1].keys() == {*expected, 'step'}
    assert details[-1]['student_rgb_map_std'] == pytest.approx(expected['student_rgb_map_std'], rel=1e-5)
    text = log_of(runner.work_dir)
    warning = text.split('has collapsed, or nearly: ')[1].split(' at iteration 3 ')[0]
    assert [part.split('=')[0] for part in warning.split(', ')] == [
        'student_near_ir_class_std',
        'student_near_ir_class_rank',
    ]
    assert 'student_rank: 1.0000' in text
    assert 'rgb_map' not in text


def test_a_window_of_other_features_is_let_go():
    """A checkpoint of before a method told its modalities apart."""
    rows, origins = torch.randn(6, 3), torch.tensor([[i // 2, i % 2] for i in range(6)])
    window = dict(student=(rows, origins), teacher_dsm=(rows, origins))
    hook = CollapseMonitorHook(window=4)
    runner = SimpleNamespace(iter=3, hooks=[], train_dataloader=[0] * 9, max_iters=9)
    runner.model = SimpleNamespace(monitor=lambda: Monitored(dict(student_rgb=rows[:2], teacher_dsm=rows[:2])))
    hook.after_load_checkpoint(None, dict(collapse_monitor=dict(warned=True, window=window)))
    hook.before_train(runner)
    hook.after_train_iter(runner, 3)
    hook.before_save_checkpoint(None, checkpoint := {})
    saved = checkpoint['collapse_monitor']
    assert saved['warned']
    assert {name: len(features) for name, (features, _) in saved['window'].items()} == dict(
        student_rgb=2, teacher_dsm=4
    )
    assert saved['window']['teacher_dsm'][1].tolist() == [[2, 0], [2, 1], [3, 0], [3, 0]]
