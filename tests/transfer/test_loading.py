"""Loud loading: what is adapted and how, what is refused, and what OpenMMLab's own loading does instead."""

import copy

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.adapt import adapt_bands
from tests.conftest import BACKBONES
from tests.transfer.backbones import COUNTERPARTS, SWIN, agree, build, mine, same, save, under, weights_of

FIRST = dict(
    resnet='conv1.weight',
    deep_stem='stem.0.conv.weight',
    swin='patch_embed.projection.weight',
    vit='patch_embed.projection.weight',
    convnext='downsample_layers.0.0.weight',
)
ARCH = {family: settings[0].get('arch') for family, settings in BACKBONES.items()}


@pytest.fixture
def log(tmp_path):
    """What is printed while a test runs."""
    MMLogger.get_instance(f'test_{tmp_path.name}', log_file=str(tmp_path / 'log.txt'))
    return lambda: (tmp_path / 'log.txt').read_text()


# What is printed


def test_one_table_says_what_became_of_every_weight(tmp_path, log):
    source, target = mine('swin'), build('mmseg', SWIN, in_channels=4, window_size=4, seed=1)
    heads = {'head.fc.weight': torch.zeros(1), 'mask_token': torch.zeros(1), 'backbone.head.x': torch.zeros(1)}
    path = save(under('backbone.', source.state_dict()) | heads, tmp_path / 'mine.pth')
    report = load_backbone(target, path)
    weights = weights_of(target)
    assert set(report.matched) | set(report.adapted) | set(report.fresh) == set(weights)
    assert len(report.matched) + len(report.adapted) + len(report.fresh) == len(weights)
    assert report.adapted['patch_embed.projection.weight'] == '3 -> 4 bands, the mean kernel in each'
    assert len(report.adapted) == 1 + 5  # and a table for each block
    assert sorted(report.ignored) == sorted(heads)
    assert (report.missing, report.mismatch, report.unplaced) == ([], {}, [])
    printed = log()
    assert printed.count('adapted') == 1
    assert report.table() in printed
    table = [line.split() for line in report.table().splitlines()]
    assert [(row[0], int(row[1])) for row in table[1:]] == [
        ('matched', len(report.matched)),
        ('adapted', 6),
        ('ignored', 3),
        ('fresh', 6),
        ('missing', 0),
        ('mismatch', 0),
    ]
    assert str(path) in report.table()
    assert 'Swin of OpenMMLab' in report.table()
    assert 'SwinTransformer of mmseg' in report.table()


# What is refused


def unchanged(module, before):
    return same(weights_of(module), before)


def test_a_weight_without_a_place_is_refused(tmp_path):
    """Without biases of the attention, which mmseg leaves out together, every token would be another."""
    source = mine('vit')
    target = build('mmseg', COUNTERPARTS['vit'], seed=1, qkv_bias=False)
    before = weights_of(target)
    path = save(under('backbone.', source.state_dict()), tmp_path / 'mine.pth')
    with pytest.raises(ValueError, match='no place for 4 weights of the backbone, without which it computes') as error:
        load_backbone(target, path)
    rows = {line.split()[0]: line for line in str(error.value).splitlines()}
    names = [f'backbone.layers.{i}.attn.{part}.bias' for i in range(2) for part in ('qkv', 'proj')]
    assert rows['unplaced'].split()[1:] == ['4', *', '.join(names).split()]
    assert 'biases of queries, keys and values' in rows['why:']
    assert 'with qkv_bias=True' in rows['why:']
    assert unchanged(target, before)


@pytest.mark.parametrize('size', [64, 96])
def test_the_bias_of_patches_goes_into_their_positions(size, tmp_path):
    """mmseg's ViT has by default none; what it computes is the same, of as many patches exactly."""
    source = mine('vit')
    options = dict(patch_bias=False, final_norm=False, img_size=size)
    target = build('mmseg', COUNTERPARTS['vit'], seed=1, **options)
    twin = build('mmseg', COUNTERPARTS['vit'], seed=2, **{**options, 'patch_bias': True})
    path = save(under('backbone.', source.state_dict()), tmp_path / 'mine.pth')
    report = load_backbone(target, path)
    load_backbone(twin, path)
    assert not report.unplaced
    assert "with the patch embedding's bias" in report.adapted['pos_embed']
    assert ('pos_embed' in report.matched, len(report.adapted)) == (False, 1)
    agree(target, twin, torch.randn(2, 3, size, size))


