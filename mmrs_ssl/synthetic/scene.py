"""Generate scenes that look like land use from above: the embedded data of the demo and the tests.

Nothing here is a photograph. A scene is a layout in metres (parcels, streets, houses, crowns, car parks) painted as an
image of object numbers, then lit by one sun, so that picture, surface model, land cover, boxes and shadows agree. A
class is decided by its structure alone: illumination, haze, tint, season, sun and the colors of roofs, soils and
water are drawn at random for every scene, and every class contains some of the others' ingredients. Objects are simple
on purpose: roofs are flat in the surface model, and what is smaller than a pixel becomes texture.

Equal arguments give equal bytes. Pixel ``(x, y)`` has its center at the integer coordinate ``(x, y)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import DTypeLike

from mmrs_ssl.synthetic.canvas import (
    BACKGROUND,
    BANDS,
    BARE_SOIL,
    BUILDING,
    CAR,
    IMPERVIOUS,
    LAND_COVER,
    LOW_VEGETATION,
    SCENE_CLASSES,
    TREE,
    WATER,
    WAVELENGTHS_NM,
    Array,
    Canvas,
)
from mmrs_ssl.synthetic.recipes import RECIPES

__all__ = [
    'BACKGROUND', 'BANDS', 'BARE_SOIL', 'BUILDING', 'CAR', 'IMPERVIOUS', 'LAND_COVER', 'LOW_VEGETATION',
    'SCENE_CLASSES', 'TREE', 'WATER', 'WAVELENGTHS_NM', 'Array', 'SyntheticScene', 'cast_shadow', 'change_mask',
    'make_scene', 'make_split',
]  # fmt: skip


@dataclass(frozen=True)
class SyntheticScene:
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
        """Make a picture, uint8 (H, W, 3), by one fixed tone curve, so illumination differs between scenes."""
        return _to_uint8(self.reflectance[..., :3])

    def bands_at(self, wavelengths_nm: Sequence[float]) -> Array:
        """Interpolate reflectance between the bands: float32 (H, W, len(wavelengths_nm)) in 0..1."""
        order = np.argsort(WAVELENGTHS_NM)
        at, basis = np.array(WAVELENGTHS_NM)[order], np.eye(len(BANDS))[order]
        weights = np.stack([np.interp(wavelengths_nm, at, column) for column in basis.T])
        return self.reflectance @ weights.astype(np.float32)

    def multispectral(self, n_bands: int = len(BANDS), dtype: DTypeLike = np.uint16) -> Array:
        """Return the first ``n_bands`` bands, or that many evenly spaced in 443..2190 nm if ``BANDS`` has fewer.

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


def cast_shadow(dsm: Array, gsd: float, sun_azimuth: float, sun_elevation: float) -> Array:
    """Compute the share of each pixel in cast shadow: float32 (H, W) in 0..1.

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


def _grow(c: Canvas, cover: Array) -> tuple[Array, Array, Array]:
    """Grow crowns around the nearest stem: mask (H, W), height (H, W) m, and color (n, 6) of the masked pixels."""
    points = np.concatenate([c.project(p[0]) for p in c.plants] or [np.zeros((0, 2))])
    radius, height, where = (np.concatenate([np.broadcast_to(p[k], len(p[0])) for p in c.plants]) for k in (1, 2, 4))
    color = np.concatenate([p[3] for p in c.plants])
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
    return mask, (height[tree] * (1 - 0.35 * np.minimum(relative, 1) ** 2)).astype(np.float32), color[tree[mask]]


def _terrain(c: Canvas, cover: Array) -> Array:
    """Make gentle relief, level where there is water: (H, W) m."""
    relief = _smooth_noise(c.rng, c.size, 2) * np.float32(c.rng.uniform(0.2, 1.2) * np.sqrt(c.extent / 100))
    wet = cv2.blur((cover == WATER).astype(np.float32), (9, 9))
    return np.float32(c.rng.uniform(20, 600)) + relief * (1 - np.clip(2.2 * wet, 0, 1))


def _light(c: Canvas, surface: Array, dsm: Array, dtm: Array, tree: Array) -> Array:
    """Light a surface's reflectance (H, W, 6) by the sun, shadow, tint, haze, blur and noise of one acquisition."""
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


