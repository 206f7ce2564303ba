"""The search of a scene for windows with data finds those, and only those, that its loader accepts."""

import numpy as np
import pytest
import rasterio

from mmrs_ssl.datasets.transforms.loading import LoadRaster, loaders_of
from mmrs_ssl.rasters.errors import NoDataError
from mmrs_ssl.scenes import usable
from mmrs_ssl.scenes.usable import search_scene
from tests.rasters.rasters import dataset, noise, write_raster


def patchy(kind, seed, side=150):
    """Three bands of which large and small parts hold nothing, marked in one of the ways there are."""
    rng = np.random.default_rng(seed)
    pixels = noise(3, side, side, 'float32' if kind in ('nan', 'zeros and nan') else 'uint8', seed)
    for _ in range(40):
        top, left = rng.integers(-20, side, 2)
        height, width = rng.integers(1, 60, 2)
        area = np.s_[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        band = rng.integers(3) if kind == 'bands' else slice(None)
        pixels[band][..., area[0], area[1]] = np.nan if 'nan' in kind and rng.random() < 0.6 else 0
    return pixels


@pytest.mark.parametrize('kind', ['value', 'bands', 'mask', 'zeros', 'nan', 'zeros and nan'])
@pytest.mark.parametrize(('window', 'stride', 'max_nodata'), [(16, 16, 0.5), (16, 9, 0.0), (13, 20, 1.0)])
def test_as_trying_them_one_by_one(tmp_path, monkeypatch, kind, window, stride, max_nodata):
    monkeypatch.setattr(usable, '_SIDE', 40)  # several pieces
    pixels = patchy(kind, window + stride)
    nodata = dict(value=0, bands=-1).get(kind)
    if kind == 'bands':  # each by itself
        pixels = pixels.astype(np.int16)
        pixels[pixels == 0] = -1
    path = write_raster(tmp_path / 'a.tif', pixels, **({} if nodata is None else dict(nodata=nodata)))
    if kind == 'mask':
        with rasterio.open(path, 'r+') as file:
            file.write_mask(pixels[0] != 0)
    data = dataset(path, window=window, stride=stride, max_nodata=max_nodata)
    loaders = loaders_of(data.pipeline.transforms)
    found = search_scene(data.plan, 0, data.scene(0), loaders, data.access, max_nodata)

    def accepted(place):
        try:
            data.pipeline(data.sample_info(0, 0, data.plan.grid_window(0, place), np.random.default_rng(0)))
        except NoDataError:
            return False
        return True

    wanted = [accepted(place) for place in range(len(found))]
    assert found.tolist() == wanted
    if not (kind == 'zeros' and max_nodata == 1.0):
        assert set(wanted) == {True, False}


def test_every_modality_must_hold_data_and_one_date_is_enough(tmp_path):
    full, left, right = noise(1, 64, 64, 'uint8'), noise(1, 64, 64, 'uint8'), noise(1, 64, 64, 'uint8')
    left[..., 32:], right[..., :32] = 0, 0
    top = noise(1, 64, 64, 'uint8')
    top[:, 32:] = 0
    for name, pixels in dict(s_a_1=left, s_a_2=right, s_b_1=full, s_b_2=top).items():
        write_raster(tmp_path / f'{name}.tif', pixels, nodata=0)
    load = dict(type='mmrs_ssl.LoadModalities', modalities=dict(a=dict(bands=1), b=dict(bands=1)))
    data = dataset(tmp_path, load=load, files=dict(a='{scene}_a_{date}', b='{scene}_b_{date}'), window=32)
    arguments = data.plan, 0, data.scene(0), loaders_of(data.pipeline.transforms), data.access
    assert search_scene(*arguments, 0.5).tolist() == [True] * 4
    write_raster(tmp_path / 's_b_1.tif', top, nodata=0)
    assert search_scene(*arguments, 0.5).tolist() == [True, True, False, False]


@pytest.mark.parametrize('nodata', [0, 7, None])
def test_blocks_that_a_file_does_not_have_are_not_read(tmp_path, monkeypatch, nodata):
    """All of a sparse file is empty but one block; an option makes data of what is not there."""
    profile = dict(tiled=True, blockxsize=16, blockysize=16, sparse_ok=True, crs=None, width=4096, height=4096)
    if nodata is not None:
        profile['nodata'] = nodata
    path = tmp_path / 'a.tif'
    with rasterio.open(path, 'w', driver='GTiff', count=1, dtype='uint8', **profile) as file:
        file.write(np.full((1, 8, 8), 9, np.uint8), window=rasterio.windows.Window(2048 + 64, 2048 + 64, 8, 8))
    reads = []
    real = usable._usable
    monkeypatch.setattr(usable, '_usable', lambda *args: reads.append(args[0].shape) or real(*args))
    data = dataset(path, window=64, max_nodata=0.99)
    arguments = data.plan, 0, data.scene(0)
    found = search_scene(*arguments, loaders_of(data.pipeline.transforms), data.access, 0.99)
    assert np.flatnonzero(found).tolist() == [33 * 64 + 33]
    assert len(reads) == 1
    every = search_scene(*arguments, loaders_of([LoadRaster(bands=None, nodata=5)]), data.access, 0.99)
    assert every.sum() == 64 * 64
