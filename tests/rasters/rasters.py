"""Rasters whose pixels say where they are on the ground."""

from pathlib import Path

import cv2
import numpy as np
import rasterio
from affine import Affine

from mmrs_ssl.datasets import SceneDataset

CRS = 'EPSG:32633'
LOAD = dict(type='mmrs_ssl.LoadRaster', bands=None)
ORIGIN = (500_000.0, 5_000_000.0)  # easting and northing of the upper left corner


def coordinates(height: int, width: int, gsd: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(2, H, W) float32: metres east and south of ORIGIN at every pixel's center; ``shift`` is the corner's."""
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


def picture(height=48, width=40, bands=3, dtype=np.uint8, top=256, seed=0):
    """A smooth image with detail, of any number of bands and any type."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((6, 6, bands)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, bands)
    return ((smooth * 0.9 + 0.1 * rng.random(smooth.shape)) * (top - 1)).astype(dtype)


def write_tiff(path, image, **options):
    height, width, bands = image.shape
    profile = dict(driver='GTiff', height=height, width=width, count=bands, dtype=image.dtype, **options)
    with rasterio.open(path, 'w', **profile) as raster:
        raster.write(image.transpose(2, 0, 1))
    return path


def dataset(root, *, load=None, **options):
    """Windows of 16 pixels of a folder of rasters."""
    return SceneDataset(str(root), [load or LOAD], **{'window': 16, 'sampling': 'grid', **options})
