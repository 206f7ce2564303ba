"""What downstream configs and their table promise."""

import inspect
import re
from itertools import product

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.engine.hooks import PretrainedBackboneHook
from mmrs_ssl.engine.optim import LayerDecayOptimWrapperConstructor
from tests.conftest import ROOT
from tests.downstream import FOLDER, documented_lines, needs_library


@pytest.mark.parametrize(
    ('config', 'name'),
    [
        ('classification/vit-base_1xb64-ft-coslr-100e_eurosat-224px', 'pos_embed'),
        ('classification/swin-tiny_1xb64-ft-coslr-100e_eurosat-224px', 'relative_position_bias_table'),
        ('segmentation/upernet_vit-base_4xb4-80k_loveda-512x512', 'pos_embed'),
        ('detection/faster-rcnn_swin-base_fpn_8xb2-12e_dior-800px', 'relative_position_bias_table'),
        ('change_detection/bit_swin-base_1xb8-40k_svcd-256x256', 'relative_position_bias_table'),
        ('height/depth-estimator_vit-base_1xb8-25k_us3d-512x512', 'pos_embed'),
    ],
)
def test_positions_do_not_decay(config, name):
    """As in the libraries' own configs of transformers."""
    cfg = Config.fromfile(FOLDER / f'{config}.py')
    init_default_scope('mmpretrain')
    backbone = dict(cfg.model.backbone, type=cfg.model.backbone.type.removeprefix('mmpretrain.'))
    model = MODELS.build(backbone)
    groups = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'}).optimizer.param_groups
    decay = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    found = [decay[id(parameter)] for key, parameter in model.named_parameters() if key.endswith(name)]
    assert found
    assert not any(found)
    assert any(decay.values())


def expand(pattern):
    """A path for every choice in braces."""
    choices = [part.split(',') for part in re.split(r'[{}]', pattern)[1::2]]
    fixed = re.split(r'\{.*?\}', pattern)
    for words in product(*choices):
        yield ''.join(a + b for a, b in zip(fixed, [*words, ''], strict=True))


def test_table_names_every_config():
    table = re.findall(r'`([a-z_]+/[^` ]+_\dxb\d+[^` ]*\.py)`', (FOLDER / 'README.md').read_text())
    named = sorted({name for pattern in table for name in expand(pattern)})
    assert named == sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob('[!_]*/*.py'))


def section(path, title):
    """The text under a heading of a README, to the next one."""
    return path.read_text().split(f'## {title}\n')[1].split('\n## ')[0].strip()


def test_one_text_says_how_a_config_takes_a_backbone():
    own = section(FOLDER / 'README.md', 'Bring your own OpenMMLab config')
    assert section(ROOT / 'README.md', 'Use the backbone downstream').startswith(own)
    lines = documented_lines('FILE')
    assert len(lines.splitlines()) == 2
    documented = inspect.cleandoc(PretrainedBackboneHook.__doc__).split('::\n\n')[1].split('\n\n')[0]
    assert [line.strip() for line in documented.splitlines()] == lines.splitlines()


@pytest.mark.parametrize('schedule', ['adamw_80k', 'det_adamw_12e', 'finetune_adamw_100e', 'height_adamw_25k'])
def test_layer_decay_goes_with_the_schedules_of_transformers(schedule):
    (options,) = re.findall(r'```python\n(.*?)```', section(FOLDER / 'README.md', 'Layer decay'), re.DOTALL)
    added = {}
    exec(options, added)
    cfg = Config.fromfile(FOLDER / f'_base_/schedules/{schedule}.py')
    cfg.merge_from_dict(dict(optim_wrapper=added['optim_wrapper']))
    wrapper = dict(cfg.optim_wrapper)
    assert wrapper.pop('constructor') == 'mmrs_ssl.LayerDecayOptimWrapperConstructor'
    built = LayerDecayOptimWrapperConstructor(wrapper, wrapper.pop('paramwise_cfg'))
    assert (built.paramwise_cfg.layer_decay_rate, built.paramwise_cfg.norm_decay_mult) == (0.75, 0.0)


def test_pairs_of_images_with_six_bands():
    """Open-cd cuts them apart by an option of the model, as the README says."""
    needs_library('change_detection')
    import opencd.models  # noqa: F401

    block = re.findall(r'```python\n(.*?)```', section(FOLDER / 'README.md', 'More bands than three'), re.DOTALL)[-1]
    added = {}
    exec(block.replace('[...]', '[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]'), added)
    cfg = Config.fromfile(FOLDER / 'change_detection/siam-upernet_resnet50_1xb8-40k_levir-cd-256x256.py')
    init_default_scope('opencd')
    small = dict(depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type='BN'))
    cfg.merge_from_dict(dict(model=dict(backbone=small, auxiliary_head=None)))
    cfg.model.decode_head.update(in_channels=[16, 32, 64, 128], channels=8, norm_cfg=dict(type='BN'))
    pair = torch.rand(1, 12, 64, 64)
    with pytest.raises(ValueError, match='too many values to unpack'):  # what it says of images of six bands
        MODELS.build(cfg.model).extract_feat(pair)
    cfg.merge_from_dict(dict(model=added['model']))
    model = MODELS.build(cfg.model).eval()
    data = dict(inputs=[pair[0]], data_samples=None)
    expected = (pair - model.data_preprocessor.mean) / model.data_preprocessor.std
    torch.testing.assert_close(model.data_preprocessor.mean.flatten().tolist(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] * 2)
    model.data_preprocessor.test_cfg = None
    torch.testing.assert_close(model.data_preprocessor(data)['inputs'], expected)
    found = model.extract_feat(pair)
    dates = [model.backbone(date) for date in pair.split(6, 1)]
    for level, both in enumerate(found):
        torch.testing.assert_close(both, torch.cat([date[level] for date in dates], 1))
