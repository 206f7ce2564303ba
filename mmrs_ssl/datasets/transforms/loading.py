"""Read an image file of any number of bands and any type."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import rasterio
from mmcv.transforms import BaseTransform
from PIL import Image

from mmrs_ssl.registry import TRANSFORMS

RASTER_SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2')
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.webp')

# OpenCV resizes and blurs none of these types; the values keep their meaning in a wider one.
_WIDER = dict(
    int8=np.int16, int32=np.float32, uint32=np.float32, int64=np.float32, uint64=np.float32, float16=np.float32
)

# How a complete file of each kind ends; OpenCV fills what is missing of a truncated one with grey and says nothing.
_JPEG_END, _PNG_END = b'\xff\xd9', b'IEND\xaeB`\x82'


class UnreadableImageError(ValueError):
    """A file that is missing, truncated or no image; a dataset may pass over it."""


def read_image(path: str | Path) -> np.ndarray:
    """Read a whole image.

    Args:
        path: JPEG, PNG, BMP, PNM or WebP by OpenCV; GeoTIFF, VRT or JPEG 2000 by rasterio.

    Returns:
        (H, W, C) of the file's own type, bands in the file's order (RGB for photographs).

    Raises:
        UnreadableImageError: if the file is missing, truncated or no image.
    """
    if str(path).lower().endswith(RASTER_SUFFIXES):
        try:
            with rasterio.open(path) as raster:
                return np.ascontiguousarray(raster.read().transpose(1, 2, 0))
        except rasterio.errors.RasterioError as error:
            raise UnreadableImageError(f'{path}: not readable as a raster ({error})') from error
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImageError(f'{path}: {error.strerror or error}') from error
    _refuse_truncated(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:  # a header that asks for an impossible size
        raise UnreadableImageError(f'{path}: OpenCV cannot decode it ({" ".join(str(error).split())})') from error
    if image is None:
        raise UnreadableImageError(f'{path}: not an image, or truncated ({len(data)} bytes)')
    if image.ndim == 2:
        return image[..., None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _refuse_truncated(path: str | Path, data: bytes) -> None:
    """Raise for a JPEG or PNG without its end, unless Pillow, which is strict, can decode all of it."""
    end = _JPEG_END if data.startswith(b'\xff\xd8') else _PNG_END if data.startswith(b'\x89PNG') else None
    if end is None or end in data[-64:]:
        return
    try:
        Image.open(BytesIO(data)).load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f'{path}: truncated after {len(data)} bytes ({error})') from error


@TRANSFORMS.register_module()
class LoadRaster(BaseTransform):
    """Load ``img_path`` into ``img``: (H, W, C) of the file's own type, bands in the file's order.

    Args:
        bands: how many bands every image must have (an int), or which to take, by index from 0 in this order.

    Raises:
        UnreadableImageError: if the file is missing, truncated or no image.
        ValueError: if it has other bands than configured.
    """

    def __init__(self, bands: int | Sequence[int] = 3) -> None:
        self.bands = bands if isinstance(bands, int) else list(bands)

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        path = results['img_path']
        image = read_image(path)
        found = image.shape[2]
        if isinstance(self.bands, int):
            if found != self.bands:
                raise ValueError(
                    f'{path} has {found} bands, but bands={self.bands} is configured; set bands (and the mean and std '
                    f'of as many) to {found}, or name those to take, e.g. bands={list(range(min(found, self.bands)))}'
                )
        elif max(self.bands) >= found:
            raise ValueError(
                f'{path} has {found} bands (0 to {found - 1}), but bands={self.bands} is configured; name bands it has'
            )
        else:
            image = np.ascontiguousarray(image[..., self.bands])
        if image.dtype.kind == 'f' and not np.isfinite(image).all():
            raise UnreadableImageError(f'{path}: holds NaN or infinite pixels (nodata?); fill them before training')
        results['img'] = image = image.astype(_WIDER.get(image.dtype.name, image.dtype), copy=False)
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
