"""Generated scenes that look like land use from above: the embedded data of the demo and the tests.

Nothing here is a photograph. A scene is a layout in metres (parcels, streets, houses, crowns, car parks) painted as an
image of object numbers, then lit by one sun, so that picture, surface model, land cover, boxes and shadows agree. A
class is decided by its structure alone: illumination, haze, tint, season, sun and the colours of roofs, soils and
water are drawn at random for every scene, and every class contains some of the others' ingredients. Objects are simple
on purpose: roofs are flat in the surface model, and what is smaller than a pixel becomes texture.

Equal arguments give equal bytes. Pixel ``(x, y)`` has its centre at the integer coordinate ``(x, y)``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

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
_SPECTRA = {
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
_ROOFS = ('tile', 'slate', 'metal', 'brown', 'concrete')
_SOILS = ('loam', 'sand', 'clay')
_HALLS = ('metal', 'white', 'slate', 'blue', 'concrete', 'tile')
_PAVEMENTS = ('asphalt', 'asphalt', 'concrete')
_CARS = ('white', 'white', 'metal', 'metal', 'black', 'black', 'crimson', 'blue')
_COLUMNS = 19  # of the object table: dark 6, light - dark 6, cover, height, mean, rough, contrast, wave vector 2


@dataclass(frozen=True)
class Scene:
    """One generated scene at one date.

    Attributes:
        reflectance: float32 (H, W, 6) in 0..1, bands in the order of ``BANDS``, at the sensor (haze and tint included).
        dsm: float32 (H, W), surface height in metres, terrain included.
        dtm: float32 (H, W), terrain height in metres.
        land_cover: uint8 (H, W), index into ``LAND_COVER``.
        boxes: ``(class name, float32 (4, 2) corners as x, y in pixels)`` of every visible 'vehicle', 'truck',
            'building' and 'tank' (storage tank) of at least 1.5 pixels; may reach over the border.
        scene_class: one of ``SCENE_CLASSES``.
        gsd: metres per pixel.
        date: number of the acquisition.
        sun_azimuth: degrees clockwise from the top of the picture.
        sun_elevation: degrees above the horizon.
    """

    reflectance: Array
    dsm: Array
    dtm: Array
    land_cover: Array
    boxes: list[tuple[str, Array]]
    scene_class: str
    gsd: float
    date: int
    sun_azimuth: float
    sun_elevation: float

    def rgb(self) -> Array:
        """Picture as uint8 (H, W, 3) by one fixed tone curve, so illumination differs between scenes."""
        return _to_uint8(self.reflectance[..., :3])

    def bands_at(self, wavelengths_nm: Sequence[float]) -> Array:
        """Reflectance interpolated between the bands: float32 (H, W, len(wavelengths_nm)) in 0..1."""
        order = np.argsort(WAVELENGTHS_NM)
        at, basis = np.array(WAVELENGTHS_NM)[order], np.eye(len(BANDS))[order]
        weights = np.stack([np.interp(wavelengths_nm, at, column) for column in basis.T])
        return self.reflectance @ weights.astype(np.float32)

    def multispectral(self, n_bands: int = len(BANDS), dtype: DTypeLike = np.uint16) -> Array:
        """The first ``n_bands`` bands, or that many evenly spaced in 443..2190 nm if there are more than in ``BANDS``.

        Returns:
            uint16 (H, W, n) reflectance times 10000, or uint8 (H, W, n) by the tone curve of ``rgb``.
        """
        if n_bands < 1:
            raise ValueError(f'n_bands is {n_bands}, expected at least 1')
        many = n_bands > len(BANDS)
        values = self.bands_at(np.linspace(443, 2190, n_bands).tolist()) if many else self.reflectance[..., :n_bands]
        if np.dtype(dtype) == np.uint16:
            return np.rint(values * 10000).astype(np.uint16)
        if np.dtype(dtype) == np.uint8:
            return _to_uint8(values)
        raise ValueError(f'dtype is {np.dtype(dtype)}, expected uint8 or uint16')


def _to_uint8(reflectance: Array) -> Array:
    return np.rint(255 * np.clip(1.9 * reflectance, 0, 1) ** 0.7).astype(np.uint8)


def _mix(a: ArrayLike, b: ArrayLike, share: ArrayLike) -> Array:
    """From ``a`` (share 0) to ``b`` (share 1)."""
    return np.asarray(a) + (np.asarray(b) - np.asarray(a)) * np.asarray(share)


def _spectra(rng: np.random.Generator, names: Sequence[str], count: int = 1, spread: float = 0.2) -> Array:
    """Draw ``count`` materials and vary their brightness and hue: (count, 6)."""
    table = np.array([_SPECTRA[name] for name in names])[rng.integers(len(names), size=count)]
    return table * rng.lognormal(0, spread, (count, 1)) * rng.lognormal(0, spread / 4, (count, 6))


class _Canvas:
    """A layout in metres, turned and bent, painted as an image of object numbers with one table row per object.

    ``rng`` describes the place and must be drawn from alike at every date; ``now`` describes one date.
    """

    def __init__(self, scene_class: str, seed: int, size: int, gsd: float, date: int) -> None:
        """An empty canvas of ``size`` pixels of ``gsd`` metres, with the place's turn and the date's sun and season."""
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
        self.ids, self.movers = np.zeros(
            (2, size, size), np.int32
        )  # vehicles are laid over the sealed ground at the end
        self.table: list[Array] = []
        self.count = 0
        self.outlines: list[tuple[str, Array, Array]] = []
        self.parts: list[tuple[int, int, int]] = []  # first numbers of parts and of the n wholes they belong to
        self.plants: list[tuple[Array, Array, Array, Array, int]] = []

    def grassy(self, rng: np.random.Generator, kinds: Sequence[str] = ('grass',)) -> Array:
        """Vegetation of this season: (1, 6)."""
        return _mix(_spectra(rng, ('straw',)), _spectra(rng, kinds), self.green)

    def add(
        self, cover: int, dark: ArrayLike, light: ArrayLike, *, height: ArrayLike = 0.0, mean: ArrayLike = 0.5,
        rough: ArrayLike = 0.3, contrast: ArrayLike = 0.0, period: ArrayLike = 1.0, angle: ArrayLike = 0.0, n: int = 1,
    ) -> int:  # fmt: skip
        """Register ``n`` objects and return the number of the first.

        A pixel is ``dark + (light - dark) * (mean + rough * noise + contrast * wave)``; the wave is a pattern of rows
        of ``period`` metres across the direction ``angle``. It fades where the pixels are too large to show it.
        """
        rows = np.empty((n, _COLUMNS), np.float32)
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
        """Metres (n, 2) to pixels (n, 2)."""
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
        self, centres: Array, sizes: ArrayLike, angles: ArrayLike, first: int, name: str = '', sides: int = 4,
        aside: ArrayLike = 0.0,
    ) -> None:  # fmt: skip
        """Paint n rectangles, or regular polygons, numbered from ``first``: centres and sizes (n, 2) m, angles (n,).

        They are shifted ``aside`` metres across their own direction. With a ``name`` they are outlined as boxes;
        vehicles go to a layer of their own.
        """
        layer = self.movers if name in ('vehicle', 'truck') else self.ids
        at, half = self.project(centres), np.broadcast_to(np.asarray(sizes, float), centres.shape) / self.gsd / 2
        slope = np.arctan(self.bend[0] * self.bend[1] * np.cos(centres[:, 0] * self.bend[1] + self.bend[2]))
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
        """Which permanent things stand at this date: bool (n,). ``rate`` of them is built or removed at some date.

        Of those nearest the picture's centre one changes at each of the first dates, so that every pair differs.
        """
        n, never = len(points), np.iinfo(np.int64).max
        when = np.where(self.rng.random(n) < rate, self.rng.geometric(0.5, n), never)
        nearest = np.argsort((points**2).sum(1))[:4] if rate > 0.05 else np.zeros(0, int)
        when[nearest] = (3, 1, 2, 4)[: len(nearest)]
        built = (self.rng.random(n) < 0.35) & (when < never)
        built[nearest[:1]] = False  # what stands in the middle at first tells the class
        return np.where(built, self.date >= when, self.date < when)


def _grid(c: _Canvas, pitch: tuple[float, float], jitter: float = 0.0) -> Array:
    """Points of a grid with a random offset that covers the layout: (n, 2) m."""
    axes = [np.arange(-c.reach - c.rng.uniform(0, step), c.reach + step, step) for step in pitch]
    points = np.stack(np.meshgrid(*axes), 2).reshape(-1, 2)
    return points + c.rng.uniform(-jitter, jitter, points.shape) * pitch


def _blob(c: _Canvas, centre: ArrayLike, radius: float) -> Array:
    """A smooth irregular outline: (48, 2) m."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = np.stack([np.cos(k * angle + c.rng.uniform(0, 6.3)) * c.rng.uniform(0, 0.5 / k) for k in (2, 3, 5)])
    return np.asarray(centre) + (radius * (1 + waves.sum(0)))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _line(c: _Canvas, offset: float, wiggle: float = 0.0, angle: float = 0.0) -> Array:
    """A line across the whole layout at ``offset`` metres from the centre: (65, 2) m."""
    x = np.linspace(-1.3 * c.reach, 1.3 * c.reach, 65)
    y = offset + wiggle * np.sin(x / c.extent * c.rng.uniform(3, 8) + c.rng.uniform(0, 6.3))
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], 1)


