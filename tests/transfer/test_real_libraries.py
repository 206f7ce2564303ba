"""timm's and torchvision's own networks beside mine: the same weights compute the same, there and here."""

import re
from functools import partial

import pytest
import timm
import torch
import torchvision
from timm.layers import SwiGLUPacked, resize_rel_pos_bias_table_simple
from timm.models._manipulate import adapt_input_conv
from timm.models.eva import Eva
from timm.models.swin_transformer import checkpoint_filter_fn

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.convert import convert_checkpoint
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.key_maps import SWIN_PUBLISHED
from tests.transfer.backbones import mine, save, scramble, weights_of
from tests.transfer.checkpoints import training
from tests.transfer.references import (
    CORNER,
    HEADS,
    PAIRS,
    Pair,
    deviation,
    features,
    images,
    swin_changes,
    timm_swin_of,
    timm_vit_of,
    vit_changes,
)

# Of features in double precision, in parts of their spread: rounding alone.
EXACT = 1e-10
NORM = partial(torch.nn.LayerNorm, eps=1e-6)


def take(network, weights):
    """Load with what the export program prints: only weights of a head may be missing."""
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all(map(HEADS.fullmatch, missing))
    return network


@pytest.mark.parametrize('name', PAIRS)
def test_a_librarys_weights_compute_the_same_here(name, tmp_path):
    pair = PAIRS[name]
    network, backbone = pair.network(), pair.backbone()
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    assert (report.adapted, report.fresh, report.unplaced, report.notes) == ({}, [], [], [])
    assert all(map(HEADS.fullmatch, report.ignored))
    assert deviation(backbone, network, pair.image()) < EXACT


@pytest.mark.parametrize('name', PAIRS)
def test_our_weights_compute_the_same_there(name, tmp_path):
    pair = PAIRS[name]
    path, student, _ = training(tmp_path / 'run.pth', pair.family, bands=pair.bands, **pair.changes)
    export_backbone(path, tmp_path / 'out.pth', file_format=name.split(',')[0])
    network = take(pair.network(), torch.load(tmp_path / 'out.pth', weights_only=True))
    assert deviation(network, student, pair.image()) < EXACT


@pytest.mark.parametrize(('name', 'linear'), [('timm, ConvNeXt', False), ('timm, ConvNeXt of convolutions', True)])
def test_convolutions_of_one_pixel_are_linear_layers(name, linear, tmp_path):
    """Of either kind there, of the other here."""
    pair = PAIRS[name]
    network, backbone = pair.network(), pair.backbone(linear_pw_conv=linear)
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    assert len(report.adapted) == 2 * 5
    assert deviation(backbone, network, pair.image()) < EXACT


def test_torchvision_has_linear_layers_alone(tmp_path):
    pair = PAIRS['torchvision, ConvNeXt']
    path, student, _ = training(
        tmp_path / 'run.pth', 'convnext', bands=pair.bands, **pair.changes, linear_pw_conv=False
    )
    export_backbone(path, tmp_path / 'out.pth', file_format='torchvision')
    network = take(pair.network(), torch.load(tmp_path / 'out.pth', weights_only=True))
    assert deviation(network, student, pair.image()) < EXACT


@pytest.mark.parametrize(
    'name', ['torchvision, ResNet of basic blocks', 'torchvision, Swin of odd images', 'timm, ViT of oblong images']
)
def test_what_is_converted_for_dino_mc_computes_the_same(name, tmp_path):
    """Its program has torchvision's ResNet and Swin, and a ViT of timm's names."""
    pair = PAIRS[name]
    path, *backbones = training(tmp_path / 'run.pth', pair.family, 'DINOMC', pair.bands, **pair.changes)
    convert_checkpoint(path, tmp_path / 'dino.pth', 'dino-mc')
    content = torch.load(tmp_path / 'dino.pth', weights_only=True)
    for branch, backbone in zip(('student', 'teacher'), backbones, strict=True):
        weights = {re.sub(r'^(module\.)?backbone\.', '', key): value for key, value in content[branch].items()}
        network = take(pair.network(), weights)
        assert deviation(network, backbone, pair.image()) < EXACT


