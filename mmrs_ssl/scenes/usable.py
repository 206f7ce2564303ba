"""Find the windows of a scene's grid that hold enough data, in one pass over its pixels.

Trying the windows of a large scene one by one takes hours where hardly any holds data. Here every pixel is read about
once, in pieces of a few million, and the blocks that a sparse GeoTIFF does not have are not read at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Protocol

import cv2
import numpy as np

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.reader import OpenRaster
from mmrs_ssl.scenes.index import Scene
from mmrs_ssl.scenes.window_plan import WindowPlan


class Loader(Protocol):
    """What reads a scene's files for training, as :class:`mmrs_ssl.LoadRaster` does."""

    size: Any
    unscale: bool
    open: Callable[[str, dict[str, Any]], OpenRaster]
    read_files: Callable[[tuple[str, ...], dict[str, Any]], tuple[np.ndarray, np.ndarray | None]]


# Reads a window of the scene: pixels (C, H, W) and which are valid (None: all); None if it is known to be empty.
Read = Callable[[Window], tuple[np.ndarray, np.ndarray | None] | None]

_SIDE = 2048  # pixels a side of a piece


def search_scene(
    plan: WindowPlan, number: int, scene: Scene, loaders: Mapping[str, Loader], access: Access, max_nodata: float
) -> np.ndarray:
    """Tell which windows of a scene's grid hold enough data in every modality, on at least one date: (N,) bool.

    Args:
        plan: the windows of all scenes.
        number: which one the scene is.
        scene: its files.
        loaders: by modality, '' for one that takes whatever there is.
        access: where reading may go.
        max_nodata: largest share of empty pixels, in [0, 1].
    """
    usable = np.ones(plan.grid_shape(number), bool)
    for modality, dates in scene.layers.items():
        loader = copy(loaders.get(modality) or loaders[''])
        # Of windows that are resampled when loading, no more is known than whether they hold any data.
        share, loader.size = (1.0 if loader.size else max_nodata), None
        reads = [_reader(loader, files, scene, access, max_nodata) for files in dict.fromkeys(dates.values())]
        usable &= np.logical_or.reduce([usable_windows(plan, number, read, share) for read in reads])
    return usable.ravel()


def _reader(loader: Loader, files: tuple[str, ...], scene: Scene, access: Access, max_nodata: float) -> Read:
    def read(window: Window) -> tuple[np.ndarray, np.ndarray | None] | None:
        place = dict(window=window, grid=scene.grid, shape=scene.shape, access=access)
        if len(files) == 1:
            raster = loader.open(files[0], place)
            unmarked = not (raster.has_mask or raster.nodata or loader.unscale) and max_nodata < 1
            if (unmarked or raster.missing_is_empty) and not raster.has_blocks(window):
                return None
        return loader.read_files(files, place)

    return read


def usable_windows(plan: WindowPlan, scene: int, read: Read, max_nodata: float) -> np.ndarray:
    """Tell which windows of a scene's grid the loader of a layer accepts: bool (rows, columns).

    The rule is that of :class:`mmrs_ssl.LoadRaster`: at most a share ``max_nodata`` of the pixels is empty, every band
    has a valid pixel, and where nothing is marked as empty not all of them are 0. Windows of a piece that cannot be
    read are taken for usable: reading them one by one tells more.
    """
    rows, columns = plan.grid_shape(scene)
    side, step = plan.sides[scene].tolist(), plan.steps[scene].tolist()
    top, left, height, width = plan.extents[scene].tolist()
    tops = np.minimum(np.arange(rows) * step[0], height - side[0])
    lefts = np.minimum(np.arange(columns) * step[1], width - side[1])
    usable = np.ones((rows, columns), bool)
    down, across = (max(1, (_SIDE - side[i]) // step[i] + 1) for i in range(2))
    for row in range(0, rows, down):
        for column in range(0, columns, across):
            part = np.s_[row : row + down, column : column + across]
            y, x = tops[part[0]], lefts[part[1]]
            piece = Window(top + int(y[0]), left + int(x[0]), int(y[-1] - y[0]) + side[0], int(x[-1] - x[0]) + side[1])
            try:
                found = read(piece)
            except UnreadableImageError:
                continue
            usable[part] = found is not None and _usable(*found, y - y[0], x - x[0], (side[0], side[1]), max_nodata)
    return usable


def _usable(
    pixels: np.ndarray,
    valid: np.ndarray | None,
    tops: np.ndarray,
    lefts: np.ndarray,
    side: tuple[int, int],
    max_nodata: float,
) -> np.ndarray:
    """Tell which windows of a piece are usable, by their upper left corners: bool (T, L)."""

    def count(mask: Any) -> np.ndarray:  # (H, W) bool
        sums = cv2.integral(mask.astype(np.uint8))
        lower, upper = sums[tops + side[0]], sums[tops]
        return lower[:, lefts + side[1]] - lower[:, lefts] - upper[:, lefts + side[1]] + upper[:, lefts]

    unmarked = np.full((len(tops), len(lefts)), valid is None)  # windows of which the file says that all is data
    if pixels.dtype.kind == 'f':
        finite = np.isfinite(pixels)
        unmarked &= count(~finite.all(axis=0)) == 0
        valid = finite if valid is None else valid & finite
    if valid is not None and not valid.any():
        return np.zeros_like(unmarked)
    if valid is None:
        enough = unmarked
    else:
        share = 1 - count(valid.any(axis=0)) / (side[0] * side[1])
        enough = (share <= max_nodata) & np.logical_and.reduce([count(band) > 0 for band in valid])
    if max_nodata < 1 and unmarked.any():
        enough = enough & ~(unmarked & (count(pixels.any(axis=0)) == 0))
    return enough
