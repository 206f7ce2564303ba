"""Windows of scenes as samples: their randomness, their dates, and what is replaced where they hold too little data."""

import numpy as np
import pytest
import rasterio
from torch.utils.data import DataLoader

from mmrs_ssl.datasets import EpochSampler, SampleIndex
from mmrs_ssl.datasets.transforms import LoadRaster
from mmrs_ssl.rasters.errors import UnreadableImageError
from tests.rasters.rasters import LOAD, ORIGIN, coordinates, dataset, noise, write_raster


def test_windows_depend_on_seed_epoch_and_index_alone(tmp_path):
    write_raster(tmp_path / 'a.tif', noise(1, 600, 600))
    data = dataset(tmp_path, sampling='random', windows_per_epoch=24)
    assert data[0]['img'].shape == (16, 16, 1)  # a file is open before the workers are forked

    def epoch(number, workers, seed=0, data=data):
        sampler = EpochSampler(data, shuffle=True, seed=seed)
        sampler.set_epoch(number)
        loader = DataLoader(data, 4, sampler=sampler, num_workers=workers, collate_fn=list)
        return [(s['sample_idx'], tuple(s['window']), s['img'].sum()) for batch in loader for s in batch]

    alone = epoch(0, 0)
    assert alone == epoch(0, 2) == epoch(0, 3)
    again = dataset(tmp_path, sampling='random', windows_per_epoch=24)
    assert alone == epoch(0, 2, data=again)
    windows = [{window for _, window, _ in epoch(*which)} for which in ((0, 0), (1, 2), (0, 0, 1))]
    assert len(windows[0] | windows[1] | windows[2]) == 3 * 24  # nor does anything repeat within one epoch


def test_dates_of_one_place_are_drawn_co_registered(tmp_path):
    for year, shift in ((2009, (0.0, 0.0)), (2012, (0.4, 0.4)), (2017, (-2.3, 1.1)), (2020, (5.0, -3.0))):
        write_raster(tmp_path / 'place' / f'{year}.tif', coordinates(90, 90, 1, shift), shift=shift)
    data = dataset(tmp_path, files='{scene}/{date}', sampling='random', dates=3)
    drawn = []
    for i in range(20):
        sample = data[SampleIndex(i % len(data), i, 0)]
        drawn.append(tuple(sample['dates']))
        top, left, height, width = sample['window']
        corner = sample['grid'].transform[2] - ORIGIN[0] + left, ORIGIN[1] - sample['grid'].transform[5] + top
        truth = coordinates(height, width, 1, corner).transpose(1, 2, 0)
        assert len(sample['img']) == 3
        assert max(np.abs(image - truth).max() for image in sample['img']) < 0.5
    assert {date for dates in drawn for date in dates} == {'2009', '2012', '2017', '2020'}
    assert {len(set(dates)) for dates in drawn} >= {2, 3}  # each by itself, with replacement
    single = dataset(tmp_path, files='{scene}/{date}', sampling='random')
    assert {single[SampleIndex(0, epoch, 0)]['dates'][0] for epoch in range(20)} == {'2009', '2012', '2017', '2020'}


def half_empty(path, how, side=128):
    """Noise of which the left 70 % is empty, marked by a value, a mask, an alpha channel or NaN."""
    pixels = noise(3, side, side, 'float32' if how == 'nan' else 'uint8')
    valid = np.zeros((side, side), bool)
    valid[:, round(0.7 * side) :] = True
    if how == 'alpha':
        pixels = np.concatenate([pixels, valid[None] * np.uint8(255)])
        return write_raster(path, pixels, photometric='rgb', alpha='yes')
    pixels[:, ~valid] = np.nan if how == 'nan' else 0
    write_raster(path, pixels, **(dict(nodata=0) if how == 'value' else {}))
    if how == 'mask':
        with rasterio.open(path, 'r+') as file:
            file.write_mask(valid)
    return path


@pytest.mark.parametrize('how', ['value', 'mask', 'alpha', 'nan', 'option'])
def test_windows_with_too_little_data_are_replaced_from_the_seed(tmp_path, how):
    half_empty(tmp_path / 'a.tif', how)
    load = dict(LOAD, nodata=0) if how == 'option' else LOAD
    data = dataset(tmp_path, load=load, max_nodata=0.5, sampling='random', windows_per_epoch=40)
    found = [data[SampleIndex(i, 3, 1)] for i in range(40)]
    assert all(sample['window'][1] >= 90 - 8 for sample in found)
    assert len({sample['window'] for sample in found}) > 30
    assert [s['window'] for s in found] == [data[SampleIndex(i, 3, 1)]['window'] for i in range(40)]
    assert min(sample['img'].min() for sample in found) > 0  # the rest is filled with the mean
    loose = dataset(tmp_path, load=load, max_nodata=1.0)
    lefts = [loose[i]['window'][1] for i in range(len(loose))]
    assert min(lefts) >= 80  # even so, no window without any data


