"""Make RGB of 8 bits of whatever a picture or raster holds: gray, alpha, few bits or many."""

from typing import Any

import numpy as np
import rasterio

from mmrs_ssl.band_names import rgb_bands
from mmrs_ssl.options import refuse
from mmrs_ssl.rasters.arrays import bands_first
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header

# What becomes 0 and 255 of more than 8 bits: quantiles of the valid pixels of all bands together, which keeps colors.
QUANTILES = (0.02, 0.98)
_LOOKED_AT = 2**20  # pixels of a band, evenly spread, are enough for quantiles


def checked_stretch(owner: object, stretch: Any) -> np.ndarray | None:
    """Turn limits between which bands are stretched into an array: quantiles (2,), or (low, high) per band, (C, 2).

    Raises:
        ValueError: for anything else but None.
    """
    if stretch is None:
        return None
    try:
        limits = np.asarray(stretch, np.float32)
    except (TypeError, ValueError):  # words, or lists of different lengths
        limits = np.zeros(0, np.float32)
    rising = limits.ndim in (1, 2) and limits.shape[-1] == 2 and bool((limits[..., 0] < limits[..., 1]).all())
    if not rising or not np.isfinite(limits).all() or (limits.ndim == 1 and not 0 <= limits[0] < limits[1] <= 1):
        refuse(owner, 'stretch', stretch, 'two quantiles in [0, 1], or (low, high) for every band')
    return limits


def rgb_numbers(header: Header, path: str) -> list[int]:
    """Choose red, green and blue, as numbers from 0; a gray file gives its band thrice.

    They are the bands that are named so, or else those the file marks so, or else the only three there are, alpha
    aside.

    Raises:
        OtherBandsError: if nothing tells them.
    """
    for known in (header.names, header.colors):
        if (colors := rgb_bands(known)) is not None:
            return list(colors)
    bands = [band for band in range(len(header.names)) if band != header.alpha]
    if len(bands) == 1:
        return bands * 3
    if len(bands) != 3:
        raise OtherBandsError(
            f'{path} has {len(bands)} bands, and does not say which are red, green and blue; name them: '
            f"LoadRaster(bands=[...], convert='rgb')"
        )
    return bands


def picture_to_rgb(image: np.ndarray, masked: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn a picture of 1 to 4 bands (gray, gray and alpha, RGB, RGBA) into RGB of the same type.

    Args:
        image: (H, W, C).
        masked: whether alpha says which pixels are valid.

    Returns:
        Pixels and which of them are valid, both (3, H, W), or None for all. Alpha is dropped: a color is what the file
        stores, and what is fully transparent has none.
    """
    if image.shape[2] > 4:
        raise OtherBandsError(f'{image.shape[2]} bands, expected 1 to 4 of a picture that becomes RGB')
    pixels = bands_first(image)
    alpha = pixels[-1] if masked and len(pixels) in (2, 4) else None
    colors = pixels[:3] if len(pixels) > 2 else np.repeat(pixels[:1], 3, axis=0)
    return colors, None if alpha is None or alpha.all() else np.broadcast_to(alpha > 0, colors.shape)


def full_range(source: rasterio.DatasetReader, header: Header, pixels: np.ndarray) -> np.ndarray:
    """Bring pixels of 1 to 7 bits to all of 0 to 255, and invert those that count from white to black."""
    if pixels.dtype.kind != 'u':
        return pixels
    bits = int(source.tags(1, ns='IMAGE_STRUCTURE').get('NBITS', 8))
    if pixels.dtype == np.uint8 and bits < 8:
        pixels = pixels * np.uint8(255 // (2**bits - 1))
    if header.inverted:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return pixels


def rgb_limits(pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray | None:
    """Compute what becomes 0 and 255 in every band, (C, 2); None for 8 bits, which stay as they are."""
    if pixels.dtype == np.uint8:
        return None
    step = int(np.ceil(np.sqrt(pixels[0].size / _LOOKED_AT)))
    some = pixels[:, ::step, ::step]
    if valid is not None:
        some = some[valid[:, ::step, ::step]] if valid[:, ::step, ::step].any() else pixels[valid]
    return np.tile(np.quantile(some, QUANTILES), (len(pixels), 1))
