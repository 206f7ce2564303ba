"""Scenes and windows that cannot be used: refused, or passed over and counted."""

import re

import pytest
import rasterio

from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.scenes.index import SceneError
from tests.rasters.rasters import CRS, LOAD, dataset, noise, write_raster


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


def bad_degrees(root):
    for name, bands in (('x', 2), ('y', 1)):
        place = rasterio.transform.from_origin(15, 45, 1e-5, 1e-5)
        write_raster(root / f'bad_{name}.tif', noise(bands, 40, 40), crs='EPSG:4326', transform=place)


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
        (bad_degrees, dict(window=16, unit='metres'), r'EPSG:4326: metres mean nothing'),
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
    monkeypatch.setattr('mmrs_ssl.datasets.unreadable.print_log', lambda text, *args: warnings.append(text))
    data = dataset(tmp_path, **settings)
    assert len(data) == 3 * 9
    assert re.search(rf"skipped 1 of 4 scenes: scene 'bad' .*{message}", warnings[0])


def test_no_file_has_a_crs_or_a_band(tmp_path):
    write_raster(tmp_path / 'a_B1.tif', noise(1, 32, 32), crs=None)
    with pytest.raises(SceneError, match=r'a_B1\.tif has no CRS, but crs= asks for one'):
        dataset(tmp_path, crs='same')
    with pytest.raises(ValueError, match=r"is one of band_files=\['B7'\]"):
        dataset(tmp_path, files='{scene}_{band}', band_files=['B7'])


def test_a_band_that_is_called_alpha_is_told(tmp_path, monkeypatch):
    write_raster(tmp_path / 'a.tif', noise(4, 32, 32, 'uint8'), photometric='rgb', alpha='yes')
    warnings = []
    monkeypatch.setattr('mmrs_ssl.datasets.band_check.print_log', lambda text, *args: warnings.append(text))
    assert dataset(tmp_path)[0]['img'].shape == (16, 16, 3)
    assert re.search(r'1 files declare a band alpha, .*a\.tif.*pipeline\.0\.bands', warnings.pop())
    assert dataset(tmp_path, load=dict(LOAD, bands=4))[0]['img'].shape == (16, 16, 4)
    assert not warnings


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


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(unit='feet'), r"unit='feet' is not one of pixels, metres"),
        (dict(sampling='all'), r"sampling='all'"),
        (dict(window=0), r'window=0'),
        (dict(windows_per_epoch=5), r"windows_per_epoch is for sampling='random'"),
        (dict(max_nodata=50), r'max_nodata=50'),
        (dict(sampling='random', windows_per_epoch=0), r'windows_per_epoch=0'),
    ],
)
def test_wrong_options(tmp_path, options, message):
    write_raster(tmp_path / 'a.tif', noise(1, 32, 32))
    with pytest.raises(ValueError, match=message):
        dataset(tmp_path, **options)
