"""Tell pixels that hold data from those that do not."""

from collections.abc import Sequence

import numpy as np


def has_data(pixels: np.ndarray, nodata: Sequence[float]) -> np.ndarray:
    """Tell which pixels (C, H, W) hold data, by one nodata value per band.

    Zero is also the value of dark pixels: there a pixel is empty only if all its bands are zero. NaN is unequal to
    everything and has to be found by itself.
    """
    values = np.array(nodata, np.float64).reshape(-1, 1, 1)
    possible = np.ones(values.shape, bool)
    if pixels.dtype.kind in 'iu':  # -9999 of an 8-bit raster must not wrap to a value that pixels have
        limits = np.iinfo(pixels.dtype)
        possible = (values >= limits.min) & (values <= limits.max) & (values == np.floor(values))
    differs = (pixels != np.where(possible, values, 0).astype(pixels.dtype)) | ~possible
    if set(nodata) == {0}:
        return np.broadcast_to(differs.any(axis=0), pixels.shape)
    return differs
