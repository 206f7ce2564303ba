"""Backbones out of checkpoints: the features of their own pixels, against the libraries' networks used plainly."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.evaluation.features import SquareImages, features_of
from mmrs_ssl.evaluation.frozen import FrozenBackbone, open_backbone, recalibrate
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.records import read_record
from mmrs_ssl.transfer.sources import read_file
from tests.conftest import BACKBONES, build, cmid_config, dino_config, mssdf_config

SIZE = 64


@pytest.fixture
def saved(make_config, tmp_path):
    """A checkpoint as a training writes it, with the model."""

    def save(model, **meta):
        cfg = make_config(model=copy.deepcopy(model))
        network = build(copy.deepcopy(model), seed=3)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as if it had been trained
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        path = tmp_path / f'{model["type"]}.pth'
        meta = dict(cfg=cfg.pretty_text, evaluated=network.evaluated, mmengine_version='0.10.7', **meta)
        torch.save(dict(state_dict=network.state_dict(), meta=meta), path)
        return path, network

    return save


def frozen_as(network):
    """The network in evaluation mode; mmpretrain's own ``eval`` returns nothing."""
    network.eval()
    return network


def pixels_of(bands=3, count=3):
    return torch.randint(0, 256, (count, bands, SIZE, SIZE), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize('family', ['resnet', 'swin', 'vit'])
@pytest.mark.parametrize('exported', [False, True])
def test_features_are_those_of_the_librarys_network_on_normalized_pixels(saved, tmp_path, family, exported):
    path, model = saved(cmid_config(family, bands=4))
    if exported:
        export_backbone(path, tmp_path / 'backbone.pth')
        path = tmp_path / 'backbone.pth'
    frozen = open_backbone(path)
    assert (frozen.size, frozen.bands, frozen.vector) == (SIZE, 4, 'mean')
    init_default_scope('mmpretrain')
    plain = frozen_as(MODELS.build({**BACKBONES[family][0], 'in_channels': 4}))
    plain.load_state_dict(model.backbone.state_dict())
    pixels = pixels_of(4)
    with torch.no_grad():
        expected = plain((pixels - 100) / 50)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(frozen(pixels).detach(), expected)


def test_class_token_or_mean_and_teacher_or_student(saved):
    config = dino_config('vit')
    del config['backbone']['out_type']  # a class token is mmpretrain's default
    path, model = saved(config)
    normal = (pixels_of() - 100) / 50
    for branch, backbone in (('teacher', model.teacher.module['backbone']), ('student', model.backbone)):
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
        state = dict(torch.load(path, weights_only=True), state_dict=model.state_dict())
        torch.save(state, path)
        plain = frozen_as(copy.deepcopy(backbone))
        with torch.no_grad():
            token = plain(normal)[-1]
            plain.out_type = 'featmap'
            mean = plain(normal)[-1].mean(dim=(2, 3))
        given = dict() if branch == 'teacher' else dict(branch=branch)  # by default what DINO-MC's authors evaluate
        frozen = open_backbone(path, **given)
        assert frozen.vector == 'class'
        torch.testing.assert_close(frozen(pixels_of()).detach(), token)
        torch.testing.assert_close(open_backbone(path, **given, vector='mean')(pixels_of()).detach(), mean)
    with pytest.raises(ValueError, match='ResNet has no class token'):
        FrozenBackbone(dict(BACKBONES['resnet'][0]), [0.0] * 3, [1.0] * 3, SIZE, 'class')


def test_modalities_have_pixels_of_their_own(saved):
    path, model = saved(mssdf_config())
    surface = open_backbone(path, modality='dsm')
    assert surface.bands == 1
    heights = 12 * torch.rand(2, 1, SIZE, SIZE)
    with torch.no_grad():
        repeated = ((heights - 5) / 4).expand(-1, 3, -1, -1)
        expected = frozen_as(model.backbone)(repeated)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(surface(heights).detach(), expected)
    record = read_record(read_file(path), 'dsm')
    assert (record.size, record.loader) == (SIZE, dict(bands=1, height='above_minimum'))
    assert read_record(read_file(path)).loader == dict(bands=3, nodata=0)


def test_what_a_file_says_of_size_and_loader_is_exported(saved, tmp_path):
    path, _ = saved(cmid_config())
    assert read_record(read_file(path)).size == SIZE
    meta = export_backbone(path, tmp_path / 'backbone.pth')
    assert (meta['size'], meta['loader']) == (SIZE, dict(bands=3))
    record = read_record(read_file(tmp_path / 'backbone.pth'))
    assert (record.size, record.loader) == (SIZE, dict(bands=3))
    assert open_backbone(path, size=32).size == 32


def test_a_network_that_saw_blue_first_gets_it_first():
    settings = dict(BACKBONES['resnet'][0])
    mean, std = [10.0, 20.0, 30.0], [2.0, 3.0, 4.0]
    rgb, bgr = (FrozenBackbone(settings, mean, std, SIZE, reverses=bgr) for bgr in (False, True))
    bgr.backbone.load_state_dict(rgb.backbone.state_dict())
    torch.testing.assert_close(bgr(pixels_of().flip(1)), rgb(pixels_of()))


@pytest.mark.parametrize('bands', [3, ['blue', 'green', 'red'], [2, 1, 0]])
@pytest.mark.parametrize('exported', [False, True])
def test_the_order_in_which_the_recorded_loader_gives_bands_is_kept(saved, tmp_path, bands, exported):
    """Also where that is blue first: the network saw the same."""
    path, model = saved(cmid_config())
    state = torch.load(path, weights_only=True)
    state['meta']['cfg'] = state['meta']['cfg'].replace('bands=3', f'bands={bands!r}')
    torch.save(state, path)
    order = read_record(read_file(path)).channel_order
    assert order == ('rgb' if bands == 3 else 'bgr')
    if exported:
        export_backbone(path, tmp_path / 'backbone.pth')
        path = tmp_path / 'backbone.pth'
    record = read_record(read_file(path))
    assert (record.channel_order, record.loader) == (order, dict(bands=bands))
    with torch.no_grad():
        expected = frozen_as(model.backbone)((pixels_of() - 100) / 50)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(open_backbone(path)(pixels_of()).detach(), expected)


def test_floors_of_random_weights():
    settings = dict(BACKBONES['resnet'][0])
    frozen = FrozenBackbone(settings, [100.0] * 3, [50.0] * 3, SIZE)
    state = torch.get_rng_state()
    one, same, other = (frozen.with_random_weights(seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one(pixels_of()), same(pixels_of()))
    assert not torch.equal(one(pixels_of()), other(pixels_of()))
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    plain = MODELS.build(settings)
    plain.init_weights()
    pixels = pixels_of(count=5)
    assert recalibrate(one, pixels.split(2))  # the single one at the end goes to those before it
    plain.train()
    norms = [module for module in plain.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for part, share in ((pixels[:2], 1.0), (pixels[2:], 3 / 5)):
            for norm in norms:
                norm.momentum = share
            plain((part - 100) / 50)
        torch.testing.assert_close(norms[0].running_mean, plain.conv1((pixels - 100) / 50).mean(dim=(0, 2, 3)))
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(one.backbone.get_buffer(name), buffer)
    assert not any(module.training for module in one.modules())
    assert torch.equal(one(pixels_of()), one(pixels_of()))  # nothing goes on averaging
    vit = FrozenBackbone(dict(BACKBONES['vit'][0]), [100.0] * 3, [50.0] * 3, SIZE)
    assert not recalibrate(vit, [pixels_of()])


def test_a_single_image_at_the_end_whose_last_map_is_one_pixel():
    frozen = FrozenBackbone(dict(BACKBONES['resnet'][0]), [100.0] * 3, [50.0] * 3, 32)
    pixels = pixels_of(count=5)[..., :32, :32]
    assert recalibrate(frozen, pixels.split(4))
    assert int(next(buffer for name, buffer in frozen.named_buffers() if 'num_batches' in name)) == 1


def test_a_vit_that_averages_and_normalizes():
    settings = dict(BACKBONES['vit'][0], out_type='avg_featmap')
    frozen = FrozenBackbone(settings, [100.0] * 3, [50.0] * 3, SIZE)
    torch.nn.init.uniform_(frozen.backbone.ln2.weight)
    init_default_scope('mmpretrain')
    plain = frozen_as(MODELS.build(dict(settings, img_size=SIZE)))
    plain.load_state_dict(frozen.backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(frozen(pixels_of()), plain((pixels_of() - 100) / 50)[-1])
    token = FrozenBackbone(settings, [100.0] * 3, [50.0] * 3, SIZE, vector='class')
    plain = frozen_as(MODELS.build(dict(settings, img_size=SIZE, out_type='cls_token')))
    plain.load_state_dict(token.backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(token(pixels_of()), plain((pixels_of() - 100) / 50)[-1])


@pytest.mark.parametrize(
    ('mean', 'std', 'size', 'error'),
    [
        ([1.0] * 3, [1.0], SIZE, r'FrozenBackbone: std=\[1.0\], expected a list of 3 numbers, each a number above 0'),
        ([1.0] * 3, [1.0, 0.0, 1.0], SIZE, r'std=.*each a number above 0'),
        ([float('nan')] * 3, [1.0] * 3, SIZE, 'mean=.*expected a list of numbers'),
        ([1.0] * 3, [1.0] * 3, 0, 'size=0, expected a whole number of at least 1'),
    ],
)
def test_statistics_and_sizes_that_mean_nothing(mean, std, size, error):
    with pytest.raises(ValueError, match=error):
        FrozenBackbone(dict(BACKBONES['resnet'][0]), mean, std, size)


def test_what_is_not_said_is_asked_for(tmp_path):
    init_default_scope('mmpretrain')
    plain = MODELS.build(dict(BACKBONES['resnet'][0]))
    torch.save(plain.state_dict(), path := tmp_path / 'plain.pth')
    settings = dict(BACKBONES['resnet'][0])
    with pytest.raises(ValueError, match=r'does not say which network .*--config'):
        open_backbone(path)
    with pytest.raises(ValueError, match=r'how pixels were normalized: .*--mean, --std'):
        open_backbone(path, settings)
    with pytest.raises(ValueError, match=r'the size of its images: .*--size'):
        open_backbone(path, settings, statistics=([100.0] * 3, [50.0] * 3))
    found = open_backbone(path, settings, statistics=([100.0] * 3, [50.0] * 3), size=SIZE)
    with torch.no_grad():
        expected = frozen_as(plain)((pixels_of() - 100) / 50)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(found(pixels_of()).detach(), expected)
    with pytest.raises(ValueError, match='nothing was loaded'):
        open_backbone(path, dict(settings, depth=34), statistics=([100.0] * 3, [50.0] * 3), size=SIZE)


def test_images_of_any_shape_and_bands(tmp_path):
    rng = np.random.default_rng(0)
    arrays = dict(same=rng.random((8, 8, 13)), large=rng.random((32, 16, 13)), small=rng.random((4, 4, 13)))
    images = SquareImages(list(arrays), arrays.__getitem__, 8)
    np.testing.assert_allclose(images[0], arrays['same'].transpose(2, 0, 1), rtol=1e-6)
    blocks = arrays['large'].reshape(8, 4, 8, 2, 13).mean(axis=(1, 3))
    np.testing.assert_allclose(images[1], blocks.transpose(2, 0, 1), rtol=1e-5)  # the mean of what a pixel covers
    for band in (0, 12):
        linear = cv2.resize(arrays['small'][..., band].astype(np.float32), (8, 8), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(images[2][band], linear, rtol=1e-6)
    found = features_of(lambda pixels: pixels.mean(dim=(2, 3)), images, batch_size=2)
    np.testing.assert_allclose(found[1], arrays['large'].mean(axis=(0, 1)), rtol=1e-5)
    arrays['large'][3, 2, 1] = np.nan
    with pytest.raises(ValueError, match='large holds NaN or inf'):
        images[1]
