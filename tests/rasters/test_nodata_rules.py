"""Pixels without data, by value and rule, on a file's own pixels and resampled: against plain numpy."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmrs_ssl.archives.band_statistics import Options, band_statistics
from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import Grid, Window
from mmrs_ssl.rasters.nodata import Marks, default_rule
from mmrs_ssl.rasters.reader import OpenRaster
from tests.datasets.transforms.test_loading import load
from tests.rasters.rasters import LOAD, dataset, noise, write_raster

SIDE = 12
VALUES = [
    ('uint8', 0.0),
    ('uint8', 255.0),
    ('uint16', 65535.0),
    ('int16', -9999.0),
    ('int16', 0.0),
    ('float32', -9999.0),
    ('float32', 0.0),
    ('float32', float('nan')),
    ('float32', -3.4e38),
    ('float32', 9.969209968386869e36),
    ('float32', 1e20),
    ('uint32', 4294967295.0),
    ('float64', -1.7976931348623157e308),
]


def holding(pixels, value):
    return np.isnan(pixels) if np.isnan(value) else pixels == np.dtype(pixels.dtype).type(value)


def reference(held, rule, bands):
    """Which pixels (C, H, W) of some bands are empty, of a file of which all pixels are given."""
    if rule == 'band':
        return held[bands]
    together = held.all(axis=0) if rule == 'all' else held[bands].any(axis=0)
    return np.broadcast_to(together, (len(bands), *together.shape))


def quarter_right(pixels, contributes, together):
    """Linear interpolation a quarter of a pixel to the right, of those that contribute.

    Valid is what lies on one of them, or, band by band, has one of them beside it: GDAL judges so.
    """
    weights = contributes.astype(np.float64)
    values = np.where(contributes, pixels, 0).astype(np.float64)
    total = 0.75 * weights[..., :-1] + 0.25 * weights[..., 1:]
    sums = 0.75 * values[..., :-1] + 0.25 * values[..., 1:]
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0), (
        contributes[..., :-1] if together else total > 0
    )


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    kind=st.sampled_from(VALUES),
    rule=st.sampled_from(['auto', 'all', 'any', 'band']),
    declared=st.booleans(),
    bands=st.sampled_from([[0], [2, 0], [0, 1, 2]]),
    how=st.sampled_from(['own', 'shifted', 'half as large']),
    seed=st.integers(0, 2**16),
)
def test_rule_for_every_value_type_and_grid(kind, rule, declared, bands, how, seed):
    dtype, value = kind
    assume(rule != 'all' or not abs(value) > 1e19)  # as data, nothing can be computed with it
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 200, (3, SIDE, SIDE)).astype(dtype)
    held = rng.random(pixels.shape) < 0.15
    held[:, 2:6, 2:6] = True
    pixels[held] = value
    held = holding(pixels, value)
    with tempfile.TemporaryDirectory() as folder:
        path = write_raster(Path(folder) / 'a.tif', pixels, **(dict(nodata=value) if declared else {}))
        marks = Marks(None if declared else value, rule)
        with rasterio.open(path) as file:
            crs, transform = file.crs.to_wkt(), file.transform
            every_masked = file.dataset_mask() == 0
        resolved = default_rule([value]) if rule == 'auto' else rule
        if np.isnan(value) and rule == 'all':
            resolved = 'band'  # nothing finite stands there
        assert resolved == ('all' if 0 <= value <= 1e9 else 'band') or rule != 'auto'
        empty = reference(held, resolved, bands)
        if how == 'own':
            raster = OpenRaster(str(path), marks=marks)
            found, valid = raster.read(bands)
            np.testing.assert_array_equal(found, pixels[bands])
            np.testing.assert_array_equal(valid, ~empty)
            if declared and resolved == 'all':
                np.testing.assert_array_equal(~valid[0], every_masked)  # what GDAL takes for the mask of all bands
        elif how == 'shifted':
            grid = Grid(crs, tuple(transform @ Affine.translation(0.25, 0))[:6])
            raster = OpenRaster(str(path), grid, (SIDE, SIDE), marks=marks)
            found, valid = raster.read(bands, Window(0, 0, SIDE, SIDE - 1))
            contributes = ~(np.broadcast_to(held.all(axis=0), held.shape) if resolved == 'all' else held)[bands]
            expected, some = quarter_right(pixels[bands], contributes, resolved == 'all')
            if resolved == 'any':
                some = np.broadcast_to(some.all(axis=0), some.shape)
            np.testing.assert_array_equal(valid, some)
            close = 0 if dtype.startswith('float') else 0.51  # GDAL rounds
            np.testing.assert_allclose(found[valid], expected[valid], atol=close, rtol=1e-6)
        else:
            raster = OpenRaster(str(path), marks=marks)
            found, valid = raster.read(bands, None, (SIDE // 2, SIDE // 2), 'average')
            contributes = ~(np.broadcast_to(held.all(axis=0), held.shape) if resolved == 'all' else held)[bands]
            weights = contributes.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).sum((2, 4))
            sums = np.where(contributes, pixels[bands], 0).astype(np.float64)
            sums = sums.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).sum((2, 4))
            some = weights > 0
            if resolved == 'any':
                some = np.broadcast_to(some.all(axis=0), some.shape)
            np.testing.assert_array_equal(valid, some)
            close = 0 if dtype.startswith('float') else 0.51
            np.testing.assert_allclose(found[valid], (sums / np.maximum(weights, 1))[valid], atol=close, rtol=1e-6)
        raster.close()


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(kind=st.sampled_from(VALUES), rule=st.sampled_from(['auto', 'all', 'any', 'band']), seed=st.integers(0, 2**16))
def test_statistics_count_what_is_loaded(kind, rule, seed):
    dtype, value = kind
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 200, (3, 40, 40)).astype(dtype)
    held = rng.random(pixels.shape) < 0.2
    held[:, :8] = True
    pixels[held] = value
    with tempfile.TemporaryDirectory() as folder:
        path = write_raster(Path(folder) / 'a.tif', pixels, nodata=value)
        found, valid = OpenRaster(str(path), marks=Marks(None, rule)).read([2, 0])
        stats = band_statistics([path], Options(bands=(2, 0), rule=rule))
    for band, mask, counted in zip(found, valid, stats.bands, strict=True):
        assert counted.count == mask.sum()
        np.testing.assert_allclose(counted.mean, band[mask].mean(dtype=np.float64), rtol=1e-9)
        np.testing.assert_allclose(counted.std, band[mask].std(dtype=np.float64), rtol=1e-6)


def test_a_value_from_an_option_acts_before_resampling(tmp_path):
    heights = np.full((1, 64, 64), 100, np.float32)
    heights[0, 20:30, 20:30] = -9999
    path = write_raster(tmp_path / 'dsm.tif', heights)
    for size in (None, 24, 40):
        image = load(path, bands=1, nodata=-9999, size=size)
        assert (image == 100).all()
        above = load(path, bands=1, nodata=-9999, size=size, height='above_minimum')
        assert (above == 0).all()


def test_the_declared_value_in_other_digits_than_the_pixels(tmp_path):
    heights = noise(1, 16, 16, 'float32')
    heights[0, :4] = np.finfo(np.float32).min
    path = write_raster(tmp_path / 'dsm.tif', heights, nodata=-3.39999999999999996e38)
    image = load(path, bands=1)
    assert image.min() > 0
    assert np.array_equal(image[4:, :, 0], heights[0, 4:])


def test_a_bright_roof_keeps_its_color(tmp_path):
    pixels = noise(3, 16, 16, 'uint8')
    pixels[:, 2, 2] = 255, 250, 240
    pixels[:, 5:, :] = 255
    image = load(write_raster(tmp_path / 'a.tif', pixels, nodata=255))
    assert image[2, 2].tolist() == [255, 250, 240]
    assert image[5:].max() < 200


def test_water_without_near_infrared_is_data(tmp_path):
    """For the loader, for statistics, and at another size."""
    pixels = np.full((4, 64, 64), 3000, np.uint16)
    pixels[3, :, 32:] = 0
    pixels[:, :4] = 0
    path = write_raster(tmp_path / 'a.tif', pixels, nodata=0)
    assert (load(path, bands=4)[4:, 32:, 3] == 0).all()
    assert (load(path, bands=[3])[4:, 32:] == 0).all()
    stats = band_statistics([path])
    assert stats.bands[3].mean == 1500
    assert band_statistics([path], Options(bands=(3,))).bands[0].mean == 1500
    half = load(path, bands=4, size=32)
    assert (half[2:, 17:, 3] == 0).all()
    assert (half[2:, :15] == 3000).all()


@pytest.mark.parametrize('value', [0, 255])
def test_bands_of_a_file_each_are_empty_together(tmp_path, value):
    bands = noise(2, 16, 16, 'uint8')
    bands[1, :8] = value  # dark in one band
    bands[:, 12:] = value
    paths = [write_raster(tmp_path / f'{i}.tif', band[None], nodata=value) for i, band in enumerate(bands)]
    image = load_stack(paths)
    assert np.array_equal(image[:12], bands[:, :12].transpose(1, 2, 0))
    assert np.array_equal(image[12:], np.broadcast_to(bands[:, :12].mean(axis=(1, 2)).astype(np.uint8), (4, 16, 2)))
    stats = band_statistics([tuple(map(str, paths))])
    assert [band.mean for band in stats.bands] == bands[:, :12].mean(axis=(1, 2)).tolist()


def load_stack(paths):
    return LoadRaster(bands=None).load_one(tuple(map(str, paths)), {})


def test_heights_that_nobody_calls_empty_are_refused(tmp_path):
    """-9999 is a depth of the sea, but not beside a height of 100."""
    heights = np.full((1, 16, 16), 100, np.float32)
    heights[0, 3, 3] = -9999
    path = write_raster(tmp_path / 'dsm.tif', heights)
    message = r'dsm\.tif: heights from -9999 to 100 m, more than 9000 m apart; .*LoadRaster\(nodata=-9999\)'
    for height in ('above_minimum', 'colors'):
        with pytest.raises(UnreadableImageError, match=message):
            load(path, bands=1, height=height)
    assert load(path, bands=1, height='above_minimum', nodata=-9999).max() == 0
    assert load(path, bands=1).min() == -9999  # a number like any other, where nobody speaks of heights


def test_another_declared_value_than_the_options_is_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmrs_ssl.rasters.agreement.print_log', lambda text, *args: said.append(text))
    pixels = noise(1, 32, 32, 'int16')
    write_raster(tmp_path / 'a.tif', pixels, nodata=-32768)
    write_raster(tmp_path / 'b.tif', pixels, nodata=-9999)
    write_raster(tmp_path / 'c.tif', pixels)
    dataset(tmp_path, load=dict(LOAD, nodata=-9999), window=32).full_init()
    assert len(said) == 1
    assert '1 of 3 files declare another value than nodata=-9999' in said[0]
    assert 'a.tif: -32768' in said[0]


def test_bands_with_values_of_their_own(tmp_path):
    """Each counts in its band, at any size; a band without one is empty with the others."""
    pixels = noise(2, 32, 32, 'int16')
    pixels[0, :8], pixels[1, 16:] = -1, -2
    plain = write_raster(tmp_path / 'a.tif', pixels, crs=None)
    own, one = tmp_path / 'own.vrt', tmp_path / 'one.vrt'
    rasterio.shutil.copy(plain, own, driver='VRT')
    text = own.read_text()
    first, second = text.split('<VRTRasterBand dataType="Int16" band="2"')
    value = '<NoDataValue>{}</NoDataValue><SimpleSource>'
    first, other = first.replace('<SimpleSource>', value.format(-1)), second.replace('<SimpleSource>', value.format(-2))
    own.write_text(f'{first}<VRTRasterBand dataType="Int16" band="2"{other}')
    for size in (None, (16, 16)):
        found, valid = OpenRaster(str(own)).read([0, 1], None, size)
        step = 1 if size is None else 2
        shares = valid.mean(axis=(1, 2))
        np.testing.assert_allclose(shares, [0.75, 0.5], atol=0 if step == 1 else 1 / 16)  # a row beside counts for half
        assert not valid[0, : 8 // step - 1].any()
        assert found[valid].min() > 0
    zero = first.replace('<NoDataValue>-1', '<NoDataValue>0')
    one.write_text(f'{zero}<VRTRasterBand dataType="Int16" band="2"{second}')
    pixels[0, :8], pixels[1, 16:] = 0, 5
    write_raster(plain, pixels, crs=None)
    for size in (None, (16, 16)):
        found, valid = OpenRaster(str(one)).read([0, 1], None, size)
        assert valid.mean(axis=(1, 2)).tolist() == [0.75, 0.75]
        assert not valid[:, : 8 // (1 if size is None else 2)].any()
        assert set(np.unique(found[1, -6:])) == {5}
