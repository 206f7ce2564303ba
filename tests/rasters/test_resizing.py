"""Images are resized by filters that average over what becomes one pixel, for any bands and type."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmrs_ssl.datasets.transforms import RandomCropResize
from mmrs_ssl.rasters.resizing import resize_by_averaging
from tests.rasters.rasters import picture

SIZES = [((200, 300), (64, 48)), ((40, 50), (64, 64)), ((30, 200), (64, 64))]


@pytest.mark.parametrize(('before', 'after'), SIZES)
@pytest.mark.parametrize('filtering', ['bilinear', 'bicubic'])
def test_floats_are_what_torch_computes(before, after, filtering):
    """torch has the same filters of its own, whose overshoot stays."""
    image = np.random.default_rng(0).random((*before, 5), np.float32)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = F.interpolate(planes, after, mode=filtering, antialias=True)[0].permute(1, 2, 0)
    expected = np.clip(expected.numpy(), image.min((0, 1)), image.max((0, 1)))
    np.testing.assert_allclose(resize_by_averaging(image, after, filtering), expected, atol=1e-5)


@pytest.mark.parametrize(('before', 'after'), SIZES)
@pytest.mark.parametrize('bands', [1, 2, 3, 7])
def test_8_bits_are_what_pillow_computes_of_each_band(before, after, bands):
    image = picture(*before, bands)
    resized = resize_by_averaging(image, after)
    assert (resized.shape, resized.dtype) == ((*after, bands), np.uint8)
    for band in range(bands):
        alone = Image.fromarray(np.ascontiguousarray(image[..., band])).resize(after[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(resized[..., band], np.asarray(alone))


@pytest.mark.parametrize('dtype', ['int8', 'int16', 'uint16', 'int32', 'float32', 'float64'])
def test_other_types_differ_by_rounding_alone(dtype):
    # 8 bits are rounded twice, and here once more
    scale = {'int8': 0.5, 'int16': 100, 'uint16': 257}.get(dtype, 1.0)
    image = picture(200, 300, 4)
    resized = resize_by_averaging((image * float(scale)).astype(dtype), (64, 48))
    assert resized.dtype == dtype
    assert resized.flags.writeable
    np.testing.assert_allclose(resized / scale, resize_by_averaging(image, (64, 48)), atol=1.1 + 1 / scale)


@pytest.mark.parametrize('dtype', ['int16', 'uint16', 'float32', 'float64'])
@pytest.mark.parametrize('bands', [1, 4])
def test_values_stay_within_the_images(dtype, bands):
    """Where a bicubic filter overshoots: a reflectance would become negative, which jitter refuses."""
    image = np.full((40, 40, bands), 5, dtype)
    image[:, 20:] = 9000
    for resized in (
        resize_by_averaging(image, (64, 64)),
        RandomCropResize(64, scale=(1, 1), ratio=(1, 1), interpolation='bicubic', antialias=True).cut(
            image, (0, 0, 40, 40), False
        ),
    ):
        assert (resized.min(), resized.max(), resized.dtype) == (5, 9000, dtype)


def test_integers_stay_within_their_type():
    """A bicubic filter overshoots at edges."""
    step = np.zeros((40, 40, 1), np.uint16)
    step[:, 20:] = 65535
    resized = resize_by_averaging(step, (64, 64))
    assert not resized[:, :31].any()  # not wrapped around
    assert (resized[:, 33:] == 65535).all()
