"""Which pixels hold no data, as loaders see it."""

import re

import numpy as np
import pytest
import rasterio

from mmrs_ssl.datasets import ImageFolder, SampleIndex, SceneDataset
from mmrs_ssl.datasets.transforms import LoadRaster
from tests.datasets.transforms.test_loading import load
from tests.rasters.rasters import LOAD, coordinates, dataset, noise, write_raster


def test_pixels_that_are_all_zero_are_no_picture(tmp_path):
    pixels = noise(3, 64, 64)
    pixels[:, :48] = 0
    write_raster(tmp_path / 'a.tif', pixels)
    data = dataset(tmp_path)
    assert all(data[i]['img'].any() for i in range(len(data)))


def test_nodata_of_one_band_and_a_band_called_alpha_survive_warping(tmp_path):
    shift = (0.3, 0.3)
    east_south = coordinates(64, 64, 1, shift)
    east_south[0, 30:34, 30:34] = -9999
    write_raster(tmp_path / 'p' / '1.tif', coordinates(64, 64))
    write_raster(tmp_path / 'p' / '2.tif', east_south, shift=shift, nodata=-9999)
    data = dataset(tmp_path, files='{scene}/{date}', window=60, dates=2)
    drawn = [data[SampleIndex(0, epoch, 0)] for epoch in range(6)]
    image = next(s['img'][s['dates'].index('2')] for s in drawn if '2' in s['dates'])
    assert image[..., 0].min() >= 0  # filled with the mean, not mixed into its neighbors
    truth = coordinates(64, 64)[1, 1:61, 1:61]
    assert np.abs(image[..., 1] - truth).max() < 0.5  # the other band is whole
    colors = noise(4, 64, 64, 'uint8')
    colors[:3], colors[3, :, :32] = 100, 0
    for date, offset in ((1, (0, 0)), (2, shift)):
        write_raster(tmp_path / 'q' / 'q' / f'{date}.tif', colors, shift=offset, photometric='rgb', alpha='yes')
    load = dict(LOAD, bands=4)
    data = dataset(tmp_path / 'q', load=load, files='{scene}/{date}', window=60, dates=2)
    for epoch in range(4):
        for picture in data[SampleIndex(0, epoch, 0)]['img']:
            assert np.array_equal(picture[..., :3], np.full((60, 60, 3), 100))


def test_zero_as_nodata_leaves_dark_pixels_alone(tmp_path):
    pixels = noise(3, 8, 8, 'uint8')
    pixels[0, 4:], pixels[:, 0] = 0, 0
    image = load(write_raster(tmp_path / 'a.tif', pixels, nodata=0))
    assert np.array_equal(image[1:], pixels[:, 1:].transpose(1, 2, 0))
    assert image[0].min() > 0


def test_a_nodata_value_beyond_the_type_is_no_pixel_value_and_refused_if_asked_for(tmp_path):
    pixels = noise(2, 8, 8, 'uint8')
    pixels[:, 0] = 241  # what -9999 would wrap to
    path = write_raster(tmp_path / 'a.tif', pixels)
    declared = tmp_path / 'declared.vrt'
    rasterio.shutil.copy(path, declared, driver='VRT')
    text = declared.read_text().replace('<ColorInterp>', '<NoDataValue>-9999</NoDataValue><ColorInterp>')
    declared.write_text(text)
    assert np.array_equal(load(declared), pixels.transpose(1, 2, 0))
    for nodata in (-9999, 1e9, 240.5, float('nan'), float('inf')):
        with pytest.raises(ValueError, match=re.escape(f'a.tif holds uint8, which has no value nodata={nodata:g};')):
            load(path, nodata=nodata)


@pytest.mark.parametrize(('dtype', 'fill'), [('uint16', -1), ('uint16', -1.0), ('uint8', 300), ('uint8', 0.5)])
def test_a_fill_that_the_type_does_not_have_is_refused_at_the_start(tmp_path, dtype, fill):
    """And not at the first empty window, or as another value: -1.0 became 65535."""
    write_raster(tmp_path / 'a.tif', noise(1, 32, 32, dtype))
    load = dict(type='mmrs_ssl.LoadRaster', bands=1, fill=fill)
    message = rf'a\.tif holds {dtype}, which has no value fill={fill:g}; give one that its pixels can have'
    options = dict(data_root=str(tmp_path), cache_dir=str(tmp_path), pipeline=[load])
    for use in (
        lambda: SceneDataset(**options, window=16),
        lambda: ImageFolder(**options),
        lambda: LoadRaster(bands=1, fill=fill)(dict(img_path=str(tmp_path / 'a.tif'))),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    scaled = LoadRaster(bands=1, fill=fill, unscale=True)(dict(img_path=str(tmp_path / 'a.tif')))['img']
    assert scaled.shape == (32, 32, 1)
