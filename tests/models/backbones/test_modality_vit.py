"""A ViT of several modalities is a ViT of each one, fused."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmrs_ssl.engine.optim import LayerDecayOptimWrapperConstructor
from mmrs_ssl.models.backbones.recomputed import recompute_blocks

SMALL = dict(
    arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=24),
    img_size=64,
    patch_size=16,
    patch_cfg=dict(padding=0),
)
MAPS = dict(out_type='featmap', out_indices=(0, 2))
PAIR = [('rgb', 3), ('dsm', 1)]
NAMES = ('patch_embed.projection', 'patch_embeds.dsm.projection', 'fusions.0')


def make(modalities=PAIR, seed=0, **options):
    """A small one, all of whose weights matter but for those of a linear fusion."""
    init_default_scope('mmpretrain')
    backbone = MODELS.build(dict(type='mmrs_ssl.ModalityVisionTransformer', modalities=modalities, **SMALL, **options))
    backbone.init_weights()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if not name.startswith('fusions'):
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng))
    backbone.eval()  # which returns nothing
    return backbone


def plain(backbone, name, bands, **options):
    """mmpretrain's own ViT with the weights that a backbone has for a modality."""
    vit = MODELS.build(dict(type='mmpretrain.VisionTransformer', in_channels=bands, **SMALL, **options))
    vit.eval()
    weights = {
        key: value for key, value in backbone.state_dict().items() if not key.startswith(('patch_embeds', 'fus'))
    }
    mark = f'patch_embeds.{name}.'
    weights |= {
        key.replace(mark, 'patch_embed.'): value for key, value in backbone.state_dict().items() if key.startswith(mark)
    }
    vit.load_state_dict(weights)
    return vit


@pytest.mark.parametrize('share', [None, True, False])
@pytest.mark.parametrize(
    ('options', 'size'),
    [
        (MAPS, (64, 64)),
        (MAPS, (48, 96)),  # positions of another grid
        (dict(out_type='cls_token', pre_norm=True, final_norm=False), (64, 64)),
        (dict(out_type='avg_featmap', layer_scale_init_value=0.5), (64, 64)),
        (dict(out_type='raw', out_indices=(1,), with_cls_token=False), (32, 64)),
    ],
)
def test_maps_are_the_mean_of_those_of_each_modality(share, options, size):
    backbone = make(share_patch_embed=share, **options)
    rgb, dsm = torch.randn(2, 3, *size), torch.randn(2, 1, *size)
    shared = share is not False
    assert set(dict(backbone.patch_embeds)) == (set() if shared else {'dsm'})
    repeated = dsm.expand(-1, 3, -1, -1) if shared else dsm
    alone = [
        plain(backbone, name, image.shape[1], **options)(image) for name, image in (('rgb', rgb), ('dsm', repeated))
    ]
    found = backbone(torch.cat((rgb, dsm), dim=1))
    assert len(found) == len(alone[0])
    for fused, *each in zip(found, *alone, strict=True):
        assert not torch.allclose(*each, atol=0.1)
        if options['out_type'] != 'avg_featmap':  # whose norm comes after the mean
            torch.testing.assert_close(fused, torch.stack(each).mean(0), atol=2e-6, rtol=1e-5)
        assert fused.shape == each[0].shape


def test_channels_are_the_modalities_in_the_order_of_the_list():
    first, second = make(share_patch_embed=False, **MAPS), make(PAIR[::-1], share_patch_embed=False, **MAPS)
    assert first.patch_embed.projection.in_channels == second.patch_embeds['rgb'].projection.in_channels == 3
    weights = first.state_dict()
    for key in ('weight', 'bias'):
        own, other = f'patch_embed.projection.{key}', f'patch_embeds.dsm.projection.{key}'
        weights[f'patch_embeds.rgb.projection.{key}'], weights[own] = weights[own], weights.pop(other)
    second.load_state_dict(weights)
    image = torch.randn(2, 4, 64, 64)
    for found, expected in zip(second(image.roll(1, 1)), first(image), strict=True):
        torch.testing.assert_close(found, expected)


def test_three_modalities_with_bands_of_their_own():
    backbone = make([('rgb', 3), ('msi', 5), ('dsm', 1)], **MAPS)
    assert {name: each.projection.in_channels for name, each in backbone.patch_embeds.items()} == dict(msi=5, dsm=1)
    image = torch.randn(1, 9, 64, 64)
    images = dict(zip(('rgb', 'msi', 'dsm'), image.split((3, 5, 1), 1), strict=True))
    alone = [plain(backbone, name, each.shape[1], **MAPS)(each)[1] for name, each in images.items()]
    torch.testing.assert_close(backbone(image)[1], torch.stack(alone).mean(0), atol=2e-6, rtol=1e-5)


