"""What the configs for one's own images start from where docs/results.md says that it measured better."""

import pytest
import torch
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope

from mmrs_ssl import get_config
from mmrs_ssl.datasets.transforms import ColorJitter, RandomGrayscale, RandomSolarize
from tests.conftest import ROOT

FOLDERS = sorted(
    path.stem for folder in ('cmid', 'dino_mc') for path in ROOT.glob(f'configs/{folder}/*_folder-224px.py')
)


@pytest.mark.parametrize('name', [*FOLDERS, 'cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px'])
def test_colors_of_folders_are_milder_than_published(name):
    init_default_scope('mmpretrain')
    pipeline = get_config(name).train_dataloader.dataset.pipeline
    (views,) = (step for step in pipeline if step.type in ('mmrs_ssl.CMIDViews', 'mmrs_ssl.MultiSizeCrops'))
    steps = [step for view in TRANSFORMS.build(views).views for step in view.transforms]
    folder = name in FOLDERS
    jitters, gray, solarize = (
        [step for step in steps if isinstance(step, kind)] for kind in (ColorJitter, RandomGrayscale, RandomSolarize)
    )
    assert len(jitters) == (8 if 'dino' in name else 1)
    strengths = [0.2, 0.2, 0.1, 0.03] if folder else [0.4, 0.4, 0.2, 0.1]
    assert all(jitter.range.tolist() == pytest.approx([2 * each for each in strengths]) for jitter in jitters)
    assert {step.prob for step in gray} == {0.05 if folder else 0.2}
    assert {step.prob for step in solarize} == {0.0 if folder else 0.2}


@pytest.mark.parametrize(
    ('name', 'closed'),
    [
        ('cmid_resnet18_1xb64-coslr-100e_folder-224px', True),
        ('cmid_resnet50_1xb64-coslr-100e_geotiff-224px', True),
        ('dino-mc_resnet18_1xb64-coslr-100e_folder-224px', True),
        ('dino-mc_resnet18_1xb64-coslr-100e_geotiff-224px', True),
        ('dino-mc_resnet50_1xb64-coslr-100e_folder-224px', True),
        ('dino-mc_resnet50_1xb64-coslr-100e_geotiff-224px', True),
        ('dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px', False),  # as published
        ('dino-mc_resnet18_1xb32-coslr-16e_demo-64px', False),
    ],
)
def test_residual_branches_of_ones_own_data_start_closed(name, closed):
    init_default_scope('mmpretrain')
    backbone = MODELS.build(get_config(name).model.backbone)
    backbone.init_weights()
    last = [
        block.norm3 if hasattr(block, 'norm3') else block.norm2
        for stage in (backbone.layer1, backbone.layer4)
        for block in stage
    ]
    assert all(bool((norm.weight == 0).all()) == closed for norm in last)
    assert closed or all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in last)
