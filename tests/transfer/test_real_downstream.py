"""mmseg's and mmdet's own classes beside timm's, torchvision's and mmpretrain's; odd images, many bands."""

import pytest
import torch
from mmengine.config import ConfigDict

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.targets import target_of
from tests.transfer.backbones import NORM, REGISTRIES, agree, build, scramble
from tests.transfer.checkpoints import training
from tests.transfer.references import LONG, PAIRS, deviation, features, images

EXACT = 1e-10
# Classes of mmseg and mmdet for networks of the libraries, and an image's size: maps are larger than a window.
RESNET = dict(type='ResNet', depth=50, stem_channels=64, base_channels=8, in_channels=13)
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
VIT = dict(type='VisionTransformer', embed_dims=32, num_layers=2, num_heads=2, mlp_ratio=2, patch_size=8)
VIT |= dict(patch_bias=True, final_norm=True, norm_cfg=NORM)
CASES = {
    'timm, ResNet of bottlenecks': (RESNET, (97, 131)),
    'timm, Swin of larger windows': (dict(SWIN, window_size=3, in_channels=13), (192, 288)),
    'torchvision, Swin of odd images': (dict(SWIN, window_size=3, in_channels=13), (208, 252)),
    'torchvision, Swin': (dict(SWIN, window_size=2), (100, 132)),
    'timm, ViT of oblong images': (dict(VIT, img_size=LONG, in_channels=13), LONG),
    'torchvision, ViT of smaller patches': (dict(VIT, img_size=48, in_channels=4), (48, 48)),
}


@pytest.mark.parametrize(
    ('library', 'name'),
    [('mmseg', name) for name in CASES] + [('mmdet', name) for name in CASES if 'ViT' not in name],
)
def test_a_librarys_weights_compute_the_same_downstream(library, name, tmp_path):
    config, size = CASES[name]
    network, backbone = PAIRS[name].network(), build(library, config, seed=1)
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    report = load_backbone(backbone, tmp_path / 'reference.pth')
    assert (report.adapted, report.unplaced) == ({}, [])
    image = images(config.get('in_channels', 3), size)
    found, expected = features(backbone, image), features(network, image)
    if 'ViT' in name:
        expected = expected[:, 1:].mT.unflatten(2, [side // 8 for side in size])
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT * float(expected.std()))


@pytest.mark.parametrize(
    ('library', 'family', 'changes', 'bands', 'own'),
    [
        ('mmseg', 'resnet', dict(depth=50, deep_stem=True, avg_down=True), 13, False),
        ('mmdet', 'resnet', dict(depth=50, deep_stem=True, avg_down=True), 1, False),
        ('mmseg', 'resnet', dict(depth=50, style='caffe'), 3, True),
        ('mmdet', 'resnet', dict(avg_down=True, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), 4, False),
        ('mmdet', 'resnet', dict(strides=(1, 2, 1, 2), dilations=(1, 1, 2, 4)), 4, True),
        ('mmseg', 'swin', dict(window_size=3), 13, True),
        ('mmdet', 'swin', dict(window_size=5), 4, True),
        ('mmseg', 'vit', dict(patch_size=8), 13, True),
        ('mmseg', 'vit', dict(patch_cfg={}, img_size=(64, 96)), 1, True),
        ('mmseg', 'vit', dict(interpolate_mode='bilinear', norm_cfg=dict(type='LN', eps=1e-3)), 3, True),
        ('mmseg', 'convnext', dict(use_grn=True, gap_before_final_norm=True), 13, False),
        ('mmdet', 'convnext', dict(linear_pw_conv=False), 4, False),
    ],
)
def test_an_exported_backbone_of_other_shapes(library, family, changes, bands, own, tmp_path):
    """In the library's own class where it can do the same, else in mmpretrain's, on an image of an odd size."""
    path, student, _ = training(tmp_path / 'run.pth', family, bands=bands, **changes)
    meta = export_backbone(path, tmp_path / 'out.pth', library=library)
    target = target_of(library, meta['backbone'], bands)
    assert target.own == own
    settings = {**target.settings, 'init_cfg': target.init_cfg(str(tmp_path / 'out.pth'))}
    backbone = scramble(REGISTRIES[library].build(ConfigDict(settings)), seed=5)
    backbone.init_weights()
    backbone.eval()
    if changes.get('gap_before_final_norm'):
        student.gap_before_final_norm = False  # downstream wants a map
    agree(backbone, student, images(bands, (97, 131)))


@pytest.mark.parametrize('name', ['timm, ViT of oblong images', 'torchvision, ViT of smaller patches'])
def test_a_librarys_weights_go_on_to_another_library(name, tmp_path):
    """From timm or torchvision to mmseg's class, and from a file of that to mmpretrain's."""
    pair = PAIRS[name]
    network, between, backbone = pair.network(), build('mmseg', CASES[name][0], seed=1), pair.backbone(seed=2)
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    load_backbone(between, tmp_path / 'reference.pth')
    torch.save(dict(state_dict=between.state_dict()), tmp_path / 'mmseg.pth')
    load_backbone(backbone, tmp_path / 'mmseg.pth')
    assert deviation(backbone, network, pair.image()) < EXACT
