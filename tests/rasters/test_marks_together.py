"""Values that mean no data beside masks, alpha channels, overviews and bands with a file each: none hides another."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from mmrs_ssl.archives.band_statistics import Options, band_statistics
from mmrs_ssl.rasters.grid import Grid, Window
from mmrs_ssl.rasters.nodata import DECLARED, Marks
from mmrs_ssl.rasters.reader import OpenRaster
from tests.rasters.rasters import dataset, write_raster

HOWS = ['own', 'size', 'grid', 'grid and size']


def read(path, how, bands, marks=DECLARED):
    """The valid values of every band, and the share of pixels that are valid."""
    with rasterio.open(path) as file:
        crs, transform, (height, width) = file.crs.to_wkt(), file.transform, file.shape
    grid = Grid(crs, tuple(transform @ Affine.translation(0.25, 0.25))[:6]) if 'grid' in how else None
    raster = OpenRaster(str(path), grid, (height, width) if grid else None, marks=marks)
    window = Window(0, 0, height - 4, width - 4) if grid else None
    pixels, valid = raster.read(bands, window, (height // 2, width // 2) if 'size' in how else None)
    raster.close()
    return [set(np.unique(band[mask]).tolist()) for band, mask in zip(pixels, valid, strict=True)], valid.mean()


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize(('dtype', 'value'), [('uint8', 0), ('uint8', 255), ('float32', -9999)])
@pytest.mark.parametrize('bands', [1, 3])
@pytest.mark.parametrize('declared', [True, False])
def test_a_mask_and_a_value(tmp_path, how, dtype, value, bands, declared):
    pixels = np.full((bands, 64, 64), 100, dtype)
    pixels[..., :32] = 50
    pixels[:, :8] = value
    path = write_raster(tmp_path / 'a.tif', pixels, **(dict(nodata=value) if declared else {}))
    mask = np.full((64, 64), 255, np.uint8)
    mask[:, :32] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, 'r+') as file:
        file.write_mask(mask)
    values, share = read(path, how, list(range(bands)), DECLARED if declared else Marks(value))
    assert values == [{100}] * bands
    assert abs(share - 0.4375) < 0.05


@pytest.mark.parametrize('how', HOWS)
def test_alpha_and_a_value(tmp_path, how):
    pixels = np.full((4, 64, 64), 100, np.uint8)
    pixels[3], pixels[3, :, :32], pixels[:3, :, :32] = 255, 0, 50
    pixels[:3, :8] = 0
    path = write_raster(tmp_path / 'a.tif', pixels, photometric='rgb', alpha='yes', nodata=0)
    values, share = read(path, how, [0, 1, 2])
    assert values == [{100}] * 3
    assert abs(share - 0.4375) < 0.05
    assert [band.mean for band in band_statistics([path]).bands] == [100] * 3


@pytest.mark.parametrize('how', ['size', 'grid and size'])
def test_overviews_know_less(tmp_path, how):
    """They were made with what the file declares, band by band."""
    pixels = np.full((3, 64, 64), 100, np.float32)
    pixels[:, :10] = -9999
    path = write_raster(tmp_path / 'a.tif', pixels, tiled=True, blockxsize=16, blockysize=16)
    zero = np.full((3, 64, 64), 100, np.uint8)
    zero[0, :, ::2] = 0  # dark in one band
    other = write_raster(tmp_path / 'b.tif', zero, nodata=0, tiled=True, blockxsize=16, blockysize=16)
    for each in (path, other):
        with rasterio.open(each, 'r+') as file:
            file.build_overviews([2, 4], Resampling.average)
    assert read(path, how, [0], Marks(-9999))[0] == [{100}]
    raster = OpenRaster(str(other))
    assert raster.read([0], None, (32, 32))[0].mean() == pytest.approx(50, abs=2)


def test_dark_pixels_of_a_band_are_interpolated_with_the_others(tmp_path):
    """B2, of twice the pixel, is 0 where B1 has values: no hole, but darkness."""
    for folder, nodata in (('declared', dict(nodata=0)), ('silent', {})):
        fine, coarse = np.full((1, 32, 32), 100, np.uint8), np.full((1, 16, 16), 100, np.uint8)
        coarse[..., 8:] = 0
        write_raster(tmp_path / folder / 'p' / 'B1.tif', fine, gsd=10, **nodata)
        write_raster(tmp_path / folder / 'p' / 'B2.tif', coarse, gsd=20, **nodata)
    options = dict(files='{scene}/{band}', band_files=['B1', 'B2'], window=32, cache_dir=str(tmp_path))
    declared, silent = (dataset(tmp_path / folder, **options)[0]['img'] for folder in ('declared', 'silent'))
    assert declared[5, 13:19, 1].tolist() == [100, 100, 75, 25, 0, 0]
    assert np.array_equal(declared, silent)


def test_any_band_of_a_file_each_empties_all(tmp_path):
    bands = np.full((2, 1, 16, 16), 100, np.float32)
    bands[0, :, :8], bands[1, :, :8] = 200, -9999
    paths = tuple(str(write_raster(tmp_path / f'B{i}.tif', band, nodata=-9999)) for i, band in enumerate(bands))
    stats = band_statistics([paths], Options(rule='any'))
    assert [band.mean for band in stats.bands] == [100, 100]
    assert [band.mean for band in band_statistics([paths]).bands] == [150, 100]