def test_timms_own_reading_of_the_published_swin(tmp_path):
    """Its old names, and Microsoft's: patch merging ends a stage."""
    pair = PAIRS['timm, Swin']
    backbone = pair.backbone()
    old = SWIN_PUBLISHED.from_mmpretrain(weights_of(backbone))
    network = pair.network()
    take(network, checkpoint_filter_fn(dict(old), network))
    assert deviation(network, backbone, pair.image()) < EXACT
    network = pair.network(seed=7)
    old = {
        re.sub(r'^layers\.(\d)\.down', lambda found: f'layers.{int(found[1]) - 1}.down', key): value
        for key, value in network.state_dict().items()
    }
    report = load_backbone(backbone, save(old, tmp_path / 'old.pth'))
    assert 'Swin of Microsoft' in report.source
    assert deviation(network, backbone, pair.image()) < EXACT


def test_torchvisions_own_reading_of_the_vit_it_published(tmp_path):
    """Its old names of the two linear layers."""
    pair = PAIRS['torchvision, ViT']
    names = {'mlp.0.': 'mlp.linear_1.', 'mlp.3.': 'mlp.linear_2.'}
    old = {
        re.sub(r'mlp\.[03]\.', lambda found: names[found[0]], key): value.clone()
        for key, value in pair.network().state_dict().items()
    }
    network, backbone = pair.network(seed=7), pair.backbone()
    load_backbone(backbone, save(old, tmp_path / 'old.pth'))
    network.load_state_dict(old)
    assert deviation(backbone, network, pair.image()) < EXACT


# DINOv2 and its names


GATED = dict(mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=3, init_values=0.1)
# mmpretrain makes 48 of 72, as many as are left of timm's 96 once half of them are gates
GATED_HERE = dict(
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=72),
    layer_cfgs=dict(ffn_type='swiglu_fused'),
    layer_scale_init_value=0.1,
)
FORMS = {
    'of timm': {},
    'of DINOv2': {r'mlp\.fc1': 'mlp.w12', r'mlp\.fc2': 'mlp.w3'},
    'in chunks': {r'mlp\.fc1': 'mlp.w12', r'mlp\.fc2': 'mlp.w3', r'blocks\.(\d+)': r'blocks.\1.\1'},
    'in one chunk': {r'blocks\.(\d+)': r'blocks.0.\1'},
}


@pytest.mark.parametrize('gated', [True, False])
@pytest.mark.parametrize('form', FORMS)
def test_dinov2s_names_of_vits_with_layer_scale(form, gated, tmp_path):
    """With SwiGLU, as the largest has, or an MLP."""
    if form == 'of DINOv2' and not gated:
        pytest.skip('its names are then those of timm')
    timms, ours = (GATED, GATED_HERE) if gated else (dict(init_values=0.1), dict(layer_scale_init_value=0.1))
    pair = Pair(timm_vit_of(**timms), 'vit', {**vit_changes(), **ours}, (64, 64))
    network, backbone = pair.network(), pair.backbone()
    weights = network.state_dict() | dict(mask_token=torch.zeros(1, 32))
    for old, new in FORMS[form].items():
        if gated or 'mlp' not in new:
            weights = {re.sub(old, new, key): value for key, value in weights.items()}
    report = load_backbone(backbone, save(weights, tmp_path / 'reference.pth'))
    assert (report.adapted, report.fresh, report.notes) == ({}, [], [])
    assert set(report.ignored) == {'mask_token', 'head.weight', 'head.bias'}
    assert deviation(backbone, network, pair.image()) < EXACT


def test_layer_scale_of_timms_eva(tmp_path):
    """Of other names; without its rotary positions it is a ViT."""
    sizes = dict(img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=5)
    network = scramble(Eva(**sizes, attn_type='rope', init_values=0.1, global_pool='token', norm_layer=NORM), 0)
    pair = PAIRS['timm, ViT with layer scale']
    backbone = pair.backbone()
    report = load_backbone(backbone, save(network.state_dict(), tmp_path / 'reference.pth'))
    assert report.ignored == ['head.weight', 'head.bias']
    with torch.no_grad():
        expected = network.double().forward_features(pair.image().double())
    assert (features(backbone, pair.image()) - expected).abs().max() < EXACT * expected.std()


