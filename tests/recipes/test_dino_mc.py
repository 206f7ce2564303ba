"""Every row of the table of DINO-MC's published recipe is what the configs build."""

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from mmrs_ssl import get_config
from mmrs_ssl.datasets.transforms import ColorJitter, RandomCropResize, RandomGaussianBlur, RandomGrayscale
from mmrs_ssl.models.backbones.packed_vit import embed
from tests.conftest import ROOT
from tests.engine.optim.test_schedulers import LENGTH
from tests.recipes.table import (
    Checks,
    curve,
    decays,
    hook_of,
    model_of,
    momentum_rises,
    pipeline_of,
    plain_batch_norms,
    rows_of,
)

DINO = 'dino-mc_{}_4xb64-amp-coslr-300e_seco-224px'
DINO_TP = 'dino-tp_resnet50_4xb64-amp-coslr-300e_seco-224px'
RESNET = DINO.format('resnet50')
CHECKS = Checks()


def crops_of_dino(name=RESNET):
    _, crops, _ = pipeline_of(name)
    return crops, [view.transforms for view in crops.views]


def crop_and_photometry(view, size, scale, interpolation, jitter):
    crop, colors, gray = view[:3]
    assert (crop.size, crop.interpolation, crop.flip_prob) == (size, interpolation, 0.5)
    assert tuple(crop.scale) == scale
    assert isinstance(crop, RandomCropResize)
    assert isinstance(colors, ColorJitter)
    np.testing.assert_allclose(colors.range / 2, jitter)
    assert isinstance(gray, RandomGrayscale)
    assert (colors.prob, gray.prob) == (0.8, 0.2)


@CHECKS.of('global crops')
def global_crops():
    _, views = crops_of_dino()
    for view in views[:2]:
        crop_and_photometry(view, 224, (0.32, 1.0), 'bicubic', (0.4, 0.4, 0.2, 0.1))
    assert [step.prob for step in views[0][3:]] == [1.0]
    assert [step.prob for step in views[1][3:]] == [0.1, 0.2]
    assert views[1][4].threshold == 128 / 255


@CHECKS.of('local crops')
def local_crops():
    _, views = crops_of_dino()
    for view, size in zip(views[2:], (184, 164, 144, 124, 104, 84), strict=True):
        crop_and_photometry(view, size, (0.05, 0.32), 'bilinear', (0.8, 0.8, 0.8, 0.2))
        assert [step.prob for step in view[3:]] == [0.5]


@CHECKS.of('blur')
def blur_of_dino():
    _, views = crops_of_dino()
    blurs = [step for view in views for step in view if isinstance(step, RandomGaussianBlur)]
    assert [(blur.kernel, blur.sigma) for blur in blurs] == [(None, (0.1, 2.0))] * 8


@CHECKS.of('resampling')
def resampling():
    crops, _ = crops_of_dino()
    image = np.random.default_rng(0).normal(128, 30, (66, 66, 3)).clip(0, 255).astype(np.uint8)
    image = np.asarray(Image.fromarray(image).resize((264, 264), Image.Resampling.BICUBIC))
    for view, kind in zip(crops.views, ['BICUBIC'] * 2 + ['BILINEAR'] * 6, strict=True):
        crop = view.transforms[0]
        sizes = (crop.size, crop.size)
        expected = np.asarray(Image.fromarray(image).resize(sizes, Image.Resampling[kind]), float)
        assert np.abs(crop.cut(image, (0, 0, 264, 264), False) - expected).mean() <= 1
        exact = RandomCropResize(crop.size, interpolation=crop.interpolation, antialias='pillow')
        np.testing.assert_array_equal(exact.cut(image, (0, 0, 264, 264), False), expected)


@CHECKS.of('statistics')
def statistics_of_dino():
    preprocessor = MODELS.build(get_config(RESNET).model.data_preprocessor)
    np.testing.assert_allclose(preprocessor.mean.flatten() / 255, [0.485, 0.456, 0.406], atol=1e-6)
    np.testing.assert_allclose(preprocessor.std.flatten() / 255, [0.229, 0.224, 0.225], atol=1e-6)


