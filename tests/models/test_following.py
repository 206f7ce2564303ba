"""Necks and heads follow what feeds them: every family, other backbones, and sizes that do not fit."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmrs_ssl import get_config
from mmrs_ssl.models.following import following, options_of, output_size_of, shape_given
from mmrs_ssl.registry import MODELS as OURS
from tests.conftest import BACKBONES, build, cmid_config, dino_config, make_batch, make_crops

OTHERS = {
    'resnet50': dict(type='ResNet', depth=50, stem_channels=8, base_channels=4),
    'wide': dict(type='ResNet', depth=50, stem_channels=8, base_channels=8, expansion=2),
    'regnet': dict(type='RegNet', arch='regnetx_400mf'),
    'padded': dict(BACKBONES['swin'][0], type='mmrs_ssl.PaddedSwinTransformer'),
}

VIT = dict(type='VisionTransformer', arch='deit-tiny')


def without_sizes(config):
    """The config with no size that another part says."""
    changed = {}
    for name, part in config.items():
        left_out = ('channels',) if name == 'global_head' else ('in_channels', 'stride')
        keep = name not in ('neck', 'global_head', 'local_head', 'head', 'reconstruction_head')
        changed[name] = part if keep else {key: value for key, value in part.items() if key not in left_out}
        if isinstance(part, dict) and 'predictor' in part:
            predictor = {k: v for k, v in part['predictor'].items() if k not in ('in_channels', 'out_channels')}
            changed[name] = {**changed[name], 'predictor': predictor}
    return changed


def train_step(model, batch):
    model.train()
    loss = model.parse_losses(model.loss(**model.data_preprocessor(batch, True)))[0]
    loss.backward()
    assert loss.isfinite()
    return model


@pytest.mark.parametrize('byol', [False, True])
@pytest.mark.parametrize('family', list(BACKBONES))
def test_cmid_follows_every_family(family, byol):
    given = cmid_config(family, byol=byol)
    follows = without_sizes(given)
    assert 'in_channels' not in follows['neck']
    first, second = build(given, seed=0), build(follows, seed=0)
    assert first.reconstruction_head.shuffle.upscale_factor == BACKBONES[family][2]
    for name, value in first.state_dict().items():  # the random numbers are the same, too
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize('name', ['resnet50', 'wide', 'padded'])
def test_cmid_trains_with_another_backbone(name):
    model = build(without_sizes(cmid_config(backbone=OTHERS[name])), seed=0)
    train_step(model, make_batch())
    assert model.neck.mlp[0].weight.grad.abs().max() > 0
    width = model.backbone.feat_dim if hasattr(model.backbone, 'feat_dim') else 64
    assert model.reconstruction_head.decoder.in_channels == model.local_head.mlp[0].in_features == width


@pytest.mark.parametrize('name', list(OTHERS))
def test_dino_trains_with_another_backbone(name):
    model = build(without_sizes(dino_config(backbone=OTHERS[name])), seed=0)
    train_step(model, make_crops((64, 64, 40)))
    widths = dict(resnet50=128, wide=128, regnet=384, padded=64)
    assert model.head.mlp[0].in_features == widths[name]


CONVNEXT = dict(type='ConvNeXt', arch=BACKBONES['convnext'][0]['arch'], gap_before_final_norm=False)
R50 = dict(type='ResNet', depth=50, stem_channels=8, base_channels=8)


@pytest.mark.parametrize(
    ('name', 'backbone'),
    [
        ('cmid/cmid_resnet18_1xb64-coslr-100e_folder-224px', R50),
        ('cmid/cmid_resnet18_1xb64-coslr-100e_geotiff-224px', OTHERS['padded']),
        ('cmid/cmid_resnet18_1xb32-coslr-22e_demo-64px', CONVNEXT),
        ('dino_mc/dino-mc_resnet18_1xb64-coslr-100e_folder-224px', OTHERS['padded']),
        ('dino_mc/dino-mc_resnet18_1xb64-coslr-100e_geotiff-224px', R50),
        ('dino_mc/dino-mc_resnet18_1xb32-coslr-16e_demo-64px', CONVNEXT),
    ],
)
def test_configs_for_ones_own_data_take_other_backbones(name, backbone):
    config = get_config(name).model
    config.backbone = backbone
    config.data_preprocessor.update(mean=[100.0] * 3, std=[50.0] * 3)
    for head in ('head', 'local_head'):
        if head in config:
            config[head].update(hidden_channels=16, num_prototypes=16)
    model = build(config, seed=0)
    batch = make_batch() if 'cmid' in name else make_crops((64, 64, 40))
    train_step(model, batch)
    first = next(iter(model.backbone.parameters()))
    assert first.grad.abs().max() > 0


def test_a_narrower_neck_takes_the_queue_with_it():
    config = without_sizes(cmid_config())
    config['neck']['out_channels'] = 12
    model = build(config, seed=0)
    assert model.global_head.queue.shape == (24, 12)
    train_step(model, make_batch())


def test_sizes_that_do_not_fit_name_both():
    init_default_scope('mmpretrain')
    config = dino_config('resnet')
    config['head']['in_channels'] = 32
    with pytest.raises(ValueError, match=r'model\.head\.in_channels=32, but the width of what ResNet gives is 64'):
        MODELS.build(config)
    config = cmid_config(byol=True)
    config['global_head']['predictor']['in_channels'] = 8
    with pytest.raises(ValueError, match=r'predictor\.in_channels=8, but the width of what the neck gives is 16'):
        MODELS.build(config)


@pytest.mark.parametrize(
    ('config', 'channels', 'stride'),
    [
        (dict(VIT, patch_size=14, img_size=(70, 98), out_type='featmap'), 192, 14),
        (dict(VIT, img_size=100, out_type='featmap'), 192, 16),
        (VIT, 192, None),
        (dict(type='SwinTransformer', arch='tiny', window_size=12, img_size=384), 768, 32),
        (dict(type='BEiTViT', arch=BACKBONES['vit'][0]['arch'], img_size=64, out_type='featmap'), 64, 16),
        (dict(type='ResNet', depth=18, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), 512, 16),
    ],
)
def test_sizes_of_outputs(config, channels, stride):
    init_default_scope('mmpretrain')
    backbone = MODELS.build(config)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    torch.manual_seed(3)
    found = output_size_of(backbone, 3)
    assert (found.channels, found.stride) == (channels, stride)
    assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(3))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert backbone.training


@OURS.register_module(force=True)
class OddBackbone(nn.Module):
    """Wants images of 48 pixels, and tells nobody."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, 7, 16, 16)

    def forward(self, view):
        if view.shape[-1] != 48:
            raise RuntimeError('48')
        return (self.layer(view),)


def test_what_is_not_found_out_has_to_be_given():
    init_default_scope('mmpretrain')
    assert output_size_of(OddBackbone(), 3) is None
    config = dino_config(backbone=dict(type='mmrs_ssl.OddBackbone'))
    with pytest.raises(ValueError, match=r'model\.head\.in_channels cannot be found out .*: give it'):
        MODELS.build(without_sizes(config))
    config['head']['in_channels'] = 7
    assert MODELS.build(config).head.mlp[0].in_features == 7


def test_options_a_class_does_not_have_stay_out():
    init_default_scope('mmpretrain')
    neck = dict(type='GlobalAveragePooling')
    assert following(neck, 'neck', dict(in_channels=(5, 'it is'))) == neck
    assert options_of(dict(type='NoSuchNeck')) == {}
    assert 'hidden_channels' in options_of(dict(type='mmrs_ssl.PrototypeHead'))
    assert shape_given(nn.Linear(3, 4), (2, 3)) == (2, 4)
    assert shape_given(nn.Linear(3, 4), (2, 5)) is None
