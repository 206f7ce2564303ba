"""On whose grid a place is read, and where rasters lie that say it by control points or rational polynomials."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.rpc import RPC
from rasterio.warp import transform as convert

from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import Grid
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.scenes.placing import SceneError
from tests.datasets.transforms.test_loading import load
from tests.rasters.rasters import CRS, ORIGIN, coordinates, dataset, noise, write_raster
from tests.scenes.places import places, truth, write_date, write_with_points

GSD = dict(B1=60.0, B2=10.0, B5=20.0)


def bands(root):
    """A band of 10, of 20 and of 60 m; pixels are metres east."""
    for name, gsd in GSD.items():
        side = int(1200 / gsd)
        write_raster(root / 'a' / f'{name}.tif', coordinates(side, side, gsd)[:1], gsd)


@pytest.mark.parametrize('order', [['B1', 'B2', 'B5'], ['B2', 'B5', 'B1'], ['B5', 'B1', 'B2']])
def test_bands_of_10_20_and_60_m_are_read_at_10_m_in_any_order(tmp_path, log, order):
    bands(tmp_path)
    options = dict(files='{scene}/{band}', sampling='random', window=24)
    data, alone = (places(tmp_path, band_files=names, **options) for names in (order, ['B2']))
    assert log == ["grid: 10 m per pixel (that of 'B2', the finest)"] * 2
    assert data.scene(0).extent == (0, 0, 120, 120)
    for i in range(5):
        sample = data[SampleIndex(0, i, 0)]
        assert sample['window'] == alone[SampleIndex(0, i, 0)]['window']
        east = truth(sample)[..., 0]
        away = {name: np.abs(sample['img'][..., band] - east).max() for band, name in enumerate(order)}
        assert away['B2'] == 0
        assert max(away['B1'], away['B5']) < 30  # at the border there is nothing to interpolate with


def test_another_grid_by_name(tmp_path, log):
    bands(tmp_path)
    options = dict(files='{scene}/{band}', band_files=['B1', 'B2', 'B5'], grid='B5')
    assert places(tmp_path, **options).scene(0).extent == (0, 0, 60, 60)
    assert log == ["grid: 20 m per pixel (that of 'B5', as grid= says)"]
    with pytest.raises(ValueError, match=r"grid='B3' is no modality and none of band_.*there are 'B1', 'B2', 'B5'"):
        places(tmp_path, **{**options, 'grid': 'B3'})


def test_archives_of_several_resolutions_are_told_in_one_line(tmp_path, log):
    for number, gsd in enumerate((0.5, 0.5, 2)):
        write_raster(tmp_path / f'{number}.tif', noise(1, 40, 40), gsd)
    write_raster(tmp_path / '3.tif', noise(1, 40, 40), transform=Affine(2, 0, *ORIGIN[:1], 0, -1, ORIGIN[1]))
    dataset(tmp_path)
    assert log == [
        'grid: 0.5 m per pixel in 2 scenes, 2 m per pixel in 1 scenes, 1 m down and 2 m across per pixel in 1 scenes'
    ]


@pytest.mark.parametrize(
    ('crs', 'pixel', 'own', 'finest'),
    [
        ('EPSG:4326', 1e-5, 0.5, 'dsm'),  # 0.6 x 1.1 m
        ('EPSG:4326', 1e-5, 0.9, 'rgb'),
        ('EPSG:3857', 8, 5, 'rgb'),  # 4 m
        ('EPSG:3857', 8, 3.9, 'dsm'),
    ],
)
def test_resolutions_are_compared_on_the_ground(tmp_path, log, crs, pixel, own, finest):
    """A place at 60 degrees of latitude in another CRS, and in UTM."""
    east, north = 500_000, 6_651_411
    (x,), (y,) = convert(CRS, crs, [east], [north])
    for name, wkt, size, corner in (('rgb', crs, pixel, (x, y)), ('dsm', CRS, own, (east, north))):
        place = rasterio.transform.from_origin(*corner, size, size)
        write_raster(tmp_path / f'a_{name}.tif', noise(1, 64, 64), crs=wkt, transform=place)
    load = dict(type='mmrs_ssl.LoadModalities', modalities=dict(rgb=dict(bands=1), dsm=dict(bands=1)))
    dataset(tmp_path, load=load, files=dict(rgb='{scene}_rgb', dsm='{scene}_dsm'), window=8)
    assert f"(that of '{finest}', the finest)" in log[-1]


def test_of_equal_grids_the_first_is_taken(tmp_path, log):
    for name, gsd in (('y', 1.0), ('x', 0.999)):
        write_raster(tmp_path / f'a_{name}.tif', noise(1, 40, 40), gsd)
    load = dict(type='mmrs_ssl.LoadModalities', modalities=dict(y=dict(bands=1), x=dict(bands=1)))
    data = dataset(tmp_path, load=load, files=dict(y='{scene}_y', x='{scene}_x'))
    assert data.scene(0).grid.transform[0] == 1
    assert log == ["grid: 1 m per pixel (that of 'y', the finest)"]


TURNED = Affine.translation(*ORIGIN) @ Affine.rotation(25) @ Affine.scale(4, -2)  # 4 m wide, 2 m high


def test_a_file_with_control_points_is_read_on_its_own_pixels(tmp_path):
    pixels = noise(2, 60, 50)
    write_with_points(tmp_path / 'a.tif', pixels, TURNED)
    data = dataset(tmp_path, window=40, unit='metres', sampling='random')
    assert data.scene(0).gsd == pytest.approx((2, 4))
    for i in range(5):
        sample = data[SampleIndex(0, i, 0)]
        top, left, height, width = sample['window']
        assert (height, width) == (20, 10)
        assert np.array_equal(sample['img'], pixels[:, top : top + 20, left : left + 10].transpose(1, 2, 0))
    assert len(dataset(tmp_path, crs=CRS)) == 4 * 4
    with pytest.raises(SceneError, match=r'a\.tif is in EPSG:32633, but crs= asks for EPSG:32634'):
        dataset(tmp_path, crs='EPSG:32634')


@pytest.mark.parametrize('options', [dict(resampling='max'), dict(nodata=0, resampling='average'), dict(nodata=0)])
def test_control_points_are_of_no_account_on_a_files_own_pixels(tmp_path, options):
    """Read at half the size, what has control points is what it is without them; a warp heeds them elsewhere."""
    pixels = noise(2, 60, 50)
    write_with_points(tmp_path / 'a.tif', pixels, TURNED)
    write_raster(tmp_path / 'b.tif', pixels)
    placed, plain = (load(tmp_path / f'{name}.tif', bands=2, size=20, **options) for name in 'ab')
    assert placed.std() > 10
    assert np.array_equal(placed, plain)


def test_dates_of_equal_control_points_lie_on_the_same_pixels(tmp_path):
    pixels = {year: noise(1, 40, 40, seed=int(year)) for year in ('2019', '2020')}
    for year, own in pixels.items():
        write_with_points(tmp_path / 'a' / f'{year}.tif', own, TURNED)
    data = places(tmp_path, dates=2)
    assert data.scene(0).grid == Grid('', tuple(Affine.identity())[:6])
    assert data.scene(0).gsd == pytest.approx((2, 4))
    for i in range(len(data)):
        sample = data[i]
        top, left = sample['window'][:2]
        for date, image in zip(sample['dates'], sample['img'], strict=True):
            assert np.array_equal(image[..., 0], pixels[date][0, top : top + 16, left : left + 16])


@pytest.mark.parametrize('gsd', [1.0, 3.0])
def test_other_control_points_are_put_on_the_finest_grid(tmp_path, log, gsd):
    """Pixels are metres on the ground, of three dates: with a transform, and with points of two resolutions."""
    write_date(tmp_path / 'a', '2018', 0, 0, round(90 / gsd), round(90 / gsd), gsd)
    for year, size in (('2019', 1.0), ('2020', 2.0)):
        side = round(100 / size)
        place = Affine.translation(ORIGIN[0] - 5.3, ORIGIN[1] + 4.6) @ Affine.scale(size, -size)
        write_with_points(tmp_path / 'a' / f'{year}.tif', coordinates(side, side, size, (-5.3, -4.6)), place)
    data = places(tmp_path, sampling='random', max_nodata=0)
    assert log == ['grid: 1 m per pixel']
    found = [data[SampleIndex(0, i, 0)] for i in range(20)]
    assert {sample['dates'][0] for sample in found} == {'2018', '2019', '2020'}
    inner = [np.abs(sample['img'] - truth(sample))[2:-2, 2:-2].max() for sample in found]
    assert max(inner) < 0.5 * max(gsd, 2)


def test_control_points_say_that_a_date_lies_elsewhere(tmp_path, log):
    for year, east in (('2018', 0), ('2019', 0), ('2020', 5000)):
        place = Affine.translation(ORIGIN[0] + east, ORIGIN[1]) @ Affine.scale(1, -1)
        write_with_points(tmp_path / 'a' / f'{year}.tif', noise(1, 40, 40), place)
    data = places(tmp_path)
    assert list(data.scene(0).extents) == ['2018', '2019']
    assert data.scene(0).grid.transform == tuple(Affine.identity())[:6]
    assert 'left out 1 of 3 dates' in log[0]


def write_with_rpcs(path):
    write_raster(path, noise(1, 40, 40), crs=None)
    line = [0.0, 0.0, -1.0, *[0.0] * 17]
    one = [1.0, *[0.0] * 19]
    place = dict(height_off=0, height_scale=1, lat_off=45, lat_scale=0.01, long_off=15, long_scale=0.01)
    scales = dict(line_off=20, line_scale=20, samp_off=20, samp_scale=20)
    sample = [0.0, 1.0, *[0.0] * 18]
    polynomials = dict(line_num_coeff=line, line_den_coeff=one, samp_num_coeff=sample, samp_den_coeff=one)
    with rasterio.open(path, 'r+') as file:
        file.rpcs = RPC(**place, **scales, **polynomials)
    return path


@pytest.mark.parametrize(
    ('options', 'why'),
    [
        (dict(unit='metres'), r"unit='metres' needs a grid"),
        (dict(crs=CRS), r"crs='EPSG:32633' asks for a grid"),
        (dict(files='a{date}'), r'the place has 2 files'),
    ],
)
def test_rational_polynomials_alone_are_no_grid(tmp_path, options, why):
    for name in ('a1', 'a2')[: 1 + ('files' in options)]:
        write_with_rpcs(tmp_path / f'{name}.tif')
    if 'files' not in options:
        assert len(dataset(tmp_path)) == 9
    line = r'gdalwarp -rpc -t_srs EPSG:\.\.\. .*/a1\.tif .*/a1_warped\.tif'
    with pytest.raises(SceneError, match=rf'a1\.tif says where it lies by rat.*alone, but {why}; .*: {line}'):
        dataset(tmp_path, **options)


def test_too_few_control_points_are_the_files_fault(tmp_path):
    """As damage leaves them; GDAL raises an error of its own kind."""
    place = Affine.translation(*ORIGIN) @ Affine.scale(1, -1)
    path = write_with_points(tmp_path / 'a.tif', coordinates(20, 20), place, count_of_points=1)
    with pytest.raises(UnreadableImageError, match=r'a\.tif: .*Not enough points'):
        read_header(path)