def test_swiglu_is_not_loaded_in_part(tmp_path):
    weights = timm_vit_of(**GATED)(3).state_dict()
    with pytest.raises(ValueError, match=r"the file has SwiGLU, the model has not: .*ffn_type='swiglu_fused'"):
        load_backbone(PAIRS['timm, ViT with layer scale'].backbone(), save(weights, tmp_path / 'reference.pth'))
    with pytest.raises(ValueError, match='the model has SwiGLU, the file has not'):
        load_backbone(
            mine('vit', 1, **{**vit_changes(), **GATED_HERE}),
            save(PAIRS['timm, ViT'].network().state_dict(), tmp_path / 'plain.pth'),
        )


def test_timm_has_other_names_of_swiglu(tmp_path):
    path, *_ = training(tmp_path / 'run.pth', 'vit', **{**vit_changes(), **GATED_HERE})
    with pytest.raises(ValueError, match=r'no weight like layers\.0\.ffn\.w12\.weight'):
        export_backbone(path, tmp_path / 'out.pth', file_format='timm')


@pytest.mark.parametrize('size', [(64, 64), (64, 96)])
def test_a_class_token_without_a_position(size, tmp_path):
    """timm's no_embed_class."""
    timms = timm_vit_of(no_embed_class=True, img_size=size)
    pair = Pair(timms, 'vit', vit_changes(img_size=size), size)
    network, backbone = pair.network(), pair.backbone()
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    assert report.adapted == {'pos_embed': "zeros as the class token's position"}
    assert deviation(backbone, network, pair.image()) < EXACT


# Positions


def smooth_positions(network, grid):
    """Positions that change evenly from patch to patch, down and across in other directions."""
    rng = torch.Generator().manual_seed(1)
    token, down, across, middle = torch.randn(4, 32, generator=rng)
    rows, columns = (torch.linspace(-1, 1, size) for size in grid)
    patches = rows[:, None, None] * down + columns[:, None] * across + middle
    network.pos_embed.data = torch.cat([token[None], patches.flatten(0, 1)])[None]


def test_positions_of_another_grid_are_nearly_timms(tmp_path):
    """timm smooths while it resamples, mmpretrain does not: they agree on smooth positions, and to the last bit on the
    class token's. A file that timm has resampled is taken as it is.
    """
    pair = PAIRS['timm, ViT']
    network = pair.network()
    smooth_positions(network, (4, 4))
    torch.save(network.state_dict(), tmp_path / 'square.pth')
    backbone = pair.backbone(img_size=(96, 128))
    report = load_backbone(backbone, tmp_path / 'square.pth')
    assert report.adapted == {'pos_embed': '4x4 -> 6x8 patches'}
    network.set_input_size(img_size=(96, 128))
    assert torch.equal(backbone.pos_embed[:, 0], network.pos_embed[:, 0])
    spread = network.pos_embed.std()
    assert (backbone.pos_embed - network.pos_embed).abs().max() < 0.2 * spread
    turned = backbone.pos_embed[:, 1:].unflatten(1, (6, 8)).mT.reshape(1, 48, 32)
    assert (turned - network.pos_embed[:, 1:]).abs().max() > spread
    torch.save(network.state_dict(), tmp_path / 'oblong.pth')
    assert not load_backbone(backbone, tmp_path / 'oblong.pth').adapted
    wide = Pair(timm_vit_of(), 'vit', vit_changes(), (96, 128))
    assert deviation(backbone, network, wide.image()) < EXACT


def test_images_of_another_size_are_nearly_timms(tmp_path):
    """The same while the model runs, of images that the positions were not made for."""
    timms = timm_vit_of(dynamic_img_size=True, dynamic_img_pad=True)
    pair = Pair(timms, 'vit', vit_changes(patch_cfg={}), (97, 131))
    network, backbone = pair.network(), pair.backbone()
    smooth_positions(network, (4, 4))
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    load_backbone(backbone, tmp_path / 'reference.pth')
    found, expected = (features(each, pair.image()) for each in (backbone, network))
    assert found.shape == expected.shape == (2, 1 + 7 * 9, 32)
    torch.testing.assert_close(found, expected, rtol=0, atol=float(0.1 * expected.std()))


