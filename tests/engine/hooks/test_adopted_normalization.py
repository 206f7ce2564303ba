"""What a backbone brings besides its weights: the normalization of its pre-training, and what the config freezes."""

import itertools
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.apis import get_model

from mmrs_ssl.engine.hooks import PretrainedBackboneHook
from mmrs_ssl.engine.hooks.pretrained_backbone import check_kept
from mmrs_ssl.engine.resuming.guard import CheckpointGuard
from tests.conftest import BACKBONES, log_of
from tests.downstream import pretrained_file

NUMBER = itertools.count()
COLOR = (200.0, 100.0, 50.0)
MEAN, STD = [86.0, 92.0, 85.0], [35.0, 34.5, 36.0]
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
TINY = BACKBONES['resnet'][0]
ADOPTED = [(color - mean) / std for color, mean, std in zip(COLOR, MEAN, STD, strict=True)]
OWN = [(c - m) / s for c, m, s in zip(COLOR, IMAGENET['mean'], IMAGENET['std'], strict=True)]


@HOOKS.register_module(force=True)
class KeepInputs(Hook):
    """Keeps, of every pass, what the backbone is given at one pixel, by training and evaluation."""

    found = None

    def before_run(self, runner):
        type(self).found = dict(train=[], val=[])
        runner.model.backbone.register_forward_pre_hook(self.keep)

    def keep(self, module, inputs):
        self.found['train' if module.training else 'val'].append(inputs[0][0, :, 8, 8].tolist())