def test_a_weight_that_does_nothing_needs_no_place(tmp_path):
    """A bias of zeros; and a last norm is left out on purpose, which is said."""
    source = mine('vit')
    source.patch_embed.projection.bias.data.zero_()
    target = build('mmseg', COUNTERPARTS['vit'], seed=1, patch_bias=False, final_norm=False)
    report = load_backbone(target, save(under('backbone.', source.state_dict()), tmp_path / 'mine.pth'))
    assert report.unplaced == []
    norm = ['backbone.ln1.weight', 'backbone.ln1.bias']
    assert report.ignored == ['backbone.patch_embed.projection.bias', *norm]
    assert report.notes == ['the file has a last norm, the model has none']
    source.final_norm = False
    agree(target, source, torch.randn(2, 3, 64, 64))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e300])
@pytest.mark.parametrize(('library', 'family'), [('mmpretrain', 'convnext'), ('mmseg', 'vit'), ('mmdet', 'resnet')])
def test_values_that_are_no_numbers_raise_and_change_nothing(value, library, family, tmp_path):
    """1e300 is none in single precision."""
    weights = {
        key: value.double() if value.is_floating_point() else value for key, value in mine(family).state_dict().items()
    }
    name = list(weights)[7]
    weights[name].flatten()[1] = value
    target = build(library, COUNTERPARTS[family], seed=1) if library != 'mmpretrain' else mine(family, seed=1)
    before = weights_of(target)
    with pytest.raises(ValueError, match=r'mismatch +1 .*\(1 of \d+ values are NaN or inf: pre-training had diverged'):
        load_backbone(target, save(weights, tmp_path / 'broken.pth'))
    assert unchanged(target, before)


def test_values_that_are_not_loaded_may_be_anything(tmp_path):
    weights = weights_of(mine('resnet')) | {'head.fc.weight': torch.full((2,), float('nan'))}
    assert load_backbone(mine('resnet', seed=1), save(weights, tmp_path / 'mine.pth')).ignored == ['head.fc.weight']


def test_missing_weights_raise_and_change_nothing(tmp_path):
    weights = weights_of(mine('vit'))
    for key in [key for key in weights if key.startswith('layers.1.attn')]:
        del weights[key]
    target = mine('vit', seed=1)
    before = weights_of(target)
    with pytest.raises(ValueError, match=r'4 of \d+ weights of the model') as error:
        load_backbone(target, save(under('backbone.', weights), tmp_path / 'part.pth'))
    rows = {line.split()[0]: line for line in str(error.value).splitlines()}
    assert rows['missing'].split()[1] == '4'
    for key in ('qkv.weight', 'qkv.bias', 'proj.weight', 'proj.bias'):
        assert f'layers.1.attn.{key}' in rows['missing']
    assert 'Give the checkpoint of the same architecture' in str(error.value)
    assert unchanged(target, before)


@pytest.mark.parametrize('buffer', ['running_mean', 'running_var'])
def test_running_statistics_are_needed_and_counts_are_not(buffer, tmp_path):
    weights = weights_of(mine('resnet'))
    published = {key: value for key, value in weights.items() if not key.endswith('num_batches_tracked')}
    target = mine('resnet', seed=1)
    report = load_backbone(target, save(published, tmp_path / 'published.pth'))
    assert len(report.matched) == len(published)
    del published[f'layer3.1.bn2.{buffer}']
    with pytest.raises(ValueError, match=rf'missing +1  layer3\.1\.bn2\.{buffer}'):
        load_backbone(target, save(published, tmp_path / 'part.pth'))


def test_the_last_norm_is_not_exempt(tmp_path):
    weights = weights_of(mine('swin'))
    del weights['norm3.weight']
    with pytest.raises(ValueError, match=r'missing +1  norm3\.weight'):
        load_backbone(build('mmseg', SWIN), save(weights, tmp_path / 'part.pth'))


def test_other_shapes_raise_and_change_nothing(tmp_path):
    target = mine('resnet', seed=1)
    before = weights_of(target)
    with pytest.raises(ValueError, match=r'mismatch +\d+  .*\[16, 3, 7, 7\] in the file, \[8, 3, 7, 7\] in the model'):
        load_backbone(target, save(weights_of(mine('resnet', stem_channels=16)), tmp_path / 'wide.pth'))
    assert unchanged(target, before)


