"""Swin with padded windows beside torchvision's and mmpretrain's."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer as TorchvisionSwin

from mmrs_ssl.models.backbones.padded_swin import PaddedWindowAttention, pad_windows
from mmrs_ssl.models.backbones.recomputed import take_over_with_cp
from mmrs_ssl.transfer import key_maps, load_backbone
from mmrs_ssl.transfer.targets import translate

DEPTHS, HEADS = (2, 2, 6, 2), (3, 6, 12, 24)
# the last two are no whole number of patches
SIZES = [(224, 224), (184, 184), (144, 144), (84, 84), (84, 240), (300, 224), (57, 200), (33, 90)]
SMALL = dict(
    arch=dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 1, 2, 2]), img_size=64, window_size=2, drop_path_rate=0.0
)

SIMMIM = {**SMALL, 'stage_cfgs': dict(block_cfgs=dict(window_size=2))}
del SIMMIM['window_size']


def build(kind, seed=0, **options):
    init_default_scope('mmpretrain')
    torch.manual_seed(seed)
    swin = MODELS.build(dict(type=kind, **options))
    swin.init_weights()
    for name, parameter in swin.named_parameters():
        if name.endswith(('bias', 'bias_table')):  # which begin as zeros or next to it, and would hide mistakes
            nn.init.normal_(parameter, std=0.5)
    return swin


def pair(width):
    """torchvision's Swin-T of a width and ours, with the same weights."""
    arch = dict(embed_dims=width, depths=list(DEPTHS), num_heads=list(HEADS))
    ours = build('mmrs_ssl.PaddedSwinTransformer', arch=arch, drop_path_rate=0.0)
    theirs = TorchvisionSwin([4, 4], width, list(DEPTHS), list(HEADS), [7, 7], stochastic_depth_prob=0.0, num_classes=2)
    weights = translate(ours.state_dict(), key_maps.SWIN, key_maps.SWIN_TORCHVISION)
    assert set(theirs.load_state_dict(weights, strict=False).missing_keys) == {'head.weight', 'head.bias'}
    return ours, theirs  # both in training mode


def gradients_in_our_names(theirs):
    grads = {name: each.grad for name, each in theirs.named_parameters() if each.grad is not None}
    return translate(grads, key_maps.SWIN_TORCHVISION, key_maps.SWIN)


def compare(width, size):
    ours, theirs = pair(width) if isinstance(width, int) else width
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    mine = ours(image)[-1]
    other = theirs.norm(theirs.features(image)).permute(0, 3, 1, 2)
    assert mine.shape == other.shape
    assert (mine - other).abs().max() <= 1e-5 * other.abs().max()
    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(2))
    (mine * weights).sum().backward()
    (other * weights).sum().backward()
    expected = gradients_in_our_names(theirs)
    found = {name: each.grad for name, each in ours.named_parameters()}
    assert found.keys() == expected.keys()
    for name, grad in found.items():
        assert (grad - expected[name]).norm() <= 1e-4 * expected[name].norm(), name
    ours.zero_grad()
    theirs.zero_grad()


@pytest.fixture(scope='module')
def narrow():
    return pair(24)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_maps_and_gradients_are_torchvisions(narrow, size):
    compare(narrow, size)


@pytest.mark.slow
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_maps_and_gradients_of_swin_t_are_torchvisions(size):
    compare(96, size)


def test_mmpretrains_way_differs_from_torchvisions_on_small_maps(narrow):
    """Else the tests above would show nothing."""
    ours, _ = narrow
    arch = dict(embed_dims=24, depths=list(DEPTHS), num_heads=list(HEADS))
    shifting = build('SwinTransformer', arch=arch, drop_path_rate=0.0, pad_small_map=True)
    shifting.load_state_dict(ours.state_dict())
    image = torch.randn(1, 3, 84, 84)
    with torch.no_grad():
        own, other = ours(image)[-1], shifting(image)[-1]
    assert (own - other).abs().max() > 1e-2 * own.abs().max()