def _meadow(c: _Canvas, outline: Array | None = None) -> None:
    number = c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.75, c.grassy(c.rng) * 1.2, rough=c.rng.uniform(0.2, 0.5))
    if outline is not None:
        c.fill(outline, number)


def _fields(c: _Canvas, low: float = -np.inf, high: float = np.inf) -> None:
    """Parcels with crop rows, in the band ``low`` <= y <= ``high``."""
    large = max(1.0, np.sqrt(c.extent / 150)) * c.scale
    shear, y = c.rng.uniform(-0.4, 0.4), max(low, -c.reach)
    while y < min(high, c.reach):
        depth, x = c.rng.uniform(25, 80) * large, -1.5 * c.reach - c.rng.uniform(0, 60)
        while x < 1.5 * c.reach:
            width, gap = c.rng.uniform(25, 90) * large, c.rng.uniform(0, 2.5)
            ploughed, crop = c.rng.random() < 0.25, c.grassy(c.rng, ('grass', 'leaf', 'straw'))
            growth = np.where(ploughed, 0.15, c.now.uniform(0.25, 0.75))
            soil = _spectra(c.rng, _SOILS)
            angle = c.rng.choice([0.0, np.pi / 2 + shear]) + c.rng.normal(0, 0.1)
            number = c.add(
                BARE_SOIL if ploughed else LOW_VEGETATION, soil * 0.75, _mix(crop, soil * 1.3, ploughed), mean=growth,
                rough=0.12, contrast=c.rng.uniform(0.3, 0.5), period=c.rng.uniform(3.5, 8), angle=angle,
            )  # fmt: skip
            corners = np.array([[x, y], [x + width - gap, y], [x + width - gap, y + depth - gap], [x, y + depth - gap]])
            c.fill(corners + corners[:, 1:] * [shear, 0], number)
            x += width
        y += depth


