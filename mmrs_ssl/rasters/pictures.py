"""Read whole pictures: JPEG, PNG and the like by OpenCV, but strict about truncated files."""

import logging
import math
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.arrays import bands_last
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import RASTER_SUFFIXES
from mmrs_ssl.rasters.foreign import subdataset_hint
from mmrs_ssl.rasters.formats import driver_at, is_animated
from mmrs_ssl.rasters.grid import NOWHERE, Header
from mmrs_ssl.rasters.header import values_mask_alone
from mmrs_ssl.rasters.opening import ANIMATED
from mmrs_ssl.rasters.png import Meaning, bands_as_meant, png_meaning
from mmrs_ssl.rasters.reader import OpenRaster

_decoding = threading.Lock()
_LOOKED_AT = 9 * 2**16  # pixels of an alpha channel, as of rasters
# How a complete file of each kind ends; OpenCV fills what is missing of a truncated one with gray and says nothing.
_JPEG_END, _PNG_END = b'\xff\xd9', b'IEND\xaeB`\x82'

# Pillow reads their headers, and nothing else of them: opened by these, and not by Image.open, size is no matter.
_HEADERS: dict[str, type[ImageFile.ImageFile]] = {
    'PNG': PngImageFile,
    'JPEG': JpegImageFile,
    'BMP': BmpImageFile,
    'PNM': PpmImageFile,
    'WEBP': WebPImageFile,
}
_COLORS = {1: ('gray',), 2: ('gray', 'alpha'), 3: ('red', 'green', 'blue'), 4: ('red', 'green', 'blue', 'alpha')}
_BANDS = dict(RGB=3, RGBA=4, CMYK=3)  # that OpenCV makes of Pillow's modes; others have one


def read_image(path: str | Path, access: Access | None = None) -> np.ndarray:
    """Read a whole image, whatever its bands and type.

    Args:
        path: JPEG, PNG, BMP, PNM or WebP by OpenCV; GeoTIFF, VRT or JPEG 2000 by rasterio.
        access: where the file, and what it names, may lie; the file's folder by default.

    Returns:
        (H, W, C) of the file's own type, bands in the file's order. Of a picture these are gray or RGB, and alpha if
        pixels can be transparent; 1 to 4 bits become 0 to 255; a palette becomes gray if all its colors are, else RGB;
        a color that a PNG calls transparent has alpha 0. Windows of it have the same bands and values.

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
        hint = subdataset_hint(str(path))
        raise UnreadableImageError(f'{path}: {error.strerror or error}{hint and "; it "}{hint}') from error
    if is_animated(BytesIO(data)):
        raise UnreadableImageError(f'{path}: {ANIMATED}')
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
    meaning = png_meaning(BytesIO(data))
    if image.ndim == 2:
        return image[..., None] if meaning is None else bands_as_meant(image[..., None], meaning)
    if data.startswith(b'BM'):
        image = image[..., :3]  # a fourth byte is seldom alpha, and GDAL passes it over
    colors = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return colors if meaning is None else bands_as_meant(colors, meaning)


def masked_by_gdal(path: str) -> bool:
    """Tell whether GDAL has to read a picture: a file beside it, or a mask behind a JPEG, says what holds data."""
    if os.path.exists(f'{path}.aux.xml') or os.path.exists(f'{path}.msk'):
        return True
    if not path.lower().endswith(('.jpg', '.jpeg')):
        return False
    with suppress(OSError), open(path, 'rb') as file:  # GDAL puts the mask behind the picture, and where that ends last
        file.seek(-4, os.SEEK_END)
        end, size = int.from_bytes(file.read(4), 'little'), file.tell()
        if size // 2 <= end <= size - 4:
            file.seek(end - len(_JPEG_END))
            return file.read(len(_JPEG_END)) == _JPEG_END
    return False


def read_masked(path: str, access: Access | None, asked: bool | None) -> tuple[np.ndarray, Header, np.ndarray | None]:
    """Read a whole picture as :func:`read_image` does, and say which of its pixels are opaque.

    Args:
        path: of the picture.
        access: as there.
        asked: whether its alpha channel is a mask; None: if its values look like one, as of rasters.

    Returns:
        (H, W, C); what its bands are, and whether alpha is a mask; if so, where it is not 0, (H, W) bool, else None.
    """
    image = read_image(path, access)
    header = picture_header(image.shape[1::-1], image.shape[2], image.dtype.name)
    if header.alpha is None:
        return image, header, None
    alpha = image[..., header.alpha]
    step = math.ceil(math.sqrt(alpha.size / _LOOKED_AT))
    mask = values_mask_alone(alpha[::step, ::step]) if asked is None else asked
    return image, header._replace(mask=mask), alpha > 0 if mask else None


def read_picture_header(path: str) -> Header:
    """Tell what :func:`read_image` will make of a picture, without decoding it where its format is known.

    Raises:
        UnreadableImageError: if it is missing or no image.
    """
    try:
        with open(path, 'rb') as file:
            driver = driver_at(file) or ''
            if driver in _HEADERS:
                animated = is_animated(file)
                file.seek(0)
                picture = None if animated else _HEADERS[driver](file)
                if picture and (header := _told_by(picture, driver, png_meaning(file))):
                    return header
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, struct.error):
        pass  # OpenCV is asked
    image = read_image(path)
    return picture_header(image.shape[1::-1], image.shape[2], image.dtype.name)


def _told_by(picture: ImageFile.ImageFile, driver: str, meaning: Meaning | None) -> Header | None:
    """Tell from what Pillow knows of a picture what OpenCV will make of it; None where the two differ."""
    how = picture.tile[0][3] if picture.tile else ()  # how the pixels are stored; the first is their order
    parts = list(how) if isinstance(how, tuple) else [how]
    stored = str(parts[0]) if parts else ''
    if driver == 'BMP' and stored not in ('BGR', 'L'):  # palettes and masks
        return None
    bands = _BANDS.get(picture.mode, 1) if meaning is None else (1 if meaning.gray else 3) + meaning.alpha
    deep = ';16' in stored or (driver == 'PNM' and any(isinstance(top, int) and top > 255 for top in parts))
    return picture_header(picture.size, bands, 'uint16' if deep else 'uint8')


@lru_cache(4096)  # of many pictures of a kind, one
def picture_header(size: tuple[int, ...], bands: int, dtype: str) -> Header:
    """Describe a picture (width, height) of so many bands: of 2 and of 4 the last is alpha."""
    colors = _COLORS.get(bands, ('undefined',) * bands)
    alpha = bands - 1 if bands in (2, 4) else None
    return Header(NOWHERE, size[1], size[0], ('',) * bands, alpha, dtype, colors, (None,) * bands)


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
