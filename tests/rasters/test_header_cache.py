"""Headers are read once, and again when a file or what lies beside it has changed."""

import os

import cv2
import pytest

from mmrs_ssl.rasters import header, header_cache, reader
from mmrs_ssl.scenes.placing import SceneError
from tests.rasters.rasters import dataset, noise, write_raster
from tests.scenes.test_window_plan import boxes


def test_the_index_reads_headers_once_and_no_pixel(tmp_path, monkeypatch):
    for i in range(30):
        write_raster(tmp_path / f'{i:02d}.tif', noise(2, 32, 32, seed=i))
    monkeypatch.setattr(reader.OpenRaster, 'read', None)
    opened = []
    monkeypatch.setattr(header_cache, 'read_header', lambda path, _: opened.append(path) or header.read_header(path))
    assert len(dataset(tmp_path)) == 120
    assert len(opened) == 30
    assert len(dataset(tmp_path)) == 120
    assert len(opened) == 30
    write_raster(tmp_path / '07.tif', noise(2, 64, 32))
    assert len(dataset(tmp_path)) == 124
    assert len(opened) == 31


def test_a_crs_added_beside_a_file_is_seen(tmp_path):
    path = write_raster(tmp_path / 'a.png', noise(1, 32, 32, 'uint8'), crs=None, driver='PNG', photometric=None)
    with pytest.raises(SceneError, match='metres mean nothing'):
        dataset(tmp_path, unit='metres')
    place = '<GeoTransform>500000, 2, 0, 5000000, 0, -2</GeoTransform>'
    text = f'<PAMDataset><SRS>EPSG:32633</SRS>{place}</PAMDataset>'
    path.with_name('a.png.aux.xml').write_text(text)
    assert boxes(dataset(tmp_path, unit='metres'))[0][3:] == (8, 8)


@pytest.mark.parametrize('world', ['jpw', 'jgw', 'jpegw', 'wld'])
def test_a_world_file_that_changes_is_seen(tmp_path, world):
    path = str(tmp_path / 'a.jpeg')
    cv2.imwrite(path, noise(1, 32, 32, 'uint8')[0])
    for east in (500_000, 600_000):
        (tmp_path / f'a.{world}').write_text(f'10\n0\n0\n-10\n{east + 5}\n4999995\n')
        os.utime(tmp_path / f'a.{world}', (east, east))
        found = header_cache.read_headers([path], str(tmp_path / 'cache'))[path]
        assert found.grid.transform == (10, 0, east, 0, -10, 5_000_000)
