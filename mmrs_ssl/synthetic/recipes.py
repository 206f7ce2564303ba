"""Compose the synthetic scenes, by one recipe for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmrs_ssl.synthetic.canvas import (
    BARE_SOIL,
    HALLS,
    IMPERVIOUS,
    LOW_VEGETATION,
    PAVEMENTS,
    ROOFS,
    SCENE_CLASSES,
    SOILS,
    SPECTRA,
    WATER,
    Canvas,
    spectra,
)
from mmrs_ssl.synthetic.objects import (
    blob_outline,
    grid_points,
    paint_buildings,
    paint_car_park,
    paint_cars,
    paint_fields,
    paint_meadow,
    paint_road,
    paint_wood,
    scatter_trees,
    winding_line,
)


def _surround(c: Canvas) -> None:
    """Paint open land around something else: meadow, fields or a wood."""
    paint_meadow(c)
    kind = c.rng.integers(4)
    if kind == 0:
        paint_fields(c)
    for _ in range(int(kind)):
        paint_wood(c, blob_outline(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, c.rng.uniform(0.12, 0.25) * c.extent))
    scatter_trees(c, c.rng.uniform(2, 15))


def _hamlet(c: Canvas, n: int, roofs: Sequence[str] = ROOFS) -> None:
    points = (
        c.rng.uniform(-0.35, 0.35, (1, 2)) * c.extent + c.rng.normal(0, 22, (n, 2)) + np.arange(n)[:, None] * [16, 0]
    )
    sizes = c.rng.uniform(8, 14, (n, 2))
    paint_buildings(c, points, sizes, c.rng.uniform(0, 0.3), c.rng.uniform(5, 8, n), roofs, gable=True)


def _farmland(c: Canvas) -> None:
    paint_meadow(c)
    paint_fields(c)
    if c.rng.random() < 0.4:
        paint_wood(c, blob_outline(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, 0.15 * c.extent))
    if c.rng.random() < 0.5:
        paint_road(c, winding_line(c, c.rng.uniform(-0.5, 0.5) * c.extent), 1, 0.2, marks=False)
    if c.rng.random() < 0.4:
        _hamlet(c, int(c.rng.integers(1, 4)))
    scatter_trees(c, c.rng.uniform(0, 6))


def _forest(c: Canvas) -> None:
    paint_wood(c, kinds=(('conifer',), ('leaf',), ('conifer', 'leaf'))[c.rng.integers(3)])
    paint_wood(c, blob_outline(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, 0.3 * c.extent))
    paint_meadow(c, blob_outline(c, c.rng.uniform(-0.5, 0.5, 2) * c.extent, c.rng.uniform(0.05, 0.2) * c.extent))
    if c.rng.random() < 0.3:
        paint_fields(c, low=0.3 * c.extent)
    if c.rng.random() < 0.5:
        paint_road(c, winding_line(c, c.rng.uniform(-0.4, 0.4) * c.extent, 0.1 * c.extent), 1, 0.2, 0.5, marks=False)
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
        outline = blob_outline(c, c.rng.uniform(-0.25, 0.25, 2) * c.extent, c.rng.uniform(0.26, 0.42) * c.extent)
        c.stroke(outline, 2 * strip, shore, closed=True)
        c.fill(outline, water)
    else:
        line, width = (
            winding_line(c, c.rng.uniform(-0.2, 0.2) * c.extent, c.rng.uniform(0.05, 0.2) * c.extent),
            c.rng.uniform(0.22, 0.4) * c.extent,
        )
        c.stroke(line, width + 2 * strip, shore)
        c.stroke(line, width, water)
    if c.rng.random() < 0.3:
        paint_road(c, winding_line(c, c.rng.uniform(-0.3, 0.3) * c.extent, angle=np.pi / 2), 2, 1.0)


def _residential(c: Canvas) -> None:
    paint_meadow(c)
    c.bend = np.array([c.rng.uniform(0, 12), c.rng.uniform(0.01, 0.03), c.rng.uniform(0, 6.3)])
    block, lot = c.rng.uniform(50, 64) * c.scale, c.rng.uniform(16, 22) * c.scale
    streets = np.arange(-c.reach - c.rng.uniform(0, block), c.reach + block, block)
    cross = np.arange(-c.reach - c.rng.uniform(0, 6 * lot), c.reach + lot, 6 * lot)
    for x in cross:
        paint_road(c, winding_line(c, -x, angle=np.pi / 2), 2, 0.8, marks=False)
    for y in streets:
        paint_road(c, winding_line(c, y), 2, 1.5, marks=False)
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
    paint_buildings(c, points, sizes, turned, c.rng.uniform(4.5, 8, n), ROOFS, gable=True)
    scatter_trees(c, c.rng.uniform(15, 70))


def _industrial(c: Canvas) -> None:
    tone = spectra(c.rng, (*PAVEMENTS, 'gravel'))
    c.add(IMPERVIOUS, tone * 0.85, tone * 1.15)
    pitch = (c.rng.uniform(52, 80), c.rng.uniform(42, 60))
    points = grid_points(c, pitch, 0.04)
    n = len(points)
    sizes = np.stack([c.rng.uniform(30, pitch[0] - 6, n), c.rng.uniform(20, pitch[1] - 10, n)], 1)
    use = c.rng.random(n)
    c.solids(points[use < 0.15], pitch, 0.0, c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.8, c.grassy(c.rng)))
    halls = use > 0.3
    paint_road(c, winding_line(c, points[0, 1] - pitch[1] / 2 + pitch[1] * round(c.reach / pitch[1])), 2, 1.0)
    for center in points[(use > 0.15) & (use < 0.22)][:40]:
        paint_car_park(c, center, int(pitch[0] / 3.5), 2, 0.6)
    tanks = points[(use > 0.22) & (use < 0.3)]
    tanks = (tanks[:, None] + np.array([[-13, -9], [13, -9], [-13, 9], [13, 9]])).reshape(-1, 2)
    round_size = np.repeat(c.rng.uniform(9, 16, (len(tanks), 1)), 2, 1)
    paint_buildings(c, tanks, round_size, 0.0, c.rng.uniform(6, 12, len(tanks)), ('white', 'metal'), 0.02, sides=16)
    paint_buildings(c, points[halls], sizes[halls], 0.0, c.rng.uniform(6, 12, halls.sum()), HALLS)
    yard = points[halls][:, None] + (c.rng.uniform(-0.5, 0.5, (halls.sum(), 5, 2)) * [1, 0] + [0, 0.47]) * pitch
    paint_cars(c, yard.reshape(-1, 2)[c.now.random(yard.size // 2) < 0.5], c.now.choice([0, 0.1]), 0.5)
    scatter_trees(c, 10)


def _parking(c: Canvas) -> None:
    paint_meadow(c)
    columns, rows = int(c.rng.integers(26, 44)), int(c.rng.integers(4, 7))
    cell = np.array([2.5 * columns + 18, 16.5 * rows + 14])
    points = (
        np.array([[i, j] for i in range(-1, 2) for j in range(-1, 2)]) * cell
        if c.extent < 300
        else grid_points(c, tuple(cell))
    )
    points = points + c.rng.uniform(-0.25, 0.25, 2) * cell
    other = (c.rng.random(len(points)) < 0.35) & (np.hypot(*points.T) > 0.6 * cell.min())
    full = c.now.uniform(0.45, 0.95)
    for center in points[~other]:
        if np.abs(center).max() < c.reach + cell.max():
            paint_car_park(c, center, columns, rows, full)
    sizes = c.rng.uniform(0.4, 0.75, (other.sum(), 2)) * cell
    paint_buildings(c, points[other], sizes, 0.0, c.rng.uniform(5, 9, other.sum()), HALLS)
    scatter_trees(c, 40)


def _junction(c: Canvas) -> None:
    _surround(c)
    if c.rng.random() < 0.6:
        _hamlet(c, int(c.rng.integers(2, 6)))
    center = c.rng.uniform(-0.15, 0.15, 2) * min(c.extent, 150)
    lanes = c.rng.integers(2, 6, 2)
    angles = c.rng.uniform(0, 0.3), np.pi / 2 + c.rng.uniform(-0.5, 0.5)
    tee = c.rng.random() < 0.25
    lines = [winding_line(c, 0.0, angle=angle) + center for angle in angles]
    if tee:
        lines[1] = lines[1][32:]
    for line, n in zip(lines, lanes, strict=True):
        paint_road(c, line, int(n), c.now.uniform(1, 3))
    asphalt = spectra(c.rng, ('asphalt',))
    hub = c.add(IMPERVIOUS, asphalt * 0.9, asphalt * 1.1)
    if c.rng.random() < 0.35:
        radius = c.rng.uniform(16, 24)
        c.solids(center[None], (2 * radius, 2 * radius), 0.0, hub, sides=32)
        island = c.add(LOW_VEGETATION, c.grassy(c.rng) * 0.8, c.grassy(c.rng))
        c.solids(center[None], (2 * radius - 18, 2 * radius - 18), 0.0, island, sides=32)
        n = c.now.poisson(4)
        way = c.now.uniform(0, 6.3, n)
        paint_cars(c, center + (radius - 4.5) * np.stack([np.cos(way), np.sin(way)], 1), way + np.pi / 2)
    else:
        c.solids(center[None], 3.5 * lanes[::-1] + 6.0, angles[0], hub)


def _open_meadow(c: Canvas) -> None:
    paint_meadow(c)
    for _ in range(c.rng.integers(2, 6)):
        paint_meadow(c, blob_outline(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, c.rng.uniform(0.1, 0.3) * c.extent))
    path = c.add(BARE_SOIL, spectra(c.rng, SOILS), spectra(c.rng, SOILS))
    for _ in range(c.rng.integers(0, 3)):
        c.stroke(winding_line(c, c.rng.uniform(-0.4, 0.4) * c.extent, 0.1 * c.extent, c.rng.uniform(0, 3)), 1.5, path)
    if c.rng.random() < 0.3:
        paint_road(c, winding_line(c, c.rng.uniform(-0.5, 0.5) * c.extent), 1, 0.2, marks=False)
    if c.rng.random() < 0.4:
        paint_wood(c, blob_outline(c, c.rng.uniform(-0.6, 0.6, 2) * c.extent, 0.15 * c.extent))
    if c.rng.random() < 0.3:
        _hamlet(c, int(c.rng.integers(1, 3)))
    scatter_trees(c, c.rng.uniform(2, 20))


RECIPES: dict[str, Callable[[Canvas], None]] = dict(
    zip(
        SCENE_CLASSES,
        (_farmland, _forest, _water, _residential, _industrial, _parking, _junction, _open_meadow),
        strict=True,
    )
)
