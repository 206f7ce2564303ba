"""Find the windows of a scene's grid that hold enough data, in one pass over its pixels.

Trying the windows of a large scene one by one takes hours where hardly any holds data. Here every pixel is read about
once, in pieces of a few million, and the blocks that a sparse GeoTIFF does not have are not read at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.scenes.window_plan import WindowPlan

# Reads a window of the scene: pixels (C, H, W) and which are valid (None: all); None if it is known to be empty.
Read = Callable[[Window], tuple[np.ndarray, np.ndarray | None] | None]

_SIDE = 2048  # pixels a side of a piece


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
