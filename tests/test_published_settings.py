"""Augmentations and schedules in the configs of MSSDF are those of the paper; CMID and DINO-MC: test_recipes.py."""

import pytest
from mmengine.registry import HOOKS, TRANSFORMS, init_default_scope

from mmrs_ssl import get_config

MSSDF = 'mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px'


def hooks_of(cfg):
    init_default_scope('mmpretrain')
    hooks = [HOOKS.build(hook) for hook in cfg.custom_hooks]
    return {hook.path: hook for hook in hooks if hasattr(hook, 'path')}


def steps_of(cfg):
    init_default_scope('mmpretrain')
    return [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]


def test_geometry_and_colors_of_mssdf():
    _, flip, crop, jitter, _ = steps_of(get_config(MSSDF))
    assert (flip.prob, flip.directions) == (0.5, ['horizontal', 'vertical', 'diagonal'])
    assert (crop.prob, crop.scale, crop.flip_prob) == (0.5, (0.8, 1.0), 0)
    assert (jitter.prob, jitter.modality) == (0.5, 'rgb')
    assert jitter.low.tolist() == [0.8, 0.8, 0.8, -0.2]
    assert jitter.range.tolist() == [0.4, 0.4, 0.4, 0.4]


def test_schedules_of_mssdf():
    cfg = get_config(MSSDF)
    hooks = hooks_of(cfg)
    share, momentum = hooks['masking.substitution'], hooks['teacher.momentum']
    assert (share.by_epoch, momentum.by_epoch) == (True, False)
    stairs = [0.1, 0.1, 0.2, 0.2, 0.6, 0.7, 0.7]
    assert [share.value(epoch, 500) for epoch in (0, 9, 10, 19, 59, 60, 499)] == pytest.approx(stairs)
    assert [momentum.value(step, 1000) for step in (0, 1000)] == pytest.approx([0.996, 1.0])
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (1.5e-4, (0.9, 0.95), 0.05)
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.share == cosine.share == 40 / cfg.train_cfg.max_epochs
    assert warm_up.start_factor < 1e-9  # from 0
    assert cosine.eta_min == 1e-5
