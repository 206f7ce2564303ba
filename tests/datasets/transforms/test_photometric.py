"""Photometric augmentation against independent formulas."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF

from mmrs_ssl.datasets.transforms import (
    ColorJitter,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomNoise,
    RandomSolarize,
    SpectralJitter,
)
from mmrs_ssl.rasters.photometry import turn_hue
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


def test_blur_draws_every_odd_kernel_as_often_as_published():
    """3, 5 and 7 as 1 : 2 : 2; the ends of other ranges likewise, and a single width always."""
    point = np.zeros((19, 19, 1), np.float32)
    point[9, 9] = 1

    def widths(*kernel):
        blur = RandomGaussianBlur(kernel=kernel, sigma=(3, 3), prob=1)
        found = [int((apply(blur, point, seed) > 0).any((0, 2)).sum()) for seed in range(1000)]
        return {width: found.count(width) for width in sorted(set(found))}

    for kernel, shares in {
        (3, 7): {3: 0.2, 5: 0.4, 7: 0.4},
        (5, 7): {5: 1 / 3, 7: 2 / 3},
        (3, 9): {3: 1 / 7, 5: 2 / 7, 7: 2 / 7, 9: 2 / 7},
    }.items():
        found = widths(*kernel)
        assert list(found) == list(shares)
        for width, share in shares.items():  # four standard deviations of 1000 draws
            assert found[width] == pytest.approx(1000 * share, abs=4 * (1000 * share * (1 - share)) ** 0.5)
    assert widths(5, 5) == {5: 1000}


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
