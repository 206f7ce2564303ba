"""A real step: what is measured, and what is said of it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from mmrs_ssl.cli.checks import step
from mmrs_ssl.cli.checks.step import StepCost, check_step, duration, measure_apart, measure_step
from tests.cli.checks.planning import GPU, above_notes, only, plan
from tests.conftest import dino_config, mssdf_config

COST = StepCost(step=1.0, image=0.25, memory=10e9, pictures=())


@pytest.mark.parametrize('model', [None, dino_config('vit'), mssdf_config()])
def test_a_step_is_measured_and_its_batch_is_drawn(make_config, tmp_path, model):
    cfg = make_config(model=model)
    before = cfg.pretty_text
    cost = measure_step(cfg, 1, tmp_path / 'check')
    assert cfg.pretty_text == before
    assert min(cost.step, cost.image) > 0
    assert cost.memory > 1e8
    assert sorted(path.name for path in (tmp_path / 'check').iterdir()) == [f'sample_{i}.png' for i in range(4)]
    assert [Path(path).name for path in cost.pictures] == [f'sample_{i}.png' for i in range(4)]
    assert cv2.imread(cost.pictures[0]).shape[0] > 224
    assert not (tmp_path / 'work').exists()  # nothing of a run stays


def test_time_and_memory_are_said(make_config):
    planned = plan(make_config())
    found = {each.about: each for each in check_step(planned, COST)}
    assert found['memory'].seen == '10.00 GB of 80 GB with a batch of 4'
    assert found['time'].seen == '2 s a step with its data, 16 seconds for 8 steps'  # no workers: one after the other
    assert 'pictures' not in found
    planned.cfg.train_dataloader.num_workers = 2
    found = {each.about: each for each in check_step(planned, COST._replace(pictures=('work/check/a.png',)))}
    assert found['time'].seen == '1 s a step with its data, 8 seconds for 8 steps'
    assert found['pictures'].seen == '1 images of the first batch in work/check'


def test_a_step_that_needs_more_memory_than_there_is(make_config):
    planned = plan(make_config(), machine=replace(GPU, memory=11 * 10**9))
    found = only(check_step(planned, COST))
    assert (found.level, found.about) == ('warning', 'memory')
    assert found.change.startswith('batch = 2 (that is train_dataloader.batch_size), or custom_hooks = [')
    assert 'mmrs_ssl.RecomputeHook' in found.change


def test_data_that_is_slower_than_the_step(make_config):
    cfg = make_config(model=dino_config())
    cfg.train_dataloader.dataset.pipeline[1].antialias = 'pillow'
    planned = plan(cfg)
    slow = COST._replace(image=1.0)
    found = only(check_step(planned, slow))
    assert found.seen == 'loading a batch takes 4 s with 0 workers, a step 1 s: the data is slower, cuda waits'
    assert found.change.startswith("train_dataloader.num_workers = 4, antialias = True instead of 'pillow'")
    planned.cfg.train_dataloader.num_workers = 4
    assert not above_notes(check_step(planned, slow))
    planned.devices = 4  # which leave two cores for each
    assert only(check_step(planned, slow)).seen.startswith('loading a batch takes 2 s with 4 workers')


def test_a_step_that_fails(make_config):
    planned = plan(make_config())
    found = only(check_step(planned, 'CUDA out of memory'))
    assert (found.level, found.seen) == ('error', 'CUDA out of memory')
    assert found.change == 'batch = 2 (that is train_dataloader.batch_size), where it is memory'
    assert only(check_step(planned, 'one size')).change == ''


def killed(pipe, *args):
    """End this process as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_is_killed_is_no_silence(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(step, '_send_cost', killed)
    answer = measure_apart(make_config(), 1, tmp_path)
    assert answer == 'the process was ended from outside (exit code -9), most often since memory ran out'


@pytest.mark.parametrize(
    ('seconds', 'text'), [(90, '90 seconds'), (150, '2.5 minutes'), (9000, '2.5 hours'), (10**6, '11.6 days')]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