@pytest.mark.parametrize(
    ('family', 'deeper', 'place'),
    [
        ('resnet', dict(depth=34), 'layer1.2.conv1.weight'),
        ('vit', dict(arch=dict(ARCH['vit'], num_layers=3)), 'layers.2.ln1.weight'),
        ('swin', dict(arch=dict(ARCH['swin'], depths=[1, 1, 4, 1])), 'stages.2.blocks.2.norm1.weight'),
        ('convnext', dict(arch=dict(ARCH['convnext'], depths=[1, 1, 2, 1])), 'stages.2.1.gamma'),
    ],
)
def test_a_deeper_backbone_is_not_cut_short(family, deeper, place, tmp_path):
    """All weights of the model are in the file, but not all blocks of its stages are in the model."""
    source, target = mine(family, **deeper), mine(family, seed=1)
    before = weights_of(target)
    extra = len(weights_of(source)) - len(before)
    path = save(under('backbone.', source.state_dict()), tmp_path / 'deeper.pth')
    with pytest.raises(
        ValueError, match=rf'mismatch +{extra}  backbone\.{place} \(of a block that the model has not\)'
    ):
        load_backbone(target, path)
    assert unchanged(target, before)


STAGES = {
    'resnet': (dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1)), ['layer4']),
    'swin': (
        dict(arch=dict(embed_dims=8, depths=[1, 1, 2], num_heads=[1, 2, 4])),
        ['stages.2.downsample', 'stages.3', 'norm3'],
    ),
    'convnext': (
        dict(arch=dict(depths=[1, 1, 1], channels=[8, 16, 32])),
        ['stages.3', 'downsample_layers.3', 'norm3'],
    ),
}


@pytest.mark.parametrize('family', STAGES)
def test_a_stage_less(family, tmp_path):
    """Taken on purpose, e.g. by detectors that use the third stage of a ResNet."""
    changes, without = STAGES[family]
    source, target = mine(family), mine(family, seed=1, **changes, out_indices=(2,))
    report = load_backbone(target, save(source.state_dict(), tmp_path / 'mine.pth'))
    assert report.unplaced == []
    assert all(key.startswith(tuple(f'{part}.' for part in without)) for key in report.ignored)
    assert set(report.ignored) == {key for key in weights_of(source) if key not in weights_of(target)}
    kept = {key: w for key, w in weights_of(source).items() if key in weights_of(target)}
    assert same({key: w for key, w in weights_of(target).items() if key not in report.fresh}, kept)


def test_a_module_without_weights(tmp_path):
    path = save(mine('resnet').state_dict(), tmp_path / 'mine.pth')
    with pytest.raises(ValueError, match='ReLU has no weights to load; give the backbone'):
        load_backbone(nn.ReLU(), path)


def test_another_family_raises(tmp_path):
    target = mine('resnet', seed=1)
    with pytest.raises(ValueError, match='Swin of OpenMMLab') as error:
        load_backbone(target, save(weights_of(mine('swin')), tmp_path / 'swin.pth'))
    assert 'matched      0' in str(error.value)


def test_a_backbone_that_no_map_knows(tmp_path):
    """Its names count as they are, after whatever stands before them."""
    networks = [nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, width, 1)) for width in (4, 4, 5)]
    path = save(under('net.', networks[0].state_dict()), tmp_path / 'net.pth')
    report = load_backbone(networks[1], path)
    assert len(report.matched) == 9
    assert same(weights_of(networks[0]), weights_of(networks[1]))
    with pytest.raises(ValueError, match=r'mismatch +2  2\.weight'):
        load_backbone(networks[2], path)


@pytest.mark.parametrize('library', ['mmpretrain', 'mmseg', 'mmdet'])
def test_openmmlabs_own_loading_goes_on_with_nothing(library, tmp_path):
    """The contrast: the same files, no name of which fits, leave every weight as it was, and no error is raised."""
    source = mine('resnet')
    renamed = str(save(under('encoder.net.', source.state_dict()), tmp_path / 'renamed.pth'))
    another = str(save(under('backbone.', mine('vit').state_dict()), tmp_path / 'another.pth'))
    fitting = str(save(source.state_dict(), tmp_path / 'fitting.pth'))
    loaded = {}
    for path in (renamed, another, fitting):
        model = build(library, COUNTERPARTS['resnet'], seed=1, init_cfg=dict(type='Pretrained', checkpoint=path))
        before = weights_of(model)
        model.init_weights()
        loaded[path] = not unchanged(model, before)
    assert loaded == {renamed: False, another: False, fitting: True}
    model = build(library, COUNTERPARTS['resnet'], seed=1)
    report = load_backbone(model, renamed)
    assert len(report.matched) == len(before)
    assert same(weights_of(model), weights_of(source))
    with pytest.raises(ValueError, match=r'ViT of mmpretrain.*\n +matched +0\n(.*\n)+ +missing +100  conv1\.weight, '):
        load_backbone(model, another)


