"""Compute where the windows of scenes lie, from their extents alone."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.scenes.coverage import Corners, covered_area
from mmrs_ssl.scenes.index import Scene
from mmrs_ssl.scenes.placing import in_pixels

_DRAWS = 20  # windows drawn of a scene before all of it is gone through
_FEW = 1000  # windows of a grid that are tried one by one; of larger grids as many of those that hold data


class WindowPlan:
    """The windows of S scenes, numbered from 0, scene after scene and row by row.

    Args:
        scenes: none smaller than a window.
        window: side of a window.
        stride: distance of windows. With random windows it only sets how many count as one pass over a scene.
        unit: of both, ``'pixels'`` or ``'metres'``.
        random: windows at uniform places; otherwise those of a grid, whose last of a row or column are moved inwards
            to end with the scene.
        least: how many dates have to cover a window. Where they do not all cover the same, windows of the grid are
            moved to the nearest place that so many cover, or by up to an eighth to one that most of them do.
    """

    def __init__(
        self, scenes: Sequence[Scene], window: float, stride: float, unit: str, random: bool, least: int = 1
    ) -> None:
        self.random = random
        self.lengths = window, stride, unit
        self.extents = np.array([scene.extent for scene in scenes], np.int64)  # (S, 4) top, left, height, width
        self.sides, self.steps = (  # (S, 2)
            np.array([in_pixels(scene.gsd, length, unit) for scene in scenes], np.int64) for length in (window, stride)
        )
        if random:
            self.counts = np.maximum(np.rint(self.extents[:, 2:] / self.steps).astype(np.int64), 1)
        else:
            self.counts = -(-(self.extents[:, 2:] - self.sides) // self.steps) + 1
        totals = self.counts.prod(axis=1)
        self.uneven: dict[int, Corners] = {}  # by scene, where dates do not all cover the same
        self.grids: dict[int, np.ndarray] = {}  # of these scenes, (N, 2), the corners of the grid's windows
        for number, scene in enumerate(scenes):
            if not scene.uniform:
                extents = list(scene.extents.values())
                self.uneven[number] = Corners(extents, self.sides[number].tolist(), least)
                totals[number] = (
                    max(1, round(covered_area(extents, least) / self.steps[number].prod()))
                    if random
                    else len(self._uneven_grid(number))
                )
        self.ends = np.cumsum(totals)

    def __len__(self) -> int:
        """Count the windows of all scenes."""
        return int(self.ends[-1])

    def scene_of(self, number: int) -> int:
        """Return the number of the scene that a window is of."""
        return int(np.searchsorted(self.ends, number, side='right'))

    def numbers(self, scene: int) -> tuple[int, int]:
        """Return the first number of a scene's windows, and the last + 1."""
        return int(self.ends[scene - 1]) if scene else 0, int(self.ends[scene])

    def candidates(
        self,
        scene: int,
        number: int | None,
        rng: np.random.Generator,
        places: Callable[[], np.ndarray] | None = None,
    ) -> Iterator[Window]:
        """Yield windows of a scene in the order to try them: that of the number, some drawn anew, all of its grid.

        Args:
            scene: its number.
            number: of the first window; None for any.
            rng: where the others are drawn from.
            places: finds the windows that hold data, (N, 2) of their corners. It is asked where the grid is too large
                to try all of it, and some of what it finds comes last.
        """
        first, end = self.numbers(scene)
        if number is None:
            number = int(rng.integers(first, end))
        for _ in range(_DRAWS):
            yield self.window(scene, number, rng)
            number = int(rng.integers(first, end))
        if places is None or self.grid_size(scene) <= _FEW:
            for place in rng.permutation(self.grid_size(scene)):
                yield self.grid_window(scene, int(place))
        else:
            corners = places()
            for place in rng.permutation(len(corners))[:_FEW]:
                yield Window(*corners[place].tolist(), *self.sides[scene].tolist())

    def grid_shape(self, scene: int) -> tuple[int, int]:
        """Return how many windows the grid of a scene that all dates cover has, down and across."""
        free = self.extents[scene, 2:] - self.sides[scene]
        rows, columns = (-(-free // self.steps[scene]) + 1).tolist()
        return rows, columns

    def grid_size(self, scene: int) -> int:
        """Return how many windows the scene's grid has."""
        if scene in self.uneven:
            return len(self._uneven_grid(scene))
        rows, columns = self.grid_shape(scene)
        return int(rows * columns)

    def window(self, scene: int, number: int, rng: np.random.Generator) -> Window:
        """Return the grid window of this number, or draw a random one of the scene."""
        if not self.random:
            return self.grid_window(scene, number - self.numbers(scene)[0])
        (top, left, height, width), (rows, columns) = self.extents[scene].tolist(), self.sides[scene].tolist()
        if scene in self.uneven:
            return Window(*self.uneven[scene].draw(rng), rows, columns)
        row, column = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        return Window(top + row, left + column, rows, columns)

    def grid_window(self, scene: int, place: int) -> Window:
        """Return a window of the scene's grid, counted from 0 and row by row."""
        return Window(*self.grid_corners(scene, np.array([place]))[0].tolist(), *self.sides[scene].tolist())

    def grid_corners(self, scene: int, places: np.ndarray) -> np.ndarray:
        """Return the corners, (N, 2), of some windows of the scene's grid, counted from 0 and row by row."""
        if scene in self.uneven:
            return self._uneven_grid(scene)[places]
        return self._even_corners(scene, places)

    def _even_corners(self, scene: int, places: np.ndarray) -> np.ndarray:
        """Return corners of the grid of the whole extent; the last ones are moved inwards to end with the scene."""
        at = np.stack(np.divmod(places, self.grid_shape(scene)[1]), axis=1)
        return self.extents[scene, :2] + np.minimum(self.steps[scene] * at, self.extents[scene, 2:] - self.sides[scene])

    def _uneven_grid(self, scene: int) -> np.ndarray:
        if scene not in self.grids:
            rows, columns = self.grid_shape(scene)
            even = self._even_corners(scene, np.arange(rows * columns))
            nudge, reach = self.sides[scene].min() // 8, np.maximum(self.sides[scene], self.steps[scene]).max()
            self.grids[scene] = self.uneven[scene].grid(even, int(nudge), int(reach))
        return self.grids[scene]

    def number_of(self, scene: int, window: Window) -> int:
        """Return the number of the grid window that a window is, or begins in."""
        first, end = self.numbers(scene)
        if scene in self.uneven:
            grid = self._uneven_grid(scene)
            place = int(abs(grid - window[:2]).max(axis=1).argmin())
            return first + (place * (end - first) // len(grid) if self.random else place)
        offsets, last = np.array(window[:2]) - self.extents[scene, :2], self.counts[scene] - 1
        moved = offsets == self.extents[scene, 2:] - self.sides[scene]  # the last of a row or column, moved inwards
        row, column = np.where(moved, last, np.minimum(offsets // self.steps[scene], last))
        return first + int(row * self.counts[scene, 1] + column)