def _plant(c: _Canvas, points: Array, radius: tuple[float, float], kinds: Sequence[str], where: int = -1) -> None:
    """Trees on vegetation and soil, or on the object numbered ``where`` only; some are felled at some date."""
    n = len(points)
    r = c.rng.uniform(*radius, n)
    pick = c.rng.integers(len(kinds), size=n)
    evergreen = np.array([kind == 'conifer' for kind in kinds])[pick]
    summer = np.array([_SPECTRA[kind] for kind in kinds])[pick]
    colour = _mix(_mix(_SPECTRA['twig'], summer, c.green), summer, evergreen[:, None])
    colour = colour * c.rng.lognormal(0, 0.25, (n, 1)) * c.rng.lognormal(0, 0.06, (n, 6))
    height = 3 + r * c.rng.uniform(1.4, 3.2, n)
    stands = c.lasting(points, 0.03)
    if where >= 0:  # a clear-cut in the wood
        stands &= (np.hypot(*(points - c.rng.uniform(-0.3, 0.3, 2) * c.extent).T) > 0.12 * c.extent) | (
            c.date < c.rng.integers(1, 4)
        )
    c.plants.append((points[stands], r[stands], height[stands], colour[stands], where))


def _wood(c: _Canvas, outline: Array | None = None, kinds: Sequence[str] = ('conifer', 'leaf')) -> None:
    floor = c.add(LOW_VEGETATION, _spectra(c.rng, ('loam',)) * 0.6, c.grassy(c.rng) * 0.7)
    if outline is not None:
        c.fill(outline, floor)
    pitch = max(c.rng.uniform(5, 9), 1.6 * c.gsd)
    _plant(c, _grid(c, (pitch, pitch), 0.35), (0.4 * pitch, 0.75 * pitch), kinds, floor)


def _scatter_trees(c: _Canvas, per_hectare: float) -> None:
    n = int(min(per_hectare * (2 * c.reach) ** 2 / 1e4, 4000))
    _plant(c, c.rng.uniform(-c.reach, c.reach, (n, 2)), (1.5, 5), ('conifer', 'leaf', 'leaf'))


def _cars(c: _Canvas, points: Array, angles: ArrayLike, trucks: float = 0.0) -> None:
    """Vehicles of this date, 4.5 x 1.9 m or, for a share of ``trucks``, 11 x 2.6 m."""
    if c.gsd > 3:
        return
    angles = np.broadcast_to(angles, len(points))
    large = c.now.random(len(points)) < trucks
    for name, chosen, size in (('vehicle', ~large, (4.5, 1.9)), ('truck', large, (11.0, 2.6))):
        n = int(chosen.sum())
        colour = _spectra(c.now, _CARS, n)
        first = c.add(CAR, colour, colour, height=1.5, rough=0, n=n)
        c.solids(points[chosen], size * c.now.uniform(0.92, 1.08, (n, 1)), angles[chosen], first, name)


