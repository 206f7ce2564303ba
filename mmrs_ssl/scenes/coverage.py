"""Where windows may lie on a place whose dates cover different parts of it."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from mmrs_ssl.rasters.grid import Window


def _overlap(rectangles: np.ndarray, least: int) -> np.ndarray:
    """Cut what at least so many rectangles, (N, 4) of top, left, height, width, cover into disjoint ones: (K, 4)."""
    ends = rectangles[:, :2] + rectangles[:, 2:]
    rows = np.unique([rectangles[:, 0], ends[:, 0]])
    columns = np.unique([rectangles[:, 1], ends[:, 1]])
    inside = [
        (rectangles[:, axis, None] <= cuts[:-1]) & (cuts[:-1] < ends[:, axis, None])
        for axis, cuts in enumerate((rows, columns))
    ]
    enough = inside[0].astype(np.int64).T @ inside[1].astype(np.int64) >= least
    steps = np.diff(np.pad(enough.astype(np.int8), ((0, 0), (1, 1))), axis=1)  # of every row of cells, where runs begin
    (row, first), (_, last) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return np.stack([rows[row], columns[first], np.diff(rows)[row], columns[last] - columns[first]], axis=1)


def covered_area(extents: Iterable[Window], least: int = 1) -> int:
    """Count the pixels that at least so many extents cover."""
    return int(_overlap(np.array(list(extents), np.int64), least)[:, 2:].prod(axis=1).sum())


class Corners:
    """The upper left corners of all windows that lie in at least so many of the dates' extents.

    Args:
        extents: of the dates, none smaller than a window.
        side: of a window (down, across).
        least: how many dates have to cover a window.
    """

    def __init__(self, extents: Sequence[Window], side: Sequence[int], least: int = 1) -> None:
        self.rectangles = np.array(extents, np.int64)
        self.rectangles[:, 2:] -= np.array(side) - 1
        self.least = least

    @cached_property
    def cells(self) -> np.ndarray:
        """Disjoint rectangles, (K, 4), that hold all of them."""
        return _overlap(self.rectangles, self.least)

    @cached_property
    def ends(self) -> np.ndarray:
        """How many there are in the cells up to each, (K,)."""
        return np.cumsum(self.cells[:, 2:].prod(axis=1))

    def __len__(self) -> int:
        """Count them."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw one; each is as likely as any other."""
        number = int(rng.integers(len(self)))
        cell = int(np.searchsorted(self.ends, number, side='right'))
        top, left, _, width = self.cells[cell].tolist()
        row, column = divmod(number - int(self.ends[cell - 1] if cell else 0), width)
        return top + row, left + column

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the corner nearest to each point, (N, 2), and how far it is, (N,): the larger of rows and columns."""
        return _nearest(self.cells, points)

    def grid(self, points: np.ndarray, nudge: int, reach: int) -> np.ndarray:
        """Move the corners of a grid, (N, 2), to where windows may lie, each once.

        One that is at most ``nudge`` pixels from where all dates cover a window, or else most of them, goes there; any
        other to the nearest place. What is ``reach`` away from any is left out.
        """
        found, distance = _nearest(self.cells, points)
        kept = (distance < reach) | (distance == distance.min())
        dates = len(self.rectangles)
        for level in (max(dates // 2 + 1, self.least), dates):  # the second has the last word
            moved, away = _nearest(_overlap(self.rectangles, level), points)
            found[away <= nudge] = moved[away <= nudge]
        found = found[kept]
        _, first = np.unique(found, axis=0, return_index=True)
        return found[np.sort(first)]


def _nearest(rectangles: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, distance = points.copy(), np.full(len(points), np.iinfo(np.int64).max)
    for top, left, height, width in rectangles:
        moved = np.clip(points, (top, left), (top + height - 1, left + width - 1))
        away = abs(moved - points).max(axis=1)
        closer = away < distance
        found[closer], distance[closer] = moved[closer], away[closer]
    return found, distance