def seen():
    """The one value per band that the backbone was given, in training and in evaluation; None for no pass."""
    values = {}
    for split, found in KeepInputs.found.items():
        assert all(each == pytest.approx(found[0]) for each in found)
        values[split] = pytest.approx(found[0], rel=1e-5) if found else None
    return values['train'], values['val']


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Four images of one color, in two classes."""
    root = tmp_path_factory.mktemp('one_color')
    for i in range(4):
        path = root / 'ab'[i % 2] / f'{i}.png'
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((32, 32, 3), COLOR[::-1], np.uint8))
    return root


@pytest.fixture
def checkpoint(tmp_path):
    return record(tmp_path)


def record(tmp_path, name='pretrained.pth', settings=TINY, **statistics):
    path = tmp_path / name
    pretrained_file(path, settings, **{'mean': MEAN, 'std': STD, **statistics})
    return path


def make(tmp_path, images, hook, preprocessor=None, loader=None, val_loader=None, hooks=(), epochs=1, **options):
    """A classifier of a tiny backbone, its normalization beside the model as in mmpretrain's own configs."""

    def split(loader):
        pipeline = [loader or dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        dataset = dict(type='CustomDataset', data_root=str(images), pipeline=pipeline)
        sampler = dict(type='DefaultSampler', shuffle=False)
        return dict(
            batch_size=2, num_workers=0, dataset=dataset, sampler=sampler, collate_fn=dict(type='default_collate')
        )

    head = dict(type='LinearClsHead', num_classes=2, in_channels=64, topk=1)
    own = dict(to_rgb=True, num_classes=2, **IMAGENET) if preprocessor is None else preprocessor
    cfg = dict(
        model=dict(type='ImageClassifier', backbone=dict(TINY), neck=dict(type='GlobalAveragePooling'), head=head),
        data_preprocessor=own,
        train_dataloader=split(loader),
        val_dataloader=split(val_loader or loader),
        test_dataloader=split(val_loader or loader),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        test_cfg=dict(),
        val_evaluator=dict(type='Accuracy', topk=1),
        test_evaluator=dict(type='Accuracy', topk=1),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[*hooks, dict(type='mmrs_ssl.PretrainedBackboneHook', **hook), dict(type='KeepInputs')],
        default_scope='mmpretrain',
        work_dir=str(tmp_path / 'work'),
        experiment_name=f'adopted_{next(NUMBER)}',
        **options,
    )
    return Config(cfg)


def start(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('averaged', [(), (dict(type='EMAHook', update_buffers=True),)])
def test_what_is_adopted_counts_in_training_evaluation_and_ever_after(averaged, checkpoint, images, tmp_path):
    """Also where an averaged model, made before, takes the model's place; and without the pre-training's file."""
    options = dict(hook=dict(checkpoint=str(checkpoint), normalization='adopt'), hooks=averaged)
    runner = start(make(tmp_path, images, **options))
    assert seen() == (ADOPTED, ADOPTED)
    log = log_of(tmp_path / 'work')
    assert 'order of bands  rgb' in log
    checkpoint.unlink()
    saved = tmp_path / 'work' / 'epoch_1.pth'
    kept = torch.load(saved, weights_only=True)['meta']['adopted_normalization']
    told = dict(order='rgb', by_position=None, named=False, swaps=True)
    assert kept == dict(mean=MEAN, std=STD, **told, source=str(checkpoint))
    # resumed, as tools/train.py does it: what is adopted again is no difference of settings
    runner = Runner.from_cfg(make(tmp_path, images, **options, epochs=2, resume=True))
    runner.register_hook(CheckpointGuard(str(saved), resume=True))
    runner.train()
    assert runner.iter == 4
    table = log_of(tmp_path / 'work').split('was made with other settings')[1]
    assert 'train_cfg.max_epochs' in table
    assert 'data_preprocessor.mean' not in table
    assert seen() == (ADOPTED, ADOPTED)
    assert torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=True)['meta']['adopted_normalization'] == kept
    # evaluated by the config as it was written, which has other values
    cfg = make(tmp_path, images, **options, load_from=str(saved))
    tested = Runner.from_cfg(cfg)
    tested.test()
    assert seen() == (None, ADOPTED)
    expected = torch.load(saved, weights_only=True)['state_dict']
    if not averaged:  # mmpretrain's EMAHook keeps two sets of weights
        assert [key for key, value in tested.model.state_dict().items() if not torch.equal(value, expected[key])] == []
    # and by who builds a model from the config that lies in the work dir
    dumped = max((tmp_path / 'work').glob('*.py'))
    model = get_model(Config.fromfile(dumped), str(saved))
    assert (model.data_preprocessor.mean.flatten().tolist(), model.data_preprocessor.to_rgb) == (MEAN, True)


@pytest.mark.parametrize(
    ('loader', 'preprocessor'),
    [
        (dict(type='mmrs_ssl.LoadRaster'), None),
        (None, dict(to_rgb=False, **IMAGENET)),
        (None, {}),
    ],
)
def test_bands_come_in_the_order_of_pre_training(loader, preprocessor, checkpoint, images, tmp_path):
    """Whatever loads them, and whatever the config says of it."""
    start(make(tmp_path, images, dict(checkpoint=str(checkpoint), normalization='adopt'), preprocessor, loader))
    assert seen() == (ADOPTED, ADOPTED)


def test_checking_leaves_the_config_as_it_is_and_warns(checkpoint, images, tmp_path):
    runner = start(make(tmp_path, images, dict(checkpoint=str(checkpoint))))
    assert seen() == (OWN, OWN)
    log = log_of(tmp_path / 'work')
    assert 'WARNING - PretrainedBackboneHook' in log
    assert '  mean            86, 92, 85    123.7, 116.3, 103.5' in log
    assert "normalization='adopt' takes mean, std" in log
    assert 'adopted_normalization' not in torch.load(tmp_path / 'work/epoch_1.pth', weights_only=True)['meta']
    assert runner.cfg.data_preprocessor.mean == IMAGENET['mean']


@pytest.mark.parametrize(
    ('normalization', 'bands', 'preprocessor', 'loader', 'match'),
    [
        ('check', 3, dict(to_rgb=True, mean=[0.485] * 3, std=[0.229] * 3), None, 'a std by a factor of 157'),
        ('check', 3, dict(to_rgb=False, **IMAGENET), None, 'the model gets bgr: set to_rgb or bgr_to_rgb=True'),
        ('adopt', 4, None, None, r'pre-training saw 4 bands, the model takes 3: .* bands=\[\.\.\.\]'),
        ('adopt', 3, None, 'two', 'LoadImageFromFile, LoadRaster: one pipeline gives the bands in another order'),
    ],
)
def test_training_does_not_start_with_wrong_statistics(
    normalization, bands, preprocessor, loader, match, images, tmp_path
):
    own = dict(mean=[86.0] * 4, std=[35.0] * 4) if bands == 4 else {}
    path = record(tmp_path, settings=dict(TINY, in_channels=bands), **own)
    hook = dict(checkpoint=str(path), normalization=normalization)
    val_loader = dict(type='mmrs_ssl.LoadRaster') if loader else None
    with pytest.raises(ValueError, match=f'(?s){match}.*adopt.*ignore.*refused'):
        start(make(tmp_path, images, hook, preprocessor, val_loader=val_loader))
    assert KeepInputs.found == dict(train=[], val=[])


def test_it_can_be_told_to_look_away_and_british_spelling_is_understood(images, tmp_path):
    path = record(tmp_path, mean=[0.5] * 3, std=[0.2] * 3)
    with pytest.warns(DeprecationWarning, match='normalization'):
        start(make(tmp_path, images, dict(checkpoint=str(path), normalisation='ignore')))
    assert seen() == (OWN, OWN)
    assert 'not looked at' in log_of(tmp_path / 'work')
    with pytest.raises(ValueError, match="normalization='adapt' is not one of adopt, check, ignore"):
        Runner.from_cfg(make(tmp_path, images, dict(checkpoint='x', normalization='adapt')))


def test_a_file_that_records_nothing_is_taken_as_the_config_says(checkpoint, images, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content['state_dict'], checkpoint)
    start(make(tmp_path, images, dict(checkpoint=str(checkpoint), normalization='adopt')))
    assert seen() == (OWN, OWN)
    log = log_of(tmp_path / 'work')
    assert 'mean and std    not recorded' in log
    assert 'WARNING - PretrainedBackboneHook' not in log
    assert re.search(r'frozen +nothing +as the config says', log)


def test_a_checkpoint_of_adopted_statistics_is_checked_against_a_config_that_checks(checkpoint, images, tmp_path):
    start(make(tmp_path, images, dict(checkpoint=str(checkpoint), normalization='adopt')))
    shutil.move(tmp_path / 'work', tmp_path / 'trained')
    load = dict(load_from=str(tmp_path / 'trained' / 'epoch_1.pth'))
    Runner.from_cfg(make(tmp_path, images, dict(checkpoint='none'), **load)).test()
    assert seen() == (None, OWN)
    assert 'WARNING - PretrainedBackboneHook, the checkpoint' in log_of(tmp_path / 'work')
    wrong = make(tmp_path, images, dict(checkpoint='none'), dict(mean=[0.5] * 3, std=[0.2] * 3, to_rgb=True), **load)
    with pytest.raises(ValueError, match='normalized otherwise than in pre-training'):
        Runner.from_cfg(wrong).test()


@pytest.mark.parametrize(
    ('backbone', 'row'),
    [
        (dict(frozen_stages=1), '15 of 60 weights, statistics of 5 BatchNorms'),
        (dict(norm_eval=True), '0 of 60 weights, statistics of 20 BatchNorms'),
    ],
)
def test_what_is_frozen_is_as_the_config_says(backbone, row, checkpoint, images, tmp_path):
    cfg = make(tmp_path, images, dict(checkpoint=str(checkpoint)))
    cfg.model.backbone.update(backbone)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    start(cfg)
    assert re.search(rf'frozen +{row} +as the config says', log_of(tmp_path / 'work'))


def test_a_frozen_weight_that_was_changed_to_fit_is_refused(checkpoint, images, tmp_path):
    """A first convolution for other bands, which would never be trained."""
    hook = dict(checkpoint=str(checkpoint), normalization='ignore')
    cfg = make(tmp_path, images, hook)
    cfg.model.backbone.update(in_channels=4, frozen_stages=0)
    with pytest.raises(ValueError, match=r'(?s)1 frozen weights are not as .* \(conv1\.weight: .*set frozen_stages=-1'):
        start(cfg)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(mean=[{"a': __import__('os').getpid(), 'b": 1}]), 'mean=.*expected a list of numbers'),
        (dict(std=['1.0']), r"std=\['1.0'\], expected a list of numbers"),
        (dict(order='x'), "order of the checkpoint='x' is not one of rgb, bgr, None"),
        (dict(swaps='x'), "swaps of the checkpoint='x' is not one of True, False, None"),
    ],
)
def test_what_is_no_statistics_is_not_adopted_again(change, words):
    """They go into the config of the work dir, which is Python."""
    kept = dict(mean=[1.0], std=[2.0], order=None, swaps=None, source='a.pth')
    check_kept(kept)
    checkpoint = dict(meta=dict(adopted_normalization=kept | change))
    with pytest.raises(ValueError, match=words):
        PretrainedBackboneHook('a.pth').after_load_checkpoint(None, checkpoint)
    with pytest.raises(ValueError, match=r'meta\.adopted_normalization of the checkpoint is .*expected what this hook'):
        check_kept({key: value for key, value in kept.items() if key not in change})
