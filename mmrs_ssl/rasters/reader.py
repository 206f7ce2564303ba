"""Read headers and windows of rasters with rasterio, several rasters on one grid, few files open at a time."""

import os
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.env import set_gdal_config
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window as RasterWindow

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import ControlPoints, Grid, Header, Window, aligned_offset
from mmrs_ssl.rasters.guard import open_guarded, reaching
from mmrs_ssl.rasters.nodata import has_data

# A picture without a position is as good as any; said once for all threads that open files.
warnings.filterwarnings('ignore', category=NotGeoreferencedWarning)

MAX_OPEN = 16
# Rasters without a CRS that lie in the same unknown one: any will do, as none is converted.
_ANY_CRS = 'EPSG:3857'
CACHE_BYTES = 64 * 2**20  # GDAL's own default is 5 % of the memory, in every worker


def read_header(path: str, access: Access | None = None) -> Header:
    """Read what a raster says of itself, without a pixel.

    Raises:
        UnreadableImageError: if it cannot be opened.
    """
    with open_raster(path, access) as raster:
        return _header_of(raster)


def open_raster(path: str | Path, access: Access | None = None) -> rasterio.DatasetReader:
    """Open a raster or picture; one without a position is as good as any.

    Args:
        path: a file, or an address that GDAL reads.
        access: where the file, and what it names, may lie; the file's folder by default.

    Raises:
        UnreadableImageError: if it is none, names what lies elsewhere, or is a truncated PNG, which GDAL would fill up
            without a word.
    """
    path = str(path)
    try:
        raster = open_guarded(path, access)
    except rasterio.errors.RasterioError as error:
        raise UnreadableImageError(f'{path}: not readable as a raster ({error})') from error
    fault = 'holds no band' if raster.count == 0 else ''
    if raster.driver == 'PNG' and os.path.isfile(path):
        with open(path, 'rb') as file:
            file.seek(max(0, os.path.getsize(path) - 1024))
            if b'IEND' not in file.read():
                fault = 'truncated'
    if fault:
        raster.close()
        raise UnreadableImageError(f'{path}: {fault}')
    return raster


def _header_of(raster: rasterio.DatasetReader) -> Header:
    colors = list(raster.colorinterp)
    header = Header(
        Grid(raster.crs.to_wkt() if raster.crs else '', tuple(raster.transform)[:6]),
        raster.height,
        raster.width,
        tuple(name or '' for name in raster.descriptions),
        colors.index(ColorInterp.alpha) if ColorInterp.alpha in colors else None,
        np.result_type(*raster.dtypes).name,
        tuple(color.name for color in colors),
        raster.nodatavals,
    )
    if header.georeferenced:
        return header
    points, crs = raster.gcps
    return header._replace(control=_place(raster, points, crs) if points else None, rpcs=raster.rpcs is not None)


def _place(raster: rasterio.DatasetReader, points: Sequence[GroundControlPoint], crs: CRS | None) -> ControlPoints:
    """Say where a raster lies by its control points."""
    size = raster.width, raster.height
    transform, width, height = calculate_default_transform(crs or _ANY_CRS, crs or _ANY_CRS, *size, gcps=points)
    grid = Grid(crs.to_wkt() if crs else '', tuple(transform)[:6])
    return ControlPoints(grid, height, width, tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points))


