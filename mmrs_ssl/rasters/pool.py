"""Keep few files open between reads, in every process its own."""

import os
from collections import OrderedDict

from rasterio.env import set_gdal_config

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.grid import Grid
from mmrs_ssl.rasters.nodata import DECLARED, Marks
from mmrs_ssl.rasters.reader import OpenRaster

MAX_OPEN = 16
CACHE_BYTES = 64 * 2**20  # GDAL's own default is 5 % of the memory, in every worker


def file_stamp(path: str) -> tuple[int, int] | None:
    """Return size and time of change; None for what is no local file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class RasterPool:
    """Keep files open between reads; the least recently used is closed first.

    Every process has its own: GDAL's handles do not survive a fork.
    """

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self.max_open = max_open
        self.open: OrderedDict[tuple, OpenRaster] = OrderedDict()
        set_gdal_config('GDAL_CACHEMAX', CACHE_BYTES)

    def get(
        self,
        path: str,
        grid: Grid | None = None,
        shape: tuple[int, int] | None = None,
        resampling: str = 'bilinear',
        access: Access | None = None,
        marks: Marks = DECLARED,
    ) -> OpenRaster:
        """Return a raster, opened if need be; see :class:`OpenRaster`."""
        key = (path, file_stamp(path), grid, shape, resampling if grid else None, access, marks)
        if key in self.open:
            self.open.move_to_end(key)
            return self.open[key]
        while len(self.open) >= self.max_open:
            self.open.popitem(last=False)[1].close()
        self.open[key] = OpenRaster(path, grid, shape, resampling, access, marks)
        return self.open[key]


_pools: dict[int, RasterPool] = {}


def pool() -> RasterPool:
    """Return this process's pool; it is made anew after a fork."""
    process = os.getpid()
    if process not in _pools:
        _pools.clear()  # of the process this one was forked from
        _pools[process] = RasterPool()
    return _pools[process]