# Bands


def response(module, name, image):
    """What the first convolution makes of an image, without its bias."""
    weight = weights_of(module)[name]
    return nn.functional.conv2d(image, weight, stride=weight.shape[-1])


@pytest.mark.parametrize('family', FIRST)
@pytest.mark.parametrize('bands', [1, 4, 13])
def test_the_mean_response_stays_there_and_back(family, bands, tmp_path):
    """An image that is the same in every band gives the same response, from 3 bands to others and back to 3."""
    source, middle, back = (mine(family, seed, in_channels=count) for seed, count in enumerate((3, bands, 3)))
    report = load_backbone(middle, save(weights_of(source), tmp_path / 'three.pth'))
    assert report.adapted == {FIRST[family]: f'3 -> {bands} bands, the mean kernel in each'}
    load_backbone(back, save(weights_of(middle), tmp_path / 'many.pth'))
    gray = torch.randn(2, 1, 32, 32)
    expected = response(source, FIRST[family], gray.expand(-1, 3, -1, -1))
    for module, count in ((middle, bands), (back, 3)):
        found = response(module, FIRST[family], gray.expand(-1, count, -1, -1))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    kernels = weights_of(middle)[FIRST[family]]
    torch.testing.assert_close(kernels, kernels[:, :1].expand_as(kernels))  # no band is preferred
    torch.testing.assert_close(kernels[:, 0], weights_of(source)[FIRST[family]].mean(1) * 3 / bands)
    others = weights_of(source).keys() - {FIRST[family]}
    assert same({k: weights_of(back)[k] for k in others}, {k: weights_of(source)[k] for k in others})


def test_bands_by_name():
    """RGB to RGB and near infrared: differences between bands stay, and so does the sum over them."""
    weight = torch.randn(4, 3, 5, 5)
    four = adapt_bands(weight, 4, (0, 1, 2, None))
    torch.testing.assert_close(four.sum(1), weight.sum(1))
    for i, j in ((0, 1), (1, 2)):
        torch.testing.assert_close(four[:, i] - four[:, j], weight[:, i] - weight[:, j])
    torch.testing.assert_close(four[:, 3] - four[:, 0], weight.mean(1) - weight[:, 0])
    three = adapt_bands(torch.randn(4, 13, 5, 5), 3, (3, 2, 1))
    assert three.shape == (4, 3, 5, 5)
    assert torch.equal(adapt_bands(weight, 3, (2, 1, 0)), weight.flip(1))
    assert adapt_bands(weight.half(), 4).dtype == torch.half


def test_another_order_of_as_many_bands(tmp_path):
    source, target = mine('resnet'), mine('resnet', seed=1)
    path = save(weights_of(source), tmp_path / 'rgb.pth')
    load_backbone(target, path, bands=(2, 1, 0))
    assert torch.equal(target.conv1.weight, source.conv1.weight.flip(1))
    image = torch.randn(1, 3, 64, 64)
    found, expected = (copy.deepcopy(module).double() for module in (target, source))
    torch.testing.assert_close(found(image.double().flip(1))[-1], expected(image.double())[-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('bands', [(0, 1), (0, 1, 2, 3), (0, 1, -1, 2), 'gray', [0.0, 1.0, 2.0, None], 4])
def test_bands_that_are_not_there(bands, tmp_path):
    target = mine('resnet', seed=1, in_channels=4)
    before = weights_of(target)
    with pytest.raises(ValueError, match=r'expected one entry for each of the 4 bands.*between 0 and 2'):
        load_backbone(target, save(weights_of(mine('resnet')), tmp_path / 'rgb.pth'), bands=bands)
    assert unchanged(target, before)


def test_bands_that_nothing_would_take(tmp_path):
    """Where the first convolution is not known, an order of bands is not passed over in silence."""
    networks = [nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)) for _ in range(2)]
    path = save(networks[0].state_dict(), tmp_path / 'net.pth')
    before = weights_of(networks[1])
    with pytest.raises(ValueError, match=r'bands=\(2, 1, 0\): the first convolution of Sequential is not known'):
        load_backbone(networks[1], path, bands=(2, 1, 0))
    assert unchanged(networks[1], before)
