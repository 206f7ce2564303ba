"""Paint what synthetic scenes are made of: fields, woods, houses, roads, car parks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mmrs_ssl.synthetic.canvas import (
    BARE_SOIL,
    BUILDING,
    CAR,
    CARS,
    IMPERVIOUS,
    LOW_VEGETATION,
    PAVEMENTS,
    SOILS,
    SPECTRA,
    Array,
    Canvas,
    mix,
    spectra,
)


def grid_points(c: Canvas, pitch: tuple[float, float], jitter: float = 0.0) -> Array:
    """Lay a grid of points with a random offset over the layout: (n, 2) m."""
    axes = [np.arange(-c.reach - c.rng.uniform(0, step), c.reach + step, step) for step in pitch]
    points = np.stack(np.meshgrid(*axes), 2).reshape(-1, 2)
    return points + c.rng.uniform(-jitter, jitter, points.shape) * pitch


def blob_outline(c: Canvas, center: ArrayLike, radius: float) -> Array:
    """Draw a smooth irregular outline: (48, 2) m."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = np.stack([np.cos(k * angle + c.rng.uniform(0, 6.3)) * c.rng.uniform(0, 0.5 / k) for k in (2, 3, 5)])
    return np.asarray(center) + (radius * (1 + waves.sum(0)))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def winding_line(c: Canvas, offset: float, wiggle: float = 0.0, angle: float = 0.0) -> Array:
    """Draw a line across the whole layout at ``offset`` metres from the center: (65, 2) m."""
    x = np.linspace(-1.3 * c.reach, 1.3 * c.reach, 65)
    y = offset + wiggle * np.sin(x / c.extent * c.rng.uniform(3, 8) + c.rng.uniform(0, 6.3))
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], 1)


def paint_meadow(c: Canvas, outline: Array | None = None) -> None:
    """Paint grass within an outline (n, 2) m, or wherever nothing else is painted later."""
    number = c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.75, c.grassy(c.rng) * 1.2, rough=c.rng.uniform(0.2, 0.5))
    if outline is not None:
        c.fill(outline, number)


def paint_fields(c: Canvas, low: float = -np.inf, high: float = np.inf) -> None:
    """Paint parcels with crop rows, between y = ``low`` and ``high``."""
    large = max(1.0, np.sqrt(c.extent / 150)) * c.scale
    shear, y = c.rng.uniform(-0.4, 0.4), max(low, -c.reach)
    while y < min(high, c.reach):
        depth, x = c.rng.uniform(25, 80) * large, -1.5 * c.reach - c.rng.uniform(0, 60)
        while x < 1.5 * c.reach:
            width, gap = c.rng.uniform(25, 90) * large, c.rng.uniform(0, 2.5)
            plowed, crop = c.rng.random() < 0.25, c.grassy(c.rng, ('grass', 'leaf', 'straw'))
            growth = np.where(plowed, 0.15, c.now.uniform(0.25, 0.75))
            soil = spectra(c.rng, SOILS)
            angle = c.rng.choice([0.0, np.pi / 2 + shear]) + c.rng.normal(0, 0.1)
            number = c.add(
                BARE_SOIL if plowed else LOW_VEGETATION, soil * 0.75, mix(crop, soil * 1.3, plowed), mean=growth,
                rough=0.12, contrast=c.rng.uniform(0.3, 0.5), period=c.rng.uniform(3.5, 8), angle=angle,
            )  # fmt: skip
            corners = np.array([[x, y], [x + width - gap, y], [x + width - gap, y + depth - gap], [x, y + depth - gap]])
            c.fill(corners + corners[:, 1:] * [shear, 0], number)
            x += width
        y += depth


def plant_trees(c: Canvas, points: Array, radius: tuple[float, float], kinds: Sequence[str], where: int = -1) -> None:
    """Plant trees on vegetation and soil, or on the object numbered ``where`` only; some are felled at some date."""
    n = len(points)
    r = c.rng.uniform(*radius, n)
    pick = c.rng.integers(len(kinds), size=n)
    evergreen = np.array([kind == 'conifer' for kind in kinds])[pick]
    summer = np.array([SPECTRA[kind] for kind in kinds])[pick]
    color = mix(mix(SPECTRA['twig'], summer, c.green), summer, evergreen[:, None])
    color = color * c.rng.lognormal(0, 0.25, (n, 1)) * c.rng.lognormal(0, 0.06, (n, 6))
    height = 3 + r * c.rng.uniform(1.4, 3.2, n)
    stands = c.lasting(points, 0.03)
    if where >= 0:  # a clear-cut in the wood
        stands &= (np.hypot(*(points - c.rng.uniform(-0.3, 0.3, 2) * c.extent).T) > 0.12 * c.extent) | (
            c.date < c.rng.integers(1, 4)
        )
    c.plants.append((points[stands], r[stands], height[stands], color[stands], where))