def _buildings(
    c: _Canvas, points: Array, sizes: Array, angles: ArrayLike, heights: Array, roofs: Sequence[str],
    rate: float = 0.12, gable: bool = False, sides: int = 4,
) -> None:  # fmt: skip
    """Buildings, or bare building ground at the dates when they do not stand."""
    n, angles = len(points), np.broadcast_to(angles, len(points))
    roof, soil, stands = _spectra(c.rng, roofs, n), _spectra(c.rng, _SOILS, n), c.lasting(points, rate)
    style = {'contrast': 0.0 if gable else c.rng.uniform(0, 0.5), 'period': c.rng.uniform(3, 7), 'rough': 0.15}
    tones = roof * 0.85, roof * 1.15
    gone = ~stands
    c.solids(
        points[gone], sizes[gone] * 1.2, angles[gone], c.add(BARE_SOIL, soil[gone] * 0.8, soil[gone], n=gone.sum())
    )
    first = c.add(BUILDING, tones[0][stands], tones[1][stands], height=heights[stands], n=stands.sum(), **style)
    c.solids(points[stands], sizes[stands], angles[stands], first, 'building' if sides == 4 else 'tank', sides)
    if gable:  # the side that faces the sun is brighter; the surface model keeps the roof flat
        faces = np.cos(angles[stands] + np.pi / 2 + c.turn - np.radians(c.sun_azimuth - 90))
        tone = roof[stands] * (1 + 0.4 * faces)[:, None]
        side = c.add(BUILDING, tone * 0.95, tone * 1.05, height=heights[stands], n=stands.sum())
        c.solids(points[stands], sizes[stands] * [1, 0.5], angles[stands], side, aside=sizes[stands, 1] / 4)
        c.parts.append((side, first, stands.sum()))


def _road(c: _Canvas, line: Array, lanes: int, traffic: float, kerb: float = 1.5, marks: bool = True) -> None:
    """A road along ``line`` (n, 2) m with lane marks and ``traffic`` vehicles per lane and 100 m."""
    width, asphalt = 3.5 * lanes, _spectra(c.rng, ('asphalt',))
    c.stroke(line, width + 2 * kerb, c.add(IMPERVIOUS, _spectra(c.rng, ('concrete', 'gravel')), _SPECTRA['concrete']))
    c.stroke(line, width, c.add(IMPERVIOUS, asphalt * 0.9, asphalt * 1.1))
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    direction = np.unwrap(np.arctan2(*np.gradient(line, axis=0).T[::-1]))

    def place(distance: Array, side: float) -> tuple[Array, Array]:
        heading = np.interp(distance, along, direction)
        centre = np.stack([np.interp(distance, along, axis) for axis in line.T], 1)
        return centre + side * np.stack([-np.sin(heading), np.cos(heading)], 1), heading

    if marks and c.gsd <= 1.5:  # a mark narrower than a pixel is mixed with the asphalt
        mark = _mix(asphalt, _SPECTRA['paint'], np.clip(0.3 / c.gsd, 0.3, 1))
        for border in range(lanes + 1):
            step = 9.0 if 0 < border < lanes else 4.0
            centres, heading = place(np.arange(0, along[-1], step), 3.5 * (border - lanes / 2) * 0.97)
            size = (4.0 if 0 < border < lanes else 4.2, max(0.3, 1.1 * c.gsd))
            c.solids(centres, size, heading, c.add(IMPERVIOUS, mark, mark, n=len(centres)))
    for lane in range(lanes):
        n = c.now.poisson(traffic * along[-1] / 100)
        centres, heading = place(c.now.uniform(0, along[-1], n), 3.5 * (lane + 0.5 - lanes / 2))
        _cars(c, centres, heading, 0.1)


def _car_park(c: _Canvas, centre: ArrayLike, columns: int, rows: int, full: float) -> None:
    """``rows`` of stalls, 2.5 x 5 m, in pairs back to back along aisles; a share of ``full`` holds a car."""
    width, pitch = 2.5 * columns, 16.5
    tone, middle = _spectra(c.rng, _PAVEMENTS), np.asarray(centre, float)[None]
    depth = pitch * rows
    ground = c.add(IMPERVIOUS, tone * 0.9, tone * 1.1)
    c.solids(middle, (width + 8, depth + 4), 0.0, ground)
    if c.gsd > 3:
        return
    lanes = middle[:, 1] + (np.arange(rows) + 0.5) * pitch - depth / 2
    lined = c.add(
        IMPERVIOUS, tone, _mix(tone, _SPECTRA['paint'], 0.6), mean=0.1, contrast=0.5, period=2.5, angle=np.pi / 2,
        rough=0.1, n=rows,
    )  # fmt: skip
    c.solids(np.stack([np.full(rows, middle[0, 0]), lanes], 1), (width, 10), 0.0, lined)
    x = middle[0, 0] + (np.arange(columns) + 0.5) * 2.5 - width / 2
    spots = np.stack(np.meshgrid(x, np.concatenate([lanes - 2.6, lanes + 2.6])), 2).reshape(-1, 2)
    spots = spots[c.now.random(len(spots)) < full]
    _cars(c, spots + c.now.normal(0, 0.15, spots.shape), np.pi / 2)


def _surround(c: _Canvas) -> None:
    """Open land around something else: meadow, fields or a wood."""
    _meadow(c)
    kind = c.rng.integers(4)
    if kind == 0:
        _fields(c)
    for _ in range(int(kind)):
        _wood(c, _blob(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, c.rng.uniform(0.12, 0.25) * c.extent))
    _scatter_trees(c, c.rng.uniform(2, 15))


