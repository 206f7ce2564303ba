"""What the synthetic scenes are made of: fields, woods, houses, roads, car parks, and one recipe for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mmrs_ssl.datasets.synthetic_canvas import (
    BARE_SOIL,
    BUILDING,
    CAR,
    CARS,
    HALLS,
    IMPERVIOUS,
    LOW_VEGETATION,
    PAVEMENTS,
    ROOFS,
    SCENE_CLASSES,
    SOILS,
    SPECTRA,
    WATER,
    Array,
    Canvas,
    mix,
    spectra,
)


def _grid(c: Canvas, pitch: tuple[float, float], jitter: float = 0.0) -> Array:
    """Points of a grid with a random offset that covers the layout: (n, 2) m."""
    axes = [np.arange(-c.reach - c.rng.uniform(0, step), c.reach + step, step) for step in pitch]
    points = np.stack(np.meshgrid(*axes), 2).reshape(-1, 2)
    return points + c.rng.uniform(-jitter, jitter, points.shape) * pitch


def _blob(c: Canvas, centre: ArrayLike, radius: float) -> Array:
    """A smooth irregular outline: (48, 2) m."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = np.stack([np.cos(k * angle + c.rng.uniform(0, 6.3)) * c.rng.uniform(0, 0.5 / k) for k in (2, 3, 5)])
    return np.asarray(centre) + (radius * (1 + waves.sum(0)))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _line(c: Canvas, offset: float, wiggle: float = 0.0, angle: float = 0.0) -> Array:
    """A line across the whole layout at ``offset`` metres from the centre: (65, 2) m."""
    x = np.linspace(-1.3 * c.reach, 1.3 * c.reach, 65)
    y = offset + wiggle * np.sin(x / c.extent * c.rng.uniform(3, 8) + c.rng.uniform(0, 6.3))
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], 1)


def _meadow(c: Canvas, outline: Array | None = None) -> None:
    number = c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.75, c.grassy(c.rng) * 1.2, rough=c.rng.uniform(0.2, 0.5))
    if outline is not None:
        c.fill(outline, number)


def _fields(c: Canvas, low: float = -np.inf, high: float = np.inf) -> None:
    """Parcels with crop rows, in the band ``low`` <= y <= ``high``."""
    large = max(1.0, np.sqrt(c.extent / 150)) * c.scale
    shear, y = c.rng.uniform(-0.4, 0.4), max(low, -c.reach)
    while y < min(high, c.reach):
        depth, x = c.rng.uniform(25, 80) * large, -1.5 * c.reach - c.rng.uniform(0, 60)
        while x < 1.5 * c.reach:
            width, gap = c.rng.uniform(25, 90) * large, c.rng.uniform(0, 2.5)
            ploughed, crop = c.rng.random() < 0.25, c.grassy(c.rng, ('grass', 'leaf', 'straw'))
            growth = np.where(ploughed, 0.15, c.now.uniform(0.25, 0.75))
            soil = spectra(c.rng, SOILS)
            angle = c.rng.choice([0.0, np.pi / 2 + shear]) + c.rng.normal(0, 0.1)
            number = c.add(
                BARE_SOIL if ploughed else LOW_VEGETATION, soil * 0.75, mix(crop, soil * 1.3, ploughed), mean=growth,
                rough=0.12, contrast=c.rng.uniform(0.3, 0.5), period=c.rng.uniform(3.5, 8), angle=angle,
            )  # fmt: skip
            corners = np.array([[x, y], [x + width - gap, y], [x + width - gap, y + depth - gap], [x, y + depth - gap]])
            c.fill(corners + corners[:, 1:] * [shear, 0], number)
            x += width
        y += depth