def test_larger_windows_are_those_of_timms_plain_resizing(tmp_path):
    """It has another one too, which looks more closely at near positions, and takes that of its own files."""
    network, backbone = PAIRS['timm, Swin'].network(), mine('swin', 1, **swin_changes(4))
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    assert set(report.adapted.values()) == {'3 -> 7 relative positions a side'}
    larger = Pair(timm_swin_of((128, 128), window_size=4), 'swin', {}, (128, 128))
    resized = {
        key: resize_rel_pos_bias_table_simple(value, (4, 4), (49, value.shape[1])) if 'bias_table' in key else value
        for key, value in network.state_dict().items()
    }
    assert deviation(backbone, take(larger.network(seed=5), resized), larger.image()) < EXACT


# Bands


BANDED = (
    'timm, wide ResNet',
    'timm, ViT of oblong images',
    'timm, Swin of larger windows',
    'timm, ConvNeXt of convolutions',
    'torchvision, ViT of smaller patches',
    'torchvision, Swin of odd images',
    'torchvision, ConvNeXt',
)


@pytest.mark.parametrize('name', BANDED)
def test_a_gray_image_is_the_same_in_any_number_of_bands(name, tmp_path):
    """A library's network of many bands in our backbone of three, features and all."""
    pair = PAIRS[name]
    network, backbone = pair.network(), pair.backbone(in_channels=3)
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    (note,) = report.adapted.values()
    assert note == f'{pair.bands} -> 3 bands, the mean kernel in each'
    gray = pair.image()[:, :1]
    expected = features(network, gray.expand(-1, pair.bands, -1, -1))
    found = features(backbone, gray.expand(-1, 3, -1, -1))
    assert (found - expected).abs().max() < 1e-3 * expected.std()  # the kernels are of single precision


def test_one_band_is_what_timm_makes_of_three(tmp_path):
    """Of more bands it repeats red, green and blue; mine does not know what a band shows."""
    network, backbone = PAIRS['timm, ViT'].network(), PAIRS['timm, ViT'].backbone(in_channels=1)
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    load_backbone(backbone, tmp_path / 'reference.pth')
    expected = adapt_input_conv(1, network.patch_embed.proj.weight)
    torch.testing.assert_close(backbone.patch_embed.projection.weight, expected)


# The sizes that the libraries publish

PUBLISHED = {
    'timm, resnet50': ('resnet', dict(depth=50)),
    'timm, wide_resnet50_2': ('resnet', dict(depth=50, base_channels=128, expansion=2)),
    'timm, vit_small_patch16_224': ('vit', dict(arch='deit-small')),
    'timm, vit_base_patch16_224': ('vit', dict(arch='base')),
    'timm, swin_tiny_patch4_window7_224': ('swin', dict(arch='tiny')),
    'timm, swin_base_patch4_window7_224': ('swin', dict(arch='base')),
    'timm, convnext_tiny': ('convnext', dict(arch='tiny')),
    'timm, convnextv2_tiny': ('convnext', dict(arch='tiny', use_grn=True, layer_scale_init_value=0.0)),
    'torchvision, wide_resnet50_2': ('resnet', dict(depth=50, base_channels=128, expansion=2)),
    'torchvision, vit_b_16': ('vit', dict(arch='base')),
    'torchvision, swin_t': ('swin', dict(arch='tiny')),
    'torchvision, convnext_tiny': ('convnext', dict(arch='tiny')),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', PUBLISHED)
def test_networks_of_published_size(name, tmp_path):
    """As the libraries make them, with nothing set."""
    library, which = name.split(', ')
    make = timm.create_model if library == 'timm' else torchvision.models.get_model
    family, changes = PUBLISHED[name]
    usual = dict(
        resnet=dict(stem_channels=64, base_channels=64),
        vit=dict(img_size=224, out_type='raw', **CORNER),
        swin=dict(img_size=224, window_size=7, pad_small_map=False),
        convnext=dict(gap_before_final_norm=True),
    )[family]
    network, backbone = scramble(make(which), 0), mine(family, 1, **{**usual, **changes})
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    assert (report.adapted, report.fresh, report.unplaced, report.notes) == ({}, [], [], [])
    assert deviation(backbone, network, images(3, (224, 224))) < 1e-7  # twelve layers and more of noise
