"""Two processes of a run watch each other's features and losses, and end together."""

import pytest
import torch

from mmrs_ssl.evaluation.collapse import choice_information, effective_rank, normalized_std
from mmrs_ssl.models.algorithms.dino_mc import DINOMC
from mmrs_ssl.models.protocol import Monitored
from tests.conftest import BACKBONES, cmid_config, dino_config, log_of
from tests.engine.test_hooks import option, without
from tests.engine.two_runs import two
from tests.forked import Run

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='gloo is for machines without a GPU')


@pytest.fixture
def half(make_config):
    """A config for two processes: epochs of four steps, a line of the log and a checkpoint after each."""

    def make(model=None, log=1, save=1, epochs=2):
        cfg = without(make_config(model=model), 'PictureHook')
        cfg.train_cfg = dict(type='mmrs_ssl.ResumableTrainLoop', max_epochs=epochs)
        cfg.default_hooks.logger.interval = log
        cfg.default_hooks.checkpoint.update(interval=save, by_epoch=False)
        return cfg

    return make


def monitored(half, model):
    """A measurement after seven steps, of the last two: sixteen samples."""
    cfg = half(model, log=50, save=99)
    option(cfg, 'CollapseMonitorHook', interval=7, window=16, warmup=0, min_rank=1e6)
    return cfg


def test_features_of_all_processes_are_measured(half, monkeypatch):
    """Of several kinds, as a method with modalities has them, of which one is narrower."""
    original = DINOMC.monitor

    def monitor(model):
        features, choices = original(model)
        several = dict(student_map=features['student'][:, :5].relu(), student_a_class=features['student'])
        return Monitored(several | dict(teacher=features['teacher']), choices)

    monkeypatch.setattr(DINOMC, 'monitor', monitor)
    found = two(monitored(half, dino_config('vit')), 'monitor')
    seen, logged = zip(*((each['seen'], each['logged']) for each in found), strict=True)
    for name in ('student_a_class', 'student_map', 'teacher'):
        rows = torch.cat([seen[rank][i][name] for i in (5, 6) for rank in range(2)])
        assert rows.shape == (16, 5 if name == 'student_map' else 64)
        key = name if name == 'teacher' else f'monitor/{name}'
        for rank in range(2):
            assert logged[rank][f'{key}_std'] == [pytest.approx(normalized_std(rows), rel=1e-5)]
            assert logged[rank][f'{key}_rank'] == [pytest.approx(effective_rank(rows), rel=1e-5)]
            alone = torch.cat([seen[rank][i][name] for i in (5, 6)])
            assert abs(normalized_std(alone) / normalized_std(rows) - 1) > 1e-3
    last = [each[6]['choices'] for each in seen]
    expected = choice_information(torch.cat(last))
    for rank in range(2):
        assert logged[rank]['teacher_information'] == [pytest.approx(expected, rel=1e-5)]
        assert abs(choice_information(last[rank]) / expected - 1) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize('model', [cmid_config(), dino_config('vit')], ids=['cmid', 'dino'])
def test_the_window_of_all_processes_survives_a_resume_between_two_measurements(half, model, tmp_path):
    """Saved after six steps: the measurement after the seventh needs the sixth of both."""
    cfg = monitored(half, model)
    whole = two(cfg.copy(), 'monitor')
    assert log_of(cfg.work_dir).count('has collapsed') == 1
    for file in ('together.pth', 'alone.pth'):
        again = cfg.copy()
        again.work_dir = str(tmp_path / file)
        resumed = two(again, 'monitor', f'{cfg.work_dir}/{file}')
        for rank in range(2):
            assert 'said' not in resumed[rank], resumed[rank]
            assert len(resumed[rank]['seen']) == len(whole[rank]['seen']) - 6
            logged, expected = resumed[rank]['logged'], whole[0]['logged']  # a checkpoint has the first one's log
            assert logged['loss'][:6] == expected['loss'][:6]
            for name in ('student_std', 'teacher_rank'):
                assert (logged[name] == expected[name]) == (file == 'together.pth')
        assert log_of(again.work_dir).count('has collapsed') == 1


