"""Resample pixels of which it is told, one by one, whether they hold data: what GDAL's own drivers cannot be told."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from mmrs_ssl.rasters.grid import Grid, Header, Window
from mmrs_ssl.rasters.header import ANY_CRS

FLIP = Affine.scale(2, -2)  # GDAL takes transforms of unit length for none
_MARGIN = 3  # pixels around, of the coarser of both grids, that interpolation may ask for
_OPAQUE = 100  # alpha of a valid pixel, in any type


def crs_of(grid: Grid) -> str:
    """Return the CRS of a grid; rasters without one lie in the same unknown one: any will do, as none is converted."""
    return grid.crs or ANY_CRS


def transform_of(grid: Grid, header: Header) -> Affine:
    """Return the transform of a grid in the way in which GDAL takes it, for a raster with this header."""
    transform = Affine(*grid.transform)
    return transform if header.georeferenced else FLIP @ transform


def part_under(header: Header, grid: Grid, shape: tuple[int, int]) -> Window | None:
    """Return the window of a raster that a grid of ``shape`` (height, width) asks for; None if it covers none of it."""
    own, target = transform_of(header.grid, header), transform_of(grid, header)
    corners = [target @ (x, y) for x in (0, shape[1]) for y in (0, shape[0])]
    xs, ys = zip(*corners, strict=True)
    bounds = min(xs), min(ys), max(xs), max(ys)
    if header.grid.crs != grid.crs:
        bounds = transform_bounds(crs_of(grid), crs_of(header.grid), *bounds)
    columns, rows = zip(*[~own @ (x, y) for x in bounds[::2] for y in bounds[1::2]], strict=True)
    down = _MARGIN * max(1, (max(rows) - min(rows)) / shape[0])
    across = _MARGIN * max(1, (max(columns) - min(columns)) / shape[1])
    top, left = max(0, math.floor(min(rows) - down)), max(0, math.floor(min(columns) - across))
    bottom, right = min(header.height, math.ceil(max(rows) + down)), min(header.width, math.ceil(max(columns) + across))
    return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None


def resample(
    pixels: np.ndarray,
    valid: np.ndarray,
    header: Header,
    part: Window,
    grid: Grid,
    shape: tuple[int, int],
    resampling: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Put a part of a raster on a grid; pixels that are not valid contribute nothing.

    Args:
        pixels: (C, H, W) of the part.
        valid: which of them hold data, (C, H, W).
        header: of the raster.
        part: where they lie in it.
        grid: where they shall lie.
        shape: height and width of the result.
        resampling: name of rasterio's ``Resampling``.

    Returns:
        Pixels and which are valid, both (C, height, width).
    """
    place = dict(
        src_transform=transform_of(header.grid, header) @ Affine.translation(part.left, part.top),
        src_crs=crs_of(header.grid),
        dst_transform=transform_of(grid, header),
        dst_crs=crs_of(grid),
    )
    together = bool((valid == valid[:1]).all())
    groups = [list(range(len(pixels)))] if together else [[band] for band in range(len(pixels))]
    found = np.zeros((len(pixels), *shape), pixels.dtype)
    covered = np.zeros(found.shape, bool)
    for bands in groups:
        alpha = (valid[bands[:1]] * _OPAQUE).astype(pixels.dtype)
        target = np.zeros((len(bands) + 1, *shape), pixels.dtype)
        reproject(
            np.concatenate([np.where(valid[bands], pixels[bands], 0), alpha]).astype(pixels.dtype),
            target,
            **place,
            resampling=Resampling[resampling],
            src_alpha=len(bands) + 1,
            dst_alpha=len(bands) + 1,
            SRC_ALPHA_MAX=str(_OPAQUE),
            DST_ALPHA_MAX=str(_OPAQUE),
        )
        found[bands], covered[bands] = target[:-1], target[-1] > 0
    return found, covered
