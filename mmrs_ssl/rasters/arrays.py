"""Move the bands of pixel arrays: first as rasters are stored, last as OpenCV wants them."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
_MERGED = frozenset(map(np.dtype, ('uint8', 'uint16', 'int16', 'float32', 'float64')))


def bands_last(pixels: np.ndarray) -> np.ndarray:
    """Turn (C, H, W) into contiguous (H, W, C), without a copy if it is a view of such an array."""
    moved = pixels.transpose(1, 2, 0)
    if moved.flags.c_contiguous:
        return moved
    if pixels.dtype in _MERGED and 1 < len(pixels) <= 32:
        return cv2.merge(list(pixels))  # several times as fast as numpy's copy
    return np.ascontiguousarray(moved)


def bands_first(image: np.ndarray) -> np.ndarray:
    """Copy (H, W, C) into contiguous (C, H, W)."""
    height, width, bands = image.shape
    out = np.empty((bands, height, width), image.dtype)
    if image.dtype in _MERGED and bands <= 32:
        cv2.split(image, list(out))  # into out's planes: six times as fast as numpy's copy
    else:
        out[:] = image.transpose(2, 0, 1)
    return out


def to_8_bits(pixels: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Stretch (C, H, W) between ``limits`` (C, 2) to uint8."""
    low, high = column(limits[:, 0]), column(limits[:, 1])
    scaled = (pixels.astype(np.float32) - low) * (255 / np.maximum(high - low, 1e-6))
    return np.clip(scaled, 0, 255).round().astype(np.uint8)


def column(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Shape a value per band so that it broadcasts: float32 (C, 1, 1)."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)
