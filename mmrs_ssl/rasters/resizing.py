"""Shrink images without aliasing: as Pillow does, whose filters average, or close to it with OpenCV."""

import math

import cv2
import numpy as np
from PIL import Image

FILTERS = dict(
    nearest=Image.Resampling.NEAREST,
    bilinear=Image.Resampling.BILINEAR,
    bicubic=Image.Resampling.BICUBIC,
    area=Image.Resampling.BOX,
)


def resize_by_averaging(image: np.ndarray, size: tuple[int, int], filtering: str = 'bicubic') -> np.ndarray:
    """Resize (H, W, C) to (height, width) with Pillow, band by band, in the image's own type.

    8-bit values are computed as Pillow computes pictures, others in 32-bit floating point, and integers then rounded.

    Args:
        image: any number of bands, of any real type.
        size: height and width of the result.
        filtering: ``'nearest'``, ``'bilinear'``, ``'bicubic'`` or ``'area'``.
    """
    shape, method = size[::-1], FILTERS[filtering]
    if image.dtype == np.uint8 and image.shape[2] == 3:  # one call, two thirds of the time of three
        return np.array(Image.fromarray(image).resize(shape, method))
    kind = image.dtype if image.dtype == np.uint8 else np.dtype(np.float32)
    bands = [np.ascontiguousarray(image[..., band], kind) for band in range(image.shape[2])]
    resized = np.stack([np.asarray(Image.fromarray(band).resize(shape, method)) for band in bands], axis=-1)
    if image.dtype == np.uint8:
        return resized
    if np.issubdtype(image.dtype, np.integer):
        resized = np.rint(resized)
    return within_range_of(image, resized.astype(np.float64)).astype(image.dtype)


def within_range_of(image: np.ndarray, resized: np.ndarray) -> np.ndarray:
    """Bring back what a bicubic filter overshot at edges, of bands that are not 8 bits: reflectances stay positive."""
    if image.dtype == np.uint8:
        return resized
    least, most = (extreme.reduce(image, axis=(0, 1)) for extreme in (np.fmin, np.fmax))
    return np.clip(resized, least, most, out=resized)


def smooth_before_shrinking(bands: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Blur (H, W, c) as shrinking to (height, width) needs it, since OpenCV interpolates between neighbors only.

    A Gaussian of 0.45 * sqrt(s ** 2 - 1) pixels for a shrinkage of s, down and across: together with the interpolation
    it comes closest to the filters that Pillow shrinks with. Below 0.35 pixels nothing would change.
    """
    down, across = (
        0.45 * math.sqrt(max((old / new) ** 2 - 1, 0)) for old, new in zip(bands.shape[:2], size, strict=True)
    )
    if max(down, across) < 0.35:
        return bands
    rows, columns = (cv2.getGaussianKernel(2 * math.ceil(2 * sigma) + 1, max(sigma, 1e-3)) for sigma in (down, across))
    return cv2.sepFilter2D(bands, -1, columns, rows)  # three quarters of GaussianBlur's time
