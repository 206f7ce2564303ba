"""Count the statistics of every band of an archive, in one pass over its pixels, by windows, in several processes.

Memory depends neither on the size of a file nor on the number of files. How numbers are found and how exact they are is
told in :mod:`mmrs_ssl.archives.accumulators`, which pixels count in :mod:`mmrs_ssl.rasters.nodata`: those that training
takes for data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from mmengine.utils import ProgressBar

from mmrs_ssl.archives.accumulators import BandSummary
from mmrs_ssl.archives.counting import CountedFile, Headers, Image, count_task, plan_files, read_image_headers
from mmrs_ssl.archives.window_tasks import TASK_FILES, PartialStatistics, make_tasks, map_in_order
from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.agreement import alpha_is_mask, refuse_inverted, scales_note
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.nodata import Marks, Rule

Nodata = float | None | Literal['declared']

QUANTILES = (0.001, 0.02, 0.5, 0.98, 0.999)


@dataclass(frozen=True)
class Options:
    """How the files of an archive are read.

    Attributes:
        bands: which to count, by index from 0, description or color, or how many there must be; none means all but
            alpha. An alpha band named here is data like any other, and no mask.
        nodata: the value that is no data, in place of those the files declare; None for no such value. Internal masks
            and alpha bands count all the same, and so do NaN and infinity.
        rule: which bands must hold that value, see :mod:`mmrs_ssl.rasters.nodata`.
        alpha: whether a band that is declared alpha is a mask; None: if all files' look like one.
        band_files: names of the bands that have a file each.
        ignore_names: take bands by position even where files name or color them differently.
        scale: apply the scale and offset that files declare for their bands.
        strict: raise for an unreadable file instead of passing over it.
        access: where the files, and what VRTs name, may lie; every file's own folder by default, and no network.
    """

    bands: tuple[int | str, ...] | int = ()
    nodata: Nodata = 'declared'
    rule: Rule = 'auto'
    alpha: bool | None = None
    ignore_names: bool = False
    band_files: tuple[str, ...] = ()
    scale: bool = False
    strict: bool = False
    access: Access | None = None

    @property
    def marks(self) -> Marks:
        """Return what marks empty pixels."""
        if self.nodata is None:
            return Marks('none', self.rule, self.alpha)
        return Marks(None if self.nodata == 'declared' else float(self.nodata), self.rule, self.alpha)


DEFAULT = Options()


@dataclass(frozen=True)
class Statistics:
    """What was counted in an archive.

    Attributes:
        names: of the bands.
        indexes: where they are in the files, from 0 (in the first, if they were asked for by name).
        dtype: numpy's name of the type that holds the values of every file.
        files: how many were read.
        band_pixels: how many of every band.
        shares: which quantiles.
        bands: one per band; None where no pixel is valid.
        spreads: typical deviation of every band within patches; None where none varies.
        unreadable: what is wrong with each file that was passed over.
        notes: what the user ought to know.
    """

    names: tuple[str, ...]
    indexes: tuple[int, ...]
    dtype: str
    files: int
    band_pixels: tuple[int, ...]
    shares: tuple[float, ...]
    bands: tuple[BandSummary | None, ...]
    spreads: tuple[float | None, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Return how many pixels were read, of the band with most."""
        return max(self.band_pixels)

    @property
    def nodata_share(self) -> list[float]:
        """Return the share of every band's pixels that are not valid, in [0, 1]."""
        return [
            1 - band.count / pixels if band else 1.0 for band, pixels in zip(self.bands, self.band_pixels, strict=True)
        ]

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
            'spread': list(self.spreads),
            'quantiles': {f'{share:g}': self.quantile(share) for share in self.shares},
            'files': self.files,
            'pixels': self.pixels,
            'unreadable': list(self.unreadable),
        }


