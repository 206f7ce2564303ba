"""Learning rates by layer, in models of every library, value for value."""

import mmdet.models  # noqa: F401
import mmpretrain.models  # noqa: F401
import mmseg.models  # noqa: F401
import pytest
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from tests.conftest import BACKBONES

RATE, DECAY = 0.01, 0.05
VIT = dict(BACKBONES['vit'][0], type='mmpretrain.VisionTransformer', out_indices=(0, 1))
UPERNET = dict(
    type='EncoderDecoder',
    decode_head=dict(
        type='FCNHead',
        in_channels=64,
        channels=4,
        num_convs=1,
        num_classes=2,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='whole'),
)
RETINANET = dict(
    type='RetinaNet',
    neck=dict(type='FPN', in_channels=[64, 64], out_channels=8, num_outs=5),
    bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8),
)
CLASSIFIER = dict(type='ImageClassifier', head=dict(type='LinearClsHead', num_classes=2, in_channels=64))
MODELS_OF = dict(mmseg=UPERNET, mmdet=RETINANET, mmpretrain=CLASSIFIER)
PARAMWISE = dict(
    norm_decay_mult=0.0,
    bias_decay_mult=0.0,
    custom_keys={key: dict(decay_mult=0.0) for key in ('pos_embed', 'cls_token', 'relative_position_bias_table')},
)


def groups(library, backbone, **paramwise):
    """The groups of an optimizer by the names of their weights, and the model."""
    init_default_scope(library)
    model = MODELS.build(dict(MODELS_OF[library], backbone=dict(backbone)))
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=RATE, weight_decay=DECAY),
            constructor='mmrs_ssl.LayerDecayOptimWrapperConstructor',
            paramwise_cfg={**PARAMWISE, **paramwise},
        ),
    )
    found = wrapper.optimizer.param_groups
    assert sorted(id(p) for group in found for p in group['params']) == sorted(map(id, model.parameters()))
    return {group['param_name']: group for group in found}, model


@pytest.mark.parametrize('library', list(MODELS_OF))
def test_a_vit_in_a_model_of_every_library(library):
    """Two layers: patches and positions are 0, the layers 1 and 2, everything after them 3."""
    found, _ = groups(library, VIT, layer_decay_rate=0.5)
    for name, group in found.items():
        layer = 3
        if name.startswith('backbone.layers.'):
            layer = int(name.split('.')[2]) + 1
        elif name.startswith(('backbone.patch_embed', 'backbone.pos_embed', 'backbone.cls_token')):
            layer = 0
        assert group['lr'] == pytest.approx(RATE * 0.5 ** (3 - layer)), name
        plain = name.endswith('.bias') or any(word in name for word in ('ln1', 'ln2', 'pos_embed', 'cls_token'))
        assert group['weight_decay'] == (0.0 if plain else DECAY), name
    assert {round(group['lr'] / RATE, 6) for group in found.values()} == {0.125, 0.25, 0.5, 1.0}
    assert [name for name in found if not name.startswith('backbone')]


def test_other_backbones():
    swin = dict(BACKBONES['swin'][0], type='mmpretrain.SwinTransformer')
    found, _ = groups('mmpretrain', swin, layer_decay_rate=0.5)
    wanted = {
        'patch_embed.projection.weight': 0,
        'stages.0.blocks.0.ffn.layers.0.0.weight': 1,
        'stages.2.blocks.1.attn.w_msa.qkv.weight': 4,
        'stages.3.blocks.0.norm1.weight': 5,
        'norm3.weight': 6,
    }
    rates = {name: found[f'backbone.{name}']['lr'] for name in wanted}
    assert rates == pytest.approx({name: RATE * 0.5 ** (6 - layer) for name, layer in wanted.items()})
    resnet = dict(type='mmpretrain.ResNet', depth=50, stem_channels=8, base_channels=8, frozen_stages=-1)
    init_default_scope('mmdet')
    found, _ = groups('mmdet', dict(resnet, out_indices=(0, 1)), layer_decay_rate=0.5)
    wanted = {'conv1.weight': 0, 'layer1.0.conv1.weight': 1, 'layer3.5.conv1.weight': 5, 'layer4.0.conv1.weight': 6}
    rates = {name: found[f'backbone.{name}']['lr'] for name in wanted}
    assert rates == pytest.approx({name: RATE * 0.5 ** (7 - layer) for name, layer in wanted.items()})


def test_frozen_weights_have_no_group_and_heads_may_have_their_own_rate():
    init_default_scope('mmseg')
    frozen = dict(VIT, frozen_stages=1)
    model = MODELS.build(dict(UPERNET, backbone=frozen))
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='SGD', lr=RATE, weight_decay=DECAY),
            constructor='mmrs_ssl.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.5, custom_keys={'decode_head': dict(lr_mult=10.0)}),
        ),
    )
    found = {group['param_name']: group for group in wrapper.optimizer.param_groups}
    assert not [name for name in found if name.startswith(('backbone.layers.0', 'backbone.patch_embed'))]
    assert {group['lr'] for name, group in found.items() if name.startswith('decode_head')} == {RATE * 10}
    assert found['backbone.layers.1.ln1.weight']['lr'] == pytest.approx(RATE / 2)
    assert not any('lr_mult' in group for group in found.values())


@pytest.mark.parametrize(
    ('backbone', 'paramwise', 'match'),
    [
        (VIT, dict(), r'layer_decay_rate=None, expected a factor per layer'),
        (VIT, dict(layer_decay_rate=1.5), r'layer_decay_rate=1\.5'),
        (VIT, dict(decay_rate=0.9, num_layers=12), r"paramwise_cfg='decay_rate' is not one of layer_decay_rate"),
        (
            dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
            dict(layer_decay_rate=0.5),
            r'ResNet of mmseg does not say how deep its weights are',
        ),
        (
            dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8),
            dict(layer_decay_rate=0.5),
            'ResNet of these depths has no layers to count',
        ),
    ],
)
def test_what_has_no_layers_or_no_rate_is_refused(backbone, paramwise, match):
    with pytest.raises(ValueError, match=match):
        groups('mmseg', backbone, **paramwise)


def test_a_backbone_alone():
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(VIT))
    constructor = dict(
        constructor='mmrs_ssl.LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay_rate=0.5)
    )
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=RATE, weight_decay=0.0), **constructor))
    found = {group['param_name']: group['lr'] for group in wrapper.optimizer.param_groups}
    assert found['patch_embed.projection.weight'] == pytest.approx(RATE / 8)
    assert found['layers.1.ln1.weight'] == pytest.approx(RATE / 2)
    with pytest.raises(ValueError, match='Linear of torch does not say'):
        build_optim_wrapper(nn.Linear(1, 1), dict(optimizer=dict(type='SGD', lr=RATE, weight_decay=0.0), **constructor))
    with pytest.raises(ValueError, match=r'optimizer\.weight_decay is not set'):
        build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=RATE), **constructor))