def test_shares_of_gradients_are_of_all_processes_and_change_nothing(half):
    found = two(half(cmid_config('vit'), save=99, epochs=1), 'shares')
    norms = torch.stack([each['norms'] for each in found])  # of each process, at steps 1, 2 and 4
    assert norms.shape == (2, 3, 5)
    assert (norms[0] / norms[1] - 1).abs().max() > 1e-3
    mean = norms.mean(dim=0)
    for each in found:
        for index, term in enumerate(('spatial', 'spectral', 'global', 'local')):
            expected = mean[:, index] / mean[:, :-1].sum(dim=1)
            torch.testing.assert_close(torch.tensor(each['logged'][f'share_{term}']), expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(torch.tensor(each['logged']['gradient_norm']), mean[:, -1], rtol=1e-5, atol=0)
        assert each['state'].keys() == each['plain'].keys() > {'losses', 'center.value'}
        for key, value in each['plain'].items():
            assert torch.equal(each['state'][key], value), key


def test_both_processes_end_at_the_loss_of_one(half, tmp_path):
    first, second = two(half(), 'nan')
    assert first == second
    assert first['error'] == 'FloatingPointError'
    assert 'not finite at epoch 2, iteration 5 on rank 1 (' in first['said']
    assert f'Last good checkpoint: {tmp_path / "work" / "iter_4.pth"}.' in first['said']
    assert sorted(file.name for file in (tmp_path / 'work').glob('*.pth')) == [f'iter_{i}.pth' for i in (2, 3, 4)]


def test_the_program_says_it_and_ends(make_config, tmp_path):
    cfg = make_config('model.update(loss_weights=dict(loss_global=1e39))')  # beyond float32
    run = Run(tmp_path / 'log.txt', 'train.py', cfg.filename, '--cfg-options', 'train_dataloader.batch_size=2', ranks=2)
    assert run.wait() == [1, 1]
    assert 'error: the loss is not finite at epoch 1, iteration 1 on rank 0 (' in run.log.read_text()


def test_the_first_process_does_not_save_what_the_loss_of_the_second_has_spoilt(half, tmp_path):
    """Though it has not been told of that loss yet; its end is the other's."""
    first, second = two(half(log=50, save=99), 'nan_at_save')
    assert first['error'] == 'FloatingPointError'
    assert 'weights are not finite after iteration 5 (' in first['said']
    assert 'another process of this training has ended' in second['said']
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_a_killed_process_ends_the_other(half, tmp_path):
    first, second = two(half(), 'killed')
    assert second is None
    assert 'another process of this training has ended' in first['said']
    assert f'--resume goes on from {tmp_path / "work" / "iter_6.pth"}' in first['said']


@pytest.mark.slow
@pytest.mark.parametrize('make_model', [cmid_config, dino_config])
@pytest.mark.parametrize('family', ['resnet', 'convnext', 'swin'])
def test_two_processes_recompute_blocks(half, make_model, family):
    found = []
    for with_cp in (False, True):
        config = make_model(family)
        config['backbone']['with_cp'] = with_cp
        found.append(two(half(config, save=99), 'plain'))
    for plain, recomputed in zip(*found, strict=True):
        assert 'error' not in recomputed, recomputed['said']
        assert plain.keys() == recomputed.keys() > {'losses', 'center.value'}
        for key in plain:
            torch.testing.assert_close(recomputed[key], plain[key], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # the library's
def test_a_library_s_own_way_of_recomputing_says_what_to_use(half):
    preprocessor = dict(type='mmrs_ssl.BandPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
    neck = dict(type='NonLinearNeck', in_channels=64, hid_channels=8, out_channels=64, norm_cfg=dict(type='BN1d'))
    model = dict(
        type='SimSiam',
        data_preprocessor=preprocessor,
        backbone=dict(BACKBONES['resnet'][0], with_cp=True),
        neck=neck,
        head=dict(
            type='LatentPredictHead',
            loss=dict(type='CosineSimilarityLoss'),
            predictor=dict(neck, with_avg_pool=False),
        ),
    )
    found = []
    for hooks in ([], [dict(type='mmrs_ssl.RecomputeHook')]):
        cfg = half(model, save=99)
        cfg.custom_hooks = hooks
        found.append(two(cfg, 'plain'))
    said = {each['said'] for each in found[0]}
    assert any('set it to False and add custom_hooks' in text for text in said), said
    assert all(each['losses'].isfinite().all() for each in found[1])