class OpenRaster:
    """An open raster from which windows of a grid are read; it is warped if its pixels do not lie on that grid."""

    def __init__(
        self,
        path: str,
        grid: Grid | None = None,
        shape: tuple[int, int] | None = None,
        resampling: str = 'bilinear',
        access: Access | None = None,
    ) -> None:
        self.path = path
        self.source = open_raster(path, access)
        self.access = access
        self.header = _header_of(self.source)
        self.grid, self.shape, self.resampling = grid, shape, resampling
        self.offset: tuple[int, int] | None = (0, 0)
        if grid is not None and not (self.header.control and grid == self.header.grid):
            self.offset = None if self.header.control else aligned_offset(self.header.grid, grid)
        self.warped: dict[bool, tuple[rasterio.DatasetReader, WarpedVRT]] = {}
        flags = [flags for i, flags in enumerate(self.source.mask_flag_enums) if i != self.header.alpha]
        self.by_value = bool(flags) and all(MaskFlags.nodata in flag for flag in flags)
        self.by_mask = not self.by_value and any(
            MaskFlags.alpha not in flag and flag != [MaskFlags.all_valid] for flag in flags
        )

    def on_grid(self, alpha_is_data: bool) -> rasterio.DatasetReader:
        """Return the raster itself if its pixels lie on the grid, or else the raster warped onto it."""
        if self.offset is not None:
            return self.source
        if alpha_is_data not in self.warped:
            source = without_alpha(self.source) if alpha_is_data else self.source
            self.warped[alpha_is_data] = source, self._warp(source)
        return self.warped[alpha_is_data][1]

    def _warp(self, source: rasterio.DatasetReader) -> WarpedVRT:
        assert self.grid is not None
        crs, own = (self.grid.crs, None) if self.grid.crs else (_ANY_CRS, _ANY_CRS)
        if self.header.control:  # GDAL forgets control points where it is told the target's transform
            source = WarpedVRT(source, crs=source.gcps[1] or crs, resampling=Resampling[self.resampling], add_alpha=True)
            own = None if source.crs else crs
        height, width = self.shape or (source.height, source.width)
        has_alpha = ColorInterp.alpha in source.colorinterp
        if self.by_value and len(set(source.nodatavals)) > 1:
            raise ValueError(f'{self.path} has several nodata values, {source.nodatavals}, and cannot be put on a grid')
        zero = self.by_value and source.nodata == 0
        return WarpedVRT(
            source,
            src_crs=own,
            crs=crs,
            transform=Affine(*self.grid.transform),
            height=height,
            width=width,
            resampling=Resampling[self.resampling],
            # What lies outside of the raster gets its nodata value if it has one, or else alpha 0.
            add_alpha=not (has_alpha or self.by_value),
            UNIFIED_SRC_NODATA='YES' if zero else 'NO',
        )

    def read(
        self,
        bands: Sequence[int],
        window: Window | None = None,
        size: tuple[int, int] | None = None,
        resampling: str = 'bilinear',
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a window of the grid: pixels (C, H, W), and which of them are valid, (C, H, W) bool, or None for all.

        Args:
            bands: numbers from 0 in the file's order, in which an alpha channel counts like any other band. One that is
                asked for is data; one that is not is a mask.
            window: in pixels of the grid, inside the raster; None for all of it.
            size: height and width to resample to (from overviews where there are some), or None.
            resampling: name of rasterio's ``Resampling``.

        Raises:
            UnreadableImageError: if the window cannot be read.
            ValueError: if the raster has to be warped, and its bands have different nodata values.
        """
        alpha_is_data = self.header.alpha in bands
        with reaching(self.access):  # sources of a VRT are opened when their place is read
            return self._read(self.on_grid(alpha_is_data), alpha_is_data, bands, window, size, resampling)

    def _read(
        self,
        raster: rasterio.DatasetReader,
        alpha_is_data: bool,
        bands: Sequence[int],
        window: Window | None,
        size: tuple[int, int] | None,
        resampling: str,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        down, right = self.offset or (0, 0)
        part = None
        if window is not None:
            part = RasterWindow(window.left + right, window.top + down, window.width, window.height)
        # A warped raster's masks know nothing of its alpha: it is read with the pixels.
        added = raster.count > self.source.count
        alpha = raster.count if added else None if alpha_is_data or self.header.alpha is None else self.header.alpha + 1
        numbers = [band + 1 for band in bands] + ([] if alpha is None else [alpha])
        shape = None if size is None else (len(numbers), *size)
        masks = []
        try:
            pixels = raster.read(numbers, window=part, out_shape=shape, resampling=Resampling[resampling])
            if alpha is not None:
                masks.append(np.broadcast_to(pixels[-1:] > 0, pixels[:-1].shape))
                pixels = pixels[:-1]
            if self.by_value:
                masks.append(has_data(pixels, [self.source.nodatavals[band] for band in bands]))
            if self.by_mask and not added:
                masks.append(raster.read_masks(numbers[: len(bands)], window=part, out_shape=pixels.shape) > 0)
        except rasterio.errors.RasterioError as error:
            where = '' if window is None else f' in window {tuple(window)}'
            raise UnreadableImageError(f'{self.path}: cannot be read{where} ({error})') from error
        return pixels, np.logical_and.reduce(masks) if masks else None

    def has_blocks(self, window: Window) -> bool:
        """Tell whether the file holds any block of a window; a sparse GeoTIFF leaves out those without data."""
        if self.source.driver != 'GTiff' or self.offset is None:
            return True
        top, left = window.top + self.offset[0], window.left + self.offset[1]
        planar = self.source.interleaving is not None and self.source.interleaving.name == 'band'
        for band in range(1, self.source.count + 1 if planar else 2):
            height, width = self.source.block_shapes[band - 1]
            for row in range(top // height, (top + window.height - 1) // height + 1):
                for column in range(left // width, (left + window.width - 1) // width + 1):
                    if self.source.get_tag_item(f'BLOCK_OFFSET_{column}_{row}', 'TIFF', bidx=band):
                        return True
        return False

    def close(self) -> None:
        """Close the file, and the copies that were warped."""
        for source, warped in self.warped.values():
            warped.close()
            source.close()
        self.source.close()


def without_alpha(raster: rasterio.DatasetReader) -> rasterio.DatasetReader:
    """Open a raster again with its alpha channel declared an ordinary band: warping would else blend others by it."""
    with tempfile.TemporaryDirectory() as folder:
        description = f'{folder}/raster.vrt'
        rasterio.shutil.copy(raster, description, driver='VRT')
        text = Path(description).read_text()
    return rasterio.open(text.replace('<ColorInterp>Alpha<', '<ColorInterp>Undefined<'), driver='VRT')


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
    ) -> OpenRaster:
        """Return a raster, opened if need be; on a ``grid`` of ``shape`` (height, width) if one is given."""
        key = (path, file_stamp(path), grid, shape, resampling if grid else None, access)
        if key in self.open:
            self.open.move_to_end(key)
            return self.open[key]
        while len(self.open) >= self.max_open:
            self.open.popitem(last=False)[1].close()
        self.open[key] = OpenRaster(path, grid, shape, resampling, access)
        return self.open[key]


_pools: dict[int, RasterPool] = {}


def pool() -> RasterPool:
    """Return this process's pool; it is made anew after a fork."""
    process = os.getpid()
    if process not in _pools:
        _pools.clear()  # of the process this one was forked from
        _pools[process] = RasterPool()
    return _pools[process]
