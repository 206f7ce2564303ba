"""Each map of names, there and back, and what the renamed weights compute in the other library."""

import pytest
import torch
import torchvision
from mmdet.models.backbones.swin import swin_converter
from mmpretrain.registry import MODELS

from mmrs_ssl.transfer import key_maps, load_backbone
from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.layouts import Template, find_backbones
from tests.transfer import backbones
from tests.transfer.backbones import agree, build, counterpart, mine, same, save, torchvisions, under, weights_of

FAMILIES = ('resnet', 'swin', 'vit', 'convnext')


def mmpretrains(layout):
    """The mmpretrain backbone whose weights a layout can name, with everything that has a name."""
    if layout in (key_maps.RESNET_FLAT_STEM, key_maps.RESNET_DEEP_STEM):
        return mine('deep_stem')
    if layout is key_maps.CONVNEXT_TIMM:
        return mine('convnext', use_grn=True)
    if layout in (key_maps.VIT_TIMM, key_maps.VIT, key_maps.VIT_CHUNKED):
        return mine('vit', layer_scale_init_value=0.1, pre_norm=True, out_type='avg_featmap')
    if layout is key_maps.VIT_GATED:
        return mine('vit', layer_scale_init_value=0.1, layer_cfgs=dict(ffn_type='swiglu_fused'))
    return mine(layout.family)


@pytest.mark.parametrize('layout', LAYOUTS, ids=lambda layout: layout.name)
def test_there_and_back_nothing_is_lost(layout):
    weights = weights_of(mmpretrains(layout))
    reference = layout.from_mmpretrain(weights)
    assert len(reference) == len(weights)
    assert find_backbones(under('module.net.', reference), LAYOUTS) == {'module.net.': layout}
    assert same(layout.to_mmpretrain(reference), weights)
    head = {'head.fc.weight': torch.ones(1), 'mask_token': torch.zeros(1)}
    assert same(layout.to_mmpretrain(reference | head), weights | head)


@pytest.mark.parametrize('family', FAMILIES)
def test_torchvisions_names(family, tmp_path):
    """All of its weights but the head are mmpretrain's; they compute the same; and they go back as they came."""
    network, backbone = torchvisions(family), counterpart(family)
    weights = weights_of(network)
    (layout,) = find_backbones(weights, LAYOUTS).values()
    assert same(layout.from_mmpretrain(layout.to_mmpretrain(weights)), weights)
    torch.save(network.state_dict(), tmp_path / 'torchvision.pth')
    report = load_backbone(backbone, tmp_path / 'torchvision.pth')
    assert sorted(key.split('.')[-1] for key in report.ignored) == ['bias', 'weight']  # of the classifier
    assert len(report.matched) == len(weights) - 2
    assert not report.adapted
    image = torch.randn(2, 3, 64, 64)
    agree(backbone, network, image)
    save(under('backbone.', weights_of(backbone)), tmp_path / 'mine.pth')
    other = torchvisions(family, seed=2)
    for head in ('fc', 'head', 'heads', 'classifier'):  # the network alone, without what the file cannot have
        if hasattr(other, head):
            part = getattr(other, head)
            setattr(other, head, part[:1] if family == 'convnext' else torch.nn.Identity())
    load_backbone(other, tmp_path / 'mine.pth')
    agree(other, network, image, exact=0)


def test_torchvisions_old_names_of_the_vit():
    """In the files that it downloads."""
    weights = weights_of(torchvisions('vit'))
    old = {key.replace('mlp.0.', 'mlp.linear_1.').replace('mlp.3.', 'mlp.linear_2.'): w for key, w in weights.items()}
    assert sum('linear_' in key for key in old) == 8
    layout = key_maps.VIT_TORCHVISION
    assert same(layout.to_mmpretrain(old), layout.to_mmpretrain(weights))


