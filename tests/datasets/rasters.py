"""Rasters whose pixels say where they are on the ground."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

CRS = 'EPSG:32633'
ORIGIN = (500_000.0, 5_000_000.0)  # easting and northing of the upper left corner


def coordinates(height: int, width: int, gsd: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(2, H, W) float32: metres east and south of ORIGIN at every pixel's centre; ``shift`` is the corner's."""
    x = shift[0] + (np.arange(width) + 0.5) * gsd
    y = shift[1] + (np.arange(height) + 0.5) * gsd
    return np.stack(np.meshgrid(x, y)).astype(np.float32)


def write_raster(
    path: Path,
    pixels: np.ndarray,
    gsd: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    crs: str | None = CRS,
    names: tuple[str, ...] = (),
    **profile: object,
) -> Path:
    """Write (C, H, W); the corner lies ``shift`` metres east and south of ORIGIN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(gsd, 0, ORIGIN[0] + shift[0], 0, -gsd, ORIGIN[1] - shift[1])
    count, height, width = pixels.shape
    base = dict(driver='GTiff', count=count, height=height, width=width, dtype=pixels.dtype, photometric='minisblack')
    place = dict(crs=crs, transform=transform) if crs else {}
    with rasterio.open(path, 'w', **{**base, **place, **profile}) as raster:
        raster.write(pixels)
        if names:
            raster.descriptions = names
    return path


def noise(count: int, height: int, width: int, dtype: str = 'uint16', seed: int = 0) -> np.ndarray:
    """(C, H, W) of random integers from 1 to 200."""
    return np.random.default_rng(seed).integers(1, 201, (count, height, width)).astype(dtype)
