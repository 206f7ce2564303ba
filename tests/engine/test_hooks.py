"""Hooks, in real runs of a tiny model: schedules, seeds, teacher updates, collapse, NaN and pictures."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from mmrs_ssl.engine.hooks import ScheduleHook
from mmrs_ssl.engine.hooks.schedule import cosine, linear
from tests.conftest import dino_config, log_of, train


def without(cfg, *names):
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type not in [f'mmrs_ssl.{name}' for name in names]]
    return cfg


def option(cfg, name, **changes):
    hook = next(hook for hook in cfg.custom_hooks if hook.type == f'mmrs_ssl.{name}')
    hook.update(changes)


# Schedules


def test_linear_is_the_golden_teacher_temperature(golden):
    hook = ScheduleHook('teacher_temperature', 0.04, 0.07, schedule='linear', by_epoch=True, length=50)
    values = [hook.value(epoch, 400) for epoch in range(400)]
    np.testing.assert_allclose(values, golden['local/teacher_temp'], rtol=1e-5)
    assert values[48] < values[49] == values[-1] == 0.07


@pytest.mark.parametrize(('start', 'end'), [(0.996, 1.0), (0.4, 0.04)])
def test_cosine_by_formula(start, end):
    total = 70
    hook = ScheduleHook('teacher.momentum', start, end)
    values = [hook.value(step, total) for step in range(total)]
    expected = [end - (end - start) * (math.cos(math.pi * t / total) + 1) / 2 for t in range(total)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert values[0] == pytest.approx(start, rel=1e-12)
    assert values[-1] != end  # the end lies one step behind the last
    assert hook.value(total + 5, total) == end  # and is not passed
    np.testing.assert_allclose(np.sign(np.diff(values)), np.sign(end - start))
    assert ScheduleHook('x', start, end, length=35).value(40, total) == end


def test_linear_without_length_spans_the_training():
    hook = ScheduleHook('x', 1.0, 3.0, schedule='linear')
    assert [hook.value(step, 5) for step in range(7)] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]
    assert linear(1.0, 3.0, 0, 1) == 3.0
    assert cosine(1.0, 3.0, 0, 1) == 1.0


def test_stepwise():
    up = ScheduleHook('x', 0.0, 0.5, schedule='step', every=3, rise=0.2)
    steps = [0] * 3 + [0.2] * 3 + [0.4] * 3 + [0.5] * 3
    np.testing.assert_allclose([up.value(s, 99) for s in range(12)], steps)
    down = ScheduleHook('x', 1.0, 0.3, schedule='step', every=2, rise=-0.5)
    np.testing.assert_allclose([down.value(s, 99) for s in range(6)], [1, 1, 0.5, 0.5, 0.3, 0.3])


def test_unknown_schedule_and_path(make_config):
    with pytest.raises(ValueError, match=r"schedule='cosin' of teacher\.momentum is not one of linear, cosine, step"):
        ScheduleHook('teacher.momentum', 0, 1, schedule='cosin')
    cfg = make_config()
    cfg.custom_hooks = [dict(type='mmrs_ssl.ScheduleHook', path='teacher.momentun', start=0, end=1)]
    with pytest.raises(AttributeError, match=r"MomentumTeacher has no 'momentun' \(path='teacher\.momentun'\)"):
        train(cfg)
    cfg = make_config()
    cfg.custom_hooks = [dict(type='mmrs_ssl.ScheduleHook', path='techer.momentum', start=0, end=1)]
    with pytest.raises(AttributeError, match='techer'):
        train(cfg)


def test_schedule_fills_a_buffer_in_place():
    model = nn.Module()
    model.register_buffer('share', torch.zeros(1))
    share = model.share
    hub = MessageHub('test_schedule_fills_a_buffer')
    runner = SimpleNamespace(model=model, epoch=0, iter=2, max_iters=5, max_epochs=1, message_hub=hub)
    hook = ScheduleHook('share', 0.0, 1.0, schedule='linear')
    hook.before_train(runner)
    hook.before_train_iter(runner, 2)
    assert model.share is share
    assert float(share) == 0.5
    assert hub.get_scalar('train/share').current() == 0.5


def test_schedules_and_seeds_in_a_run(make_config):
    """Every iteration gets its momentum and temperature; every epoch its seed, whatever was drawn before."""

    def run(draws, seed):
        seen = []

        def look(runner, batch):
            model = runner.model
            drawn = torch.get_rng_state().sum().item() if runner.iter % 4 == 0 else None
            paths = [sample.img_path for sample in batch['data_samples']]
            seen.append((model.teacher.momentum, model.teacher_temperature, drawn, paths))

        cfg = without(make_config(), 'PictureHook')
        cfg.randomness = dict(seed=seed)
        option(cfg, 'TeacherMomentumHook', start=0.5, start_left=0.1)
        runner = train(cfg, before_train_iter=look, after_train_epoch=lambda runner: torch.rand(draws))
        assert runner.train_dataloader.sampler.seed == seed
        return seen

    seen, again, other = run(3, 0), run(5, 0), run(3, 1)
    expected = [1 - 0.5 * (math.cos(math.pi * t / 8) + 1) / 2 for t in range(8)]
    np.testing.assert_allclose([step[0] for step in seen], expected)
    np.testing.assert_allclose([step[1] for step in seen], [0.04] * 4 + [0.04 + 0.03 / 49] * 4)
    assert seen == again
    assert seen[0][2] != seen[4][2]  # another epoch, another seed
    assert [seen[0][2], seen[4][2]] != [other[0][2], other[4][2]]
    assert [step[3] for step in seen[:4]] != [step[3] for step in seen[4:]]
    assert [step[3] for step in seen] != [step[3] for step in other]


def test_sampler_takes_over_a_resumed_seed(make_config):
    cfg = without(make_config(), 'PictureHook')
    seeds = []

    def look(runner, batch):
        seeds.append(runner.train_dataloader.sampler.seed)
        assert all(index.seed == seeds[-1] for index in runner.train_dataloader.sampler)

    cfg.train_cfg.max_epochs = 2
    train(cfg, before_train_iter=look)
    cfg = without(make_config(), 'PictureHook')
    cfg.update(load_from=f'{cfg.work_dir}/epoch_1.pth', resume=True, randomness=dict(seed=77))
    train(cfg, before_train_iter=look)
    assert seeds == [0] * 12


# Teacher


@pytest.mark.parametrize(('every', 'updates'), [(1, 8), (2, 4), (3, 3)])
def test_teacher_moves_once_per_optimizer_step(make_config, every, updates):
    cfg = without(make_config(), 'PictureHook')
    cfg.optim_wrapper.accumulative_counts = every
    option(cfg, 'TeacherMomentumHook', start_left=0.5)
    steps = []

    def look(runner):
        steps.append((int(runner.model.teacher.steps), runner.optim_wrapper.optimizer.param_groups[0].get('step', 0)))

    train(cfg, after_train_iter=look)
    assert all(teacher == optimizer for teacher, optimizer in steps), steps
    assert steps[-1][0] == updates  # of 8 iterations; an incomplete accumulation at the end is a step, too


# Loss


def spoil_after(iteration):
    def spoil(runner):
        if runner.iter == iteration - 1:
            next(runner.model.backbone.parameters()).data[0] = math.nan

    return spoil


def test_nan_loss_stops_and_names_the_last_good_checkpoint(make_config, tmp_path):
    cfg = without(make_config(), 'PictureHook')
    cfg.train_cfg.max_epochs = 3
    with pytest.raises(FloatingPointError) as caught:
        train(cfg, after_train_iter=spoil_after(9))
    message = str(caught.value)
    assert 'not finite at epoch 3, iteration 10 (' in message
    for term in ('loss', 'loss_spatial', 'loss_spectral', 'loss_global', 'loss_local'):
        assert f'{term}=' in message
    assert 'loss=nan' in message
    work = tmp_path / 'work'
    assert not (work / 'epoch_3.pth').exists()
    assert f'Last good checkpoint: {work / "epoch_2.pth"}.' in message
    assert f'--resume {work / "epoch_2.pth"}' in message


def test_a_step_that_spoils_the_weights_is_not_saved(make_config, tmp_path):
    """It is the last of epoch 2, whose losses were all fine."""
    with pytest.raises(FloatingPointError, match=r'weights are not finite after iteration 8 .*epoch_1\.pth') as caught:
        train(without(make_config(), 'PictureHook'), after_train_iter=spoil_after(8))
    assert f'--resume {tmp_path / "work" / "epoch_1.pth"}' in str(caught.value)
    assert not (tmp_path / 'work' / 'epoch_2.pth').exists()


def test_infinite_loss_in_the_first_epoch(make_config):
    cfg = without(make_config(), 'PictureHook')
    cfg.model.loss_weights = dict(loss_global=1e39)  # beyond float32
    with pytest.raises(FloatingPointError, match=r'epoch 1, iteration 1 .*loss_global=inf.*: none.*start again'):
        train(cfg)


# Collapse


def scalars(runner):
    lines = [json.loads(line) for line in Path(f'{runner.log_dir}/vis_data/scalars.json').read_text().splitlines()]
    return [line for line in lines if 'loss' in line]


MEASURES = ('student_std', 'student_rank', 'teacher_std', 'teacher_rank')


def test_collapse_is_said_once(make_config, tmp_path):
    """All images are one shade of gray: every feature is the same."""
    for i in range(16):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((80, 80, 3), 120, np.uint8))
    cfg = without(make_config(data_root=tmp_path), 'PictureHook')
    weak = [dict(type='mmrs_ssl.RandomCropResize', size=64)]
    cfg.train_dataloader.dataset.pipeline[1] = dict(type='mmrs_ssl.Views', views=[weak, weak])
    cfg.optim_wrapper.optimizer.lr = 0.0
    option(cfg, 'CollapseMonitorHook', interval=1, warmup=2)
    runner = train(cfg)
    text = log_of(cfg.work_dir)
    assert text.count('has collapsed') == 1
    assert 'student_std=' in text.split('has collapsed')[1]
    assert 'at iteration 3 ' in text  # not during the warm-up
    for line in scalars(runner):
        assert line['student_std'] < 0.02
        assert line['teacher_rank'] < 2


def test_healthy_features_are_measured_and_not_warned_about(make_config):
    cfg = without(make_config(), 'PictureHook')
    option(cfg, 'CollapseMonitorHook', interval=2, warmup=0, window=16)
    features = dict(student=[], teacher=[])

    def collect(runner):
        for branch, rows in runner.model.monitor().features.items():
            assert rows.shape == (8, 64)  # both views of four images
            features[branch].append(rows)

    runner = train(cfg, after_train_iter=collect)
    assert 'collapsed' not in log_of(cfg.work_dir)
    logged = scalars(runner)
    assert all(set(MEASURES) <= set(line) for line in logged[1:])
    for branch in features:
        rows = torch.cat(features[branch])[-16:]
        unit = (rows / rows.norm(dim=1, keepdim=True)).double().numpy()
        assert logged[-1][f'{branch}_std'] == pytest.approx(unit.std(0, ddof=1).mean() * 8, rel=1e-3)
        share = np.linalg.svd(unit - unit.mean(0), compute_uv=False)[:15]
        share /= share.sum()
        assert logged[-1][f'{branch}_rank'] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-3)


def test_a_teacher_that_says_the_same_of_all_images(make_config, tmp_path):
    """Features are healthy, but the prototypes are not told apart: seen in the choices alone."""
    choices, centers = [], []

    def before(runner, batch):  # the center that the loss uses
        centers.append(runner.model.center.value.double())

    def look(runner):
        model = runner.model
        scores = (model.teacher_scores[0].double() - centers[-1]) / model.teacher_temperature
        rows = torch.softmax(scores, dim=-1).flatten(0, 1)
        mean = rows.mean(dim=0)
        entropies = -(mean * mean.log()).sum(), -(rows * rows.log()).sum(dim=1).mean()
        choices.append(float(entropies[0] - entropies[1]) / np.log(8))  # two crops of four images

    cfg = make_config(model=dino_config('vit'))
    option(cfg, 'CollapseMonitorHook', interval=1, warmup=0)
    runner = train(cfg, before_train_iter=before, after_train_iter=look)
    logged = [line['teacher_information'] for line in scalars(runner)]
    np.testing.assert_allclose(logged, choices, rtol=1e-3, atol=1e-6)
    assert min(choices) > 0
    cfg = make_config(model=dino_config('vit', teacher_temperature=50.0), name='even')
    option(cfg, 'CollapseMonitorHook', interval=1, warmup=0)
    train(cfg)
    text = log_of(cfg.work_dir)
    assert text.count('has collapsed') == 1
    assert 'teacher_information=' in text.split('has collapsed')[1]


# Pictures


def test_pictures_are_written_and_reach_every_backend(make_config):
    cfg = make_config()
    option(cfg, 'PictureHook', interval=3, samples=2)
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    kept = []
    runner = train(cfg, after_train_iter=lambda runner: kept.append(runner.model.kept))
    folder = f'{runner.log_dir}/pictures'
    names = sorted(path.name for path in Path(folder).iterdir())
    assert names == [f'iter_{i:07d}_sample_{s}.png' for i in (1, 4, 7) for s in (0, 1)]
    events = EventAccumulator(f'{runner.log_dir}/vis_data')
    events.Reload()
    assert sorted(events.Tags()['images']) == ['sample_0', 'sample_1']
    assert [event.step for event in events.Images('sample_1')] == [1, 4, 7]
    shown = set()
    for i in (1, 4, 7):
        for s in (0, 1):
            panel = cv2.imread(f'{folder}/iter_{i:07d}_sample_{s}.png')
            assert panel.shape == (2 * (224 + 22 + 6), 3 * (224 + 12) + 2 * 224 + 24 + 12, 3)
            assert np.array_equal(cv2.imread(f'{runner.log_dir}/vis_data/vis_image/sample_{s}_{i}.png'), panel)
            shown.add(panel.tobytes())
    assert len(shown) == 6
    assert kept == [None] * 8  # the step's tensors are let go