def test_wide_resnet():
    """torchvision's names and shapes are those of mmpretrain's ResNet of the same width."""
    with torch.device('meta'):
        wide = torchvision.models.wide_resnet50_2()
    backbone = MODELS.build(dict(type='mmpretrain.ResNet', depth=50, base_channels=128, expansion=2))
    shapes = {key: value.shape for key, value in wide.state_dict().items() if not key.startswith('fc.')}
    assert {key: value.shape for key, value in backbone.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ('library', 'family'),
    [(library, family) for library in ('mmseg', 'mmdet') for family in ('resnet', 'deep_stem', 'swin')]
    + [('mmseg', 'vit')],  # mmdetection has no ViT of its own
)
def test_openmmlabs_other_libraries(library, family, tmp_path):
    """From mmpretrain to mmseg or mmdet and back: the same outputs, the same weights."""
    source = mine(family)
    target = build(library, backbones.COUNTERPARTS[family], seed=1)
    report = load_backbone(target, save(under('backbone.', source.state_dict()), tmp_path / 'mine.pth'))
    assert report.fresh == [f'norm{i}.{p}' for i in range(3) for p in ('weight', 'bias')] * (family == 'swin')
    agree(target, source, torch.randn(2, 3, 64, 64))
    back = mine(family, seed=2)
    report = load_backbone(back, save(under('backbone.', target.state_dict()), tmp_path / 'reference.pth'))
    assert report.ignored == [f'backbone.norm{i}.{p}' for i in range(3) for p in ('weight', 'bias')] * (
        family == 'swin'
    )
    assert same(weights_of(back), weights_of(source))


def test_a_norm_before_the_layers(tmp_path):
    """mmseg's ViT has it too, under another name."""
    source = mine('vit', pre_norm=True)
    target = build('mmseg', backbones.COUNTERPARTS['vit'], seed=1, pre_norm=True, patch_bias=False)
    load_backbone(target, save(source.state_dict(), tmp_path / 'mine.pth'))
    agree(target, source, torch.randn(2, 3, 64, 64))