def _plant(c: Canvas, points: Array, radius: tuple[float, float], kinds: Sequence[str], where: int = -1) -> None:
    """Trees on vegetation and soil, or on the object numbered ``where`` only; some are felled at some date."""
    n = len(points)
    r = c.rng.uniform(*radius, n)
    pick = c.rng.integers(len(kinds), size=n)
    evergreen = np.array([kind == 'conifer' for kind in kinds])[pick]
    summer = np.array([SPECTRA[kind] for kind in kinds])[pick]
    colour = mix(mix(SPECTRA['twig'], summer, c.green), summer, evergreen[:, None])
    colour = colour * c.rng.lognormal(0, 0.25, (n, 1)) * c.rng.lognormal(0, 0.06, (n, 6))
    height = 3 + r * c.rng.uniform(1.4, 3.2, n)
    stands = c.lasting(points, 0.03)
    if where >= 0:  # a clear-cut in the wood
        stands &= (np.hypot(*(points - c.rng.uniform(-0.3, 0.3, 2) * c.extent).T) > 0.12 * c.extent) | (
            c.date < c.rng.integers(1, 4)
        )
    c.plants.append((points[stands], r[stands], height[stands], colour[stands], where))


def _wood(c: Canvas, outline: Array | None = None, kinds: Sequence[str] = ('conifer', 'leaf')) -> None:
    floor = c.add(LOW_VEGETATION, spectra(c.rng, ('loam',)) * 0.6, c.grassy(c.rng) * 0.7)
    if outline is not None:
        c.fill(outline, floor)
    pitch = max(c.rng.uniform(5, 9), 1.6 * c.gsd)
    _plant(c, _grid(c, (pitch, pitch), 0.35), (0.4 * pitch, 0.75 * pitch), kinds, floor)


def _scatter_trees(c: Canvas, per_hectare: float) -> None:
    n = int(min(per_hectare * (2 * c.reach) ** 2 / 1e4, 4000))
    _plant(c, c.rng.uniform(-c.reach, c.reach, (n, 2)), (1.5, 5), ('conifer', 'leaf', 'leaf'))


def _cars(c: Canvas, points: Array, angles: ArrayLike, trucks: float = 0.0) -> None:
    """Vehicles of this date, 4.5 x 1.9 m or, for a share of ``trucks``, 11 x 2.6 m."""
    if c.gsd > 3:
        return
    angles = np.broadcast_to(angles, len(points))
    large = c.now.random(len(points)) < trucks
    for name, chosen, size in (('vehicle', ~large, (4.5, 1.9)), ('truck', large, (11.0, 2.6))):
        n = int(chosen.sum())
        colour = spectra(c.now, CARS, n)
        first = c.add(CAR, colour, colour, height=1.5, rough=0, n=n)
        c.solids(points[chosen], size * c.now.uniform(0.92, 1.08, (n, 1)), angles[chosen], first, name)


def _buildings(
    c: Canvas, points: Array, sizes: Array, angles: ArrayLike, heights: Array, roofs: Sequence[str],
    rate: float = 0.12, gable: bool = False, sides: int = 4,
) -> None:  # fmt: skip
    """Buildings, or bare building ground at the dates when they do not stand."""
    n, angles = len(points), np.broadcast_to(angles, len(points))
    roof, soil, stands = spectra(c.rng, roofs, n), spectra(c.rng, SOILS, n), c.lasting(points, rate)
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


