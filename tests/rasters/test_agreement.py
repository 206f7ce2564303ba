"""Whether one number means the same in all files: scale and offset, and what 0 is."""

import re

import cv2
import numpy as np
import pytest
import rasterio

from mmrs_ssl.archives.band_statistics import Options, band_statistics
from mmrs_ssl.archives.tiling import cut_tiles, find_scenes, plan_tiles, settle_bands
from mmrs_ssl.datasets import ImageFolder
from mmrs_ssl.rasters import agreement
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.header import read_header
from tests.datasets.transforms.test_loading import load
from tests.rasters.rasters import LOAD, dataset, noise, write_raster


@pytest.fixture
def warned(monkeypatch):
    texts = []
    monkeypatch.setattr(agreement, 'print_log', lambda text, *_: texts.append(text))
    return texts


def write_scaled(path, pixels, scales, offsets):
    write_raster(path, pixels)
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = scales, offsets


def test_scales_that_differ_over_dates_are_told(tmp_path, warned):
    """Sentinel-2 has an offset of -1000 since 2022: the same ground is stored as other numbers."""
    pixels = noise(2, 32, 32)
    for date, added, offset in (('2021-01-01', 0, 0.0), ('2021-02-01', 0, 0.0), ('2022-03-01', 1000, -0.1)):
        write_scaled(tmp_path / f'p_{date}.tif', pixels + np.uint16(added), (1e-4, 1e-4), (0.0, offset))
    options = dict(files='{scene}_{date}', window=32)
    message = r'1 files declare other scales than 2 \(.*2022-03-01\.tif: scale .* band 1 are 0\.0001 and -0\.1'
    dataset(tmp_path, load=dict(LOAD, bands=2), **options)
    assert re.search(message + r'.*2021-02-01\.tif: 0\.0001 and 0\).*unscale=True', warned.pop())
    dataset(tmp_path, load=dict(LOAD, bands=[0]), **options)  # which has one everywhere
    data = dataset(tmp_path, load=dict(LOAD, bands=2, unscale=True), **options)
    assert not warned
    np.testing.assert_allclose(data[0]['img'], pixels.transpose(1, 2, 0) * 1e-4, atol=1e-6)
    ImageFolder(str(tmp_path), [dict(LOAD, bands=2)], cache_dir=str(tmp_path))
    assert re.search(message, warned.pop())
    paths = sorted(tmp_path.glob('*.tif'))
    assert re.search(message + '.*--scale', band_statistics(paths).notes[0])
    assert band_statistics(paths, Options(scale=True)).notes == ()
    assert band_statistics(paths, Options(bands=(0,))).notes == ()


def test_scales_that_agree_are_not_told(tmp_path, warned):
    for name in 'ab':
        write_scaled(tmp_path / f'{name}.tif', noise(2, 32, 32), (1e-4, 0.5), (0.0, -0.1))
        header = read_header(str(tmp_path / f'{name}.tif'))
        assert header.scaling([1, 0]) == ((0.5, -0.1), (1e-4, 0.0))
    for _ in range(2):  # the second time from the cache
        dataset(tmp_path, load=dict(LOAD, bands=2), window=32)
    assert not warned
    write_raster(tmp_path / 'c.tif', noise(2, 32, 32))
    dataset(tmp_path, load=dict(LOAD, bands=2), window=32)
    assert re.search(r'1 files declare .*than 2 .*c\.tif: scale and offset of band 0 are 1 and 0', warned.pop())


def test_white_that_is_zero_in_some_files_is_refused(tmp_path):
    levels = noise(1, 32, 32, 'uint8')
    write_raster(tmp_path / 'w.tif', levels, photometric='miniswhite')
    assert load(tmp_path / 'w.tif')[0, 0, 0] == levels[0, 0, 0]  # alone it is as stored
    assert len(dataset(tmp_path, window=32)) == 1
    cv2.imwrite(str(tmp_path / 'b.png'), 255 - levels[0])
    message = r"0 is white in 1 files \(MINISWHITE: .*w\.tif\) and black in 1 \(.*b\.png\).*convert='rgb'"
    for use in (
        lambda: dataset(tmp_path, load=dict(LOAD, bands=1)),
        lambda: ImageFolder(str(tmp_path), [dict(LOAD, bands=1)], cache_dir=str(tmp_path)),
        lambda: band_statistics([tmp_path / 'b.png', tmp_path / 'w.tif']),
        lambda: settle_bands(find_scenes([tmp_path]), Options()),
    ):
        with pytest.raises(OtherBandsError, match=message):
            use()
    data = ImageFolder(str(tmp_path), [dict(LOAD, bands=3, convert='rgb')], cache_dir=str(tmp_path))
    for i in range(2):
        assert np.array_equal(data[i]['img'], np.repeat(255 - levels[0, ..., None], 3, axis=2))


def test_tiles_say_that_zero_is_white(tmp_path):
    levels = noise(1, 32, 32, 'uint8')
    write_raster(tmp_path / 'w.tif', levels, photometric='miniswhite')
    list(cut_tiles(plan_tiles(find_scenes([tmp_path / 'w.tif']), 16, 16).tiles, tmp_path / 'out', 16))
    tile = tmp_path / 'out' / 'img_dir' / 'train' / 'w_00016_00000.tif'
    assert np.array_equal(load(tile, bands=3, convert='rgb')[..., 0], 255 - levels[0, 16:, :16])
