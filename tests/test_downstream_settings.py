"""What downstream configs and their table promise."""

import re
from itertools import product

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from tests.downstream import FOLDER


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
