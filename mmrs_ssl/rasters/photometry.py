"""Change the values of pixels (H, W, C) in the type that they have, by one scale for all bands or by one for each."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

Scale = float | Sequence[float]  # of all bands, or of each
Levels = float | np.ndarray  # the same, fitted to an image: a number or (C,)


def checked_scale(name: str, value: Any) -> Scale | None:
    """Turn an option that scales bands into a float or a tuple of floats, one per band; None stays.

    Raises:
        ValueError: naming the option and the value, if it holds anything but positive, finite numbers.
    """
    if value is None:
        return None
    several = not isinstance(value, int | float | np.number)
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):  # words, or lists of different lengths
        numbers = np.zeros(0)
    if numbers.ndim != several or not numbers.size or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f'{name}={value!r}, expected a number above 0, or a list with one per band')
    return tuple(numbers.tolist()) if several else float(numbers)


def check_scales(owner: object, **values: object) -> None:
    """Refuse options that are neither a scale of bands, see :func:`checked_scale`, nor such by modality."""
    for option, value in values.items():
        for each in value.values() if isinstance(value, Mapping) else (value,):
            checked_scale(f'{type(owner).__name__}: {option}', each)


def levels_of(name: str, value: Scale, bands: int) -> Levels:
    """Fit a scale to an image of so many bands: the number, or (C,).

    Raises:
        ValueError: naming the option, if it has numbers for more or fewer bands.
    """
    if isinstance(value, int | float):
        return float(value)
    if len(value) != bands:
        raise ValueError(
            f'{name} has {len(value)} numbers, one per band, but the image has {bands} bands; expected one '
            'number, or one for each band that is loaded, in that order: tools/band_stats.py prints them'
        )
    return np.array(value, np.float64)


def in_type_of(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Bring computed values to the type of an image, rounded if that holds integers."""
    return (values.round() if np.issubdtype(image.dtype, np.integer) else values).astype(image.dtype)


def clip(values: np.ndarray, white: Levels) -> np.ndarray:
    """Clip values (..., C) from 0 to white, in their own precision."""
    return np.clip(values, 0, np.asarray(white, values.dtype))


def affine(image: np.ndarray, gain: np.ndarray | float, offset: np.ndarray | float, white: Levels) -> np.ndarray:
    """Compute ``clip(image * gain + offset, 0, white)`` in the image's type; all are (C,) or one number."""
    if image.dtype == np.uint8:
        levels = np.arange(256, dtype=np.float32)[:, None]
        table = clip(levels * gain + offset, white).round().astype(np.uint8)  # (256, 1) or (256, C)
        return cv2.LUT(image, table[None]).reshape(image.shape)
    return in_type_of(image, clip(image * np.asarray(gain, np.float32) + np.asarray(offset, np.float32), white))


def solarize(image: np.ndarray, share: float, white: Levels) -> np.ndarray:
    """Take from white what is at or above a share of it, and 0 from what is above white."""
    if image.dtype == np.uint8:
        levels = np.arange(256)[:, None]
        table = np.where(levels < share * white, levels, white - levels).clip(0, 255).astype(np.uint8)
        return cv2.LUT(image, table[None]).reshape(image.shape)
    # Integers would wrap around where a value is above white.
    kind = image.dtype if image.dtype.kind == 'f' else np.dtype(np.float64)
    inverted = np.maximum(np.asarray(white, kind) - image, 0)
    return np.where(image < np.asarray(share * white, kind), image, inverted).astype(image.dtype)


def add_noise(image: np.ndarray, sigma: Levels, white: Levels) -> np.ndarray:
    """Add Gaussian noise of a deviation in the image's units, clipped from 0 to white (8 bits: to 255)."""
    if image.dtype == np.uint8:
        noise = draw_noise(image.shape, sigma, np.int16)
        flat = np.ascontiguousarray(image).reshape(len(image), -1)
        return cv2.add(flat, noise.reshape(flat.shape), dtype=cv2.CV_8U).reshape(image.shape)
    return in_type_of(image, clip(image + draw_noise(image.shape, sigma, np.float32), white))


def draw_noise(shape: tuple[int, ...], sigma: Levels, dtype: type) -> np.ndarray:
    """Draw Gaussian noise (H, W, C), band after band, from OpenCV's generator: three times as fast as numpy's."""
    height, width, bands = shape
    deviations = np.broadcast_to(sigma, bands).reshape(-1, 1)
    planes = [cv2.randn(np.empty((height, width), dtype), np.zeros(1), deviation) for deviation in deviations]
    return cv2.merge(planes).reshape(shape)


def turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of (H, W, 3) uint8 RGB by a share of the circle in [-0.5, 0.5]."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # OpenCV's 8-bit hue counts 0-179
    table = ((np.arange(256) + round(turn * 180)) % 180).astype(np.uint8)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, 0), table), hsv, 0)  # half the time of a table for all three
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
