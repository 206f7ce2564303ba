"""The two views of methods that compare them."""

import numpy as np
import pytest

from mmrs_ssl.datasets.transforms import (
    BandDropout,
    ColorJitter,
    ContrastViews,
    RandomCropResize,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomSolarize,
    SpectralJitter,
    Views,
)
from tests.rasters.rasters import picture


@pytest.mark.parametrize(
    ('jitter', 'gray', 'milder'),
    [
        ((0.4, 0.4, 0.4, 0.1), 0.2, dict()),
        ((0.2, 0.1, 0.3, 0.0), 0.7, dict(jitter=(0.2, 0.1, 0.3, 0.0), gray_prob=0.7)),
    ],
    ids=['published', 'milder'],
)
@pytest.mark.parametrize('colors', [True, False])
def test_views_are_those_spelled_out(colors, jitter, gray, milder):
    bands, dtype, white = (3, np.uint8, 255) if colors else (5, np.uint16, 9000)

    def view(blur, solarize):
        return [
            RandomCropResize(24, (0.3, 0.8)),
            ColorJitter(*jitter, prob=0.8) if colors else SpectralJitter(*jitter[:2], prob=0.8),
            RandomGrayscale(prob=gray) if colors else BandDropout(prob=gray),
            RandomGaussianBlur(None, (0.1, 1.0), prob=blur),
            RandomSolarize(prob=solarize),
        ]

    spelled = Views([view(1.0, 0.0), view(0.1, 0.5)])
    short = ContrastViews(24, (0.3, 0.8), colors, (1.0, 0.1), (0.0, 0.5), (0.1, 1.0), **milder)
    for seed in range(12):
        image = picture(60, 50, bands, dtype, white, seed)
        one, other = (
            views(dict(img=image, rng=np.random.default_rng(seed), max_value=white)) for views in (spelled, short)
        )
        assert other['img'][0].shape == (24, 24, bands)
        for first, second in zip(one['img'], other['img'], strict=True):
            assert np.array_equal(first, second)
        assert np.array_equal(one['boxes'], other['boxes'])
        assert np.array_equal(one['flips'], other['flips'])
    assert not np.array_equal(*other['img'])


@pytest.mark.parametrize(('size', 'scale'), [(0, (0.2, 1.0)), (8, (0.5, 0.2)), (8, (0.2, 1.5)), (8, (0.2,))])
def test_impossible_views(size, scale):
    with pytest.raises(
        ValueError, match=r'ContrastViews: (size=0, expected a whole number|scale=.*, expected \(smallest, largest\))'
    ):
        ContrastViews(size, scale)
