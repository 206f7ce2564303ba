"""Augmentations and schedules in the configs of CMID and MSSDF are those of the papers."""

import numpy as np
import pytest
from mmengine.registry import HOOKS, TRANSFORMS, init_default_scope
from PIL import Image

from mmrs_ssl import get_config
from mmrs_ssl.datasets.transforms import RandomCropResize

CMID = 'cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px'
MSSDF = 'mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px'


def hooks_of(cfg):
    init_default_scope('mmpretrain')
    hooks = [HOOKS.build(hook) for hook in cfg.custom_hooks]
    return {hook.path: hook for hook in hooks if hasattr(hook, 'path')}


def steps_of(cfg):
    init_default_scope('mmpretrain')
    return [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]


def test_views_of_cmid():
    _, views, _ = steps_of(get_config(CMID))
    (weak,), (own_crop, jitter, blur, noise, solarize, gray) = (view.transforms for view in views.views)
    for crop in (weak, own_crop):
        assert isinstance(crop, RandomCropResize)
        assert (crop.scale, crop.ratio, crop.flip_prob, crop.prob) == ((0.3, 1.0), (3 / 4, 4 / 3), 0.5, 1.0)
    np.testing.assert_allclose(jitter.range / 2, (0.4, 0.4, 0.2, 0.1))
    assert [step.prob for step in (jitter, blur, noise, solarize, gray)] == [0.8, 1.0, 0.6, 0.2, 0.2]
    assert (blur.kernel, blur.sigma) == ((3, 7), (0.1, 2.0))  # 3, 5, 7 as 1 : 2 : 2: test_photometric.py
    assert noise.variance == (10, 50)
    assert solarize.threshold == 128 / 255


@pytest.mark.parametrize('shape', [(1111, 1111), (100, 150), (224, 300)])
def test_images_of_cmid_come_at_one_size_as_pillow_makes_it(shape):
    """Larger and smaller ones, by the antialiased bicubic filter."""
    _, views, _ = steps_of(get_config(CMID))
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    resized = views.first(dict(img=noise, img_shape=shape))['img']
    expected = np.array(Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC), float)
    assert resized.shape == (224, 224, 3)
    assert np.abs(resized - expected).mean() <= 1


def test_schedules_of_cmid():
    cfg = get_config(CMID)
    hooks = hooks_of(cfg)
    temperature, momentum = hooks['teacher_temperature'], hooks['teacher.momentum']
    assert (temperature.by_epoch, momentum.by_epoch) == (True, False)
    assert [temperature.value(epoch, 200) for epoch in (0, 49, 199)] == pytest.approx([0.04, 0.07, 0.07])
    assert temperature.value(24, 200) < 0.055 < temperature.value(25, 200)
    assert [momentum.value(step, 1000) for step in (0, 500, 1000)] == pytest.approx([0.996, 0.998, 1.0])
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.02
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.start_factor, cosine.eta_min) == (0.01, 1e-6)
    assert (warm_up.share, cosine.get('begin', 0)) == (10 / cfg.train_cfg.max_epochs, 0)


def test_geometry_and_colors_of_mssdf():
    _, flip, crop, jitter, _ = steps_of(get_config(MSSDF))
    assert (flip.prob, flip.directions) == (0.5, ['horizontal', 'vertical', 'diagonal'])
    assert (crop.prob, crop.scale, crop.flip_prob) == (0.5, (0.8, 1.0), 0)
    assert (jitter.prob, jitter.modality) == (0.5, 'rgb')


def test_schedules_of_mssdf():
    cfg = get_config(MSSDF)
    hooks = hooks_of(cfg)
    share, momentum = hooks['substitution'], hooks['teacher.momentum']
    assert (share.by_epoch, momentum.by_epoch) == (True, False)
    stairs = [0.1, 0.1, 0.2, 0.2, 0.6, 0.7, 0.7]
    assert [share.value(epoch, 500) for epoch in (0, 9, 10, 19, 59, 60, 499)] == pytest.approx(stairs)
    assert [momentum.value(step, 1000) for step in (0, 1000)] == pytest.approx([0.996, 1.0])
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (1.5e-4, (0.9, 0.95), 0.05)
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.share == cosine.share == 40 / cfg.train_cfg.max_epochs
    assert cosine.eta_min == 1e-5
