"""Tell what the bands of a PNG mean, from what stands before its pixels."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

import numpy as np

SIGNATURE = b'\x89PNG\r\n\x1a\n'
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6  # its color types
_KEPT = (b'IHDR', b'PLTE', b'tRNS')


class Meaning(NamedTuple):
    """What the bands of a PNG mean.

    Attributes:
        gray: whether it has shades of gray alone: as its type, or as all colors of its palette.
        alpha: whether some pixels can be transparent: by a band, by entries of the palette, or by one color.
        bits: of a pixel's value, or of its number in the palette.
        clear: the gray that is transparent, as 8 or 16 bits; None if no single one is.
    """

    gray: bool
    alpha: bool
    bits: int
    clear: int | None


def png_meaning(file: BinaryIO) -> Meaning | None:
    """Tell what the bands of an open PNG mean; None of what is none, or is broken before its pixels."""
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return None
    parts: dict[bytes, bytes] = {}
    while len(start := file.read(8)) == 8:
        size, name = struct.unpack('>I4s', start)
        if name == b'IDAT':
            break
        if name in _KEPT:
            parts[name] = file.read(min(size, 1024))
            size -= len(parts[name])
        file.seek(size + 4, 1)  # its checksum as well
    if len(header := parts.get(b'IHDR', b'')) < 10:
        return None
    bits, kind = header[8:10]
    clear, palette = parts.get(b'tRNS', b''), parts.get(b'PLTE', b'')
    gray, alpha = kind in (_GRAY, _GRAY_ALPHA), kind in (_GRAY_ALPHA, _RGBA)
    if kind == _PALETTE:
        colors = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
        gray = len(colors) > 0 and bool((colors == colors[:, :1]).all())
        alpha = any(value < 255 for value in clear[: len(colors)])
    elif kind in (_GRAY, _RGB):
        alpha = bool(clear)
    value = None
    if kind == _GRAY and len(clear) > 1:
        value = (clear[0] << 8 | clear[1]) % 2**bits
        value = value * 255 // (2**bits - 1) if bits < 8 else value
    return Meaning(gray, alpha, bits, value)


def bands_as_meant(image: np.ndarray, meaning: Meaning) -> np.ndarray:
    """Choose of what a decoder made of a PNG, (H, W, C), the bands that it means: gray or RGB, and perhaps alpha.

    Args:
        image: with bands in any order but alpha, which is the fourth; a decoder repeats gray where there is alpha.
        meaning: of the same file.
    """
    colors = image[..., :1] if meaning.gray else image[..., :3]
    if not meaning.alpha:
        return colors
    if image.shape[2] == 4:
        return np.concatenate([colors, image[..., 3:]], axis=2) if meaning.gray else image
    opaque = (image != meaning.clear) * image.dtype.type(np.iinfo(image.dtype).max)
    return np.concatenate([colors, opaque], axis=2)
