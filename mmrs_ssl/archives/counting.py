"""Read the pixels of an archive's files to count them, as training reads them: which ones hold data is told alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from mmrs_ssl.archives.accumulators import PATCH, patch_deviations
from mmrs_ssl.archives.window_tasks import PartialStatistics, Task
from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.agreement import refuse_contradictions
from mmrs_ssl.rasters.arrays import Array
from mmrs_ssl.rasters.bands import choose_bands, names_of
from mmrs_ssl.rasters.blocks import BlockWindows
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import Header, Window
from mmrs_ssl.rasters.header import described_header
from mmrs_ssl.rasters.nodata import Marks
from mmrs_ssl.rasters.opening import open_image
from mmrs_ssl.rasters.pool import CACHE_BYTES
from mmrs_ssl.rasters.reader import OpenRaster
from mmrs_ssl.rasters.stacks import valid_together

Image = str | Path | tuple[str, ...]  # a file, or one per band
# Of every file of an image: its path, header, block, and whether values are scaled.
Headers = list[tuple[str, Header, tuple[int, int], bool]]

_WINDOW_PIXELS, _WINDOW_VALUES = 2**20, 2**22  # read at once: of one band, of all bands


@dataclass(frozen=True)
class CountedFile:
    """What is known of a file before its pixels are read; its bands are those to count.

    Attributes:
        path: of the file.
        image: its files, this one among them.
        column: where the first of its bands is among those of the image.
        windows: to read one after the other.
        dtype: of the values, scaled if that is asked for.
        indexes: of the bands, from 0.
        names: of the bands.
        file_bands: how many bands there are in the file.
        masked_by_alpha: whether a band that is declared alpha is a mask.
        patch: side of the patches within which deviations are measured, in its pixels.
        scaling: (scale, offset) that the file declares for each of the bands.
    """

    path: str
    image: tuple[str, ...]
    column: int
    windows: BlockWindows
    dtype: str
    indexes: tuple[int, ...]
    names: tuple[str, ...]
    file_bands: int
    masked_by_alpha: bool
    patch: int = PATCH
    scaling: tuple[tuple[float, float], ...] = ()


def read_image_headers(images: Sequence[Image], access: Access | None, strict: bool) -> list[Headers | str]:
    """Read the headers of the files of every image; an image that cannot be read gives the message instead.

    Raises:
        UnreadableImageError: if one cannot be read, and ``strict`` is set.
    """
    found: list[Headers | str] = []
    for image in images:
        try:
            found.append([_read_header(path, access) for path in files_of(image)])
        except UnreadableImageError as error:
            if strict:
                raise
            found.append(str(error))
    return found


def files_of(image: Image) -> tuple[str, ...]:
    """Return the paths of an image's files."""
    return image if isinstance(image, tuple) else (str(image),)


def _read_header(path: str, access: Access | None) -> tuple[str, Header, tuple[int, int], bool]:
    with open_image(path, access) as raster:
        header = described_header(raster, path)
        scaled = any(scale != 1 for scale in header.scales) or any(header.offsets)
        return path, header, raster.block_shapes[0], scaled


