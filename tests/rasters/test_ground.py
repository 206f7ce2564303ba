"""Metres of a pixel on the ground, against GDAL's equidistant map around it."""

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from mmrs_ssl.rasters.grid import ControlPoints, Grid
from mmrs_ssl.rasters.ground import ground_sample_distance, pixels_of


def grid(crs, east, north, pixel, angle=0.0):
    """A grid whose corner lies at (east, north), with pixels of one size (or a height and a width), turned or not."""
    height, width = np.broadcast_to(pixel, 2)
    affine = Affine.translation(east, north) @ Affine.rotation(angle) @ Affine.scale(width, -height)
    return Grid(CRS.from_user_input(crs).to_wkt() if crs else '', tuple(affine)[:6])


def measured(place, row, column):
    """Metres (down, across), measured from the pixel in a map that keeps distances from its center."""
    affine, crs = Affine(*place.transform), CRS.from_wkt(place.crs)
    (lon,), (lat,) = transform(crs, 'EPSG:4326', *([value] for value in affine @ (column, row)))
    local = f'+proj=aeqd +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84 +units=m'
    points = [affine @ (column, row), affine @ (column, row + 1), affine @ (column + 1, row)]
    x, y = np.array(transform(crs, local, *zip(*points, strict=True)))
    return tuple(np.hypot(x[1:] - x[0], y[1:] - y[0]))


@pytest.mark.parametrize(
    'place',
    [
        grid('EPSG:3857', 1_100_000, 8_399_738, 10),
        grid('EPSG:3857', -8_000_000, 1_000_000, 0.6, 20),
        grid('EPSG:4326', 15, 60, 1e-4),
        grid('EPSG:4326', -70, -33, (0.25, 0.5)),
        grid('EPSG:4807', 2, 50, 1e-4),  # grads from Paris
        grid('EPSG:3413', -100, 100, 100),  # around the pole, where a map in degrees is of no use
        grid('EPSG:3395', 0, 9_000_000, 30),
    ],
)
def test_as_a_map_that_keeps_distances(place):
    found = ground_sample_distance(place, 10, 20)
    assert found == pytest.approx(measured(place, 10, 20), rel=0.006)
    down, across = np.abs(Affine(*place.transform).e), np.abs(Affine(*place.transform).a)
    assert abs(found[0] / down - 1) > 0.02 or abs(found[1] / across - 1) > 0.02  # the map's own units are others


def test_web_mercator_at_60_degrees_of_latitude_shows_all_twice_as_large():
    assert ground_sample_distance(grid('EPSG:3857', 1_100_000, 8_399_738, 10), 0, 0) == pytest.approx((5, 5), rel=0.005)
    assert ground_sample_distance(grid('EPSG:3857', 1_100_000, 0, 10), 0, 0) == (10, 10)


@pytest.mark.parametrize(
    ('place', 'metres'),
    [
        (grid('EPSG:32633', 300_000, 9_000_000, 10), 10),
        (grid('EPSG:32633', 833_000, 0, 0.5), 0.5),  # at the edge of the zone, 0.1 % from the truth
        (grid('EPSG:27700', 400_000, 300_000, 2), 2),
        (grid('EPSG:2225', 6_000_000, 2_000_000, 1), 1200 / 3937),  # US survey feet
        (grid('IAU_2015:49910', 0, 0, 20), 20),  # on Mars
    ],
)
def test_maps_that_are_nearly_true_keep_their_own_metres(place, metres):
    assert ground_sample_distance(place, 50, 50) == pytest.approx((metres, metres), rel=1e-12)


def test_sides_of_a_turned_pixel_keep_their_order():
    found = ground_sample_distance(grid('EPSG:32633', 500_000, 5_000_000, (2, 0.5), 90), 0, 0)
    assert found == pytest.approx((2, 0.5))


@pytest.mark.parametrize(
    'place', [grid('', 0, 0, 10), grid('EPSG:4326', 15, 600, 1e-4), grid('LOCAL_CS["x",UNIT["metre",1]]', 0, 0, 10)]
)
def test_a_place_that_is_not_known(place):
    assert ground_sample_distance(place, 0, 0) is None


def test_pixels_that_control_points_belong_to():
    """They are 5 m high and 20 m wide, and turned by 30 degrees."""
    place = grid('EPSG:32633', 500_000, 5_000_000, (5, 20), 30)
    corners = [(0, 0), (0, 40), (60, 0), (60, 40)]
    points = tuple((row, column, *(Affine(*place.transform) @ (column, row)), 0.0) for row, column in corners)
    fitted = pixels_of(ControlPoints(grid('EPSG:32633', 0, 0, 10), 1, 1, points))
    assert fitted.transform == pytest.approx(place.transform)
    assert ground_sample_distance(fitted, 30, 20) == pytest.approx((5, 20))