@CHECKS.of('date of a place')
def date_of_a_place():
    """The data set of the config draws one of several dates, another at another visit: tests/scenes/test_dates.py."""
    dataset = get_config(RESNET).train_dataloader.dataset
    assert (dataset.type, dataset.files) == ('mmrs_ssl.SceneDataset', '{scene}/{date}/{band}')
    assert dataset.get('dates', 1) == 1


@CHECKS.of('stretch of SeCo')
def stretch_of_seco():
    cfg = get_config(RESNET)
    assert cfg.train_dataloader.dataset.band_files == ['B4', 'B3', 'B2']
    loader = pipeline_of(RESNET)[0]
    assert loader.stretch.tolist() == [[0, 129], [2, 103], [3, 88]]


@CHECKS.of("DINO-TP's views")
def views_of_dino_tp():
    crops, views = crops_of_dino(DINO_TP)
    assert get_config(DINO_TP).model.num_global == 3
    for view in (views[0], views[2]):
        jitter, gray, blur, crop = view
        np.testing.assert_allclose(jitter.range / 2, (0.4, 0.4, 0.4, 0.1))
        assert [step.prob for step in (jitter, gray, blur)] == [0.8, 0.2, 0.5]
        assert crop.flip_prob == 0.5
    assert [[step.flip_prob for step in view] for view in (views[1], *views[3:])] == [[0.0]] * 7
    t0, t1, t2 = (np.full((264, 264, 3), level, np.uint8) for level in (60, 120, 180))
    sources = crops.sources(dict(img=[t0, t1, t2]))
    assert [int(source[0, 0, 0]) for source in sources] == [120, 180, 60, *[60] * 6]


@CHECKS.of('head')
def head():
    cfg = get_config(RESNET).model
    head = MODELS.build({**cfg.head, 'in_channels': 2048})
    linear = [part for part in head.mlp if isinstance(part, torch.nn.Linear)]
    assert [part.out_features for part in linear] == [2048, 2048, 256]
    for part in linear:
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert not part.bias.any()
    assert head.last_layer.weight.shape == (65536, 256)
    gain = head.last_layer.parametrizations.weight.original0
    assert (gain == 1).all()
    assert not gain.requires_grad
    assert not any(isinstance(part, _BatchNorm) for part in head.modules())
    del cfg.head.num_prototypes
    cfg.update(num_images=3000, backbone={**cfg.backbone, 'depth': 18})
    assert MODELS.build(cfg).head.num_prototypes == 2048


@CHECKS.of('ViT-S/8')
def vit_small():
    model = model_of(DINO.format('vit-small-p8'), **{'head.num_prototypes': 64})
    model.init_weights()
    assert model.backbone.patch_embed.projection.kernel_size == (8, 8)
    for name, parameter in model.backbone.named_parameters():
        if name.endswith('bias'):
            assert not parameter.any(), name
        elif parameter.ndim > 1 and parameter.numel() > 1000:  # a truncated normal within two deviations of 1
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
    found = [layer.attn.out_drop.drop_prob for layer in model.backbone.layers]
    np.testing.assert_allclose(found, np.linspace(0, 0.1, 12))
    model.train()
    assert not any(part.training for part in model.teacher.module.modules() if isinstance(part, DropPath))


@CHECKS.of('Swin-T')
def swin_tiny():
    name = DINO.format('swin-tiny')
    assert get_config(name).model.backbone.type == 'mmrs_ssl.PaddedSwinTransformer'
    model = model_of(name, **{'head.num_prototypes': 64})
    model.train()
    for network in (model.backbone, model.teacher.module['backbone']):
        parts = [part for part in network.modules() if isinstance(part, DropPath)]
        assert max(part.drop_prob for part in parts) == pytest.approx(0.2)
        assert all(part.training for part in parts)


