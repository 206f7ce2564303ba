"""Probes while training: what they say, whom they tell, and that they change nothing."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from mmrs_ssl.engine.hooks.feature_probe import FeatureProbeHook
from mmrs_ssl.evaluation.frozen import open_backbone
from mmrs_ssl.evaluation.labelled import halves, read_labelled
from mmrs_ssl.evaluation.probes import by_linear_probe, by_neighbors, score
from tests.conftest import dino_config, log_of, mssdf_config, train
from tests.engine.test_hooks import without
from tests.engine.two_runs import two
from tests.fourth import fourth_config
from tests.test_mmpretrain_configs import CONFIGS, method_of, small


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
    """Three classes of sixteen noisy pictures each that a random network tells apart well, but not perfectly."""
    root = tmp_path_factory.mktemp('labelled')
    rng = np.random.default_rng(0)
    for label in range(3):
        (root / f'class_{label}').mkdir()
        for number in range(16):
            pixels = rng.normal(110 + 6 * label, 40 + 3 * label, (64, 64, 3)) + rng.normal(0, 9)
            assert cv2.imwrite(str(root / f'class_{label}' / f'{number}.png'), pixels.clip(0, 255).astype(np.uint8))
    return root


def probed(make_config, labelled, model=None, **options):
    """A run of two epochs of four steps that is probed after each; None for options leaves the hook out."""
    cfg = without(make_config(model=model), 'PictureHook', 'CollapseMonitorHook', 'GradientShareHook')
    hook = dict(type='mmrs_ssl.FeatureProbeHook', data=str(labelled), interval=1, neighbors=5, **options)
    cfg.custom_hooks.append(ConfigDict(hook))
    return cfg


def probes_of(runner):
    """What the log's scalars say after each measurement, by epoch."""
    lines = map(json.loads, Path(f'{runner.log_dir}/vis_data/scalars.json').read_text().splitlines())
    return {line['step']: line for line in lines if any('_acc' in key for key in line)}


@pytest.mark.parametrize(
    'model',
    [pytest.param(None, marks=pytest.mark.slow), dino_config('vit'), mssdf_config()],
    ids=['cmid', 'dino', 'mssdf'],
)
def test_figures_are_those_of_the_checkpoints(make_config, labelled, model):
    cfg = probed(make_config, labelled, model)
    runner = train(cfg)
    found = probes_of(runner)
    assert list(found) == [0, 1, 2]
    train_set, test_set = halves(read_labelled(labelled))
    pictures = [
        torch.from_numpy(np.stack([cv2.imread(path)[..., ::-1] for path in part.paths]).transpose(0, 3, 1, 2)).float()
        for part in (train_set, test_set)
    ]
    for epoch in (1, 2):
        for branch in ('student', 'teacher'):
            frozen = open_backbone(f'{cfg.work_dir}/epoch_{epoch}.pth', branch=branch)
            with torch.no_grad():
                own, other = (frozen(part).numpy() for part in pictures)
            near = by_neighbors(own, train_set.labels, other, 5)
            linear = by_linear_probe(own, train_set.labels, other)
            assert found[epoch][f'{branch}_knn_acc'] == pytest.approx(100 * score(test_set.labels, near))
            assert found[epoch][f'{branch}_linear_acc'] == pytest.approx(100 * score(test_set.labels, linear))
            assert f'{branch}_linear_acc: {100 * score(test_set.labels, linear):.1f}' in log_of(cfg.work_dir)
    assert len({value for line in found.values() for key, value in line.items() if key != 'step'}) > 1