def _road(c: Canvas, line: Array, lanes: int, traffic: float, kerb: float = 1.5, marks: bool = True) -> None:
    """A road along ``line`` (n, 2) m with lane marks and ``traffic`` vehicles per lane and 100 m."""
    width, asphalt = 3.5 * lanes, spectra(c.rng, ('asphalt',))
    c.stroke(line, width + 2 * kerb, c.add(IMPERVIOUS, spectra(c.rng, ('concrete', 'gravel')), SPECTRA['concrete']))
    c.stroke(line, width, c.add(IMPERVIOUS, asphalt * 0.9, asphalt * 1.1))
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    direction = np.unwrap(np.arctan2(*np.gradient(line, axis=0).T[::-1]))

    def place(distance: Array, side: float) -> tuple[Array, Array]:
        heading = np.interp(distance, along, direction)
        centre = np.stack([np.interp(distance, along, axis) for axis in line.T], 1)
        return centre + side * np.stack([-np.sin(heading), np.cos(heading)], 1), heading

    if marks and c.gsd <= 1.5:  # a mark narrower than a pixel is mixed with the asphalt
        mark = mix(asphalt, SPECTRA['paint'], np.clip(0.3 / c.gsd, 0.3, 1))
        for border in range(lanes + 1):
            step = 9.0 if 0 < border < lanes else 4.0
            centres, heading = place(np.arange(0, along[-1], step), 3.5 * (border - lanes / 2) * 0.97)
            size = (4.0 if 0 < border < lanes else 4.2, max(0.3, 1.1 * c.gsd))
            c.solids(centres, size, heading, c.add(IMPERVIOUS, mark, mark, n=len(centres)))
    for lane in range(lanes):
        n = c.now.poisson(traffic * along[-1] / 100)
        centres, heading = place(c.now.uniform(0, along[-1], n), 3.5 * (lane + 0.5 - lanes / 2))
        _cars(c, centres, heading, 0.1)


def _car_park(c: Canvas, centre: ArrayLike, columns: int, rows: int, full: float) -> None:
    """``rows`` of stalls, 2.5 x 5 m, in pairs back to back along aisles; a share of ``full`` holds a car."""
    width, pitch = 2.5 * columns, 16.5
    tone, middle = spectra(c.rng, PAVEMENTS), np.asarray(centre, float)[None]
    depth = pitch * rows
    ground = c.add(IMPERVIOUS, tone * 0.9, tone * 1.1)
    c.solids(middle, (width + 8, depth + 4), 0.0, ground)
    if c.gsd > 3:
        return
    lanes = middle[:, 1] + (np.arange(rows) + 0.5) * pitch - depth / 2
    lined = c.add(
        IMPERVIOUS, tone, mix(tone, SPECTRA['paint'], 0.6), mean=0.1, contrast=0.5, period=2.5, angle=np.pi / 2,
        rough=0.1, n=rows,
    )  # fmt: skip
    c.solids(np.stack([np.full(rows, middle[0, 0]), lanes], 1), (width, 10), 0.0, lined)
    x = middle[0, 0] + (np.arange(columns) + 0.5) * 2.5 - width / 2
    spots = np.stack(np.meshgrid(x, np.concatenate([lanes - 2.6, lanes + 2.6])), 2).reshape(-1, 2)
    spots = spots[c.now.random(len(spots)) < full]
    _cars(c, spots + c.now.normal(0, 0.15, spots.shape), np.pi / 2)


def _surround(c: Canvas) -> None:
    """Open land around something else: meadow, fields or a wood."""
    _meadow(c)
    kind = c.rng.integers(4)
    if kind == 0:
        _fields(c)
    for _ in range(int(kind)):
        _wood(c, _blob(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, c.rng.uniform(0.12, 0.25) * c.extent))
    _scatter_trees(c, c.rng.uniform(2, 15))


def _hamlet(c: Canvas, n: int, roofs: Sequence[str] = ROOFS) -> None:
    points = (
        c.rng.uniform(-0.35, 0.35, (1, 2)) * c.extent + c.rng.normal(0, 22, (n, 2)) + np.arange(n)[:, None] * [16, 0]
    )
    sizes = c.rng.uniform(8, 14, (n, 2))
    _buildings(c, points, sizes, c.rng.uniform(0, 0.3), c.rng.uniform(5, 8, n), roofs, gable=True)


def _farmland(c: Canvas) -> None:
    _meadow(c)
    _fields(c)
    if c.rng.random() < 0.4:
        _wood(c, _blob(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, 0.15 * c.extent))
    if c.rng.random() < 0.5:
        _road(c, _line(c, c.rng.uniform(-0.5, 0.5) * c.extent), 1, 0.2, marks=False)
    if c.rng.random() < 0.4:
        _hamlet(c, int(c.rng.integers(1, 4)))
    _scatter_trees(c, c.rng.uniform(0, 6))


