"""Where the windows of scenes lie, in pixels and metres, and how they are numbered."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from mmrs_ssl.rasters.grid import Window
from tests.rasters.rasters import ORIGIN, dataset, noise, write_raster


def boxes(data):
    return [(sample['scene'], *sample['window']) for sample in (data[i] for i in range(len(data)))]


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


@pytest.mark.parametrize(
    ('crs', 'corner', 'pixel', 'window', 'expected'),
    [
        ('EPSG:3857', (1_100_000, 8_399_738), 10, 120, (24, 24)),  # at 60 degrees of latitude 5 m on the ground
        ('EPSG:4326', (15, 60), 1e-4, 120, (11, 22)),  # 11.14 x 5.58 m
        ('EPSG:32633', (800_000, 9_000_000), 10, 240, (24, 24)),
        ('EPSG:32633', (500_000, 5_000_000), 0.5, 10_240, (20_480, 20_480)),
    ],
)
def test_metres_are_metres_on_the_ground(tmp_path, crs, corner, pixel, window, expected):
    side = max(expected)
    place = rasterio.transform.from_origin(*corner, pixel, pixel)
    profile = dict(driver='GTiff', count=1, dtype='uint8', height=side, width=side, sparse_ok=True, tiled=True)
    with rasterio.open(tmp_path / 'a.tif', 'w', crs=crs, transform=place, **profile):
        pass
    data = dataset(tmp_path, window=window, unit='metres')
    assert data.plan.sides.tolist() == [list(expected)]


def test_the_center_of_a_scene_says_how_large_its_pixels_are(tmp_path):
    """From the equator to 60 degrees of latitude, in Web Mercator: at the center, 35.3, they are 0.816 as large."""
    place = rasterio.transform.from_origin(0, 8_399_738, 10_000, 10_000)
    write_raster(tmp_path / 'a.tif', noise(1, 840, 100), crs='EPSG:3857', transform=place)
    data = dataset(tmp_path, window=800_000, unit='metres')
    assert data.plan.sides.tolist() == [[98, 98]]


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
