"""Read whole pictures: JPEG, PNG and the like by OpenCV, but strict about truncated files."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.arrays import bands_last
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import RASTER_SUFFIXES
from mmrs_ssl.rasters.reader import OpenRaster

_decoding = threading.Lock()
# How a complete file of each kind ends; OpenCV fills what is missing of a truncated one with gray and says nothing.
_JPEG_END, _PNG_END = b'\xff\xd9', b'IEND\xaeB`\x82'


def read_image(path: str | Path, access: Access | None = None) -> np.ndarray:
    """Read a whole image, whatever its bands and type.

    Args:
        path: JPEG, PNG, BMP, PNM or WebP by OpenCV; GeoTIFF, VRT or JPEG 2000 by rasterio.
        access: where the file, and what it names, may lie; the file's folder by default.

    Returns:
        (H, W, C) of the file's own type, bands in the file's order (RGB for photographs).

    Raises:
        UnreadableImageError: if the file is missing, truncated or no image.
    """
    if str(path).lower().endswith(RASTER_SUFFIXES):
        raster = OpenRaster(str(path), access=access)
        pixels, _ = raster.read(range(raster.source.count))
        raster.close()
        return bands_last(pixels)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImageError(f'{path}: {error.strerror or error}') from error
    _refuse_truncated(path, data)
    said: list[str] = []
    try:
        with _decoders_messages(said):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:  # a header that asks for an impossible size
        raise UnreadableImageError(f'{path}: OpenCV cannot decode it ({" ".join(str(error).split())})') from error
    text = ' '.join(said)
    if image is None:
        raise UnreadableImageError(f'{path}: not an image, or truncated ({len(data)} bytes{text and ", "}{text})')
    if text:
        print_log(f'{path}: {text}', 'current', logging.WARNING)
    if image.ndim == 2:
        return image[..., None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


@contextmanager
def _decoders_messages(said: list[str]) -> Iterator[None]:
    """Take what OpenCV's decoders, who know no file's name, write to the standard error stream of the process."""
    if not _decoding.acquire(blocking=False):  # another thread takes what there is
        yield
        return
    try:
        kept, taken = os.dup(2), os.memfd_create('messages')
        os.dup2(taken, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            said += os.pread(taken, 1000, 0).decode(errors='replace').split()
            os.close(kept)
            os.close(taken)
    finally:
        _decoding.release()


def _refuse_truncated(path: str | Path, data: bytes) -> None:
    """Raise for a JPEG or PNG without its end, unless Pillow, which is strict, can decode all of it."""
    end = _JPEG_END if data.startswith(b'\xff\xd8') else _PNG_END if data.startswith(b'\x89PNG') else None
    if end is None or end in data[-64:]:
        return
    try:
        Image.open(BytesIO(data)).load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f'{path}: truncated after {len(data)} bytes ({error})') from error
