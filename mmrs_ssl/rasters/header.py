"""Read what a raster says of itself."""

from collections.abc import Sequence

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.warp import calculate_default_transform

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.blocks import BlockWindows
from mmrs_ssl.rasters.errors import errors_of
from mmrs_ssl.rasters.grid import ControlPoints, Grid, Header
from mmrs_ssl.rasters.opening import open_image, own_grid

# Rasters without a CRS that lie in the same unknown one: any will do, as none is converted.
ANY_CRS = 'EPSG:3857'
# How many pieces of a band that is declared alpha are looked at, how many if these hold nothing, and how large.
_LOOKS, _MORE_LOOKS, _LOOK_PIXELS = 9, 81, 2**16
_MASK_NAMES = ('', 'alpha', 'mask', 'transparency', 'a')
_OPAQUE = 0.8  # of the pixels of a mask that are not 0; some are half transparent along edges


def read_header(path: str, access: Access | None = None) -> Header:
    """Read what a raster says of itself. Of one that declares an alpha channel a few blocks are looked at.

    Raises:
        UnreadableImageError: if it cannot be opened.
    """
    with open_image(path, access) as raster:
        return described_header(raster, path)


def described_header(raster: rasterio.DatasetReader, path: str) -> Header:
    """Collect what an open raster says of itself. Of one that declares an alpha channel a few blocks are looked at."""
    with errors_of(path):
        header = header_of(raster)
        return header if header.alpha is None else header._replace(mask=looks_like_mask(raster, header.alpha))


def header_of(raster: rasterio.DatasetReader) -> Header:
    """Collect what an open raster says of itself, without a pixel."""
    colors = list(raster.colorinterp)
    header = Header(
        own_grid(raster),
        raster.height,
        raster.width,
        tuple(name or '' for name in raster.descriptions),
        colors.index(ColorInterp.alpha) if ColorInterp.alpha in colors else None,
        np.result_type(*raster.dtypes).name,
        tuple(color.name for color in colors),
        raster.nodatavals,
        scales=raster.scales,
        offsets=raster.offsets,
        inverted=raster.tags(ns='IMAGE_STRUCTURE').get('MINISWHITE') == 'YES',
    )
    if header.georeferenced:
        return header
    points, crs = raster.gcps
    return header._replace(control=_place(raster, points, crs) if points else None, rpcs=raster.rpcs is not None)


def _place(raster: rasterio.DatasetReader, points: Sequence[GroundControlPoint], crs: CRS | None) -> ControlPoints:
    """Say where a raster lies by its control points."""
    size = raster.width, raster.height
    transform, width, height = calculate_default_transform(crs or ANY_CRS, crs or ANY_CRS, *size, gcps=points)
    grid = Grid(crs.to_wkt() if crs else '', tuple(transform)[:6])
    return ControlPoints(grid, height, width, tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points))


def looks_like_mask(raster: rasterio.DatasetReader, band: int) -> bool | None:
    """Tell whether the values of a band that is declared alpha are those of a mask: 0, and nearly all others opaque.

    GDAL declares the fourth band of 8 bits alpha unless told otherwise, near infrared as well. Some blocks all over the
    band are looked at.

    Returns:
        None if they hold one value, which both might have. A band with a name of its own is none.
    """
    values = _looked_at(raster, band)
    return False if values is None else values_look_like_mask(values)


def masks_alone(raster: rasterio.DatasetReader, band: int) -> bool | None:
    """Tell whether a band that is declared alpha masks a file of which no others are known.

    Returns:
        What :func:`looks_like_mask` does; of one value True if it hides nothing of what was looked at, and None for 0:
        a mask that hides all of it is as well near infrared over water.
    """
    values = _looked_at(raster, band)
    return False if values is None else values_mask_alone(values)


def _looked_at(raster: rasterio.DatasetReader, band: int) -> np.ndarray | None:
    """Read some blocks of a band that is declared alpha, more where they hold nothing; None if its name is another."""
    if (raster.descriptions[band] or 'alpha').strip().lower() not in _MASK_NAMES:
        return None
    windows = BlockWindows.of_blocks(raster.shape, raster.block_shapes[band], _LOOK_PIXELS)
    values: np.ndarray = np.zeros(0)
    for looks in (_LOOKS, _MORE_LOOKS):
        chosen = np.unique(np.linspace(0, len(windows) - 1, looks).round().astype(int))
        values = np.concatenate([raster.read(band + 1, window=windows[int(i)]).ravel() for i in chosen])
        if values.any():
            break
    return values


def values_look_like_mask(values: np.ndarray) -> bool | None:
    """Tell whether values are those of a mask: 0, and nearly all others opaque; None if they are all the same.

    Zeros tell nothing: near infrared is 0 all over water. Opaque are 255, the largest number of the type, and 1.0.
    """
    found, counts = np.unique(values, return_counts=True)
    if len(found) == 1:
        return None
    opaque = (found == 255) | (found == (1 if values.dtype.kind == 'f' else np.iinfo(values.dtype).max))
    return bool(counts[opaque].sum() >= _OPAQUE * counts[found != 0].sum())


def values_mask_alone(values: np.ndarray) -> bool | None:
    """Tell whether values that are declared alpha mask a file of which no others are known; see :func:`masks_alone`."""
    looks = values_look_like_mask(values)
    return looks if looks is not None or not values.any() else True
