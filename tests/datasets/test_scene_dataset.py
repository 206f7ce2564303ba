"""Windows of scenes: where they lie, that partners and dates show the same ground, what is replaced or refused."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import transform as convert
from torch.utils.data import DataLoader

from mmrs_ssl.datasets import EpochSampler, SampleIndex
from mmrs_ssl.rasters import header_cache, reader
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.reader import pool
from mmrs_ssl.scenes.index import SceneError
from mmrs_ssl.synthetic.layouts import write_layout
from tests.rasters.rasters import CRS, LOAD, ORIGIN, coordinates, dataset, noise, write_raster


def boxes(data):
    return [(sample['scene'], *sample['window']) for sample in (data[i] for i in range(len(data)))]


# Windows


def test_grid_covers_every_pixel_and_ends_with_the_scene(tmp_path):
    pixels = np.arange(40 * 50, dtype=np.uint16).reshape(1, 40, 50)
    write_raster(tmp_path / 'a.tif', pixels)
    data = dataset(tmp_path)
    assert len(data) == 3 * 4
    seen = np.zeros((40, 50), int)
    for i in range(len(data)):
        sample = data[i]
        top, left, height, width = sample['window']
        assert np.array_equal(sample['img'][..., 0], pixels[0, top : top + height, left : left + width])
        seen[top : top + height, left : left + width] += 1
    assert seen.min() == 1
    assert len(dataset(tmp_path, stride=8)) == 4 * 6
    assert len(dataset(tmp_path, window=40)) == 2


def test_metres(tmp_path):
    write_raster(tmp_path / 'fine.tif', noise(1, 80, 80), gsd=0.5)
    write_raster(tmp_path / 'coarse.tif', noise(1, 40, 40), gsd=2.0)
    data = dataset(tmp_path, window=20, unit='metres')
    assert {box[0]: box[3:] for box in boxes(data)} == {'fine': (40, 40), 'coarse': (10, 10)}
    assert len(data) == 4 + 16


def test_feet_are_no_metres(tmp_path):
    write_raster(tmp_path / 'a.tif', noise(1, 100, 100), crs='EPSG:2225')  # US survey feet
    assert boxes(dataset(tmp_path, window=20, unit='metres'))[0][3:] == (66, 66)


@pytest.mark.parametrize('turned', [False, True])
def test_metres_of_pixels_that_are_no_squares(tmp_path, turned):
    """A pixel is 0.5 m wide and 2 m high on the raster, whichever way that lies on the ground."""
    across, down = ((0, -0.5), (2, 0)) if turned else ((0.5, 0), (0, -2))
    transform = Affine(across[0], down[0], ORIGIN[0], across[1], down[1], ORIGIN[1])
    write_raster(tmp_path / 'a.tif', noise(1, 30, 100), transform=transform)
    data = dataset(tmp_path, window=20, unit='metres')
    assert {box[3:] for box in boxes(data)} == {(10, 40)}
    assert len(data) == 3 * 3


def test_windows_are_counted_row_by_row_and_scene_by_scene(tmp_path):
    """The number that an unreadable window is remembered by is the one it has in the grid."""
    write_raster(tmp_path / 'a.tif', noise(1, 30, 70))
    write_raster(tmp_path / 'b.tif', noise(1, 90, 40))
    data = dataset(tmp_path)
    found = boxes(data)
    assert len(found) == 2 * 5 + 6 * 3
    assert [data.plan.number_of('ab'.index(name), Window(*window)) for name, *window in found] == list(
        range(len(found))
    )


def test_random_windows_visit_scenes_by_area_and_stay_inside(tmp_path):
    write_raster(tmp_path / 'small.tif', noise(1, 32, 32))
    write_raster(tmp_path / 'large.tif', noise(1, 96, 96))
    data = dataset(tmp_path, sampling='random', windows_per_epoch=400)
    found = boxes(data)
    assert len(data) == 400
    share = sum(box[0] == 'large' for box in found) / len(found)
    assert share == pytest.approx(36 / 40, abs=0.005)  # an epoch goes through the area in even steps
    tops = np.array([box[1] for box in found if box[0] == 'large'])
    assert (tops.min(), tops.max()) == (0, 80)
    assert np.histogram(tops, 4)[0] == pytest.approx([90] * 4, rel=0.35)
    assert len(set(found)) > 350  # 81 x 81 places in the larger, 17 x 17 in the smaller


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


# Several rasters on one grid


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
        tmp_path, load=load, files={name: f'{{scene}}_{name}' for name in names}, sampling='random', max_nodata=0
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


def test_whole_pixel_offsets_are_read_without_resampling(tmp_path):
    pixels = noise(3, 60, 70)
    write_raster(tmp_path / 'a_x.tif', pixels)
    write_raster(tmp_path / 'a_y.tif', pixels[:, 7:, 11:], shift=(11, 7))
    load = dict(type='mmrs_ssl.LoadModalities', modalities=dict(x=dict(), y=dict()))
    data = dataset(tmp_path, load=load, files=dict(x='{scene}_x', y='{scene}_y'))
    assert data.plan.extents.tolist() == [[7, 11, 53, 59]]
    for i in range(len(data)):
        image = data[i]['img']
        assert np.array_equal(image['x'], image['y'])
    assert not any(entry.warped for entry in list(pool().open.values())[-2:])


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


def test_dates_of_one_place_are_drawn_co_registered(tmp_path):
    for year, shift in ((2009, (0.0, 0.0)), (2012, (0.4, 0.4)), (2017, (-2.3, 1.1)), (2020, (5.0, -3.0))):
        write_raster(tmp_path / 'place' / f'{year}.tif', coordinates(90, 90, 1, shift), shift=shift)
    data = dataset(tmp_path, files='{scene}/{date}', sampling='random', dates=3)
    drawn = []
    for i in range(20):
        sample = data[SampleIndex(i % len(data), i, 0)]
        drawn.append(tuple(sample['dates']))
        top, left, height, width = sample['window']
        truth = coordinates(90, 90)[:, top : top + height, left : left + width].transpose(1, 2, 0)
        assert len(sample['img']) == 3
        assert max(np.abs(image - truth).max() for image in sample['img']) < 0.5
    assert {date for dates in drawn for date in dates} == {'2009', '2012', '2017', '2020'}
    assert {len(set(dates)) for dates in drawn} >= {2, 3}  # each by itself, with replacement
    single = dataset(tmp_path, files='{scene}/{date}')
    assert {single[SampleIndex(0, epoch, 0)]['dates'][0] for epoch in range(20)} == {'2009', '2012', '2017', '2020'}


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


# The index


def test_the_index_reads_headers_once_and_no_pixel(tmp_path, monkeypatch):
    for i in range(30):
        write_raster(tmp_path / f'{i:02d}.tif', noise(2, 32, 32, seed=i))
    monkeypatch.setattr(reader.OpenRaster, 'read', None)
    opened = []
    monkeypatch.setattr(header_cache, 'read_header', lambda path: opened.append(path) or reader.read_header(path))
    assert len(dataset(tmp_path)) == 120
    assert len(opened) == 30
    assert len(dataset(tmp_path)) == 120
    assert len(opened) == 30
    write_raster(tmp_path / '07.tif', noise(2, 64, 32))
    assert len(dataset(tmp_path)) == 124
    assert len(opened) == 31


def test_files_stay_open_within_bounds(tmp_path):
    for i in range(2 * reader.MAX_OPEN):
        write_raster(tmp_path / f'{i:02d}.tif', noise(1, 16, 16, seed=i))
    data = dataset(tmp_path)
    for i in range(len(data)):
        assert np.array_equal(data[i]['img'][..., 0], noise(1, 16, 16, seed=i)[0])
        assert len(pool().open) <= reader.MAX_OPEN


# No data


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


def test_pixels_that_are_all_zero_are_no_picture(tmp_path):
    pixels = noise(3, 64, 64)
    pixels[:, :48] = 0
    write_raster(tmp_path / 'a.tif', pixels)
    data = dataset(tmp_path)
    assert all(data[i]['img'].any() for i in range(len(data)))


def test_nodata_of_one_band_and_a_band_called_alpha_survive_warping(tmp_path):
    shift = (0.3, 0.3)
    east_south = coordinates(64, 64, 1, shift)
    east_south[0, 30:34, 30:34] = -9999
    write_raster(tmp_path / 'p' / '1.tif', coordinates(64, 64))
    write_raster(tmp_path / 'p' / '2.tif', east_south, shift=shift, nodata=-9999)
    data = dataset(tmp_path, files='{scene}/{date}', window=60, dates=2)
    drawn = [data[SampleIndex(0, epoch, 0)] for epoch in range(6)]
    image = next(s['img'][s['dates'].index('2')] for s in drawn if '2' in s['dates'])
    assert image[..., 0].min() >= 0  # filled with the mean, not mixed into its neighbors
    truth = coordinates(64, 64)[1, 1:61, 1:61]
    assert np.abs(image[..., 1] - truth).max() < 0.5  # the other band is whole
    colors = noise(4, 64, 64, 'uint8')
    colors[:3], colors[3, :, :32] = 100, 0
    for date, offset in ((1, (0, 0)), (2, shift)):
        write_raster(tmp_path / 'q' / 'q' / f'{date}.tif', colors, shift=offset, photometric='rgb', alpha='yes')
    load = dict(LOAD, bands=4)
    data = dataset(tmp_path / 'q', load=load, files='{scene}/{date}', window=60, dates=2)
    for epoch in range(4):
        for picture in data[SampleIndex(0, epoch, 0)]['img']:
            assert np.array_equal(picture[..., :3], np.full((60, 60, 3), 100))


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


def test_a_crs_added_beside_a_file_is_seen(tmp_path):
    path = write_raster(tmp_path / 'a.png', noise(1, 32, 32, 'uint8'), crs=None, driver='PNG', photometric=None)
    with pytest.raises(SceneError, match='metres mean nothing'):
        dataset(tmp_path, unit='metres')
    place = '<GeoTransform>500000, 2, 0, 5000000, 0, -2</GeoTransform>'
    text = f'<PAMDataset><SRS>EPSG:32633</SRS>{place}</PAMDataset>'
    path.with_name('a.png.aux.xml').write_text(text)
    assert boxes(dataset(tmp_path, unit='metres'))[0][3:] == (8, 8)
