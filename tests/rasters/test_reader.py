"""Open rasters: what is not resampled, how many stay open, and that a changed file is read anew."""

import numpy as np

from mmrs_ssl.rasters.pool import MAX_OPEN, pool
from tests.datasets.transforms.test_loading import load
from tests.rasters.rasters import dataset, noise, write_raster


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


def test_files_stay_open_within_bounds(tmp_path):
    for i in range(2 * MAX_OPEN):
        write_raster(tmp_path / f'{i:02d}.tif', noise(1, 16, 16, seed=i))
    data = dataset(tmp_path)
    for i in range(len(data)):
        assert np.array_equal(data[i]['img'][..., 0], noise(1, 16, 16, seed=i)[0])
        assert len(pool().open) <= MAX_OPEN


def test_a_file_that_changed_is_not_read_from_the_open_one(tmp_path):
    for seed in range(2):
        path = write_raster(tmp_path / 'a.tif', noise(1, 16, 16, seed=seed))
        assert np.array_equal(load(path)[..., 0], noise(1, 16, 16, seed=seed)[0])
