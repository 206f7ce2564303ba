"""Cut the windows of many files into tasks of similar size, and run these in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from mmrs_ssl.archives.accumulators import Sketch, make_accumulator
from mmrs_ssl.rasters.blocks import BlockWindows

In = TypeVar('In')
Out = TypeVar('Out')


# What one task reads. Fixed, so that numbers are merged in the same order by any number of processes.
TASK_WINDOWS, TASK_FILES = 16, 64


class Readable(Protocol):
    """A file that is read by windows."""

    @property
    def windows(self) -> BlockWindows:
        """Return the windows to read one after the other."""


@dataclass(frozen=True)
class Task:
    """Windows ``start`` to ``stop``, as far as there are so many, of one large file or several small ones."""

    headers: tuple[Any, ...]
    start: int = 0
    stop: int = TASK_WINDOWS

    def numbers(self, header: Readable) -> range:
        """Return which windows of a file the task reads."""
        return range(self.start, min(self.stop, len(header.windows)))

    @property
    def windows(self) -> int:
        """Return how many windows the task reads."""
        return sum(len(self.numbers(header)) for header in self.headers)


class PartialStatistics:
    """The statistics of some of the windows, one accumulator per band, and one for its deviations within patches."""

    def __init__(self, dtype: str, bands: int) -> None:
        self.dtype = dtype
        self.bands = [make_accumulator(np.dtype(dtype)) for _ in range(bands)]
        self.patches = [Sketch(np.dtype(np.float64)) for _ in range(bands)]
        self.files = 0
        self.pixels = np.zeros(bands, np.int64)
        self.unreadable: list[str] = []

    def merge(self, other: PartialStatistics) -> None:
        """Add what was found in other windows."""
        for mine, its in zip(self.bands, other.bands, strict=True):
            mine.merge(its)  # type: ignore[arg-type]  # all of an archive are of one type
        for patches, others in zip(self.patches, other.patches, strict=True):
            patches.merge(others)
        self.files += other.files
        self.pixels += other.pixels
        self.unreadable += other.unreadable


def make_tasks(headers: Iterable[Readable]) -> Iterator[Task]:
    """Cut the windows of large files, and group small files, into tasks of similar size."""
    group: list[Readable] = []
    for header in headers:
        windows = sum(len(other.windows) for other in [*group, header])
        if group and (len(group) == TASK_FILES or windows > TASK_WINDOWS):
            yield Task(tuple(group))
            group = []
        if len(header.windows) <= TASK_WINDOWS:
            group.append(header)
        else:
            for start in range(0, len(header.windows), TASK_WINDOWS):
                yield Task((header,), start, start + TASK_WINDOWS)
    if group:
        yield Task(tuple(group))


def map_in_order(
    pool: Executor | None, function: Callable[[In], Out], items: Iterable[In], ahead: int
) -> Iterator[Out]:
    """Map in processes and yield results in the order of the items; few wait at a time, unlike in ``Executor.map``."""
    if pool is None:
        yield from map(function, items)
        return
    waiting: deque[Future[Out]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