def paint_wood(c: Canvas, outline: Array | None = None, kinds: Sequence[str] = ('conifer', 'leaf')) -> None:
    """Paint crowns that touch over a dark floor, within an outline (n, 2) m or everywhere."""
    floor = c.add(LOW_VEGETATION, spectra(c.rng, ('loam',)) * 0.6, c.grassy(c.rng) * 0.7)
    if outline is not None:
        c.fill(outline, floor)
    pitch = max(c.rng.uniform(5, 9), 1.6 * c.gsd)
    plant_trees(c, grid_points(c, (pitch, pitch), 0.35), (0.4 * pitch, 0.75 * pitch), kinds, floor)


def scatter_trees(c: Canvas, per_hectare: float) -> None:
    """Plant single trees at random places."""
    n = int(min(per_hectare * (2 * c.reach) ** 2 / 1e4, 4000))
    plant_trees(c, c.rng.uniform(-c.reach, c.reach, (n, 2)), (1.5, 5), ('conifer', 'leaf', 'leaf'))


def paint_cars(c: Canvas, points: Array, angles: ArrayLike, trucks: float = 0.0) -> None:
    """Paint vehicles of this date, 4.5 x 1.9 m or, for a share of ``trucks``, 11 x 2.6 m."""
    if c.gsd > 3:
        return
    angles = np.broadcast_to(angles, len(points))
    large = c.now.random(len(points)) < trucks
    for name, chosen, size in (('vehicle', ~large, (4.5, 1.9)), ('truck', large, (11.0, 2.6))):
        n = int(chosen.sum())
        color = spectra(c.now, CARS, n)
        first = c.add(CAR, color, color, height=1.5, rough=0, n=n)
        c.solids(points[chosen], size * c.now.uniform(0.92, 1.08, (n, 1)), angles[chosen], first, name)


def paint_buildings(
    c: Canvas, points: Array, sizes: Array, angles: ArrayLike, heights: Array, roofs: Sequence[str],
    rate: float = 0.12, gable: bool = False, sides: int = 4,
) -> None:  # fmt: skip
    """Paint buildings, or bare building ground at the dates when they do not stand."""
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


def paint_road(c: Canvas, line: Array, lanes: int, traffic: float, curb: float = 1.5, marks: bool = True) -> None:
    """Paint a road along ``line`` (n, 2) m with lane marks and ``traffic`` vehicles per lane and 100 m."""
    width, asphalt = 3.5 * lanes, spectra(c.rng, ('asphalt',))
    c.stroke(line, width + 2 * curb, c.add(IMPERVIOUS, spectra(c.rng, ('concrete', 'gravel')), SPECTRA['concrete']))
    c.stroke(line, width, c.add(IMPERVIOUS, asphalt * 0.9, asphalt * 1.1))
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    direction = np.unwrap(np.arctan2(*np.gradient(line, axis=0).T[::-1]))

    def place(distance: Array, side: float) -> tuple[Array, Array]:
        heading = np.interp(distance, along, direction)
        center = np.stack([np.interp(distance, along, axis) for axis in line.T], 1)
        return center + side * np.stack([-np.sin(heading), np.cos(heading)], 1), heading

    if marks and c.gsd <= 1.5:  # a mark narrower than a pixel is mixed with the asphalt
        mark = mix(asphalt, SPECTRA['paint'], np.clip(0.3 / c.gsd, 0.3, 1))
        for border in range(lanes + 1):
            step = 9.0 if 0 < border < lanes else 4.0
            centers, heading = place(np.arange(0, along[-1], step), 3.5 * (border - lanes / 2) * 0.97)
            size = (4.0 if 0 < border < lanes else 4.2, max(0.3, 1.1 * c.gsd))
            c.solids(centers, size, heading, c.add(IMPERVIOUS, mark, mark, n=len(centers)))
    for lane in range(lanes):
        n = c.now.poisson(traffic * along[-1] / 100)
        centers, heading = place(c.now.uniform(0, along[-1], n), 3.5 * (lane + 0.5 - lanes / 2))
        paint_cars(c, centers, heading, 0.1)


def paint_car_park(c: Canvas, center: ArrayLike, columns: int, rows: int, full: float) -> None:
    """Paint ``rows`` of stalls, 2.5 x 5 m, back to back in pairs along aisles; a share of ``full`` holds a car."""
    width, pitch = 2.5 * columns, 16.5
    tone, middle = spectra(c.rng, PAVEMENTS), np.asarray(center, float)[None]
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
    paint_cars(c, spots + c.now.normal(0, 0.15, spots.shape), np.pi / 2)