def plan_files(
    images: Sequence[Headers],
    bands: tuple[int | str, ...] | int,
    marks: Marks,
    scale: bool,
    ignore_names: bool,
    band_files: tuple[str, ...] = (),
) -> list[CountedFile]:
    """Choose the bands to count of every file, and the windows to read.

    Raises:
        ValueError: if files have different numbers of bands, contradict each other, or not the bands asked for.
    """
    planned, chosen = [], []
    for image in images:
        paths = tuple(path for path, *_ in image)
        finest = min(_pixel(header) for _, header, *_ in image)
        for column, (path, header, block, scaled) in enumerate(image):
            header = header._replace(mask=marks.alpha if header.alpha is not None else None)
            indexes = _indexes(header, bands, path, len(image))
            if header.dtype.startswith('complex'):
                raise ValueError(f'{path} has bands of type {header.dtype}; statistics are of real numbers')
            chosen.append((path, header, indexes))
            pixels = min(_WINDOW_PIXELS, max(1, _WINDOW_VALUES // len(indexes)))
            planned.append(
                CountedFile(
                    path=path,
                    image=paths,
                    column=column,
                    windows=BlockWindows.of_blocks((header.height, header.width), block, pixels),
                    dtype='float64' if scale and scaled else header.dtype,
                    indexes=tuple(indexes),
                    names=band_files[column : column + 1] or _names(header, indexes),
                    file_bands=len(header.names),
                    masked_by_alpha=marks.alpha is not False and header.alpha not in (None, *indexes),
                    patch=max(2, round(PATCH * finest / _pixel(header))),  # on the same ground as the finest band's
                    scaling=header.scaling(indexes),
                )
            )
    _refuse_different_bands(planned)
    by_name = isinstance(bands, tuple) and bands and all(isinstance(band, str) for band in bands)
    if not (ignore_names or by_name):
        for column in range(max(file.column for file in planned) + 1):
            refuse_contradictions(
                [file for file, plan in zip(chosen, planned, strict=True) if plan.column == column], '--bands red ...'
            )
    return planned


def _pixel(header: Header) -> float:
    """Compute the side of a pixel in units of the map."""
    a, b, _, d, e, _ = header.grid.transform
    return math.sqrt(abs(a * e - b * d))


def _indexes(header: Header, bands: tuple[int | str, ...] | int, path: str, files: int) -> list[int]:
    if files > 1:
        if len(header.names) != 1:
            raise ValueError(f'{path} has {len(header.names)} bands, expected a file with one band for each of {files}')
        return [0]
    if bands:
        return choose_bands(header, bands, path)
    return choose_bands(header, None, path, masks=header.mask is not False) or list(range(len(header.names)))


def _names(header: Header, indexes: Sequence[int]) -> tuple[str, ...]:
    names = names_of(header, indexes)
    return tuple(name or f'band {index}' for name, index in zip(names, indexes, strict=True))


def _refuse_different_bands(files: Sequence[CountedFile]) -> None:
    first = files[0]
    for file in files:
        counts = len(first.image), len(file.image)
        if counts[0] == counts[1]:
            counts = len(first.indexes), len(file.indexes)
        if counts[0] != counts[1]:
            raise ValueError(
                f'{first.path} has {counts[0]} bands, {file.path} has {counts[1]}; name those that all files have, '
                f'e.g. --bands {" ".join(map(str, range(min(counts))))}, or give files of one kind'
            )


def count_task(task: Task, marks: Marks, options: Any, dtype: str, columns: int) -> PartialStatistics:
    """Read the windows of a task; a file that cannot be read adds nothing but its message."""
    total = PartialStatistics(dtype, columns)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        for file in task.headers:
            found = PartialStatistics(dtype, columns)
            try:
                _count_file(file, task.numbers(file), marks, options, found)
            except UnreadableImageError as error:
                if options.strict:
                    raise
                total.unreadable.append(str(error))
            else:
                total.merge(found)
    return total


def _count_file(file: CountedFile, numbers: range, marks: Marks, options: Any, found: PartialStatistics) -> None:
    raster = OpenRaster(file.path, access=options.access, marks=marks)
    others = [OpenRaster(path, access=options.access, marks=marks) for path in file.image if path != file.path]
    try:
        for number in numbers:
            part = file.windows[number]
            window = Window(part.row_off, part.col_off, part.height, part.width)
            pixels, valid = raster.read(file.indexes, window)
            if valid is None:
                valid = np.ones(pixels.shape, bool)
            if others:
                valid = valid_together(raster, valid, window, others)
            for column, (index, band, mask) in enumerate(zip(file.indexes, pixels, valid, strict=True), file.column):
                _count_band(_scaled(raster, index, band, options.scale), mask, column, file.patch, found)
    finally:
        for each in (raster, *others):
            each.close()
    found.files = int(numbers.stop == len(file.windows))


def _scaled(raster: OpenRaster, index: int, band: Array, scale: bool) -> Array:
    factor, offset = raster.source.scales[index], raster.source.offsets[index]
    return band * factor + offset if scale and (factor, offset) != (1, 0) else band


def _count_band(band: Array, valid: Array, column: int, patch: int, found: PartialStatistics) -> None:
    """Add the pixels (H, W) of a band's window."""
    valid = valid & np.isfinite(band)
    found.pixels[column] += band.size
    if not valid.any():
        return
    accumulator = found.bands[column]
    accumulator.update(band[valid].astype(found.dtype))
    deviations = patch_deviations(band, valid, patch)
    if len(deviations):
        found.patches[column].update(deviations)
