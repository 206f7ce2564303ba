"""Count the statistics of every band of an archive, in one pass over its pixels, by windows, in several processes.

Memory depends neither on the size of a file nor on the number of files. How numbers are found and how exact they are is
told in :mod:`mmrs_ssl.archives.accumulators`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from mmengine.utils import ProgressBar
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from mmrs_ssl.archives.accumulators import Array, BandSummary
from mmrs_ssl.archives.window_tasks import TASK_FILES, CountedFile, PartialStatistics, Task, make_tasks, map_in_order
from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.blocks import BlockWindows
from mmrs_ssl.rasters.errors import UnreadableImageError, errors_of
from mmrs_ssl.rasters.guard import reaching
from mmrs_ssl.rasters.opening import open_raster
from mmrs_ssl.rasters.reader import CACHE_BYTES

Nodata = float | None | Literal['declared']

QUANTILES = (0.001, 0.02, 0.5, 0.98, 0.999)
_WINDOW_PIXELS, _WINDOW_VALUES = 2**20, 2**22  # read at once: of one band, of all bands
_NAMELESS = (ColorInterp.undefined, ColorInterp.gray, ColorInterp.palette)


@dataclass(frozen=True)
class Options:
    """How the files of an archive are read.

    Attributes:
        bands: which to count, by index from 0 or by description; none means all but alpha. An alpha band named here is
            data like any other, and no mask.
        nodata: the value that is no data, in place of those the files declare; None for no such value. Internal masks
            and alpha bands count all the same, and so do NaN and infinity.
        scale: apply the scale and offset that files declare for their bands.
        strict: raise for an unreadable file instead of passing over it.
        access: where the files, and what VRTs name, may lie; every file's own folder by default, and no network.
    """

    bands: tuple[int | str, ...] = ()
    nodata: Nodata = 'declared'
    scale: bool = False
    strict: bool = False
    access: Access | None = None


@dataclass(frozen=True)
class Statistics:
    """What was counted in an archive.

    Attributes:
        names: of the bands.
        indexes: where they are in the files, from 0 (in the first, if they were asked for by name).
        dtype: numpy's name of the type that holds the values of every file.
        files, pixels: how many were read.
        shares: which quantiles.
        bands: one per band; None where no pixel is valid.
        unreadable: what is wrong with each file that was passed over.
        notes: what the user ought to know.
    """

    names: tuple[str, ...]
    indexes: tuple[int, ...]
    dtype: str
    files: int
    pixels: int
    shares: tuple[float, ...]
    bands: tuple[BandSummary | None, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def nodata_share(self) -> list[float]:
        """Return the share of every band's pixels that are not valid, in [0, 1]."""
        return [1 - band.count / self.pixels if band else 1.0 for band in self.bands]

    def quantile(self, share: float) -> list[float | None]:
        """Return one value per band, for one of ``shares``; None where no pixel is valid."""
        return [band.quantiles[self.shares.index(share)] if band else None for band in self.bands]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values to write as JSON."""
        fields = {'count': 'count', 'mean': 'mean', 'std': 'std', 'min': 'low', 'max': 'high'}
        columns = {key: [getattr(band, name, None) for band in self.bands] for key, name in fields.items()}
        columns['count'] = [count or 0 for count in columns['count']]
        return {
            'bands': list(self.names),
            'indexes': list(self.indexes),
            'dtype': self.dtype,
            **columns,
            'nodata_share': self.nodata_share,
            'quantiles': {f'{share:g}': self.quantile(share) for share in self.shares},
            'files': self.files,
            'pixels': self.pixels,
            'unreadable': list(self.unreadable),
        }


def band_statistics(
    paths: Sequence[str | Path],
    options: Options = Options(),
    shares: Sequence[float] = QUANTILES,
    processes: int = 1,
    bar: bool = False,
) -> Statistics:
    """Count all valid pixels of some files.

    Args:
        paths: rasters or pictures, all of the same bands. They may be of several types; values are then held in one
            that is wide enough for all.
        options: how to read them.
        shares: quantiles to find, in [0, 1].
        processes: how many read at the same time. No number depends on it, except for the randomness that quantiles of
            types other than integers of at most 16 bits have in any case.
        bar: draw a progress bar on the standard error stream.

    Raises:
        UnreadableImageError: if no file can be read, or with ``options.strict`` if one cannot.
        ValueError: if the files have different numbers of bands, or not those asked for.
    """
    if bad := [share for share in shares if not 0 <= share <= 1]:
        raise ValueError(f'a quantile of {bad[0]:g} was asked for, expected shares in [0, 1]')
    if processes < 1:
        raise ValueError(f'processes is {processes}, expected at least 1')
    if not paths:
        raise ValueError('paths is empty, expected at least one file')
    with ProcessPoolExecutor(processes) if processes > 1 else nullcontext() as pool:
        batches = [paths[start : start + TASK_FILES] for start in range(0, len(paths), TASK_FILES)]
        read = map_in_order(pool, partial(_read_headers, options=options), batches, 2 * processes)
        found = [header for batch in read for header in batch]
        headers = [header for header in found if isinstance(header, CountedFile)]
        unreadable = [header for header in found if isinstance(header, str)]
        if headers:
            _refuse_different_bands(headers)
            dtype = np.result_type(*{header.dtype for header in headers}).name
            total = _read_all(pool, headers, dtype, options, processes, bar)
            unreadable += total.unreadable
    if len(unreadable) == len(paths):
        raise UnreadableImageError(f'none of {len(paths)} files can be read; the first: {unreadable[0]}')
    same_names = len({header.names for header in headers}) == 1
    return Statistics(
        names=headers[0].names if same_names else tuple(f'band {i}' for i in headers[0].indexes),
        indexes=headers[0].indexes,
        dtype=dtype,
        files=total.files,
        pixels=total.pixels,
        shares=tuple(shares),
        bands=tuple(band.summary(shares) if band.count else None for band in total.bands),
        unreadable=tuple(unreadable),
        notes=tuple(_notes(headers, dtype)),
    )


def _refuse_different_bands(headers: Sequence[CountedFile]) -> None:
    first = headers[0]
    for header in headers:
        counts = len(first.indexes), len(header.indexes)
        if counts[0] != counts[1]:
            raise ValueError(
                f'{first.path} has {counts[0]} bands, {header.path} has {counts[1]}; name those that all files have, '
                f'e.g. --bands {" ".join(map(str, range(min(counts))))}, or give files of one kind'
            )


def _notes(headers: Sequence[CountedFile], dtype: str) -> Iterator[str]:
    if alpha := [header for header in headers if header.masked_by_alpha]:
        every = ' '.join(map(str, range(alpha[0].file_bands)))
        yield (
            f'{len(alpha)} of {len(headers)} files declare an alpha band, e.g. {alpha[0].path}: it is a mask here, not '
            'counted. GDAL calls the fourth band of 8-bit GeoTIFFs alpha unless told otherwise; if it is data, add '
            f'--bands {every}'
        )
    if len(types := sorted({header.dtype for header in headers})) > 1:
        yield f'files are of different types ({", ".join(types)}); values are held as {dtype}'


def _read_headers(paths: Sequence[str | Path], options: Options) -> list[CountedFile | str]:
    """Read the header of every file; a file that cannot be read gives the message instead."""
    found: list[CountedFile | str] = []
    for path in paths:
        try:
            found.append(_read_header(path, options))
        except UnreadableImageError as error:
            if options.strict:
                raise
            found.append(str(error))
    return found


def _read_header(path: str | Path, options: Options) -> CountedFile:
    with open_raster(path, options.access) as raster:
        every, meanings = range(raster.count), raster.colorinterp
        alpha = [i for i in every if meanings[i] == ColorInterp.alpha]
        names = [raster.descriptions[i] or _color(meanings[i], i) for i in every]
        indexes = [_band_index(path, band, raster.descriptions) for band in options.bands]
        indexes = indexes or [i for i in every if i not in alpha] or list(every)
        types = [raster.dtypes[i] for i in indexes]
        if complex_types := [kind for kind in types if kind.startswith('complex')]:
            raise ValueError(f'{path} has bands of type {complex_types[0]}; statistics are of real numbers')
        scaled = options.scale and any((raster.scales[i], raster.offsets[i]) != (1, 0) for i in indexes)
        pixels = min(_WINDOW_PIXELS, max(1, _WINDOW_VALUES // len(indexes)))
        return CountedFile(
            path=path,
            windows=BlockWindows.of_blocks(raster.shape, raster.block_shapes[0], pixels),
            dtype='float64' if scaled else np.result_type(*types).name,
            indexes=tuple(indexes),
            names=tuple(names[i] for i in indexes),
            file_bands=raster.count,
            masked_by_alpha=bool(set(alpha) - set(indexes)),
        )


def _color(meaning: ColorInterp, index: int) -> str:
    return f'band {index}' if meaning in _NAMELESS else meaning.name


def _band_index(path: str | Path, band: int | str, names: Sequence[str | None]) -> int:
    """Find the index of a band given by index or name, upper or lower case."""
    known = {name.lower(): index for index, name in enumerate(names) if name}
    index = known.get(band.lower(), -1) if isinstance(band, str) else band
    if 0 <= index < len(names):
        return index
    named = f'named {", ".join(known)}' if known else 'without names'
    raise ValueError(f'{path} has no band {band!r}; it has {len(names)} (0 to {len(names) - 1}), {named}')


def _read_all(
    pool: Executor | None, headers: Sequence[CountedFile], dtype: str, options: Options, processes: int, bar: bool
) -> PartialStatistics:
    tasks = list(make_tasks(headers))
    progress = ProgressBar(sum(task.windows for task in tasks), file=sys.stderr) if bar else None
    total = PartialStatistics(dtype, len(headers[0].indexes))
    file = PartialStatistics(dtype, len(headers[0].indexes))
    results = map_in_order(pool, partial(_read_task, dtype=dtype, options=options), tasks, 2 * processes)
    for task, result in zip(tasks, results, strict=True):
        file.merge(result)
        if task.stop >= len(task.headers[-1].windows):
            if len(task.headers) == 1 and file.unreadable:
                # Nothing of it counts, not even what other tasks could read.
                total.unreadable.append(file.unreadable[0])
            else:
                total.merge(file)
            file = PartialStatistics(dtype, len(headers[0].indexes))
        if progress:
            progress.update(task.windows)
    if progress:
        print(file=sys.stderr)
    return total


def _read_task(task: Task, dtype: str, options: Options) -> PartialStatistics:
    """Read the windows of a task; a file that cannot be read adds nothing but its message."""
    total = PartialStatistics(dtype, len(task.headers[0].indexes))
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        for header in task.headers:
            try:
                total.merge(_read_file(header, task.numbers(header), dtype, options))
            except UnreadableImageError as error:
                if options.strict:
                    raise
                total.unreadable.append(str(error))
    return total


def _read_file(header: CountedFile, numbers: range, dtype: str, options: Options) -> PartialStatistics:
    found = PartialStatistics(dtype, len(header.indexes))
    with (
        reaching(options.access),
        open_raster(header.path, options.access) as raster,
        errors_of(header.path),
    ):
        for number in numbers:
            window = header.windows[number]
            values = raster.read([i + 1 for i in header.indexes], window=window, out_dtype=dtype)  # (bands, H, W)
            for i, band, accumulator in zip(header.indexes, values, found.bands, strict=True):
                valid = _valid(raster, i, band, window, header.masked_by_alpha, options.nodata)
                if options.scale and (raster.scales[i], raster.offsets[i]) != (1, 0):
                    band = band * raster.scales[i] + raster.offsets[i]
                if valid.any():
                    accumulator.update(band[valid])
            found.pixels += window.width * window.height
    found.files = int(numbers.stop == len(header.windows))
    return found


def _valid(
    raster: rasterio.DatasetReader, index: int, values: Array, window: Window, alpha_is_mask: bool, nodata: Nodata
) -> Array:
    """Tell which pixels of a band's window are valid: boolean (H, W)."""
    flags = raster.mask_flag_enums[index]
    valid = np.isfinite(values)
    by_value, by_alpha = MaskFlags.nodata in flags, MaskFlags.alpha in flags
    if (not by_value or nodata == 'declared') and (not by_alpha or alpha_is_mask) and MaskFlags.all_valid not in flags:
        valid &= raster.read_masks(index + 1, window=window) != 0
    if isinstance(nodata, int | float):
        kind = np.dtype(raster.dtypes[index])
        # A decimal number stands for the nearest one of the file's own type.
        valid &= values != (kind.type(nodata) if kind.kind == 'f' else nodata)
    return valid