def band_statistics(
    images: Sequence[Image],
    options: Options = DEFAULT,
    shares: Sequence[float] = QUANTILES,
    processes: int = 1,
    bar: bool = False,
) -> Statistics:
    """Count all valid pixels of some files.

    Args:
        images: rasters or pictures, all of the same bands; of images with a file per band, a tuple of files, always in
            the same order. They may be of several types; values are then held in one that is wide enough for all.
        options: how to read them.
        shares: quantiles to find, in [0, 1].
        processes: how many read at the same time. No number depends on it, except for the randomness that quantiles of
            types other than integers of at most 16 bits have in any case.
        bar: draw a progress bar on the standard error stream.

    Raises:
        UnreadableImageError: if no file can be read, or with ``options.strict`` if one cannot.
        ValueError: if the files have different numbers of bands, other names of them, or not those asked for.
    """
    if bad := [share for share in shares if not 0 <= share <= 1]:
        raise ValueError(f'a quantile of {bad[0]:g} was asked for, expected shares in [0, 1]')
    if processes < 1:
        raise ValueError(f'processes is {processes}, expected at least 1')
    if not images:
        raise ValueError('paths is empty, expected at least one file')
    with ProcessPoolExecutor(processes) if processes > 1 else nullcontext() as pool:
        batches = [images[start : start + TASK_FILES] for start in range(0, len(images), TASK_FILES)]
        task = partial(read_image_headers, access=options.access, strict=options.strict)
        found = [each for batch in map_in_order(pool, task, batches, 2 * processes) for each in batch]
        readable = [headers for headers in found if not isinstance(headers, str)]
        unreadable = [message for message in found if isinstance(message, str)]
        if readable:
            marks, notes = _settled(readable, options)
            files = plan_files(readable, options.bands, marks, options.scale, options.ignore_names, options.band_files)
            dtype = np.result_type(*{file.dtype for file in files}).name
            total = _count(pool, files, dtype, partial(count_task, marks=marks, options=options), processes, bar)
            unreadable += total.unreadable
    if len(unreadable) == len(images):
        raise UnreadableImageError(f'none of {len(images)} files can be read; the first: {unreadable[0]}')
    first = [file for file in files if file.image == files[0].image]
    names, indexes = (tuple(item for file in first for item in getattr(file, field)) for field in ('names', 'indexes'))
    same_names = all(file.names == names[file.column : file.column + len(file.names)] for file in files)
    return Statistics(
        names=names if same_names else tuple(f'band {i}' for i in indexes),
        indexes=indexes,
        dtype=dtype,
        files=total.files,
        band_pixels=tuple(total.pixels.tolist()),
        shares=tuple(shares),
        bands=tuple(band.summary(shares) if band.count else None for band in total.bands),
        spreads=tuple(band.median() for band in total.patches),
        unreadable=tuple(unreadable),
        notes=(*notes, *_notes(files, dtype, options.scale)),
    )


def _settled(images: Sequence[Headers], options: Options) -> tuple[Marks, list[str]]:
    """Settle for all files whether a band that is declared alpha is a mask, and say what the user ought to know."""
    files = [file[:2] for image in images for file in image]
    declared = [header.alpha for _, header in files if header.alpha is not None]
    every = isinstance(options.bands, tuple) and bool(options.bands) and all(a in options.bands for a in declared)
    mask, note = alpha_is_mask(files, options.alpha, every)
    refuse_inverted(files)
    return options.marks._replace(alpha=mask), [note] if note else []


def _notes(files: Sequence[CountedFile], dtype: str, scale: bool) -> Iterator[str]:
    if alpha := [file for file in files if file.masked_by_alpha]:
        every = ' '.join(map(str, range(alpha[0].file_bands)))
        yield (
            f'{len(alpha)} of {len(files)} files declare an alpha band, e.g. {alpha[0].path}: it is a mask here, not '
            'counted. GDAL calls the fourth band of 8-bit GeoTIFFs alpha unless told otherwise; if it is data, add '
            f'--bands {every}'
        )
    if len(types := sorted({file.dtype for file in files})) > 1:
        yield f'files are of different types ({", ".join(types)}); values are held as {dtype}'
    for column in () if scale else dict.fromkeys(file.column for file in files):
        if note := scales_note([(file.path, file.scaling) for file in files if file.column == column]):
            yield f'{note}; --scale (unscale=True of the loader) applies them'


def _count(
    pool: Executor | None, files: Sequence[CountedFile], dtype: str, count: Any, processes: int, bar: bool
) -> PartialStatistics:
    tasks = list(make_tasks(files))
    columns = max(file.column + len(file.indexes) for file in files)
    progress = ProgressBar(sum(task.windows for task in tasks), file=sys.stderr) if bar else None
    total, file = PartialStatistics(dtype, columns), PartialStatistics(dtype, columns)
    results = map_in_order(pool, partial(count, dtype=dtype, columns=columns), tasks, 2 * processes)
    for task, result in zip(tasks, results, strict=True):
        file.merge(result)
        if task.stop >= len(task.headers[-1].windows):
            if len(task.headers) == 1 and file.unreadable:
                # Nothing of it counts, not even what other tasks could read.
                total.unreadable.append(file.unreadable[0])
            else:
                total.merge(file)
            file = PartialStatistics(dtype, columns)
        if progress:
            progress.update(task.windows)
    if progress:
        print(file=sys.stderr)
    return total
