"""CMID's views are those of the two pipelines spelled out."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose

from mmrs_ssl.datasets.transforms import (
    BandDropout,
    CMIDViews,
    ColorJitter,
    RandomCropResize,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomNoise,
    RandomSolarize,
    ResizeToSize,
    SpectralJitter,
    Views,
)


def picture(bands, size=90, dtype=np.uint8, seed=0):
    coarse = np.random.default_rng(seed).random((7, 7, bands), np.float32)
    smooth = cv2.resize(coarse, (size, size + 10), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return (smooth * (255 if dtype == np.uint8 else 9000)).astype(dtype)


def spelled_out(size, first, last, kernel=(3, 7), sigma=(0.1, 2.0), max_value=None, solarize_prob=0.2):
    weak = [RandomCropResize(size, scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))]
    strong = [
        *weak,
        first,
        RandomGaussianBlur(kernel=kernel, sigma=sigma),
        RandomNoise(variance=(10, 50), prob=0.6, max_value=max_value),
        RandomSolarize(prob=solarize_prob, max_value=max_value),
        last,
    ]
    return Views([weak, strong])


COLORS = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, prob=0.8), RandomGrayscale(prob=0.2)
BANDS = SpectralJitter(brightness=0.4, contrast=0.4, prob=0.8), BandDropout(prob=0.2)


@pytest.mark.parametrize(
    ('options', 'expected', 'img', 'max_value'),
    [
        (dict(size=48), spelled_out(48, *COLORS), picture(3), None),
        (dict(size=48, resize=True), Compose([ResizeToSize(48), spelled_out(48, *COLORS)]), picture(3), None),
        (dict(size=48), spelled_out(48, *COLORS), [picture(3), picture(3, seed=1)], None),
        (
            dict(size=32, blur_kernel=(3, 3), blur_sigma=(0.1, 0.9)),
            spelled_out(32, *COLORS, kernel=(3, 3), sigma=(0.1, 0.9)),
            picture(3),
            None,
        ),
        (dict(size=48, colors=False), spelled_out(48, *BANDS), picture(5, dtype=np.uint16), 9000),
        (
            dict(size=48, colors=False, max_value=9500),
            spelled_out(48, SpectralJitter(max_value=9500), BANDS[1], max_value=9500),
            picture(4, dtype=np.uint16),
            None,
        ),
        (
            dict(size=48, jitter=(0.2, 0.1, 0.3, 0.0), gray_prob=0.9, solarize_prob=0.7),
            spelled_out(48, ColorJitter(0.2, 0.1, 0.3, 0.0), RandomGrayscale(prob=0.9), solarize_prob=0.7),
            picture(3),
            None,
        ),
        (
            dict(size=48, colors=False, jitter=(0.2, 0.1, 0.3, 0.0), gray_prob=0.9),
            spelled_out(48, SpectralJitter(brightness=0.2, contrast=0.1), BandDropout(prob=0.9), max_value=9000),
            picture(4, dtype=np.uint16),
            9000,
        ),
    ],
    ids=['folder', 'resized', 'two dates', 'demo', 'geotiff', 'white', 'milder', 'milder bands'],
)
def test_views_are_the_two_pipelines(options, expected, img, max_value):
    views = CMIDViews(**options)
    for seed in range(12):
        first, second = (
            transform(dict(img=img, img_shape=(100, 90), max_value=max_value, rng=np.random.default_rng(seed)))
            for transform in (views, expected)
        )
        for mine, other in zip(first['img'], second['img'], strict=True):
            np.testing.assert_array_equal(mine, other)
        np.testing.assert_array_equal(first['boxes'], second['boxes'])
        np.testing.assert_array_equal(first['flips'], second['flips'])
        assert first['rng'].random() == second['rng'].random()  # nothing more was drawn


def test_crops_have_the_share_and_ratio_asked_for():
    views = CMIDViews(16, scale=(0.1, 0.2), ratio=(1.0, 1.0))
    boxes = [views(dict(img=picture(3), rng=np.random.default_rng(seed)))['boxes'] for seed in range(20)]
    height, width = np.concatenate(boxes)[:, 2:].T
    share = height * width / (100 * 90)
    assert (share > 0.09).all()
    assert (share < 0.21).all()
    np.testing.assert_allclose(height, width)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(size=0), 'size=0, expected a whole number of at least 1'),
        (dict(scale=(0.9, 0.3)), r'scale=\(0\.9, 0\.3\), expected \(smallest, largest\), each .* at most 1'),
        (dict(ratio=(4 / 3, 3 / 4)), r'ratio=\(1\.33.*, expected \(smallest, largest\), each a number above 0'),
        (dict(ratio=(0, 1)), r'ratio=\(0, 1\), expected'),
        (dict(jitter=(0.4, 0.4)), r'jitter=\(0\.4, 0\.4\), expected a list of 4 numbers, each a number of at least 0'),
        (dict(scale=[0.5]), r'scale=\[0\.5\], expected'),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        CMIDViews(**options)
