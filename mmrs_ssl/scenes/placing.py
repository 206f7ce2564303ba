"""Say where rasters lie on each other's grids, and which of their grids is the finest. No pixel is read."""

from collections.abc import Sequence
from math import ceil, floor, isfinite, prod
from pathlib import PurePosixPath

from affine import Affine, TransformNotInvertibleError
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from mmrs_ssl.rasters.errors import GDAL_ERRORS
from mmrs_ssl.rasters.grid import Grid, Header, Window
from mmrs_ssl.rasters.ground import ground_sample_distance, pixels_of

_ALIKE = 1.02  # pixels whose areas differ by less are of one size


class SceneError(ValueError):
    """Raised for a scene that cannot be used, or for a date of it; it says why."""


def placed(header: Header) -> Header:
    """Return the header of what a raster is once it is put on the grid that its control points say."""
    control = header.control
    if control is None:
        return header
    return header._replace(grid=control.grid, height=control.height, width=control.width, control=None)


def share_pixels(headers: Sequence[Header]) -> bool:
    """Tell whether rasters that lie somewhere by control points have the same ones, and so the same pixels."""
    first = headers[0]
    return first.control is not None and all(
        (header.control, header.height, header.width) == (first.control, first.height, first.width)
        for header in headers
    )


def pixel_size(header: Header, grid: Grid, extent: Window) -> tuple[float, float] | None:
    """Measure metres on the ground per pixel (down, across) in the center of a part of a grid; None if not known.

    Args:
        header: whose grid it is. One that says its place by control points may lie on its own pixels.
        grid: the grid.
        extent: the part.
    """
    if header.control and grid == header.grid:
        grid = pixels_of(header.control)
    return ground_sample_distance(grid, extent.top + extent.height / 2, extent.left + extent.width / 2)


def finest(headers: Sequence[Header]) -> int:
    """Choose the raster with the smallest pixels, on the ground if their place on it is known; of equal ones the first.

    Args:
        headers: of rasters with a grid, see :func:`placed`.
    """
    kinds = {(h.grid.crs, h.grid.transform[:2], h.grid.transform[3:5]) for h in headers}
    if len(kinds) == 1:
        return 0
    measured = [pixel_size(h, h.grid, Window(0, 0, h.height, h.width)) for h in headers]
    if None in measured:
        areas = [abs(Affine(*header.grid.transform).determinant) for header in headers]
    else:
        areas = [prod(sides) for sides in measured if sides]
    smallest = min(areas)
    return next(number for number, area in enumerate(areas) if area <= smallest * _ALIKE)


def box_on(grid: Header, path: str, header: Header, other: str) -> tuple[float, float, float, float]:
    """Compute where a raster lies on another's grid: top, left, bottom, right in its pixels.

    Args:
        grid: header of the raster whose grid it is.
        path: of that raster.
        header: of the other raster.
        other: its path.

    Raises:
        SceneError: if that is not known or has no end.
    """
    try:
        box = _box_on(grid, path, header, other)
    except (*GDAL_ERRORS, TransformNotInvertibleError) as error:
        raise SceneError(f'{other} cannot be put on the grid of {path}: {error}') from error
    if not all(map(isfinite, box)):
        raise SceneError(f'{other} has no finite extent on the grid of {path}: one of their CRSs is wrong')
    return box