def _hamlet(c: _Canvas, n: int, roofs: Sequence[str] = _ROOFS) -> None:
    points = (
        c.rng.uniform(-0.35, 0.35, (1, 2)) * c.extent + c.rng.normal(0, 22, (n, 2)) + np.arange(n)[:, None] * [16, 0]
    )
    sizes = c.rng.uniform(8, 14, (n, 2))
    _buildings(c, points, sizes, c.rng.uniform(0, 0.3), c.rng.uniform(5, 8, n), roofs, gable=True)


def _farmland(c: _Canvas) -> None:
    _meadow(c)
    _fields(c)
    if c.rng.random() < 0.4:
        _wood(c, _blob(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, 0.15 * c.extent))
    if c.rng.random() < 0.5:
        _road(c, _line(c, c.rng.uniform(-0.5, 0.5) * c.extent), 1, 0.2, marks=False)
    if c.rng.random() < 0.4:
        _hamlet(c, int(c.rng.integers(1, 4)))
    _scatter_trees(c, c.rng.uniform(0, 6))


def _forest(c: _Canvas) -> None:
    _wood(c, kinds=(('conifer',), ('leaf',), ('conifer', 'leaf'))[c.rng.integers(3)])
    _wood(c, _blob(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, 0.3 * c.extent))
    _meadow(c, _blob(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, c.rng.uniform(0.05, 0.2) * c.extent))
    if c.rng.random() < 0.3:
        _fields(c, low=0.3 * c.extent)
    if c.rng.random() < 0.5:
        _road(c, _line(c, c.rng.uniform(-0.4, 0.4) * c.extent, 0.1 * c.extent), 1, 0.2, 0.5, marks=False)
    if c.rng.random() < 0.2:
        _hamlet(c, 1)


def _water(c: _Canvas) -> None:
    _surround(c)
    if c.rng.random() < 0.4:
        _hamlet(c, int(c.rng.integers(1, 5)))
    tone = _spectra(c.rng, ('deep', 'algae', 'silt'), spread=0.3)
    shore = c.add(BARE_SOIL, _spectra(c.rng, _SOILS), _SPECTRA['sand'])
    water = c.add(
        WATER, tone * 0.85, tone * 1.15, rough=0.2, contrast=0.1, period=c.rng.uniform(4, 9), angle=c.rng.uniform(0, 3)
    )
    strip = c.rng.uniform(0, 6)
    if c.rng.random() < 0.5:
        outline = _blob(c, c.rng.uniform(-0.25, 0.25, 2) * c.extent, c.rng.uniform(0.26, 0.42) * c.extent)
        c.stroke(outline, 2 * strip, shore, closed=True)
        c.fill(outline, water)
    else:
        line, width = (
            _line(c, c.rng.uniform(-0.2, 0.2) * c.extent, c.rng.uniform(0.05, 0.2) * c.extent),
            c.rng.uniform(0.22, 0.4) * c.extent,
        )
        c.stroke(line, width + 2 * strip, shore)
        c.stroke(line, width, water)
    if c.rng.random() < 0.3:
        _road(c, _line(c, c.rng.uniform(-0.3, 0.3) * c.extent, angle=np.pi / 2), 2, 1.0)


