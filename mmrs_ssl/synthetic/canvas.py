"""Paint a layout in metres as an image of object numbers, and give the objects their materials."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

SCENE_CLASSES: tuple[str, ...] = (
    'farmland', 'forest', 'water', 'residential', 'industrial', 'parking', 'junction', 'meadow',
)  # fmt: skip
LAND_COVER: tuple[str, ...] = (
    'impervious_surface', 'building', 'low_vegetation', 'tree', 'car', 'background', 'water', 'bare_soil',
)  # fmt: skip
IMPERVIOUS, BUILDING, LOW_VEGETATION, TREE, CAR, BACKGROUND, WATER, BARE_SOIL = range(8)
BANDS: tuple[str, ...] = ('red', 'green', 'blue', 'nir', 'swir1', 'swir2')
WAVELENGTHS_NM: tuple[float, ...] = (665, 560, 490, 842, 1610, 2190)

# Typical reflectances in the order of BANDS.
SPECTRA = {
    'asphalt': (0.10, 0.10, 0.10, 0.12, 0.15, 0.14), 'concrete': (0.27, 0.26, 0.24, 0.29, 0.32, 0.30),
    'gravel': (0.33, 0.30, 0.25, 0.36, 0.40, 0.37), 'paint': (0.62, 0.62, 0.60, 0.62, 0.55, 0.50),
    'tile': (0.30, 0.15, 0.10, 0.34, 0.37, 0.31), 'slate': (0.11, 0.12, 0.14, 0.14, 0.16, 0.15),
    'metal': (0.40, 0.42, 0.44, 0.43, 0.40, 0.36), 'brown': (0.17, 0.12, 0.09, 0.22, 0.28, 0.23),
    'blue': (0.10, 0.18, 0.34, 0.20, 0.22, 0.20), 'white': (0.58, 0.58, 0.57, 0.58, 0.50, 0.45),
    'crimson': (0.36, 0.06, 0.06, 0.40, 0.42, 0.40), 'black': (0.03, 0.03, 0.03, 0.04, 0.05, 0.05),
    'loam': (0.17, 0.12, 0.08, 0.24, 0.33, 0.27), 'sand': (0.36, 0.30, 0.21, 0.42, 0.50, 0.44),
    'clay': (0.28, 0.17, 0.11, 0.33, 0.40, 0.33), 'grass': (0.06, 0.11, 0.04, 0.43, 0.22, 0.10),
    'straw': (0.27, 0.22, 0.13, 0.34, 0.36, 0.26), 'conifer': (0.03, 0.055, 0.03, 0.28, 0.12, 0.05),
    'leaf': (0.05, 0.09, 0.03, 0.45, 0.20, 0.09), 'twig': (0.16, 0.13, 0.10, 0.23, 0.26, 0.18),
    'deep': (0.02, 0.04, 0.06, 0.015, 0.006, 0.004), 'algae': (0.04, 0.09, 0.05, 0.03, 0.01, 0.006),
    'silt': (0.13, 0.12, 0.08, 0.05, 0.01, 0.008),
}  # fmt: skip
ROOFS = ('tile', 'slate', 'metal', 'brown', 'concrete')
SOILS = ('loam', 'sand', 'clay')
HALLS = ('metal', 'white', 'slate', 'blue', 'concrete', 'tile')
PAVEMENTS = ('asphalt', 'asphalt', 'concrete')
CARS = ('white', 'white', 'metal', 'metal', 'black', 'black', 'crimson', 'blue')
TABLE_COLUMNS = 19  # of the object table: dark 6, light - dark 6, cover, height, mean, rough, contrast, wave vector 2


def mix(a: ArrayLike, b: ArrayLike, share: ArrayLike) -> Array:
    """Interpolate from ``a`` (share 0) to ``b`` (share 1)."""
    return np.asarray(a) + (np.asarray(b) - np.asarray(a)) * np.asarray(share)


def spectra(rng: np.random.Generator, names: Sequence[str], count: int = 1, spread: float = 0.2) -> Array:
    """Draw ``count`` materials and vary their brightness and hue: (count, 6)."""
    table = np.array([SPECTRA[name] for name in names])[rng.integers(len(names), size=count)]
    return table * rng.lognormal(0, spread, (count, 1)) * rng.lognormal(0, spread / 4, (count, 6))


class Canvas:
    """A layout in metres, turned and bent, painted as an image of object numbers with one table row per object.

    ``rng`` describes the place and must be drawn from alike at every date; ``now`` describes one date.
    """

    def __init__(self, scene_class: str, seed: int, size: int, gsd: float, date: int) -> None:
        """Begin empty, with ``size`` pixels of ``gsd`` metres, the place's turn and the date's sun and season."""
        key = zlib.crc32(scene_class.encode())
        self.rng = np.random.default_rng([seed, key])
        self.now = np.random.default_rng([seed, key, date + 1])
        self.size, self.gsd, self.date = size, gsd, date
        self.extent = size * gsd
        self.reach = 0.75 * self.extent  # half the side of a square that covers the picture however it is turned
        self.turn, self.scale = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.8, 1.25)
        self.bend = np.array([0.0, 0.01, 0.0])  # amplitude (m), wave number (1/m) and phase of the bent streets
        self.sun_azimuth, self.sun_elevation = float(self.now.uniform(0, 360)), float(self.now.uniform(28, 65))
        self.green = float(self.now.beta(0.8, 0.8))  # season: 0 is withered, 1 is lush
        self.ids = np.zeros((size, size), np.int32)  # number of the object that each pixel shows
        self.vehicle_ids = np.zeros((size, size), np.int32)  # laid over the sealed ground at the end
        self.table: list[Array] = []  # a row of properties for each object, see add
        self.count = 0  # objects so far
        self.outlines: list[tuple[str, Array, Array]] = []  # name, numbers (n,) and corners (n, 4, 2) in pixels
        self.parts: list[tuple[int, int, int]] = []  # first numbers of parts and of the n wholes they belong to
        # places (n, 2), radii and heights (n,) in metres, colors (n, 6), and the object they must stand on (-1: any)
        self.plants: list[tuple[Array, Array, Array, Array, int]] = []

    def grassy(self, rng: np.random.Generator, kinds: Sequence[str] = ('grass',)) -> Array:
        """Draw vegetation of this season: reflectances (1, 6)."""
        return mix(spectra(rng, ('straw',)), spectra(rng, kinds), self.green)

    def add(
        self, cover: int, dark: ArrayLike, light: ArrayLike, *, height: ArrayLike = 0.0, mean: ArrayLike = 0.5,
        rough: ArrayLike = 0.3, contrast: ArrayLike = 0.0, period: ArrayLike = 1.0, angle: ArrayLike = 0.0, n: int = 1,
    ) -> int:  # fmt: skip
        """Register ``n`` objects and return the number of the first.

        A pixel is ``dark + (light - dark) * (mean + rough * noise + contrast * wave)``; the wave is a pattern of rows
        of ``period`` metres across the direction ``angle``. It fades where the pixels are too large to show it.
        """
        rows = np.empty((n, TABLE_COLUMNS), np.float32)
        rows[:, :6] = dark
        rows[:, 6:12] = np.asarray(light) - np.asarray(dark)
        turned = np.asarray(angle) + self.turn
        shown = np.clip(np.asarray(period) / self.gsd - 2, 0, 1)
        number = 2 * np.pi * self.gsd / np.asarray(period, float)
        wave = np.asarray(contrast, float) * shown
        columns = (cover, height, mean, rough, wave, -number * np.sin(turned), number * np.cos(turned))
        for index, column in enumerate(columns):
            rows[:, 12 + index] = column
        self.table.append(rows)
        self.count += int(n)
        return self.count - int(n)

    def project(self, points: ArrayLike) -> Array:
        """Convert metres (n, 2) to pixels (n, 2), bent and turned as the place is."""
        x, y = np.asarray(points, float).T
        y = y + self.bend[0] * np.sin(x * self.bend[1] + self.bend[2])
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.stack([cos * x - sin * y, sin * x + cos * y], 1) / self.gsd + (self.size - 1) / 2

    def fill(self, points: ArrayLike, number: int) -> None:
        """Paint one polygon given in metres (n, 2)."""
        cv2.fillPoly(self.ids, [np.rint(self.project(points) * 16).astype(np.int32)], number, shift=4)

    def stroke(self, points: ArrayLike, width: float, number: int, closed: bool = False) -> None:
        """Paint a line of ``width`` metres through points given in metres (n, 2), unless it is far below a pixel."""
        if width > 0.4 * self.gsd:
            line, thickness = np.rint(self.project(points) * 16).astype(np.int32), max(1, round(width / self.gsd))
            cv2.polylines(self.ids, [line], closed, number, thickness, shift=4)

    def solids(
        self, centers: Array, sizes: ArrayLike, angles: ArrayLike, first: int, name: str = '', sides: int = 4,
        aside: ArrayLike = 0.0,
    ) -> None:  # fmt: skip
        """Paint n rectangles, or regular polygons, numbered from ``first``: centers and sizes (n, 2) m, angles (n,).

        They are shifted ``aside`` metres across their own direction. With a ``name`` they are outlined as boxes;
        vehicles go to a layer of their own.
        """
        layer = self.vehicle_ids if name in ('vehicle', 'truck') else self.ids
        at, half = self.project(centers), np.broadcast_to(np.asarray(sizes, float), centers.shape) / self.gsd / 2
        slope = np.arctan(self.bend[0] * self.bend[1] * np.cos(centers[:, 0] * self.bend[1] + self.bend[2]))
        heading = np.broadcast_to(angles, len(at)) + self.turn + slope
        seen = (np.abs(at - (self.size - 1) / 2).max(1) < self.size / 2 + half.sum(1)).nonzero()[0]
        tiny = seen[half[seen].max(1) < 0.75]
        x, y = np.rint(at[tiny]).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < self.size) & (y < self.size)
        layer[y[inside], x[inside]] = first + tiny[inside]
        seen = seen[half[seen].max(1) >= 0.75]
        cos, sin = np.cos(heading[seen, None]), np.sin(heading[seen, None])
        shift = np.broadcast_to(np.asarray(aside) / self.gsd, len(at))

        def corners(extent: Array, sides: int) -> Array:
            ring = 2 * np.pi * (np.arange(sides) + 0.5) / sides
            unit = np.stack([np.cos(ring), np.sin(ring)], 1) / np.cos(np.pi / sides)
            u, v = (unit * extent[seen, None]).transpose(2, 0, 1)
            v = v + shift[seen, None]
            return np.stack([cos * u - sin * v, sin * u + cos * v], 2) + at[seen, None]

        # OpenCV paints the outline's pixels too: half a pixel less on every side keeps the area right.
        painted = np.rint(corners(np.maximum(half - 0.5, 0.05), sides) * 16).astype(np.int32)
        for number, polygon in zip((first + seen).tolist(), painted, strict=True):
            cv2.fillConvexPoly(layer, polygon, number, shift=4)
        if name:
            self.outlines.append((name, first + seen, corners(half, 4).astype(np.float32)))

    def lasting(self, points: Array, rate: float) -> Array:
        """Choose which permanent things stand at this date: bool (n,). A share ``rate`` is built or removed some time.

        Of those nearest the picture's center one changes at each of the first dates, so that every pair differs.
        """
        n, never = len(points), np.iinfo(np.int64).max
        when = np.where(self.rng.random(n) < rate, self.rng.geometric(0.5, n), never)
        nearest = np.argsort((points**2).sum(1))[:4] if rate > 0.05 else np.zeros(0, int)
        when[nearest] = (3, 1, 2, 4)[: len(nearest)]
        built = (self.rng.random(n) < 0.35) & (when < never)
        built[nearest[:1]] = False  # what stands in the middle at first tells the class
        return np.where(built, self.date >= when, self.date < when)
