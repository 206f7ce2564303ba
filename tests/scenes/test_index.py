"""Scenes of files that show the same ground, and scenes that cannot be used: refused, or passed over and counted."""

import re

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform as convert

from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.scenes.placing import SceneError
from mmrs_ssl.synthetic.layouts import write_layout
from tests.rasters.rasters import CRS, ORIGIN, coordinates, dataset, noise, write_raster


def good(root, count=3):
    for i in range(count):
        write_raster(root / f'good{i}_x.tif', noise(2, 40, 40, seed=i))
        write_raster(root / f'good{i}_y.tif', noise(1, 40, 40, seed=i))


def bad_crs_missing(root):
    write_raster(root / 'bad_x.tif', noise(2, 40, 40), crs=None)
    write_raster(root / 'bad_y.tif', noise(1, 40, 40))


def bad_crs_other(root):
    for name, bands in (('x', 2), ('y', 1)):
        write_raster(root / f'bad_{name}.tif', noise(bands, 40, 40), crs='EPSG:32634')


def bad_crs_for_metres(root):
    for name, bands in (('x', 2), ('y', 1)):
        write_raster(root / f'bad_{name}.tif', noise(bands, 40, 40), crs=None)


def bad_bands(root):
    write_raster(root / 'bad_x.tif', noise(5, 40, 40))
    write_raster(root / 'bad_y.tif', noise(1, 40, 40))


def bad_type(root):
    write_raster(root / 'bad_x.tif', noise(2, 40, 40, 'uint8'))
    write_raster(root / 'bad_y.tif', noise(1, 40, 40))


def bad_partner(root):
    write_raster(root / 'bad_x.tif', noise(2, 40, 40))


def bad_place(root):
    write_raster(root / 'bad_x.tif', noise(2, 40, 40))
    write_raster(root / 'bad_y.tif', noise(1, 40, 40), shift=(40, 0))


def bad_size(root):
    write_raster(root / 'bad_x.tif', noise(2, 40, 12))
    write_raster(root / 'bad_y.tif', noise(1, 40, 12))


def bad_header(root):
    write_raster(root / 'bad_y.tif', noise(1, 40, 40))
    (root / 'bad_x.tif').write_bytes(b'II*\0 and then nothing')


def bad_transform(root):
    flat = dict(transform=rasterio.Affine(0, 0, 500000, 0, 0, 5000000))
    write_raster(root / 'bad_x.tif', noise(2, 40, 40), **flat)
    write_raster(root / 'bad_y.tif', noise(1, 40, 40))


def bad_complex(root):
    write_raster(root / 'bad_x.tif', noise(2, 40, 40, 'complex64'))
    write_raster(root / 'bad_y.tif', noise(1, 40, 40))


@pytest.mark.parametrize(
    ('make', 'options', 'message'),
    [
        (bad_crs_missing, {}, r'cannot be put on the grid of .*bad_x\.tif .*no CRS.*give both a CRS'),
        (bad_crs_other, dict(crs='same'), r'bad_x\.tif is in EPSG:32634, but crs= asks for EPSG:32633'),
        (bad_crs_other, dict(crs=CRS), r'bad_x\.tif is in EPSG:32634, but crs= asks for EPSG:32633'),
        (bad_crs_for_metres, dict(window=16, unit='metres'), r'has no CRS: metres mean nothing'),
        (bad_bands, {}, r'bad_x\.tif has 5 bands, most files have 2'),
        (bad_type, {}, r'bad_x\.tif is uint8, most files are uint16'),
        (bad_partner, {}, r"no file of modality 'y' \(beside .*bad_x\.tif"),
        (bad_place, {}, r'bad_y\.tif does not overlap with .*bad_x\.tif'),
        (bad_size, {}, r'\(.*bad_x\.tif\) has 40 x 12 pixels that its 2 files share, less than a window of 16 x 16'),
        (bad_header, {}, r'bad_x\.tif: not readable as a raster'),
        (bad_transform, {}, r'bad_y\.tif cannot be put on the grid of .*bad_x\.tif'),
        (bad_complex, {}, r'bad_x\.tif is complex64: complex numbers'),
    ],
)
def test_scenes_that_cannot_be_used(tmp_path, monkeypatch, make, options, message):
    good(tmp_path)
    make(tmp_path)
    load = dict(type='mmrs_ssl.LoadModalities', modalities=dict(x=dict(bands=None), y=dict(bands=None)))
    settings = dict(load=load, files=dict(x='{scene}_x', y='{scene}_y'), **options)
    with pytest.raises(SceneError, match=rf"1 of 4 scenes cannot be used, more than the 0 .*scene 'bad' .*{message}"):
        dataset(tmp_path, max_bad=0, **settings)
    warnings = []
    monkeypatch.setattr('mmrs_ssl.rasters.tolerance.print_log', lambda text, *args: warnings.append(text))
    data = dataset(tmp_path, **settings)
    assert len(data) == 3 * 9
    assert re.search(rf"skipped 1 of 4 scenes: scene 'bad' .*{message}", warnings[0])


def test_no_file_has_a_crs_or_a_band(tmp_path):
    write_raster(tmp_path / 'a_B1.tif', noise(1, 32, 32), crs=None)
    with pytest.raises(SceneError, match=r'a_B1\.tif has no CRS, but crs= asks for one'):
        dataset(tmp_path, crs='same')
    with pytest.raises(ValueError, match=r"is one of band_files=\['B7'\]"):
        dataset(tmp_path, files='{scene}_{band}', band_files=['B7'])