@pytest.mark.parametrize('size', [(256, 384), (192, 128), (64, 128)])
def test_large_maps_are_as_mmpretrain_has_them(size):
    """The last map of the last size is 2 places high, a window: mmpretrain then shifts neither direction, ours one."""
    ours = build('mmrs_ssl.PaddedSwinTransformer', **SMALL, out_indices=(1, 2, 3))
    plain = build('SwinTransformer', **SMALL, out_indices=(1, 2, 3))
    assert list(ours.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(2, 3, *size)
    same = [torch.allclose(*each, rtol=1e-5, atol=1e-5) for each in zip(ours(image), plain(image), strict=True)]
    assert same == [True, True, size != (64, 128)]


def test_a_direction_of_one_window_is_not_shifted():
    """Moving an image's content along the long side moves the map of the short one's rows with it, row by row."""
    attention = build('mmrs_ssl.PaddedSwinTransformer', **SMALL).stages[0].blocks[1].attn
    assert (attention.window_size, attention.shift_size) == (2, 1)
    tokens = torch.randn(1, 2 * 6, 8)
    before = attention(tokens, (2, 6)).view(1, 2, 6, 8)
    changed = tokens.clone().view(1, 2, 6, 8)
    changed[:, 0, 0] += 1  # in columns windows hold (5 and 0, masked), (1, 2), (3, 4); in rows both
    after = attention(changed.flatten(1, 2), (2, 6)).view(1, 2, 6, 8)
    moved = (before - after).abs().sum(-1)[0] > 1e-6
    assert moved.tolist() == [[True] + [False] * 5] * 2


def test_weights_of_other_windows_are_resized(tmp_path):
    larger = build('mmrs_ssl.PaddedSwinTransformer', seed=1, **{**SMALL, 'window_size': 4})
    torch.save(dict(state_dict=larger.state_dict(), meta={}), tmp_path / 'larger.pth')
    ours, plain = build('mmrs_ssl.PaddedSwinTransformer', **SMALL), build('SwinTransformer', **SMALL)
    for swin in (ours, plain):
        load_backbone(swin, tmp_path / 'larger.pth')
    image = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(ours(image)[-1], plain(image)[-1], rtol=1e-5, atol=1e-5)
    bias = larger.state_dict()['stages.0.blocks.1.ffn.layers.1.bias']
    assert torch.equal(ours.state_dict()['stages.0.blocks.1.ffn.layers.1.bias'], bias)


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')  # mmpretrain's own way
@pytest.mark.parametrize('taken_over', [False, True])
def test_recomputed_blocks_compute_the_same(taken_over):
    image = torch.randn(2, 3, 72, 40, requires_grad=True)
    grads = []
    for with_cp in (False, True):
        swin = build('mmrs_ssl.PaddedSwinTransformer', with_cp=with_cp, **SMALL)
        swin.train()
        if taken_over:
            take_over_with_cp(swin)
        swin(image)[-1].square().sum().backward()
        grads.append(swin.stages[0].blocks[0].attn.w_msa.qkv.weight.grad)
    torch.testing.assert_close(*grads)


def test_all_windows_are_padded_and_initialized():
    for kind, options in (('mmrs_ssl.PaddedSwinTransformer', SMALL), ('mmrs_ssl.PaddedSimMIMSwinTransformer', SIMMIM)):
        swin = build(kind, **options)
        attentions = [module.attn for module in swin.modules() if hasattr(module, 'attn')]
        assert len(attentions) == 8
        assert all(type(each) is PaddedWindowAttention for each in attentions)
    torch.manual_seed(0)
    swin = MODELS.build(dict(type='mmrs_ssl.PaddedSwinTransformer', **SMALL))
    table = swin.stages[3].blocks[0].attn.w_msa.relative_position_bias_table
    assert table.abs().max() == 0
    swin.init_weights()
    assert 0 < table.std() < 0.05
    network = nn.Sequential(nn.Linear(2, 2))
    pad_windows(network)  # nothing to do
    assert type(network[0]) is nn.Linear


@pytest.mark.parametrize('library', ['mmseg', 'mmdet'])
def test_other_libraries_build_it(library):
    """By its name alone, with all maps, for images of any size; the weights are those of their own class."""
    models = pytest.importorskip(f'{library}.registry').MODELS
    own = pytest.importorskip(f'{library}.models.backbones').SwinTransformer
    init_default_scope(library)
    torch.manual_seed(0)
    swin = models.build(dict(type='mmrs_ssl.PaddedSwinTransformer', out_indices=(0, 1, 2, 3), **SMALL))
    theirs = own(embed_dims=8, window_size=2, depths=(2, 2, 2, 2), num_heads=(1, 1, 2, 2), drop_path_rate=0.0)
    assert set(swin.state_dict()) == set(theirs.state_dict())
    swin.init_weights()
    theirs.load_state_dict(swin.state_dict())
    maps = swin(torch.randn(1, 3, 92, 60))
    assert [tuple(each.shape) for each in maps] == [(1, 8, 23, 15), (1, 16, 12, 8), (1, 32, 6, 4), (1, 64, 3, 2)]
    image = torch.randn(1, 3, 128, 192)
    for mine, other in zip(swin(image), theirs(image), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_simmim_masks_as_mmpretrain_on_large_maps():
    ours, plain = build('mmrs_ssl.PaddedSimMIMSwinTransformer', **SIMMIM), build('SimMIMSwinTransformer', **SIMMIM)
    plain.load_state_dict(ours.state_dict())
    image, mask = torch.randn(1, 3, 128, 128), torch.rand(1, 32, 32) < 0.5
    torch.testing.assert_close(ours(image, mask)[-1], plain(image, mask)[-1], rtol=1e-5, atol=1e-5)
