"""Compute where the windows of scenes lie, from their extents alone."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.scenes.index import Scene, SceneError, describe_crs

_DRAWS = 20  # windows drawn of a scene before all of it is gone through
_FEW = 1000  # windows of a grid that are tried one by one; of larger grids as many of those that hold data


def in_pixels(scene: Scene, length: float, unit: str) -> tuple[int, int]:
    """Convert a length in ``'pixels'`` or ``'metres'`` to pixels of the scene's grid (down, across), at least 1.

    Raises:
        SceneError: for metres on a grid on which they mean nothing.
    """
    if unit == 'pixels':
        return max(1, round(length)), max(1, round(length))
    if scene.gsd is None:
        grid = 'no projected CRS' if scene.grid is None else describe_crs(scene.grid.crs)
        raise SceneError(f"has {grid}: metres mean nothing; set unit='pixels', or give it a projected CRS")
    return max(1, round(length / scene.gsd[0])), max(1, round(length / scene.gsd[1]))


def check_window(scene: Scene, window: float, unit: str) -> None:
    """Raise SceneError if the scene is smaller than a window, or metres mean nothing on its grid."""
    height, width = in_pixels(scene, window, unit)
    if height > scene.extent.height or width > scene.extent.width:
        paths = [path for dates in scene.layers.values() for group in dates.values() for path in group]
        shared = f' that its {len(paths)} files share' if len(paths) > 1 else ''
        raise SceneError(
            f'({paths[0]}) has {scene.extent.height} x {scene.extent.width} pixels{shared}, less than a window of '
            f'{height} x {width}; make the window smaller'
        )


class WindowPlan:
    """The windows of S scenes, numbered from 0, scene after scene and row by row.

    Args:
        scenes: none smaller than a window.
        window: side of a window.
        stride: distance of windows. With random windows it only sets how many count as one pass over a scene.
        unit: of both, ``'pixels'`` or ``'metres'``.
        random: windows at uniform places; otherwise those of a grid, whose last of a row or column are moved inwards
            to end with the scene.
    """

    def __init__(self, scenes: Sequence[Scene], window: float, stride: float, unit: str, random: bool) -> None:
        self.random = random
        self.extents = np.array([scene.extent for scene in scenes], np.int64)  # (S, 4) top, left, height, width
        self.sides = np.array([in_pixels(scene, window, unit) for scene in scenes], np.int64)  # (S, 2)
        steps = np.array([in_pixels(scene, stride, unit) for scene in scenes], np.int64)
        self.steps = np.maximum(steps, 1)
        if random:
            self.counts = np.maximum(np.rint(self.extents[:, 2:] / self.steps).astype(np.int64), 1)
        else:
            self.counts = -(-(self.extents[:, 2:] - self.sides) // self.steps) + 1
        self.ends = np.cumsum(self.counts.prod(axis=1))

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
            places: finds the windows of the scene's grid that hold data, by number from 0 and row by row. It is asked
                where the grid is too large to try all of it, and some of what it finds comes last.
        """
        first, end = self.numbers(scene)
        if number is None:
            number = int(rng.integers(first, end))
        for _ in range(_DRAWS):
            yield self.window(scene, number, rng)
            number = int(rng.integers(first, end))
        rows, columns = self.grid_shape(scene)
        if places is None or rows * columns <= _FEW:
            order = rng.permutation(rows * columns)
        else:
            order = rng.permutation(places())[:_FEW]
        for place in order:
            yield self.grid_window(scene, *divmod(int(place), columns))

    def grid_shape(self, scene: int) -> tuple[int, int]:
        """Return how many windows the scene's grid has, down and across."""
        free = self.extents[scene, 2:] - self.sides[scene]
        rows, columns = (-(-free // self.steps[scene]) + 1).tolist()
        return rows, columns

    def window(self, scene: int, number: int, rng: np.random.Generator) -> Window:
        """Return the grid window of this number, or draw a random one of the scene."""
        if not self.random:
            return self.grid_window(scene, *divmod(number - self.numbers(scene)[0], int(self.counts[scene, 1])))
        (top, left, height, width), (rows, columns) = self.extents[scene].tolist(), self.sides[scene].tolist()
        row, column = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        return Window(top + row, left + column, rows, columns)

    def grid_window(self, scene: int, row: int, column: int) -> Window:
        """Return a window of the scene's grid; the last ones are moved inwards to end with the scene."""
        offset = np.minimum(self.steps[scene] * (row, column), self.extents[scene, 2:] - self.sides[scene])
        return Window(*(self.extents[scene, :2] + offset).tolist(), *self.sides[scene].tolist())

    def number_of(self, scene: int, window: Window) -> int:
        """Return the number of the grid window that a window is, or begins in."""
        offsets, last = np.array(window[:2]) - self.extents[scene, :2], self.counts[scene] - 1
        moved = offsets == self.extents[scene, 2:] - self.sides[scene]  # the last of a row or column, moved inwards
        row, column = np.where(moved, last, np.minimum(offsets // self.steps[scene], last))
        return self.numbers(scene)[0] + int(row * self.counts[scene, 1] + column)