def shared_ground(root, crs=CRS):
    """A reference of 1 m, and partners on a finer, a coarser, a shifted and a turned grid; pixels are coordinates."""
    write_raster(root / 'a_ref.tif', coordinates(80, 90))
    write_raster(root / 'a_fine.tif', coordinates(200, 200, 0.4, (3.3, -1.7)), 0.4, (3.3, -1.7))
    write_raster(root / 'a_coarse.tif', coordinates(50, 50, 2.5, (-7.9, 2.2)), 2.5, (-7.9, 2.2))
    shift = (-4.4, -3.6)
    east, south = coordinates(110, 110, 1.0, shift)
    corner = convert(CRS, 'EPSG:32632', [ORIGIN[0]], [ORIGIN[1]])
    x, y = corner[0][0] + east.astype(float), corner[1][0] - south.astype(float)
    back = convert('EPSG:32632', CRS, x.ravel(), y.ravel())
    place = np.stack([np.array(back[0]) - ORIGIN[0], ORIGIN[1] - np.array(back[1])]).reshape(2, 110, 110)
    transform = rasterio.transform.from_origin(corner[0][0] + shift[0], corner[1][0] - shift[1], 1.0, 1.0)
    write_raster(root / 'a_other.tif', place.astype(np.float32), transform=transform, crs='EPSG:32632')


def test_partners_on_other_grids_are_aligned_within_half_a_pixel(tmp_path):
    shared_ground(tmp_path)
    names = ('ref', 'fine', 'coarse', 'other')
    load = dict(type='mmrs_ssl.LoadModalities', modalities={name: dict(bands=2) for name in names})
    data = dataset(
        tmp_path,
        load=load,
        files={name: f'{{scene}}_{name}' for name in names},
        sampling='random',
        max_nodata=0,
        grid='ref',
    )
    extent = Window(*data.plan.extents[0].tolist())
    assert extent.top >= 2.2
    assert extent.left >= 3.3
    assert extent.top + extent.height <= 78.3
    assert extent.left + extent.width <= 83.3
    for i in range(6):
        sample = data[SampleIndex(i, 0, 5)]
        top, left, height, width = sample['window']
        truth = coordinates(80, 90)[:, top : top + height, left : left + width].transpose(1, 2, 0)
        assert np.array_equal(sample['img']['ref'], truth)
        for name in names[1:]:
            assert np.abs(sample['img'][name] - truth).max() < 0.5, name


def test_rasters_without_crs_are_partners_by_transform_or_by_size(tmp_path):
    write_raster(tmp_path / 'size' / 'a_x.tif', noise(1, 40, 40), crs=None)
    write_raster(tmp_path / 'size' / 'a_y.tif', noise(1, 40, 40), crs=None)
    rules = dict(x='{scene}_x', y='{scene}_y')
    load = dict(type='mmrs_ssl.LoadModalities', modalities=dict(x=dict(bands=None), y=dict(bands=None)))
    assert len(dataset(tmp_path / 'size', load=load, files=rules)) == 9
    for name, gsd, side, shift in (('x', 1.0, 60, (0, 0)), ('y', 0.5, 100, (4.2, 6.6))):
        place = rasterio.transform.from_origin(shift[0], -shift[1], gsd, gsd)
        write_raster(
            tmp_path / 'place' / f'a_{name}.tif', coordinates(side, side, gsd, shift), crs=None, transform=place
        )
    image = dataset(tmp_path / 'place', load=load, files=rules)[0]['img']
    assert np.abs(image['x'] - image['y']).max() < 0.5


def test_bands_in_files_of_their_own(tmp_path):
    write_layout('seco', tmp_path, scenes=1, size=48)
    data = dataset(tmp_path, files='{scene}/{date}/{band}', band_files=['B4', 'B3', 'B2', 'B1'])
    sample = data[0]
    assert sample['img'].shape == (16, 16, 4)
    folder = tmp_path / '000000' / sample['dates'][0]
    top, left = sample['window'][:2]
    for band, name in enumerate(('B4', 'B3', 'B2')):
        with rasterio.open(folder / f'{name}.tif') as file:
            assert np.array_equal(sample['img'][..., band], file.read(1)[top : top + 16, left : left + 16])
    with rasterio.open(folder / 'B1.tif') as file:  # 60 m on the grid of 10 m
        low, high = file.read(1).min(), file.read(1).max()
    assert low <= sample['img'][..., 3].min() <= sample['img'][..., 3].max() <= high


def test_modalities_are_paired_by_date(tmp_path):
    for year in (2019, 2020):
        write_raster(tmp_path / f'a_rgb_{year}.tif', noise(1, 16, 16))
    for year in (2018, 2019):
        write_raster(tmp_path / f'a_dsm_{year}.tif', noise(1, 16, 16))
    write_raster(tmp_path / 'a_soil.tif', noise(1, 16, 16))
    rules = dict(rgb='{scene}_rgb_{date}', dsm='{scene}_dsm_{date}', soil='{scene}_soil')
    load = dict(type='mmrs_ssl.LoadModalities', modalities={name: dict(bands=1) for name in rules})
    data = dataset(tmp_path, load=load, files=rules)
    assert {data[SampleIndex(0, epoch, 0)]['dates'][0] for epoch in range(8)} == {'2019'}
    with pytest.raises(SceneError, match=r'has 1 date\(s\) of all modalities, expected 2'):
        dataset(tmp_path, load=load, files=rules, min_dates=2)
