"""Read images with a file per band: what is no data is told of all bands together, before anything is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.nodata import Part, stack_bands
from mmrs_ssl.rasters.reader import OpenRaster


def read_stack(
    rasters: Sequence[OpenRaster], window: Window | None, size: tuple[int, int] | None, resampling: str
) -> Part:
    """Read a window of all bands, one of each raster, which are on one grid: pixels and which are valid, (C, H, W)."""
    parts = []
    for raster in rasters:
        pixels, valid = raster.read([0], window, size, resampling)
        if valid is not None and not valid.all() and raster.resamples(window, size) and rule_of(raster) == 'all':
            how = resampling if size else raster.resampling
            together = partial(valid_together, rasters=[other for other in rasters if other is not raster])
            pixels, valid = raster.resample([0], *raster.place(window, size), how, partial(together, raster))
        parts.append((pixels, valid))
    return stack_bands(parts, [raster.nodata if rule_of(raster) else None for raster in rasters])


def rule_of(raster: OpenRaster) -> str:
    """Return the rule by which a raster's values mean no data; '' if none does, or a mask tells of its band alone."""
    return '' if raster.nodata is None or raster.has_mask else raster.nodata.rule


def valid_together(raster: OpenRaster, valid: np.ndarray, part: Window, rasters: Sequence[OpenRaster]) -> np.ndarray:
    """Tell which pixels of one band are valid, by the rule for all bands of its image.

    Args:
        raster: the band's, on its own pixels.
        valid: which pixels of a part of it, (1, H, W), are valid by themselves.
        part: of the raster.
        rasters: of the other bands.
    """
    rules = {rule_of(raster), *map(rule_of, rasters)}
    if 'any' not in rules and (rule_of(raster) != 'all' or valid.all()):
        return valid
    place = raster.header.grid, (raster.header.height, raster.header.width), 'nearest'
    for other in rasters:
        there = OpenRaster(other.path, *place, other.access, other.marks)
        try:
            mask = there.read([0], part)[1]
        finally:
            there.close()
        whole = np.ones(valid.shape, bool) if mask is None else mask
        valid = valid & whole if 'any' in rules else valid | whole
    return valid