def test_a_linear_fusion_starts_as_the_mean_and_learns():
    mean, linear = make(**MAPS), make(fuse='linear', **MAPS)
    linear.load_state_dict(mean.state_dict(), strict=False)
    image = torch.randn(2, 4, 64, 64)
    for found, expected in zip(linear(image), mean(image), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
    assert sorted(linear.fusions) == ['0', '2']  # one for each output
    sum(each.square().sum() for each in linear(image)).backward()
    for fusion in linear.fusions.values():
        rgb, dsm = fusion.weight.grad.chunk(2, dim=1)
        assert not torch.allclose(rgb, dsm)
        assert fusion.bias.grad.abs().min() > 0
    with torch.no_grad():
        linear.fusions['2'].weight[:, :16] = torch.eye(16)
        linear.fusions['2'].weight[:, 16:] = 0
        linear.fusions['2'].bias.fill_(1.0)
    rgb = plain(linear, 'rgb', 3, **MAPS)(image[:, :3])
    torch.testing.assert_close(linear(image)[1], rgb[1] + 1, atol=2e-6, rtol=1e-5)


def test_an_initialization_of_linear_layers_leaves_the_fusion_as_it_is():
    backbone = make(fuse='linear', init_cfg=dict(type='Normal', layer='Linear', std=3.0), **MAPS)
    assert torch.equal(backbone.fusions['0'].weight, torch.eye(16).repeat(1, 2) / 2)
    assert backbone.layers[0].attn.qkv.weight.std() > 2


def first_part(name):
    return name.split('.')[0]


@pytest.mark.parametrize('fuse', ['mean', 'linear'])
def test_every_weight_learns_but_for_what_is_frozen(fuse):
    backbone = make(share_patch_embed=False, fuse=fuse, frozen_stages=1, **MAPS)
    backbone.train()
    sum(each.square().sum() for each in backbone(torch.randn(2, 4, 64, 64))).backward()
    frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert {name.split('.')[0] for name in frozen} == {
        'cls_token',
        'pos_embed',
        'patch_embed',
        'patch_embeds',
        'layers',
    }
    assert all(name.startswith('layers.0.') for name in frozen if name.startswith('layers'))
    assert not [n for n, p in backbone.named_parameters() if p.requires_grad and not p.grad.any()]


def test_layer_decay_and_recomputed_blocks():
    """Parts that know mmpretrain's ViT know this one, too."""
    model = nn.Module()
    model.backbone = make(share_patch_embed=False, fuse='linear', **MAPS)
    model.backbone.train()
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1))
    params: list = []
    LayerDecayOptimWrapperConstructor(wrapper, dict(layer_decay_rate=0.5)).add_params(params, model)
    rates = {group['param_name']: group['lr'] for group in params}
    assert (
        rates['backbone.patch_embeds.dsm.projection.weight']
        == rates['backbone.patch_embed.projection.weight']
        == 0.5**4
    )
    assert rates['backbone.fusions.0.weight'] == 1.0
    image = torch.randn(2, 4, 64, 64)
    expected = [each.detach() for each in model.backbone(image)]
    assert recompute_blocks(model.backbone) == 3
    for found, each in zip(model.backbone(image), expected, strict=True):
        torch.testing.assert_close(found, each)


def test_the_order_of_channels_outlives_a_config_that_mmengine_writes(tmp_path):
    cfg = Config(dict(model=dict(type='mmrs_ssl.ModalityVisionTransformer', modalities=PAIR, **SMALL)))
    cfg.dump(tmp_path / 'written.py')
    init_default_scope('mmpretrain')
    assert list(MODELS.build(Config.fromfile(tmp_path / 'written.py').model).modality_bands.items()) == PAIR


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(modalities=dict(rgb=3, dsm=1)), 'expected a list of .* no dict, whose order is lost'),
        (dict(modalities=[]), r'modalities=\[\], expected a list'),
        (dict(modalities=[('rgb', 3), ('rgb', 1)]), 'expected a list'),
        (dict(modalities=[('rgb', 3), ('dsm', True)]), 'expected a list'),
        (dict(modalities=[('rgb', 3), ('dsm', 0)]), 'expected a list'),
        (dict(modalities=['rgb', 'dsm']), 'expected a list'),
        (dict(fuse='max'), "fuse='max' is not one of mean, linear"),
        (dict(in_channels=4), r'in_channels=4, but modalities=.* says it: leave it out'),
        (dict(modalities=[('rgb', 3), ('msi', 5)], share_patch_embed=True), 'share_patch_embed=True'),
    ],
)
def test_what_is_no_list_of_modalities_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        make(**options)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match='images of 3 channels, expected 4: the bands of rgb 3, dsm 1, in this order'):
        make(**MAPS)(torch.randn(1, 3, 64, 64))
