"""Say what is wrong with a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

GDAL_ERRORS = (RasterioError, CPLE_BaseError)  # some of GDAL's come as they are


class UnreadableImageError(ValueError):
    """Raised for a file that is missing, truncated or no image; a data set may pass over it."""


class NoDataError(UnreadableImageError):
    """Raised for an image or window with too few valid pixels."""


class OtherBandsError(ValueError):
    """Raised for a file that has other bands than are asked for: rather the configuration's fault than the file's."""


@contextmanager
def errors_of(path: str | Path) -> Iterator[None]:
    """Turn what GDAL raises while it reads a file into :class:`UnreadableImageError`, which names the file."""
    try:
        yield
    except (*GDAL_ERRORS, OSError) as error:
        raise UnreadableImageError(f'{path}: {" ".join(str(error.__cause__ or error).split())}') from error