@CHECKS.of('positions of small crops')
def positions_of_small_crops():
    vit = model_of(DINO.format('vit-small-p8'), **{'head.num_prototypes': 64}).backbone
    for side, patches in ((224, 28), (184, 23), (164, 20), (84, 10)):
        assert embed(vit, torch.zeros(1, 3, side, side)).shape == (1, 1 + patches**2, 384)


@CHECKS.of('temperatures')
def temperatures_of_dino():
    cfg = get_config(RESNET)
    model = model_of(RESNET, **{'head.num_prototypes': 64, 'backbone.depth': 18})
    assert (model.student_temperature, cfg.model.teacher_temperature) == (0.1, 0.04)
    assert not [hook for hook in cfg.custom_hooks if hook.get('path') == 'teacher_temperature']


@CHECKS.of('center')
def center():
    model = model_of(RESNET, **{'head.num_prototypes': 64, 'backbone.depth': 18})
    scores = torch.randn(2, 5, 64)
    model.center.update(scores)
    torch.testing.assert_close(model.center.value, 0.1 * scores.mean((0, 1))[None])


@CHECKS.of('BatchNorm')
def batch_norm_of_dino():
    assert get_config(RESNET).sync_bn == 'torch'
    count, plain = plain_batch_norms(model_of(RESNET, **{'head.num_prototypes': 64, 'backbone.depth': 18}))
    assert count == 2 * 20
    assert not plain


@CHECKS.of('learning rate')
def learning_rate_of_dino():
    cfg = get_config(RESNET)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size) == (5e-4, 256)
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'


@CHECKS.of('schedule')
def schedule_of_dino():
    steps, total = 10 * LENGTH, 300 * LENGTH
    rates = curve(RESNET)[:, 0]
    np.testing.assert_allclose(rates[:steps], 0.4 * np.linspace(0, 1, steps), atol=1e-12)
    left = np.arange(total - steps)
    np.testing.assert_allclose(rates[steps:], 1e-6 + (0.4 - 1e-6) * (1 + np.cos(np.pi * left / len(left))) / 2)


@CHECKS.of('weight decay')
def weight_decay_of_dino():
    name = RESNET
    model = model_of(name, **{'head.num_prototypes': 64, 'backbone.depth': 18})
    vectors = {key for key, parameter in model.named_parameters() if parameter.ndim == 1}
    found = decays(name, model)
    assert {key for key, decay in found.items() if decay == 0} == vectors & found.keys()
    assert {decay for key, decay in found.items() if key not in vectors} == {0.04}
    (schedule,) = [each for each in get_config(name).param_scheduler if each.type == 'CosineAnnealingWeightDecay']
    assert (schedule.eta_min, schedule.get('begin', 0), schedule.by_epoch) == (0.4, 0, True)


@CHECKS.of('clipping')
def clipping():
    hook = hook_of(RESNET, kind='ClipEachGradientHook')
    assert hook.max_norm == 3.0


@CHECKS.of('last layer')
def last_layer():
    hook = hook_of(RESNET, 'head.last_layer', 'FreezeHook')
    assert hook.epochs == 1


@CHECKS.of('teacher momentum')
def teacher_momentum_of_dino():
    momentum_rises(RESNET)


@CHECKS.of('epochs')
def epochs():
    names = [path.stem for path in (ROOT / 'configs' / 'dino_mc').glob('*seco*.py')]
    assert {get_config(name).train_cfg.max_epochs for name in names} == {300}


@CHECKS.of('precision')
def precision_of_dino():
    for path in (ROOT / 'configs' / 'dino_mc').glob('*amp*.py'):
        assert get_config(path.stem).optim_wrapper.dtype == 'bfloat16'


@pytest.mark.parametrize('row', rows_of('dino_mc'))
def test_row(row):
    init_default_scope('mmpretrain')
    CHECKS[row]()


def test_the_table_has_every_row_that_is_asserted():
    assert rows_of('dino_mc') == list(CHECKS)