def _box_on(first: Header, path: str, header: Header, other: str) -> tuple[float, float, float, float]:
    same_size = (first.height, first.width) == (header.height, header.width)
    if first.grid == header.grid and (first.georeferenced or same_size):
        return 0.0, 0.0, float(header.height), float(header.width)
    if not (first.georeferenced and header.georeferenced) or bool(first.grid.crs) != bool(header.grid.crs):
        raise SceneError(
            f'{other} ({_where(header)}) cannot be put on the grid of {path} ({_where(first)}): give both a CRS '
            'and a transform (gdal_edit.py -a_srs ... -a_ullr ...), or neither and the same size'
        )
    corners = [Affine(*header.grid.transform) @ (x, y) for x in (0, header.width) for y in (0, header.height)]
    bounds = _bounds(corners)
    if first.grid.crs != header.grid.crs:
        bounds = transform_bounds(CRS.from_wkt(header.grid.crs), CRS.from_wkt(first.grid.crs), *bounds)
    to_pixels = ~Affine(*first.grid.transform)
    left, top, right, bottom = _bounds([to_pixels @ (x, y) for x in bounds[::2] for y in bounds[1::2]])
    # a hair of rounding must not cost a row of pixels
    return round(top, 6), round(left, 6), round(bottom, 6), round(right, 6)


def _bounds(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def whole_pixels(box: tuple[float, float, float, float]) -> Window:
    """Return the pixels that lie in a box (top, left, bottom, right) entirely; without any its sides are 0 or less."""
    top, left = ceil(box[0]), ceil(box[1])
    return Window(top, left, floor(box[2]) - top, floor(box[3]) - left)


def shared_part(windows: Sequence[Window]) -> Window | None:
    """Return the part that all windows have in common, or None."""
    top, left = (max(window[axis] for window in windows) for axis in range(2))
    height = min(window.top + window.height for window in windows) - top
    width = min(window.left + window.width for window in windows) - left
    return Window(top, left, height, width) if height > 0 and width > 0 else None


def around(windows: Sequence[Window]) -> Window:
    """Return the smallest rectangle that holds all windows."""
    top, left = (min(window[axis] for window in windows) for axis in range(2))
    bottom = max(window.top + window.height for window in windows)
    right = max(window.left + window.width for window in windows)
    return Window(top, left, bottom - top, right - left)


def check_crs(path: str, header: Header, wanted: str) -> None:
    """Raise SceneError if a raster does not lie in the CRS that is wanted."""
    crs = placed(header).grid.crs
    if not crs:
        raise SceneError(f'{path} has no CRS, but crs= asks for one')
    if CRS.from_user_input(crs) != CRS.from_user_input(wanted):
        raise SceneError(f'{path} is in {describe_crs(crs)}, but crs= asks for {describe_crs(wanted)}')


def check_no_rpcs(path: str, header: Header, why: str) -> None:
    """Raise SceneError if rational polynomials are all that says where a raster lies: its pixels are on no grid."""
    if header.rpcs:
        name = PurePosixPath(path)
        raise SceneError(
            f'{path} says where it lies by rational polynomials (RPCs) alone, but {why}; warp it, with the EPSG code '
            f'of its UTM zone: gdalwarp -rpc -t_srs EPSG:... {path} {name.with_name(name.stem + "_warped.tif")}'
        )


def in_pixels(gsd: tuple[float, float] | None, length: float, unit: str, crs: str = '') -> tuple[int, int]:
    """Convert a length in ``'pixels'`` or ``'metres'`` on the ground to pixels (down, across), at least 1.

    Args:
        gsd: metres per pixel (down, across), None where unknown.
        length: how long.
        unit: in what.
        crs: the grid's, for the message.

    Raises:
        SceneError: for metres on a grid of which they are not known.
    """
    if unit == 'pixels':
        return max(1, round(length)), max(1, round(length))
    if gsd is None:
        raise SceneError(
            f"has {describe_crs(crs)}: metres mean nothing; set unit='pixels', or give it the CRS that says where it "
            'lies on the ground (gdal_edit.py -a_srs ...)'
        )
    return max(1, round(length / gsd[0])), max(1, round(length / gsd[1]))


def _where(header: Header) -> str:
    place = 'georeferenced' if header.georeferenced else 'not georeferenced'
    return f'{header.height} x {header.width} pixels, {describe_crs(header.grid.crs)}, {place}'


def describe_crs(wkt: str) -> str:
    """Name a CRS in a few letters, for messages."""
    return CRS.from_user_input(wkt).to_string()[:60] if wkt else 'no CRS'
