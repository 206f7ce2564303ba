"""Loading, crops that know their source, and photometric augmentation against independent formulas."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF

from mmrs_ssl.datasets.transforms import (
    ColorJitter,
    PackViews,
    RandomCropResize,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomNoise,
    RandomSolarize,
    ShrinkToSize,
    SpectralJitter,
    Views,
)
from mmrs_ssl.datasets.transforms.photometric import turn_hue
from mmrs_ssl.datasets.transforms.views import draw_crop
from tests.rasters.rasters import picture

ALL = [
    ColorJitter(prob=1),
    RandomGaussianBlur(prob=1),
    RandomNoise(prob=1),
    RandomSolarize(prob=1),
    RandomGrayscale(prob=1),
    SpectralJitter(prob=1),
]


def apply(transform, image, seed=0):
    return transform(dict(img=image, rng=np.random.default_rng(seed)))['img']


# Crops


@pytest.mark.parametrize('size', [(100, 100), (64, 160), (301, 77)])
def test_crops_have_the_asked_area_and_aspect(size):
    rng, (height, width) = np.random.default_rng(0), size
    boxes = np.array([draw_crop(rng, height, width, (0.3, 0.6), (3 / 4, 4 / 3)) for _ in range(3000)])
    top, left, h, w = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()
    if size == (100, 100):  # no box needs the fallback
        area, aspect = h * w / (height * width), w / h
        assert 0.29 < area.min() < 0.31
        assert 0.59 < area.max() < 0.61
        assert abs(area.mean() - 0.45) < 0.01  # uniform
        assert 0.73 < aspect.min() < 0.77
        assert 1.30 < aspect.max() < 1.36
        assert abs(np.log(aspect).mean()) < 0.02  # uniform in the logarithm
        free = (height - h > 10) & (width - w > 10)
        assert abs((top / (height - h))[free].mean() - 0.5) < 0.02
        assert abs((left / (width - w))[free].mean() - 0.5) < 0.02


@pytest.mark.parametrize(('height', 'width'), [(10, 400), (400, 10), (1, 50), (1, 1)])
def test_extreme_images_fall_back_to_a_centerd_box(height, width):
    box = draw_crop(np.random.default_rng(0), height, width, (0.9, 1.0), (3 / 4, 4 / 3))
    top, left, h, w = box
    side = min(height, width)
    wanted = (side, round(side * 4 / 3)) if width > height else (round(side * 4 / 3), side)
    assert (h, w) == (wanted if height != width else (1, 1))
    assert (top, left) == ((height - h) // 2, (width - w) // 2)


@pytest.mark.parametrize('bands', [1, 3, 13])
def test_crop_is_the_recorded_box(bands):
    """Nearest interpolation makes the crop exact: compare with indexing the source."""
    image = picture(70, 90, bands, np.uint16, 65000)
    flips = []
    for seed in range(20):
        result = RandomCropResize(24, interpolation='nearest')(dict(img=image, rng=np.random.default_rng(seed)))
        top, left, height, width = result['box']
        rows = top + np.floor(np.arange(24) * (1 / (24 / height))).astype(int)  # OpenCV's rounding of i * height / 24
        cols = left + np.floor(np.arange(24) * (1 / (24 / width))).astype(int)
        expected = image[rows[:, None], cols]
        flips.append(result['flip'])
        assert np.array_equal(result['img'], expected[:, ::-1] if result['flip'] else expected)
        assert result['img_shape'] == (24, 24)
    assert 0 < sum(flips) < 20
    assert not RandomCropResize(24, flip_prob=0)(dict(img=image, rng=np.random.default_rng(1)))['flip']


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear', 'bicubic', 'area'])
@pytest.mark.parametrize('bands', [1, 3, 4, 7, 13])
def test_every_interpolation_knows_any_number_of_bands(interpolation, bands):
    image = picture(70, 61, bands)
    whole = RandomCropResize(32, scale=(1, 1), ratio=(61 / 70, 61 / 70), flip_prob=0, interpolation=interpolation)
    resized = apply(whole, image)
    assert resized.shape == (32, 32, bands)
    for band in range(bands):  # each as if it were alone
        alone = apply(whole, np.ascontiguousarray(image[..., band : band + 1]))
        np.testing.assert_allclose(resized[..., band].astype(int), alone[..., 0], atol=1)
    assert len({resized[..., band].tobytes() for band in range(bands)}) == bands


def test_shrink_only_when_larger():
    small = picture(40, 64)
    kept = ShrinkToSize(64)(dict(img=small, img_shape=(40, 64)))
    assert kept['img'] is small
    for shape in ((40, 65), (65, 40), (200, 300)):
        shrunk = ShrinkToSize(64)(dict(img=picture(*shape), img_shape=shape))
        assert shrunk['img'].shape == (64, 64, 3)
        assert shrunk['img_shape'] == (64, 64)


def test_views_differ_and_leave_the_source_alone():
    image = picture(80, 80)
    source = image.copy()
    image.setflags(write=False)
    view = [RandomCropResize(32), *ALL]
    rng = np.random.default_rng(3)
    result = Views([view, view])(dict(img=image, rng=rng))
    assert np.array_equal(image, source)
    first, second = result['img']
    assert not np.shares_memory(first, second)
    assert not np.array_equal(result['boxes'][0], result['boxes'][1])
    assert result['boxes'].shape == (2, 4)
    assert result['flips'].shape == (2,)
    # each view is its own pipeline, run one after the other on the sample's generator
    alone = RandomCropResize(32)(dict(img=source, rng=np.random.default_rng(3)))
    assert tuple(result['boxes'][0]) == alone['box']
    assert result['flips'][0] == alone['flip']


def test_pack_views():
    views = [picture(32, 24, 5, np.uint16, 9000, seed)[:, ::-1] for seed in range(2)]
    boxes = np.array([[1, 2, 30, 20], [0, 0, 10, 11]], np.float32)
    packed = PackViews()(
        dict(img=views, boxes=boxes, flips=np.array([True, False]), img_path='a.tif', sample_idx=7, rng=None)
    )
    assert set(packed) == {'inputs', 'data_samples'}
    for tensor, view in zip(packed['inputs'], views, strict=True):
        assert tensor.dtype == torch.uint16
        assert tensor.shape == (5, 32, 24)
        assert np.array_equal(tensor.numpy(), view.transpose(2, 0, 1))
    sample = packed['data_samples']
    assert torch.equal(sample.boxes, torch.from_numpy(boxes))
    assert sample.flips.tolist() == [True, False]
    assert (sample.img_path, sample.sample_idx) == ('a.tif', 7)


# Photometry


def to_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@pytest.mark.parametrize(
    ('strengths', 'function'),
    [
        ((0.4, 0, 0, 0), TF.adjust_brightness),
        ((0, 0.4, 0, 0), TF.adjust_contrast),
        ((0, 0, 0.4, 0), TF.adjust_saturation),
    ],
)
def test_color_jitter_is_torchvisions_to_rounding(strengths, function):
    image, which = picture(), np.flatnonzero(strengths)[0]
    factors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rng.random()  # whether to apply
        factor = rng.uniform([1 - s for s in strengths[:3]] + [0], [1 + s for s in strengths[:3]] + [0])[which]
        factors.append(factor)
        expected = function(to_tensor(image), factor).numpy().transpose(1, 2, 0)
        out = apply(ColorJitter(*strengths, prob=1), image, seed)
        # turning the hue by 0 goes through 8-bit HSV, which rounds as well
        np.testing.assert_allclose(out.astype(int), expected.astype(int), atol=6)
        assert np.abs(out.astype(int) - expected).mean() < 1.5
    assert min(factors) < 0.85
    assert max(factors) > 1.15


@pytest.mark.parametrize('turn', [-0.1, -0.03, 0.0, 0.05, 0.1, 0.5])
def test_hue_is_torchvisions_within_8_bit_hsv(turn):
    image = picture(seed=4)
    expected = TF.adjust_hue(to_tensor(image), turn).numpy().transpose(1, 2, 0)
    difference = np.abs(turn_hue(image, turn).astype(int) - expected)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) <= 8
    if turn:
        assert np.abs(expected - image.astype(int)).mean() > 5 * difference.mean()  # the test can tell a turn from none


def test_color_jitter_draws_all_orders_and_factors():
    image = picture()
    results = {apply(ColorJitter(0.4, 0.4, 0.4, 0.1, prob=1), image, seed).tobytes() for seed in range(20)}
    assert len(results) == 20


def test_solarize():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = TF.solarize(torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16), 128).numpy().reshape(16, 16, 1)
    assert np.array_equal(apply(RandomSolarize(prob=1), image), expected)
    raster = picture(bands=5, dtype=np.uint16, top=10000)
    out = apply(RandomSolarize(threshold=0.5, prob=1, max_value=10000), raster)
    assert out.dtype == np.uint16
    assert np.array_equal(out, [[[v if v < 5000 else 10000 - v for v in p] for p in r] for r in raster.tolist()])


def test_gray():
    image = picture()
    out = apply(RandomGrayscale(prob=1), image)
    expected = image @ np.array([0.299, 0.587, 0.114])
    for band in range(3):
        np.testing.assert_allclose(out[..., band], expected, atol=1)


@pytest.mark.parametrize(('bands', 'dtype', 'top'), [(3, np.uint8, 256), (1, np.uint8, 256), (13, np.uint16, 9000)])
def test_blur_keeps_mean_and_type_and_smooths(bands, dtype, top):
    image = picture(96, 96, bands, dtype, top)
    out = apply(RandomGaussianBlur(kernel=(7, 7), sigma=(2, 2), prob=1), image)
    assert out.shape == image.shape
    assert out.dtype == dtype
    np.testing.assert_allclose(out.mean((0, 1)), image.mean((0, 1)), rtol=0.01)
    assert np.abs(np.diff(out.astype(float), axis=0)).mean() < 0.5 * np.abs(np.diff(image.astype(float), axis=0)).mean()
    # a point spreads into the Gaussian of that sigma
    point = np.zeros((15, 15, bands), np.float32)
    point[7, 7] = 1
    spread = apply(RandomGaussianBlur(kernel=(7, 7), sigma=(2, 2), prob=1), point)
    line = np.exp(-(np.arange(-3, 4) ** 2) / 8)
    expected = np.outer(line, line) / line.sum() ** 2
    for band in range(bands):
        np.testing.assert_allclose(spread[4:11, 4:11, band], expected, atol=1e-5)


def test_blur_draws_every_odd_kernel():
    point = np.zeros((15, 15, 1), np.float32)
    point[7, 7] = 1
    widths = {
        int((apply(RandomGaussianBlur(kernel=(3, 7), sigma=(3, 3), prob=1), point, seed) > 0).any((0, 2)).sum())
        for seed in range(40)
    }
    assert widths == {3, 5, 7}


@pytest.mark.parametrize('variance', [10, 50])
@pytest.mark.parametrize(
    ('dtype', 'level', 'white'), [(np.uint8, 128, None), (np.uint16, 4000, 10000), (np.float32, 0.5, 1.0)]
)
def test_noise_is_as_strong_as_asked(variance, dtype, level, white):
    image = np.full((200, 200, 5), level, dtype)
    out = apply(RandomNoise(variance=(variance, variance), prob=1, max_value=white), image)
    assert out.dtype == dtype
    assert out.shape == image.shape
    noise = (out.astype(float) - level) * 255 / (white or 255)
    assert abs(noise.std() - variance**0.5) < 0.05 * variance**0.5
    assert abs(noise.mean()) < 0.1
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02  # every band its own


def test_noise_is_clipped_not_wrapped():
    black = apply(RandomNoise(variance=(50, 50), prob=1), np.zeros((64, 64, 3), np.uint8))
    white = apply(RandomNoise(variance=(50, 50), prob=1), np.full((64, 64, 3), 255, np.uint8))
    assert black.max() < 60
    assert white.min() > 195


@pytest.mark.parametrize(('dtype', 'top', 'white'), [(np.uint8, 256, None), (np.uint16, 9000, 1e4), (np.float32, 2, 1)])
def test_spectral_jitter_by_formula(dtype, top, white):
    image = picture(bands=13, dtype=dtype, top=top)
    out = apply(SpectralJitter(0.4, 0.3, prob=1, max_value=white), image, seed=5)
    rng = np.random.default_rng(5)
    rng.random()
    of_bands = np.random.default_rng(rng.integers(2**63))
    for band in range(13):
        g, c = of_bands.uniform(-1, 1, 2)
        brighter = image[..., band].astype(float) * (1 + 0.4 * g)
        expected = brighter.mean() + (1 + 0.3 * c) * (brighter - brighter.mean())
        expected = expected.clip(0, white or 255)
        atol = 1e-5 if dtype == np.float32 else 0.51
        np.testing.assert_allclose(out[..., band], expected, atol=atol, rtol=1e-5)
    assert out.dtype == dtype


@pytest.mark.parametrize('transform', [SpectralJitter(prob=1), RandomNoise(prob=1), RandomSolarize(prob=1)])
def test_needs_max_value(transform):
    for dtype in (np.uint16, np.float32):
        with pytest.raises(ValueError, match=rf'{type(transform).__name__} on {np.dtype(dtype)} needs max_value'):
            apply(transform, picture(bands=4, dtype=dtype))


@pytest.mark.parametrize('transform', [ColorJitter(prob=1), RandomGrayscale(prob=1)])
def test_color_needs_8_bit_rgb(transform):
    for image in (picture(bands=4), picture(bands=1), picture(dtype=np.uint16)):
        with pytest.raises(ValueError, match=r'defined for 8-bit RGB, not for \d bands of uint(8|16).*SpectralJitter'):
            apply(transform, image)


@pytest.mark.parametrize('transform', ALL, ids=lambda t: type(t).__name__)
def test_probability_and_determinism(transform):
    image = picture()
    flipped = image[:, ::-1]  # what a mirrored view is in memory
    once, again = apply(transform, flipped, 1), apply(transform, np.ascontiguousarray(flipped), 1)
    assert np.array_equal(once, again)  # of the generator alone, whatever the memory layout
    assert once.dtype == np.uint8
    assert not np.array_equal(once, flipped)
    kind = type(transform)
    assert apply(kind(prob=0), image) is image
    applied = sum(apply(kind(prob=0.3), image, seed) is not image for seed in range(300))
    assert 60 < applied < 120
