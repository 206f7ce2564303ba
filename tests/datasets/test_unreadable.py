"""A window that cannot be read is passed over, counted, and ends the run where that is too much."""

import re

import pytest
import rasterio

from mmrs_ssl.rasters.errors import UnreadableImageError
from tests.rasters.rasters import dataset, noise, write_raster


def test_a_tile_that_cannot_be_read(tmp_path, monkeypatch):
    tiling = dict(tiled=True, blockxsize=16, blockysize=16, compress='deflate')
    path = write_raster(tmp_path / 'a.tif', noise(1, 64, 64), **tiling)
    whole = path.read_bytes()
    with rasterio.open(path) as file:
        start = int(file.get_tag_item('BLOCK_OFFSET_1_1', 'TIFF', bidx=1))
    path.write_bytes(whole[:start] + b'\xff' * 40 + whole[start + 40 :])
    warnings = []
    monkeypatch.setattr('mmrs_ssl.datasets.unreadable.print_log', lambda text, *args: warnings.append(text))
    data = dataset(tmp_path)
    assert (16, 16) not in [data[i]['window'][:2] for i in range(len(data))]
    assert len(warnings) == 1
    assert re.search(
        r'skipped unreadable window 1 \(at most 1 of 16\): .*a\.tif: cannot be read in window \(16, 16', warnings[0]
    )
    with pytest.raises(UnreadableImageError, match=r'1 of 16 windows are unreadable.*a\.tif.*max_bad'):
        [dataset(tmp_path, max_bad=0)[i] for i in range(16)]
