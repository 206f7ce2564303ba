"""Work band by band: a band's result, and the sample's random stream, do not depend on how many bands follow."""

from collections.abc import Callable

import cv2
import numpy as np


def in_threes(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Apply an OpenCV function to three bands of (H, W, C) at a time.

    OpenCV takes another code path for every number of bands. Their roundings differ in bicubic resizing, in bilinear
    resizing of anything but 8 bits and in blurring floats, and some paths refuse more than four bands.

    Args:
        function: maps (H, W, c), c at most 3, to (h, w, c), or (h, w) where c is 1, each band for itself.
        image: (H, W, C) of any type OpenCV knows.

    Returns:
        (h, w, C).
    """
    if image.shape[2] <= 3:
        out = function(image)
        return out.reshape(*out.shape[:2], -1)
    planes = cv2.split(image)  # OpenCV gathers bands several times as fast as numpy copies slices
    groups = [cv2.merge(planes[i : i + 3]) for i in range(0, len(planes), 3)]
    return cv2.merge([plane for group in groups for plane in cv2.split(function(group))])


def band_means(image: np.ndarray) -> np.ndarray:
    """Compute the mean of every band of (H, W, C): (C,) float64."""
    return np.array([cv2.mean(plane)[0] for plane in cv2.split(image)])


def band_draws(rng: np.random.Generator, bands: int, count: int) -> np.ndarray:
    """Draw numbers for every band: (bands, count), uniform in [0, 1).

    They come from a generator of their own, so that ``rng`` moves on by the same amount for any number of bands.
    """
    return np.random.default_rng(rng.integers(2**63)).random((bands, count))