def test_scene_without_data_gives_its_place_to_others(tmp_path, caplog):
    write_raster(tmp_path / 'empty.tif', np.zeros((1, 64, 64), np.uint8), nodata=0)
    write_raster(tmp_path / 'full.tif', noise(1, 64, 64, 'uint8'), nodata=0)
    data = dataset(tmp_path)
    with caplog.at_level('WARNING'):
        assert {data[i]['scene'] for i in range(len(data))} == {'full'}
    for refused in (dataset(tmp_path, max_bad=0), dataset(tmp_path / 'empty.tif')):
        with pytest.raises(UnreadableImageError, match=r'1 of \d scenes are unread.*none of its win.*empty\.tif'):
            [refused[i] for i in range(len(refused))]


def test_what_takes_an_empty_scenes_place_does_not_depend_on_what_was_read_before(tmp_path):
    """The first time all of the scene is gone through, later it is known to be empty."""
    write_raster(tmp_path / 'a.tif', np.zeros((1, 32, 32), np.uint8), nodata=0)
    for name in 'bcde':
        write_raster(tmp_path / f'{name}.tif', noise(1, 32, 32, 'uint8'), nodata=0)
    known = dataset(tmp_path, sampling='random')
    assert known[SampleIndex(0, 9, 9)]['scene'] != 'a'
    for epoch in range(3):
        new, old = (each[SampleIndex(0, epoch, 0)] for each in (dataset(tmp_path, sampling='random'), known))
        assert (new['scene'], new['window']) == (old['scene'], old['window'])
        assert new['rng'].random() == old['rng'].random()


def test_a_scene_with_a_single_usable_window_is_used(tmp_path):
    pixels = np.zeros((1, 200, 200), np.uint8)
    pixels[:, 96:112, 64:80] = 9
    write_raster(tmp_path / 'a.tif', pixels, nodata=0)
    for sampling in ('grid', 'random'):
        data = dataset(tmp_path, max_nodata=0, max_bad=0, sampling=sampling)
        assert {data[SampleIndex(i, 1, 1)]['window'] for i in range(5)} == {(96, 64, 16, 16)}


def sparse(path, side, *blocks):
    """A raster of which only some blocks are there: squares of 16 pixels, each a corner and a value."""
    profile = dict(tiled=True, blockxsize=512, blockysize=512, sparse_ok=True, nodata=0, bigtiff='yes')
    with rasterio.open(path, 'w', driver='GTiff', count=1, dtype='uint8', height=side, width=side, **profile) as file:
        for top, left, value in blocks:
            file.write(np.full((1, 16, 16), value, np.uint8), window=rasterio.windows.Window(left, top, 16, 16))
    return path


@pytest.fixture
def loads(monkeypatch):
    """The windows that are tried; too many of them are an error."""
    tried = []
    real = LoadRaster.transform

    def transform(self, results):
        tried.append(results['window'])
        assert len(tried) < 2000
        return real(self, results)

    monkeypatch.setattr(LoadRaster, 'transform', transform)
    return tried


@pytest.mark.parametrize('sampling', ['grid', 'random'])
def test_a_huge_scene_without_data_is_given_up_early(tmp_path, loads, sampling):
    data = dataset(sparse(tmp_path / 'empty.tif', 60_000), window=64, sampling=sampling)
    assert len(data.plan) > 800_000
    with pytest.raises(UnreadableImageError, match=r'none of its windows can be used.*empty\.tif'):
        data[0]
    assert len(loads) == 20


def test_a_huge_scene_with_a_little_data_is_used(tmp_path, loads):
    path = sparse(tmp_path / 'a.tif', 60_000, (32_000, 640, 5), (64, 59_968, 9))
    data = dataset(path, window=64, max_nodata=0.95, max_bad=0)
    found = [data[SampleIndex(i, 0, 0)]['window'][:2] for i in range(12)]
    assert set(found) == {(32_000, 640), (64, 59_936)}  # the last of a row ends with the scene
    assert len(loads) <= 12 * 22


def test_a_scene_of_whose_data_nothing_can_be_made_is_given_up(tmp_path):
    """Every window has data, but only one height."""
    write_raster(tmp_path / 'flat.tif', np.full((1, 640, 640), 3, np.float32))
    load = dict(type='mmrs_ssl.LoadModalities', modalities={'': dict(bands=1, height='above_minimum')})
    data = dataset(tmp_path, load=load)
    with pytest.raises(UnreadableImageError, match=r'1600 of its grid hold enough data, 1020 were tried.*one height'):
        data[0]


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
