"""What GDAL warns of is told once, with a file's name, and nothing reaches the terminal."""

import struct
import threading

import numpy as np
import pytest
import rasterio
from rasterio.env import get_gdal_config

from mmrs_ssl.datasets.transforms import LoadRaster
from mmrs_ssl.rasters import gdal_log
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.reader import OpenRaster
from tests.rasters.rasters import noise, write_raster

PIXELS = noise(1, 64, 64, 'uint8')


@pytest.fixture
def told(monkeypatch):
    """What the log tells from now on, of whatever kind."""
    texts = []
    monkeypatch.setattr(gdal_log, 'print_log', lambda text, *_: texts.append(text))
    monkeypatch.setattr(gdal_log, '_told', set())
    return texts


def write_disordered(path, tag=65123):
    """A TIFF whose tags are not in order, which libtiff warns of whenever it reads them."""
    write_raster(path, PIXELS, crs=None, tiled=True, blockxsize=16, blockysize=16)
    data = bytearray(path.read_bytes())
    start = struct.unpack('<I', data[4:8])[0]
    tags = [
        struct.unpack('<H', data[start + 2 + 12 * i :][:2])[0] for i in range(struct.unpack('<H', data[start:][:2])[0])
    ]
    struct.pack_into('<H', data, start + 2 + 12 * tags.index(284), tag)  # planar configuration, which has a default
    path.write_bytes(data)
    return str(path)


def read_all(path):
    load = LoadRaster(bands=1)
    windows = [Window(top, left, 16, 16) for top in range(0, 64, 16) for left in range(0, 64, 16)]
    for window in windows:
        pixels = load(dict(img_path=path, window=window))['img'][..., 0]
        assert np.array_equal(pixels, PIXELS[0, window.top :, window.left :][:16, :16])


@pytest.mark.parametrize('thread', [False, True])
def test_one_warning_per_kind_and_not_per_window(tmp_path, told, capfd, thread):
    paths = [write_disordered(tmp_path / f'{name}.tif') for name in 'abc']

    def read():
        for path in paths:
            read_all(path)

    if thread:  # GDAL's messages go another way in each
        worker = threading.Thread(target=read)
        worker.start()
        worker.join()
    else:
        read()
    assert len(told) == 1
    assert f'{paths[0]}: TIFFReadDirectoryCheckOrder:' in told[0]
    assert not capfd.readouterr().err


def test_of_two_open_files_the_one_that_is_read_is_named(tmp_path, told):
    paths = [write_disordered(tmp_path / f'{name}.tif') for name in 'ab']
    rasters = [OpenRaster(path) for path in paths]
    for raster, text in zip(rasters, ('a tile is odd', 'a tile is even'), strict=True):
        raster.read([0], Window(0, 0, 16, 16))
        gdal_log.logging.getLogger('rasterio._env').warning('%s in %s', 'CPLE_AppDefined', text)
    assert [text.split(' (')[0] for text in told[1:]] == [f'{paths[0]}: a tile is odd', f'{paths[1]}: a tile is even']


def test_another_kind_is_told_and_other_numbers_are_none(tmp_path, told):
    for text in (
        'a.tif: tag 7 is odd',
        'tag 12 is odd',
        'b.tif: tag 1 is odd',
        'b.tif: tag 12 is even',
        'no GDAL_SKIP',
    ):
        gdal_log._place.path = '/data/a.tif'
        gdal_log.logging.getLogger('rasterio._env').warning('%s in %s', 'CPLE_AppDefined', text)
    assert [text.split(' (')[0] for text in told] == ['/data/a.tif: tag 7 is odd', 'b.tif: tag 12 is even']


def test_what_is_set_outside_of_an_environment_is_there_after_one(tmp_path):
    """The look beside files, which is switched off, comes not back when another environment ends."""
    gdal_log.listen('a.tif')
    before = get_gdal_config('GDAL_DISABLE_READDIR_ON_OPEN')
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR'):
        assert get_gdal_config('GDAL_DISABLE_READDIR_ON_OPEN') == 'EMPTY_DIR'
    assert get_gdal_config('GDAL_DISABLE_READDIR_ON_OPEN') == before
    assert before