def test_swin_from_mmseg_to_mmdet(tmp_path):
    """All four outputs, with the norms that mmseg trained."""
    source = build('mmseg', backbones.SWIN)
    target = build('mmdet', backbones.SWIN, seed=1)
    others = {'decode_head.conv_seg.weight': torch.zeros(2)}
    path = save(under('backbone.', source.state_dict()) | others, tmp_path / 'mmseg.pth')
    report = load_backbone(target, path)
    assert (report.fresh, report.ignored) == ([], list(others))
    image = torch.randn(1, 3, 64, 64)
    for found, expected in zip(target(image), source(image), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_convnext_of_several_outputs(tmp_path):
    """As mmseg's configs build mmpretrain's."""
    source, target = mine('convnext'), mine('convnext', seed=1, out_indices=[0, 1, 2, 3])
    report = load_backbone(target, save(under('backbone.', source.state_dict()), tmp_path / 'mine.pth'))
    assert report.fresh == [f'norm{i}.{p}' for i in range(3) for p in ('weight', 'bias')]
    agree(target, source, torch.randn(1, 3, 64, 64), exact=0)


def test_the_published_swin_is_what_mmdetection_makes_of_it():
    """Names and the order of patch merging; mmdetection's converter is the reference."""
    weights = weights_of(mine('swin'))
    published = key_maps.SWIN_PUBLISHED.from_mmpretrain(weights)
    assert 'layers.2.downsample.reduction.weight' in published
    assert 'layers.3.downsample.reduction.weight' not in published
    converted = {key.removeprefix('backbone.'): value for key, value in swin_converter(published).items()}
    converted['norm3.weight'], converted['norm3.bias'] = converted.pop('norm.weight'), converted.pop('norm.bias')
    assert same({key: value.contiguous() for key, value in converted.items()}, weights)


# timm 1.0's names, written down from its models: what a block has, and what there is once.
LINEAR = ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2', 'norm1', 'norm2')
TIMM = dict(
    swin=(
        {f'layers.{s}.blocks.{b}': (1, 1, 2, 1)[s] for s in range(4) for b in range((1, 1, 2, 1)[s])},
        LINEAR,
        ['attn.relative_position_bias_table'],
        ['patch_embed.proj', 'patch_embed.norm', 'norm', *(f'layers.{s}.downsample.norm' for s in (1, 2, 3))],
        [f'layers.{s}.downsample.reduction.weight' for s in (1, 2, 3)],
    ),
    vit=(
        ['blocks.0', 'blocks.1'],
        LINEAR,
        ['ls1.gamma', 'ls2.gamma'],
        ['patch_embed.proj', 'norm', 'norm_pre', 'fc_norm'],
        ['cls_token', 'pos_embed'],
    ),
    convnext=(
        [f'stages.{s}.blocks.0' for s in range(4)],
        ('conv_dw', 'norm', 'mlp.fc1', 'mlp.fc2', 'mlp.grn'),
        ['gamma'],
        ['stem.0', 'stem.1', 'head.norm', *(f'stages.{s}.downsample.{i}' for s in (1, 2, 3) for i in (0, 1))],
        [],
    ),
)


@pytest.mark.parametrize('family', TIMM)
def test_timms_names(family):
    blocks, modules, parameters, single, tensors = TIMM[family]
    names = {f'{block}.{module}.{p}' for block in blocks for module in modules for p in ('weight', 'bias')}
    names |= {f'{block}.{parameter}' for block in blocks for parameter in parameters}
    names |= {f'{module}.{p}' for module in single for p in ('weight', 'bias')} | set(tensors)
    layout = next(
        layout
        for layout in LAYOUTS
        if layout.name.endswith(('of timm', 'of timm and DINO')) and layout.family == family
    )
    backbone = mmpretrains(layout)
    if family == 'vit':  # mmpretrain's has no bias in front of a norm
        names.remove('patch_embed.proj.bias')
    weights = weights_of(backbone)
    assert set(layout.from_mmpretrain(weights)) == names
    assert find_backbones(names | {'head.fc.weight'}, LAYOUTS) == {'': layout}


def test_timm_moved_the_patch_merging():
    """Both places are told apart, and lead to the same weights."""
    weights = weights_of(mine('swin'))
    old, new = (layout.from_mmpretrain(weights) for layout in (key_maps.SWIN_PUBLISHED, key_maps.SWIN_TIMM))
    assert {key for key in old if 'downsample' in key} != {key for key in new if 'downsample' in key}
    for reference, layout in ((old, key_maps.SWIN_PUBLISHED), (new, key_maps.SWIN_TIMM)):
        buffers = {
            'layers.0.blocks.0.attn.relative_position_index': torch.zeros(1),
            'layers.0.blocks.0.attn_mask': torch.zeros(1),
        }
        assert find_backbones(reference, LAYOUTS) == {'': layout}
        assert same(layout.to_mmpretrain(reference | buffers), weights)


def test_patch_merging_by_hand():
    """Two channels: from (column, row, channel) to (channel, row, column)."""
    labels = torch.tensor(
        [[100 * column + 10 * row + channel for column in (0, 1) for row in (0, 1) for channel in (0, 1)]]
    )
    expected = [[100 * column + 10 * row + channel for channel in (0, 1) for row in (0, 1) for column in (0, 1)]]
    assert key_maps.to_unfold(labels).tolist() == expected
    assert torch.equal(key_maps.from_unfold(key_maps.to_unfold(labels)), labels)


@pytest.mark.parametrize(
    ('template', 'key', 'values'),
    [
        ('layers.{n+1}.downsample.*', 'layers.3.downsample.norm.bias', {'n': 2, '*': 'norm.bias'}),
        ('layers.{n+1}.downsample.*', 'layers.0.downsample.norm.bias', None),
        ('features.{2n+1}.{m}.norm{k}.*', 'features.5.11.norm2.bias', {'n': 2, 'm': 11, 'k': 2, '*': 'bias'}),
        ('features.{2n+1}.{m}.norm{k}.*', 'features.4.11.norm2.bias', None),
        ('norm.*', 'norm1.weight', None),
        ('norm.*', 'fc_norm.weight', None),
        ('cls_token', 'cls_token', {}),
        ('cls_token', 'cls_tokens', None),
        ('blocks.{_}.{n}.norm{k}.*', 'blocks.0.3.norm1.bias', {'_': 0, 'n': 3, 'k': 1, '*': 'bias'}),
    ],
)
def test_templates(template, key, values):
    assert Template(template).match(key) == values
    if values is not None:
        assert Template(template).fill(values) == key


def test_an_index_that_says_nothing_is_made_a_zero():
    assert Template('blocks.{_}.{n}.*').fill({'n': 3, '*': 'bias'}) == 'blocks.0.3.bias'


def test_two_names_of_one_weight_are_refused():
    weights = {'norm.weight': torch.zeros(1), 'norm3.weight': torch.ones(1)}
    with pytest.raises(ValueError, match=r"'norm.weight' and 'norm3.weight' are both 'norm3.weight'"):
        key_maps.SWIN_TIMM.to_mmpretrain(weights)


def test_other_networks_are_not_mistaken():
    """A decoder of transformer layers, or a Swin of the second kind, is no backbone of these."""
    decoder = {'decoder_blocks.0.attn.qkv.weight', 'neck.layers.0.attn.qkv.weight', 'net.blocks.0.attn.qkv.weight'}
    with torch.device('meta'):
        second = set(torchvision.models.swin_v2_t().state_dict())
    assert find_backbones(decoder | second, LAYOUTS) == {}
