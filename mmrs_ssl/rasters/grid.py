"""Say where the pixels of a raster lie on the ground, and what its header tells."""

from collections.abc import Sequence
from typing import NamedTuple

from affine import Affine
from rasterio.crs import CRS

_ALIGNED = 0.01  # pixels; a raster whose pixels lie this close to the grid's is read without resampling


class Window(NamedTuple):
    """A rectangle of a grid, counted in its pixels."""

    top: int
    left: int
    height: int
    width: int


class Grid(NamedTuple):
    """Where pixels lie on the ground; ``crs`` is WKT and may be empty (unknown), ``transform`` is row-major (a-f)."""

    crs: str
    transform: tuple[float, float, float, float, float, float]


NOWHERE = Grid('', (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))  # of plain pixels


class ControlPoints(NamedTuple):
    """Where a raster without a transform lies by its ground control points.

    ``grid``, of ``height`` and ``width``, is north-up, covers all of it and has about as many pixels; ``points`` are
    (row, column, x, y, z) of each.
    """

    grid: Grid
    height: int
    width: int
    points: tuple[tuple[float, float, float, float, float], ...]


class Header(NamedTuple):
    """What a raster says of itself: hardly a pixel has to be read for it.

    Attributes:
        grid: where its pixels lie; that of plain pixels if it says so by control points, or not at all.
        height, width: in pixels.
        names: of the bands, '' where one has none.
        alpha: which band it declares to be its alpha channel, from 0.
        dtype: numpy's name of the type that holds the values of every band.
        colors: what the bands mean, by the names of rasterio's ``ColorInterp``.
        nodata: the value that means no data, for every band.
        control: its place by control points, if it has no other.
        rpcs: whether rational polynomials are all that says where it lies.
        mask: whether the alpha channel's values are those of a mask; None if that cannot be told, or there is none.
        scales, offsets: by which, declared for every band, stored numbers become measurements; () for 1 and 0.
        inverted: whether 0 means white (a TIFF of MINISWHITE).
    """

    grid: Grid
    height: int
    width: int
    names: tuple[str, ...]
    alpha: int | None
    dtype: str
    colors: tuple[str, ...] = ()
    nodata: tuple[float | None, ...] = ()
    control: ControlPoints | None = None
    rpcs: bool = False
    mask: bool | None = None
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    inverted: bool = False

    def scaling(self, bands: Sequence[int]) -> tuple[tuple[float, float], ...]:
        """Return (scale, offset) of some bands."""
        return tuple((self.scales[band], self.offsets[band]) if self.scales else (1.0, 0.0) for band in bands)

    @property
    def georeferenced(self) -> bool:
        """Tell whether a transform gives the pixels a place on the ground."""
        return Affine(*self.grid.transform) != Affine.identity()


def aligned_offset(raster: Grid, grid: Grid) -> tuple[int, int] | None:
    """Compute how far the raster's corner is from the grid's, if every pixel of one is a pixel of the other.

    Returns:
        (rows, columns) to add to a position on the grid, or None where the raster has to be resampled.
    """
    if raster == grid:
        return 0, 0
    if raster.crs != grid.crs and CRS.from_user_input(raster.crs or None) != CRS.from_user_input(grid.crs or None):
        return None
    step = ~Affine(*raster.transform) @ Affine(*grid.transform)
    if max(abs(step.a - 1), abs(step.e - 1), abs(step.b), abs(step.d)) > 1e-6:
        return None
    rows, columns = round(step.f), round(step.c)
    return (rows, columns) if max(abs(step.f - rows), abs(step.c - columns)) < _ALIGNED else None


def lies_elsewhere(raster: Grid, grid: Grid) -> str:
    """Say how a raster lies that is read pixel by pixel beside another; '' if on its pixels, or one has no place.

    Where one of them names no CRS, they are taken to have the same.
    """
    plain = NOWHERE.transform
    if plain in (raster.transform, grid.transform):
        return ''
    other = raster if raster.crs and grid.crs else raster._replace(crs=grid.crs)
    if aligned_offset(other, grid) == (0, 0):
        return ''
    crs = CRS.from_user_input(raster.crs).to_string() if raster.crs else ''
    a, _, x, _, e, y = raster.transform
    return f'at ({x:.10g}, {y:.10g}){f" of {crs}"[:40] * bool(crs)} with pixels of {a:g} x {e:g}'
