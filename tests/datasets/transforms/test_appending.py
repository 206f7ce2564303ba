"""Bands of further files, behind those of an image."""

import numpy as np
import pytest
import rasterio

from mmrs_ssl.datasets.transforms import AppendRaster, LoadRaster
from mmrs_ssl.synthetic.writing import write_geotiff, write_picture

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
HEIGHTS = RNG.random((6, 8), dtype=np.float32)


@pytest.fixture
def image(tmp_path):
    """A picture, with heights in a folder beside its own, and a folder of the same name further up."""
    path = tmp_path / 'rgb' / 'x' / 'rgb' / 'train' / '2_10.5.png'
    write_picture(path, COLORS)
    write_geotiff(tmp_path / 'rgb' / 'x' / 'dsm' / 'train' / '2_10.5.tif', HEIGHTS, 1.0)
    return str(path)


def test_bands_follow_those_of_the_image(image):
    results = LoadRaster()(dict(img_path=image, kept=1))
    found = AppendRaster(('rgb', 'dsm'), '.tif', bands=1)(results)
    assert (found['img'].shape, found['img'].dtype) == ((6, 8, 4), np.float32)
    np.testing.assert_array_equal(found['img'], np.dstack((COLORS, HEIGHTS)))
    assert (found['img_path'], found['kept'], found['img_shape']) == (image, 1, (6, 8))


def test_options_are_those_of_loading(image, tmp_path):
    """Of its own pixels alone; another file of 8 bits leaves 8 bits."""
    path = str(tmp_path / 'rgb' / 'x' / 'dsm' / 'train' / '2_10.5.tif')
    with rasterio.open(path, 'r+') as file:
        file.nodata = float(HEIGHTS[0, 0])
    found = AppendRaster(('rgb', 'dsm'), '.tif', bands=1, height='above_minimum', fill=-1.0)(
        dict(img=COLORS, img_path=image)
    )['img']
    expected = HEIGHTS - HEIGHTS.ravel()[1:].min()
    expected[0, 0] = -1
    np.testing.assert_array_equal(found, np.dstack((COLORS, expected)))
    write_picture(tmp_path / 'rgb' / 'x' / 'gray' / 'train' / '2_10.5.png', COLORS[..., 0])
    gray = AppendRaster(('rgb', 'gray'), bands=1)(dict(img=COLORS, img_path=image))['img']
    assert gray.dtype == np.uint8
    np.testing.assert_array_equal(gray, COLORS[..., [0, 1, 2, 0]])


def test_each_date_gets_those_of_its_own_file(tmp_path):
    paths = [str(tmp_path / 'rgb' / date / '1.png') for date in 'AB']
    heights = [HEIGHTS, HEIGHTS + 1]
    for path, values in zip(paths, heights, strict=True):
        write_picture(tmp_path / path, COLORS)
        write_geotiff(path.replace('/rgb/', '/dsm/').replace('.png', '.tif'), values, 1.0)
    found = AppendRaster(('rgb', 'dsm'), '.tif', bands=1)(LoadRaster()(dict(img_path=paths)))['img']
    for image, values in zip(found, heights, strict=True):
        np.testing.assert_array_equal(image, np.dstack((COLORS, values)))


def test_another_folder_or_another_size_is_refused(image):
    with pytest.raises(ValueError, match=r"2_10\.5\.png has no folder 'img_dir', in whose place 'dsm' would be"):
        AppendRaster(('img_dir', 'dsm'))(dict(img=COLORS, img_path=image))
    with pytest.raises(ValueError, match=r'has 6 x 8 pixels, its image .* has 6 x 7'):
        AppendRaster(('rgb', 'dsm'), '.tif', bands=1)(dict(img=COLORS[:, 1:], img_path=image))