def _residential(c: _Canvas) -> None:
    _meadow(c)
    c.bend = np.array([c.rng.uniform(0, 12), c.rng.uniform(0.01, 0.03), c.rng.uniform(0, 6.3)])
    block, lot = c.rng.uniform(50, 64) * c.scale, c.rng.uniform(16, 22) * c.scale
    streets = np.arange(-c.reach - c.rng.uniform(0, block), c.reach + block, block)
    cross = np.arange(-c.reach - c.rng.uniform(0, 6 * lot), c.reach + lot, 6 * lot)
    for x in cross:
        _road(c, _line(c, -x, angle=np.pi / 2), 2, 0.8, marks=False)
    for y in streets:
        _road(c, _line(c, y), 2, 1.5, marks=False)
    x = np.concatenate([left + lot * (np.arange(5) + 1) for left in cross])
    side = c.rng.uniform(0.24, 0.3) * block
    points = np.stack(np.meshgrid(x, np.concatenate([streets - side, streets + side])), 2).reshape(-1, 2)
    n = len(points)
    points = points + c.rng.uniform(-1.5, 1.5, (n, 2))
    sizes = np.stack([c.rng.uniform(9, 0.75 * lot, n), c.rng.uniform(8, 11.5, n)], 1)
    drive = c.add(IMPERVIOUS, _spectra(c.rng, _PAVEMENTS, n), _SPECTRA['gravel'], n=n)
    towards = np.where(np.arange(n) < n // 2, 1, -1)[:, None] * [0.0, 1.0]
    c.solids(points + [sizes[:, 0].mean() / 2, 0] + towards * side / 2, (3.0, side), 0.0, drive)
    turned = c.rng.choice([0, np.pi / 2], n, p=[0.8, 0.2]) + c.rng.normal(0, 0.03, n)
    _buildings(c, points, sizes, turned, c.rng.uniform(4.5, 8, n), _ROOFS, gable=True)
    _scatter_trees(c, c.rng.uniform(15, 70))


def _industrial(c: _Canvas) -> None:
    tone = _spectra(c.rng, (*_PAVEMENTS, 'gravel'))
    c.add(IMPERVIOUS, tone * 0.85, tone * 1.15)
    pitch = (c.rng.uniform(52, 80), c.rng.uniform(42, 60))
    points = _grid(c, pitch, 0.04)
    n = len(points)
    sizes = np.stack([c.rng.uniform(30, pitch[0] - 6, n), c.rng.uniform(20, pitch[1] - 10, n)], 1)
    use = c.rng.random(n)
    c.solids(points[use < 0.15], pitch, 0.0, c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.8, c.grassy(c.rng)))
    halls = use > 0.3
    _road(c, _line(c, points[0, 1] - pitch[1] / 2 + pitch[1] * round(c.reach / pitch[1])), 2, 1.0)
    for centre in points[(use > 0.15) & (use < 0.22)][:40]:
        _car_park(c, centre, int(pitch[0] / 3.5), 2, 0.6)
    tanks = points[(use > 0.22) & (use < 0.3)]
    tanks = (tanks[:, None] + np.array([[-13, -9], [13, -9], [-13, 9], [13, 9]])).reshape(-1, 2)
    round_size = np.repeat(c.rng.uniform(9, 16, (len(tanks), 1)), 2, 1)
    _buildings(c, tanks, round_size, 0.0, c.rng.uniform(6, 12, len(tanks)), ('white', 'metal'), 0.02, sides=16)
    _buildings(c, points[halls], sizes[halls], 0.0, c.rng.uniform(6, 12, halls.sum()), _HALLS)
    yard = points[halls][:, None] + (c.rng.uniform(-0.5, 0.5, (halls.sum(), 5, 2)) * [1, 0] + [0, 0.47]) * pitch
    _cars(c, yard.reshape(-1, 2)[c.now.random(yard.size // 2) < 0.5], c.now.choice([0, 0.1]), 0.5)
    _scatter_trees(c, 10)


def _parking(c: _Canvas) -> None:
    _meadow(c)
    columns, rows = int(c.rng.integers(26, 44)), int(c.rng.integers(4, 7))
    cell = np.array([2.5 * columns + 18, 16.5 * rows + 14])
    points = (
        np.array([[i, j] for i in range(-1, 2) for j in range(-1, 2)]) * cell
        if c.extent < 300
        else _grid(c, tuple(cell))
    )
    points = points + c.rng.uniform(-0.25, 0.25, 2) * cell
    other = (c.rng.random(len(points)) < 0.35) & (np.hypot(*points.T) > 0.6 * cell.min())
    full = c.now.uniform(0.45, 0.95)
    for centre in points[~other]:
        if np.abs(centre).max() < c.reach + cell.max():
            _car_park(c, centre, columns, rows, full)
    sizes = c.rng.uniform(0.4, 0.75, (other.sum(), 2)) * cell
    _buildings(c, points[other], sizes, 0.0, c.rng.uniform(5, 9, other.sum()), _HALLS)
    _scatter_trees(c, 40)


def _junction(c: _Canvas) -> None:
    _surround(c)
    if c.rng.random() < 0.6:
        _hamlet(c, int(c.rng.integers(2, 6)))
    centre = c.rng.uniform(-0.15, 0.15, 2) * min(c.extent, 150)
    lanes = c.rng.integers(2, 6, 2)
    angles = c.rng.uniform(0, 0.3), np.pi / 2 + c.rng.uniform(-0.5, 0.5)
    tee = c.rng.random() < 0.25
    lines = [_line(c, 0.0, angle=angle) + centre for angle in angles]
    if tee:
        lines[1] = lines[1][32:]
    for line, n in zip(lines, lanes, strict=True):
        _road(c, line, int(n), c.now.uniform(1, 3))
    asphalt = _spectra(c.rng, ('asphalt',))
    hub = c.add(IMPERVIOUS, asphalt * 0.9, asphalt * 1.1)
    if c.rng.random() < 0.35:
        radius = c.rng.uniform(16, 24)
        c.solids(centre[None], (2 * radius, 2 * radius), 0.0, hub, sides=32)
        island = c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.8, c.grassy(c.rng))
        c.solids(centre[None], (2 * radius - 18, 2 * radius - 18), 0.0, island, sides=32)
        n = c.now.poisson(4)
        way = c.now.uniform(0, 6.3, n)
        _cars(c, centre + (radius - 4.5) * np.stack([np.cos(way), np.sin(way)], 1), way + np.pi / 2)
    else:
        c.solids(centre[None], 3.5 * lanes[::-1] + 6.0, angles[0], hub)


def _open_meadow(c: _Canvas) -> None:
    _meadow(c)
    for _ in range(c.rng.integers(2, 6)):
        _meadow(c, _blob(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, c.rng.uniform(0.1, 0.3) * c.extent))
    path = c.add(BARE_SOIL, _spectra(c.rng, _SOILS), _spectra(c.rng, _SOILS))
    for _ in range(c.rng.integers(0, 3)):
        c.stroke(_line(c, c.rng.uniform(-0.4, 0.4) * c.extent, 0.1 * c.extent, c.rng.uniform(0, 3)), 1.5, path)
    if c.rng.random() < 0.3:
        _road(c, _line(c, c.rng.uniform(-0.5, 0.5) * c.extent), 1, 0.2, marks=False)
    if c.rng.random() < 0.4:
        _wood(c, _blob(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, 0.15 * c.extent))
    if c.rng.random() < 0.3:
        _hamlet(c, int(c.rng.integers(1, 3)))
    _scatter_trees(c, c.rng.uniform(2, 20))


_RECIPES: dict[str, Callable[[_Canvas], None]] = dict(
    zip(
        SCENE_CLASSES,
        (_farmland, _forest, _water, _residential, _industrial, _parking, _junction, _open_meadow),
        strict=True,
    )
)


def cast_shadow(dsm: Array, gsd: float, sun_azimuth: float, sun_elevation: float) -> Array:
    """Share of each pixel in cast shadow: float32 (H, W) in 0..1.

    The surface is turned so that the light travels along the rows. There a pixel is dark if any pixel before it reaches
    above the line of sight, which one running maximum of ``height + distance * tan(elevation)`` tells.

    Args:
        dsm: surface height (H, W) in metres.
        gsd: metres per pixel.
        sun_azimuth: where the sun stands, degrees clockwise from the top of the picture.
        sun_elevation: degrees above the horizon.
    """
    height, width = dsm.shape
    side = int(np.ceil(np.hypot(height, width))) + 2
    # The light travels at an angle of 90 degrees + azimuth from +x, clockwise; turn that direction onto +x.
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 90 + sun_azimuth, 1.0)
    turn[:, 2] += (side - width) / 2, (side - height) / 2
    low = float(dsm.min()) - 1e4
    level = cv2.warpAffine(dsm.astype(np.float32), turn, (side, side), flags=cv2.INTER_NEAREST, borderValue=low)
    level = level + np.arange(side, dtype=np.float32) * np.float32(gsd * np.tan(np.radians(sun_elevation)))
    dark = np.zeros((side, side), np.float32)
    dark[:, 1:] = np.maximum.accumulate(level, 1)[:, :-1] > level[:, 1:] + 0.05
    return cv2.warpAffine(dark, turn, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _smooth_noise(rng: np.random.Generator, size: int, cells: float) -> Array:
    n = int(np.clip(cells, 2, size)) + 2
    return cv2.resize(rng.standard_normal((n, n), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def _grow(c: _Canvas, cover: Array) -> tuple[Array, Array, Array]:
    """Crowns as cones around the nearest stem: mask (H, W), height (H, W) m, and colour (n, 6) of the masked pixels."""
    points = np.concatenate([c.project(p[0]) for p in c.plants] or [np.zeros((0, 2))])
    radius, height, where = (np.concatenate([np.broadcast_to(p[k], len(p[0])) for p in c.plants]) for k in (1, 2, 4))
    colour = np.concatenate([p[3] for p in c.plants])
    at = np.rint(points).astype(int)
    chosen = ((at >= 0) & (at < c.size)).all(1).nonzero()[0]
    x, y = at[chosen].T
    rooted = np.isin(cover[y, x], (LOW_VEGETATION, BARE_SOIL)) & ((where[chosen] < 0) | (where[chosen] == c.ids[y, x]))
    chosen, x, y = chosen[rooted], x[rooted], y[rooted]
    if not len(chosen):
        return np.zeros(cover.shape, bool), np.zeros(cover.shape, np.float32), np.zeros((0, 6))
    free, tree_at = np.ones(cover.shape, np.uint8), np.zeros(cover.shape, np.int64)
    free[y, x], tree_at[y, x] = 0, chosen
    distance, label = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    stem = np.zeros(label.max() + 1, np.int64)
    stem[label[y, x]] = tree_at[y, x]
    tree = stem[label]
    relative = distance * c.gsd / radius[tree]
    mask = (relative <= 1) & np.isin(cover, (LOW_VEGETATION, BARE_SOIL))
    return mask, (height[tree] * (1 - 0.35 * np.minimum(relative, 1) ** 2)).astype(np.float32), colour[tree[mask]]


def _terrain(c: _Canvas, cover: Array) -> Array:
    """Gentle relief, level where there is water: (H, W) m."""
    relief = _smooth_noise(c.rng, c.size, 2) * np.float32(c.rng.uniform(0.2, 1.2) * np.sqrt(c.extent / 100))
    wet = cv2.blur((cover == WATER).astype(np.float32), (9, 9))
    return np.float32(c.rng.uniform(20, 600)) + relief * (1 - np.clip(2.2 * wet, 0, 1))


def _light(c: _Canvas, surface: Array, dsm: Array, dtm: Array, tree: Array) -> Array:
    """Sun, shadow, tint, haze, blur and noise of one acquisition on a surface's reflectance (H, W, 6)."""
    now, size = c.now, c.size
    to_east, to_south = np.float32(np.sin(np.radians(c.sun_azimuth))), np.float32(-np.cos(np.radians(c.sun_azimuth)))
    canopy = np.where(tree, dsm, dtm)
    east, south = cv2.Sobel(canopy, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(canopy, cv2.CV_32F, 0, 1, scale=1 / 8)
    facing = -(east * to_east + south * to_south) / np.float32(c.gsd * np.tan(np.radians(c.sun_elevation)))
    shade = 1 + 0.45 * np.tanh(facing)
    dark = cast_shadow(dsm, c.gsd, c.sun_azimuth, c.sun_elevation)[..., None]
    sky = now.uniform(0.25, 0.45) * np.array([0.9, 1.0, 1.25, 0.8, 0.6, 0.5])
    gain = now.uniform(0.6, 1.4) * now.lognormal(0, 0.12, 6)
    haze = now.uniform(0, 0.3) * np.array([0.5, 0.7, 1.0, 0.3, 0.1, 0.05])
    lit = surface * shade[..., None] * (1 - dark * (1 - sky).astype(np.float32)) * gain.astype(np.float32)
    lit = lit * (1 - haze).astype(np.float32) + (haze * 0.35).astype(np.float32)
    lit = cv2.GaussianBlur(lit, (3, 3), float(now.uniform(0.35, 0.7)))
    lit += now.standard_normal((size, size, 6), np.float32) * np.float32(now.uniform(0.002, 0.012))
    return np.clip(lit, 0, 1, out=lit)


def make_scene(scene_class: str, seed: int, size: int = 256, gsd: float = 0.5, date: int = 0) -> Scene:
    """Generate one scene."""
    if scene_class not in SCENE_CLASSES:
        raise ValueError(f'scene_class is {scene_class!r}, expected one of {SCENE_CLASSES}')
    if size < 16 or gsd <= 0 or date < 0 or seed < 0:
        raise ValueError(
            f'got size={size}, gsd={gsd}, date={date}, seed={seed}; expected size >= 16, gsd > 0, others >= 0'
        )
    c = _Canvas(scene_class, seed, size, gsd, date)
    _RECIPES[scene_class](c)
    table = np.concatenate(c.table)
    kinds = table[:, 12].astype(np.uint8)
    c.ids = np.where((c.movers > 0) & (kinds[c.ids] == IMPERVIOUS), c.movers, c.ids)
    cover = kinds[c.ids]
    noise = _smooth_noise(c.rng, size, c.extent / 12) + 0.8 * _smooth_noise(c.rng, size, c.extent / 2.5)
    noise += 0.5 * c.rng.standard_normal((size, size), np.float32)
    dtm = _terrain(c, cover)
    y, x = np.indices((size, size), np.float32, sparse=True)
    mean, rough, contrast, u, v = table[:, 14:].T
    light = mean[c.ids] + rough[c.ids] * noise + contrast[c.ids] * np.sin(u[c.ids] * x + v[c.ids] * y)
    surface = table[c.ids, :6] + table[c.ids, 6:12] * np.clip(light, -0.1, 1.1)[..., None]
    tree, tall, colour = _grow(c, cover)
    surface[tree] = colour
    cover[tree] = TREE
    dsm = dtm + np.where(tree, tall, table[:, 13][c.ids])
    visible = np.bincount(c.ids.ravel(), minlength=len(table)) > 0
    outlines = [(name, *pair) for name, *pairs in c.outlines for pair in zip(*pairs, strict=True)]
    for part, whole, n in c.parts:
        visible[whole : whole + n] |= visible[part : part + n]
    boxes = [(name, polygon) for name, number, polygon in outlines if visible[number]]
    lit = _light(c, surface, dsm, dtm, tree)
    return Scene(lit, dsm, dtm, cover, boxes, scene_class, gsd, date, c.sun_azimuth, c.sun_elevation)


def change_mask(scene_a: Scene, scene_b: Scene) -> Array:
    """Where the permanent land cover differs between two dates of a place: bool (H, W). Cars count as their ground."""
    a, b = (np.where(scene.land_cover == CAR, IMPERVIOUS, scene.land_cover) for scene in (scene_a, scene_b))
    return a != b


def make_split(n_per_class: int, size: int = 96, gsd: float = 1.0, seed: int = 0) -> tuple[Array, Array]:
    """Pictures with labels, the classes taking turns; two different seeds below a million share no scene.

    Returns:
        uint8 (N, size, size, 3) RGB and int64 (N,) index into ``SCENE_CLASSES``, N = ``n_per_class * 8``.
    """
    labels = np.tile(np.arange(len(SCENE_CLASSES)), n_per_class)
    seeds = seed * 1_000_003 + np.arange(len(labels))
    pictures = [make_scene(SCENE_CLASSES[k], int(s), size, gsd).rgb() for k, s in zip(labels, seeds, strict=True)]
    return np.stack(pictures), labels