def test_nothing_else_changes(make_config, labelled, monkeypatch):
    """Weights, buffers, the modes of all parts and every generator of random numbers are as without it."""
    states, measured = [], []
    original = FeatureProbeHook.measure

    def measure(hook, runner):
        before = torch.get_rng_state(), random.getstate()
        original(hook, runner)
        measured.append(torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1])

    monkeypatch.setattr(FeatureProbeHook, 'measure', measure)

    def look(runner, batch):
        modes = [module.training for module in runner.model.modules()]
        states.append((runner.iter, torch.get_rng_state().tolist(), random.getstate(), modes))
        states[-1] += (
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            batch['inputs'][0].float().mean().item(),
        )

    def frozen(runner):
        runner.model.backbone.layer1.eval()

    found = []
    for probe in (True, False):
        cfg = probed(make_config, labelled)
        cfg.custom_hooks = cfg.custom_hooks if probe else cfg.custom_hooks[:-1]
        states.clear()
        runner = train(cfg, before_train_iter=look, before_train=frozen)
        found.append((list(states), {name: value.clone() for name, value in runner.model.state_dict().items()}))
    assert found[0][0] == found[1][0]
    assert measured == [True] * 3  # which samples and steps, that are seeded by themselves, would hide
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name


def test_the_best_checkpoint_is_that_of_the_best_figure(make_config, labelled, monkeypatch):
    """The second epoch's figures are made worse; its checkpoint may not count as the best."""
    cfg = probed(make_config, labelled)
    cfg.default_hooks.checkpoint.update(save_best='teacher_linear_acc')
    original = FeatureProbeHook.figures

    def worse(hook, model):
        found = original(hook, model)
        return {name: value - 10 * hook._measured + 5 * (hook._measured == 0) for name, value in found.items()}

    monkeypatch.setattr(FeatureProbeHook, 'figures', worse)
    runner = train(cfg)
    best = list(Path(cfg.work_dir).glob('best_*.pth'))
    assert [path.name for path in best] == ['best_teacher_linear_acc_epoch_1.pth']
    saved = torch.load(best[0], weights_only=True)['state_dict']
    first = torch.load(f'{cfg.work_dir}/epoch_1.pth', weights_only=True)['state_dict']
    last = runner.model.state_dict()
    for name, value in first.items():
        assert torch.equal(saved[name], value), name
    assert not torch.equal(saved['backbone.conv1.weight'], last['backbone.conv1.weight'])


def test_two_hooks_have_names_of_their_own(make_config, labelled):
    cfg = probed(make_config, labelled)
    cfg.custom_hooks.append(ConfigDict(cfg.custom_hooks[-1], prefix='again_', seed=1))
    cfg.default_hooks.checkpoint.update(save_best='again_teacher_knn_acc')
    found = {}
    for line in Path(f'{train(cfg).log_dir}/vis_data/scalars.json').read_text().splitlines():
        found |= {(json.loads(line)['step'], key): value for key, value in json.loads(line).items() if '_acc' in key}
    assert len(found) == 3 * 8
    best = max((1, 2), key=lambda epoch: found[epoch, 'again_teacher_knn_acc'])
    assert [path.name for path in Path(cfg.work_dir).glob('best_*')] == [f'best_again_teacher_knn_acc_epoch_{best}.pth']


@pytest.mark.parametrize(
    ('save_best', 'prefix', 'error'),
    [
        (
            'linear_acc',
            'b_',
            'waits for linear_acc; expected figures of one FeatureProbeHook: b_student',
        ),
        (['student_knn_acc', 'b_student_knn_acc'], 'b_', 'waits for b_student_knn_acc, student_knn_acc; expected'),
        (None, '', "two FeatureProbeHooks have prefix='', and their figures one name; give each its own"),
    ],
)
def test_names_that_nobody_gives_or_two_do(make_config, labelled, save_best, prefix, error):
    cfg = probed(make_config, labelled)
    cfg.custom_hooks.append(ConfigDict(cfg.custom_hooks[-1], prefix=prefix))
    cfg.default_hooks.checkpoint.update(save_best=save_best)
    with pytest.raises(ValueError, match=error):
        train(cfg)
    assert not list(Path(cfg.work_dir).glob('*.pth'))


