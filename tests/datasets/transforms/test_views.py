"""Crops that know their source, and views made of them."""

import numpy as np
import pytest

from mmrs_ssl.datasets.transforms import (
    RandomCropResize,
    ResizeToSize,
    Views,
)
from mmrs_ssl.datasets.transforms.views import draw_crop
from tests.datasets.transforms.test_photometric import ALL, apply
from tests.rasters.rasters import picture


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
def test_extreme_images_fall_back_to_a_centered_box(height, width):
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


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_texture_finer_than_the_result_becomes_even(interpolation):
    board = np.kron(np.indices((64, 64)).sum(0)[..., None] % 2, np.ones((1, 1, 3))).astype(np.uint8) * 200
    options = dict(scale=(1, 1), ratio=(1, 1), interpolation=interpolation)
    spread = [
        float(RandomCropResize(15, **options, **more)(dict(img=board, rng=np.random.default_rng(0)))['img'].std())
        for more in ({}, dict(antialias=False))
    ]
    assert spread[0] < 5
    assert spread[1] > 30  # a pattern that is not there


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


def test_larger_and_smaller_images_come_to_one_size():
    whole = picture(64, 64)
    assert ResizeToSize(64)(dict(img=whole, img_shape=(64, 64)))['img'] is whole
    for shape in ((40, 64), (64, 40), (20, 30), (40, 65), (200, 300)):
        resized = ResizeToSize(64)(dict(img=picture(*shape), img_shape=shape))
        assert resized['img'].shape == (64, 64, 3)
        assert resized['img_shape'] == (64, 64)


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