def make_scene(scene_class: str, seed: int, size: int = 256, gsd: float = 0.5, date: int = 0) -> SyntheticScene:
    """Generate one scene, the same for the same arguments; another ``date`` shows the same place at another time."""
    if scene_class not in SCENE_CLASSES:
        raise ValueError(f'scene_class is {scene_class!r}, expected one of {SCENE_CLASSES}')
    if size < 16 or gsd <= 0 or date < 0 or seed < 0:
        raise ValueError(
            f'got size={size}, gsd={gsd}, date={date}, seed={seed}; expected size >= 16, gsd > 0, others >= 0'
        )
    c = Canvas(scene_class, seed, size, gsd, date)
    RECIPES[scene_class](c)
    table = np.concatenate(c.table)
    kinds = table[:, 12].astype(np.uint8)
    c.ids = np.where((c.vehicle_ids > 0) & (kinds[c.ids] == IMPERVIOUS), c.vehicle_ids, c.ids)
    cover = kinds[c.ids]
    noise = _smooth_noise(c.rng, size, c.extent / 12) + 0.8 * _smooth_noise(c.rng, size, c.extent / 2.5)
    noise += 0.5 * c.rng.standard_normal((size, size), np.float32)
    dtm = _terrain(c, cover)
    y, x = np.indices((size, size), np.float32, sparse=True)
    mean, rough, contrast, u, v = table[:, 14:].T
    light = mean[c.ids] + rough[c.ids] * noise + contrast[c.ids] * np.sin(u[c.ids] * x + v[c.ids] * y)
    surface = table[c.ids, :6] + table[c.ids, 6:12] * np.clip(light, -0.1, 1.1)[..., None]
    tree, tall, color = _grow(c, cover)
    surface[tree] = color
    cover[tree] = TREE
    dsm = dtm + np.where(tree, tall, table[:, 13][c.ids])
    visible = np.bincount(c.ids.ravel(), minlength=len(table)) > 0
    for part, whole, n in c.parts:
        visible[whole : whole + n] |= visible[part : part + n]
    boxes = []
    for name, numbers, polygons in c.outlines:
        boxes += [(name, polygon) for number, polygon in zip(numbers, polygons, strict=True) if visible[number]]
    lit = _light(c, surface, dsm, dtm, tree)
    return SyntheticScene(lit, dsm, dtm, cover, boxes, scene_class, gsd, date, c.sun_azimuth, c.sun_elevation)


def change_mask(scene_a: SyntheticScene, scene_b: SyntheticScene) -> Array:
    """Tell where the permanent land cover of a place changed: bool (H, W). Cars count as their ground."""
    a, b = (np.where(scene.land_cover == CAR, IMPERVIOUS, scene.land_cover) for scene in (scene_a, scene_b))
    return a != b


def make_split(n_per_class: int, size: int = 96, gsd: float = 1.0, seed: int = 0) -> tuple[Array, Array]:
    """Make pictures with labels, the classes taking turns; two different seeds below a million share no scene.

    Returns:
        uint8 (N, size, size, 3) RGB and int64 (N,) index into ``SCENE_CLASSES``, N = ``n_per_class * 8``.
    """
    labels = np.tile(np.arange(len(SCENE_CLASSES)), n_per_class)
    seeds = seed * 1_000_003 + np.arange(len(labels))
    pictures = [make_scene(SCENE_CLASSES[k], int(s), size, gsd).rgb() for k, s in zip(labels, seeds, strict=True)]
    return np.stack(pictures), labels
