"""Measure pixels in metres on the ground, wherever on Earth their grid lies."""

from functools import lru_cache

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import from_gcps
from rasterio.warp import transform

from mmrs_ssl.rasters.errors import GDAL_ERRORS
from mmrs_ssl.rasters.grid import ControlPoints, Grid

_NEARLY = 0.01  # a map's metres that differ by less from those on the ground are taken for true, pixels for squares


@lru_cache(4096)
def ground_sample_distance(grid: Grid, row: float, column: float) -> tuple[float, float] | None:
    """Measure a pixel at a position of a grid, in metres on the ground (down, across); None if that is not known.

    It is measured on the ellipsoid, whatever the units of the CRS are: degrees, feet, or Web Mercator's metres, two of
    which are one at 60 degrees of latitude. Where the map's own metres differ from these by less than 1 %, as those of
    UTM and of national grids do, they are taken instead: 240 m are then 24 pixels of 10 m everywhere. So are those of
    maps of other planets. Pixels whose sides differ by less than 1 % count as squares.
    """
    try:
        crs = CRS.from_user_input(grid.crs)
    except CRSError:
        return None
    affine = Affine(*grid.transform)
    steps = ((row - 0.5, column), (row + 0.5, column), (row, column - 0.5), (row, column + 0.5))
    ends = np.array([affine @ (x, y) for y, x in steps])  # (4, 2)
    mapped = None
    if crs.is_projected:
        mapped = np.hypot(*(ends[1::2] - ends[::2]).T) * crs.linear_units_factor[1]
    try:
        on_ground = np.array(transform(crs, 'EPSG:4978', *ends.T.tolist(), [0.0] * 4))  # (3, 4), from Earth's center
    except GDAL_ERRORS:
        return None if mapped is None else (float(mapped[0]), float(mapped[1]))
    lengths = np.linalg.norm(on_ground[:, 1::2] - on_ground[:, ::2], axis=0)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        return None
    if mapped is not None and (abs(mapped / lengths - 1) < _NEARLY).all():
        lengths = mapped
    elif abs(lengths[0] / lengths[1] - 1) < _NEARLY:
        lengths[:] = np.sqrt(lengths.prod())
    return float(lengths[0]), float(lengths[1])


def pixels_of(control: ControlPoints) -> Grid:
    """Fit a grid to the pixels that control points belong to: turned and stretched as they are."""
    points = [GroundControlPoint(*point) for point in control.points]
    return Grid(control.grid.crs, tuple(from_gcps(points))[:6])
