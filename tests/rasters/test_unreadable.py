"""A window that cannot be read is passed over, counted, and ends the run where that is too much."""

import re

import pytest
import rasterio

from mmrs_ssl.rasters.errors import UnreadableImageError
from tests.rasters.rasters import dataset, noise, write_raster


@pytest.fixture
def warnings(monkeypatch):
    texts = []
    monkeypatch.setattr('mmrs_ssl.rasters.unreadable.print_log', lambda text, *args: texts.append(text))
    return texts


def break_strips(path, first):
    """Overwrites the strips of a compressed raster, all but the first ones."""
    with rasterio.open(path) as file:
        rows = range(first, file.height // file.block_shapes[0][0])
        starts = [int(file.get_tag_item(f'BLOCK_OFFSET_0_{row}', 'TIFF', bidx=1)) for row in rows]
    with open(path, 'r+b') as file:
        for start in starts:
            file.seek(start)
            file.write(b'\xff' * 8)


def test_a_file_of_broken_strips_is_told_once(tmp_path, warnings):
    for name in 'ab':
        path = write_raster(tmp_path / f'{name}.tif', noise(1, 512, 16), blockysize=4, compress='deflate')
        break_strips(path, first=90)
    write_raster(tmp_path / 'c.tif', noise(1, 512, 16))
    data = dataset(tmp_path, max_bad=1)
    assert {data[i]['scene'] for i in range(len(data))} == {'a', 'b', 'c'}
    bad = int(data.skipped_windows.bad.sum())
    assert bad > 10
    told = [text for text in warnings if 'unreadable window ' in text]
    assert [re.search(r'window \d+ .*([ab])\.tif', text)[1] for text in told] == ['a', 'b']
    assert all('further windows of this scene are only counted' in text for text in told)
    assert [text for text in warnings if text not in told] == ['skipped 10 unreadable windows (at most 95 of 96)']
    strict = dataset(tmp_path)
    with pytest.raises(UnreadableImageError, match=r'2 of 96 windows are unreadable, more than the 1 that max_bad=0'):
        [strict[i] for i in range(96)]


def test_a_tile_that_cannot_be_read(tmp_path, warnings):
    tiling = dict(tiled=True, blockxsize=16, blockysize=16, compress='deflate')
    path = write_raster(tmp_path / 'a.tif', noise(1, 64, 64), **tiling)
    whole = path.read_bytes()
    with rasterio.open(path) as file:
        start = int(file.get_tag_item('BLOCK_OFFSET_1_1', 'TIFF', bidx=1))
    path.write_bytes(whole[:start] + b'\xff' * 40 + whole[start + 40 :])
    data = dataset(tmp_path)
    assert (16, 16) not in [data[i]['window'][:2] for i in range(len(data))]
    assert len(warnings) == 1
    assert re.search(
        r'skipped unreadable window 1 \(at most 1 of 16\): .*a\.tif: cannot be read in window \(16, 16', warnings[0]
    )
    strict = dataset(tmp_path, max_bad=0)
    with pytest.raises(UnreadableImageError, match=r'1 of 16 windows are unreadable.*a\.tif.*max_bad'):
        [strict[i] for i in range(16)]