def test_a_resumed_run_does_not_measure_inside_an_epoch(make_config, labelled):
    cfg = probed(make_config, labelled)
    cfg.train_cfg.type = 'mmrs_ssl.ResumableTrainLoop'
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=6)
    whole = probes_of(train(cfg))
    cfg.load_from, cfg.resume = f'{cfg.work_dir}/iter_6.pth', True
    cfg.experiment_name = 'resumed'
    resumed = probes_of(train(cfg))
    assert list(resumed) == [2]
    assert {key: resumed[2][key] for key in resumed[2] if '_acc' in key} == {
        key: whole[2][key] for key in whole[2] if '_acc' in key
    }


def figures_of(path, labelled, branch=None):
    """Both figures of a checkpoint's backbone, in percent."""
    halved = halves(read_labelled(labelled))
    frozen = open_backbone(path, branch=branch, vector='mean')
    found = []
    for part in halved:
        pictures = np.stack([cv2.imread(path)[..., ::-1] for path in part.paths]).transpose(0, 3, 1, 2)
        with torch.no_grad():
            found.append(frozen(torch.from_numpy(pictures).float()).numpy())
    (own, other), (given, test) = found, halved
    near, linear = by_neighbors(own, given.labels, other, 5), by_linear_probe(own, given.labels, other)
    return [100 * score(test.labels, each) for each in (near, linear)]


@pytest.mark.parametrize('method', ['mae', 'simmim', pytest.param('simsiam', marks=pytest.mark.slow)])
def test_methods_of_others(labelled, image_folder, tmp_path, method):
    """MAE's and SimMIM's backbones mask images unless they are told not to."""
    name = next(name for name in CONFIGS if method_of(name) == method and 'folder' in name)
    cfg = small(name, image_folder, tmp_path / 'work')
    cfg.custom_hooks.append(dict(type='mmrs_ssl.FeatureProbeHook', data=str(labelled), interval=1, neighbors=5))
    found = probes_of(train(cfg))
    assert {key for key in found[1] if '_acc' in key} == {'student_knn_acc', 'student_linear_acc'}
    expected = figures_of(tmp_path / 'work' / 'epoch_1.pth', labelled)
    assert [found[1]['student_knn_acc'], found[1]['student_linear_acc']] == pytest.approx(expected)


def test_first_comes_what_is_evaluated(make_config, labelled):
    """That is what ``save_best='auto'`` means."""
    cfg = probed(make_config, labelled, dict(fourth_config()))
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'path' not in hook]
    found = probes_of(train(cfg))
    names = ['teacher_knn_acc', 'teacher_linear_acc', 'student_knn_acc', 'student_linear_acc']
    assert [key for key in found[2] if '_acc' in key] == names


def test_processes_share_the_images(make_config, labelled):
    cfg = probed(make_config, labelled)
    cfg.default_hooks.checkpoint.update(save_best='student_knn_acc')
    found = two(cfg, 'probed')
    expected = figures_of(f'{cfg.work_dir}/epoch_2.pth', labelled, 'student')
    for each in found:
        logged = {name: values for name, values in each['logged'].items() if name.startswith('val/')}
        assert [logged['val/student_knn_acc'][-1], logged['val/student_linear_acc'][-1]] == pytest.approx(expected)
        assert len(logged) == 4


@pytest.mark.parametrize(
    ('change', 'kind', 'error'),
    [
        (dict(interval=0), ValueError, 'FeatureProbeHook: interval=0, expected a whole number of at least 1'),
        (dict(neighbors=25), ValueError, 'has 24 images to label, fewer than neighbors=25'),
        (dict(data='nowhere'), FileNotFoundError, 'no such folder of class folders'),
        (dict(loader=dict(bands=[0, 1, 2, 3])), ValueError, '3 bands'),
    ],
)
def test_bad_options(make_config, labelled, change, kind, error):
    cfg = probed(make_config, labelled)
    cfg.custom_hooks[-1].update(change)
    with pytest.raises(kind, match=error):
        train(cfg)


def test_a_loop_of_iterations_is_refused(make_config, labelled):
    cfg = probed(make_config, labelled)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.param_scheduler = []
    cfg.custom_hooks = cfg.custom_hooks[-1:]
    with pytest.raises(TypeError, match='counts epochs, IterBasedTrainLoop counts iterations'):
        train(cfg)