def _forest(c: Canvas) -> None:
    _wood(c, kinds=(('conifer',), ('leaf',), ('conifer', 'leaf'))[c.rng.integers(3)])
    _wood(c, _blob(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, 0.3 * c.extent))
    _meadow(c, _blob(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, c.rng.uniform(0.05, 0.2) * c.extent))
    if c.rng.random() < 0.3:
        _fields(c, low=0.3 * c.extent)
    if c.rng.random() < 0.5:
        _road(c, _line(c, c.rng.uniform(-0.4, 0.4) * c.extent, 0.1 * c.extent), 1, 0.2, 0.5, marks=False)
    if c.rng.random() < 0.2:
        _hamlet(c, 1)


def _water(c: Canvas) -> None:
    _surround(c)
    if c.rng.random() < 0.4:
        _hamlet(c, int(c.rng.integers(1, 5)))
    tone = spectra(c.rng, ('deep', 'algae', 'silt'), spread=0.3)
    shore = c.add(BARE_SOIL, spectra(c.rng, SOILS), SPECTRA['sand'])
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


def _residential(c: Canvas) -> None:
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
    drive = c.add(IMPERVIOUS, spectra(c.rng, PAVEMENTS, n), SPECTRA['gravel'], n=n)
    towards = np.where(np.arange(n) < n // 2, 1, -1)[:, None] * [0.0, 1.0]
    c.solids(points + [sizes[:, 0].mean() / 2, 0] + towards * side / 2, (3.0, side), 0.0, drive)
    turned = c.rng.choice([0, np.pi / 2], n, p=[0.8, 0.2]) + c.rng.normal(0, 0.03, n)
    _buildings(c, points, sizes, turned, c.rng.uniform(4.5, 8, n), ROOFS, gable=True)
    _scatter_trees(c, c.rng.uniform(15, 70))


def _industrial(c: Canvas) -> None:
    tone = spectra(c.rng, (*PAVEMENTS, 'gravel'))
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
    _buildings(c, points[halls], sizes[halls], 0.0, c.rng.uniform(6, 12, halls.sum()), HALLS)
    yard = points[halls][:, None] + (c.rng.uniform(-0.5, 0.5, (halls.sum(), 5, 2)) * [1, 0] + [0, 0.47]) * pitch
    _cars(c, yard.reshape(-1, 2)[c.now.random(yard.size // 2) < 0.5], c.now.choice([0, 0.1]), 0.5)
    _scatter_trees(c, 10)


def _parking(c: Canvas) -> None:
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
    _buildings(c, points[other], sizes, 0.0, c.rng.uniform(5, 9, other.sum()), HALLS)
    _scatter_trees(c, 40)


def _junction(c: Canvas) -> None:
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
    asphalt = spectra(c.rng, ('asphalt',))
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


def _open_meadow(c: Canvas) -> None:
    _meadow(c)
    for _ in range(c.rng.integers(2, 6)):
        _meadow(c, _blob(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, c.rng.uniform(0.1, 0.3) * c.extent))
    path = c.add(BARE_SOIL, spectra(c.rng, SOILS), spectra(c.rng, SOILS))
    for _ in range(c.rng.integers(0, 3)):
        c.stroke(_line(c, c.rng.uniform(-0.4, 0.4) * c.extent, 0.1 * c.extent, c.rng.uniform(0, 3)), 1.5, path)
    if c.rng.random() < 0.3:
        _road(c, _line(c, c.rng.uniform(-0.5, 0.5) * c.extent), 1, 0.2, marks=False)
    if c.rng.random() < 0.4:
        _wood(c, _blob(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, 0.15 * c.extent))
    if c.rng.random() < 0.3:
        _hamlet(c, int(c.rng.integers(1, 3)))
    _scatter_trees(c, c.rng.uniform(2, 20))


RECIPES: dict[str, Callable[[Canvas], None]] = dict(
    zip(
        SCENE_CLASSES,
        (_farmland, _forest, _water, _residential, _industrial, _parking, _junction, _open_meadow),
        strict=True,
    )
)
