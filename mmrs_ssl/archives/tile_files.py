"""Read the tiles of a scene as training reads its windows, and write them so that they are read alike."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from mmrs_ssl.archives.band_statistics import Options
from mmrs_ssl.rasters.agreement import Found
from mmrs_ssl.rasters.arrays import Array
from mmrs_ssl.rasters.bands import choose_bands
from mmrs_ssl.rasters.errors import OtherBandsError, errors_of
from mmrs_ssl.rasters.grid import Grid, Header, Window
from mmrs_ssl.rasters.guard import reaching
from mmrs_ssl.rasters.nodata import Marks, can_hold, nodata_of
from mmrs_ssl.rasters.opening import open_raster
from mmrs_ssl.rasters.reader import OpenRaster
from mmrs_ssl.rasters.stacks import read_stack
from mmrs_ssl.scenes.dates import DateFile, Demands, place_dates
from mmrs_ssl.scenes.placing import SceneError

PNG_TYPES = ('uint8', 'uint16')


class TilePixels(NamedTuple):
    """What is written of a tile.

    Attributes:
        values: (C, H, W).
        nodata: the value that means no data, if one does.
        mask: which pixels hold data, (H, W) bool, where the value and an alpha channel do not tell; else None.
        empty: the share of pixels that hold no data in any band, in [0, 1].
    """

    values: Array
    nodata: float | None
    mask: Array | None
    empty: float


def place_files(name: str, files: Sequence[Found]) -> tuple[Grid, tuple[int, int]]:
    """Say on which grid a scene lies, and its height and width: of several files, those of the finest.

    Raises:
        ValueError: if the files do not lie on each other.
    """
    if len(files) == 1:
        header = files[0][1]
        return header.grid, (header.height, header.width)
    try:
        placement = place_dates({'': [DateFile(path, '', '', header) for path, header in files]}, Demands(['']), {})
    except SceneError as error:
        raise ValueError(f'scene {name!r} {error}') from error
    header = placement.part.header
    return header.grid, (header.height, header.width)


def tiled_bands(header: Header, path: str, options: Options, files: int = 1) -> list[int]:
    """Choose the bands of a file, one of so many of a scene, that tiles hold, an alpha channel among them.

    Raises:
        OtherBandsError: if it does not have them.
    """
    if files > 1:
        if len(header.names) != 1 or options.bands not in ((), files):
            raise OtherBandsError(
                f'{path} has {len(header.names)} bands and is one of {files} files with a band each (bands='
                f'{options.bands or None}); expected one band a file, chosen with --band-files'
            )
        return [0]
    return choose_bands(header, options.bands, path) if options.bands else list(range(len(header.names)))


class OpenScene:
    """An open scene, of which tiles are read: on its own pixels, or of a file per band on the finest one's.

    Args:
        name: of the scene.
        files: path and header of each.
        options: which bands to read, and what means no data.

    Raises:
        UnreadableImageError: if a file cannot be opened.
        ValueError: if files do not lie on each other, or have other bands.
    """

    def __init__(self, name: str, files: Sequence[Found], options: Options) -> None:
        self.options = options
        self.grid, shape = place_files(name, files)
        own = len(files) == 1
        self.rasters = [
            OpenRaster(path, None if own else self.grid, shape, 'bilinear', options.access, options.marks)
            for path, _ in files
        ]
        chosen = [tiled_bands(raster.header, raster.path, options, len(files)) for raster in self.rasters]
        self.bands = [(raster, band) for raster, bands in zip(self.rasters, chosen, strict=True) for band in bands]
        first = self.rasters[0]
        # Beside all bands a mask is written as it is; one that is asked for by name is data.
        self.alpha = None if options.bands or len(files) > 1 else first.alpha
        self.data = [[band for band in bands if band != self.alpha] for bands in chosen]
        self.colors: dict[int, tuple[int, ...]] = {}
        every = [band for band in range(len(first.header.names)) if band != first.alpha]
        if self.data == [every] and first.source.name.startswith('<'):  # perhaps read through a palette
            indices = open_raster(first.path, options.access)
            if indices.colorinterp == (ColorInterp.palette,):
                self.indices, self.colors = indices, indices.colormap(1)
            else:
                indices.close()

    @property
    def count(self) -> int:
        """Return how many bands tiles have."""
        return 1 if self.colors else len(self.bands)

    @property
    def dtype(self) -> str:
        """Return numpy's name of the type of tiles."""
        return self.indices.dtypes[0] if self.colors else np.result_type(*[r.header.dtype for r in self.rasters]).name

    def read(self, window: Window) -> TilePixels:
        """Read a tile.

        Raises:
            UnreadableImageError: if a file turns out to be damaged.
        """
        if len(self.rasters) > 1:
            values, held = read_stack(self.rasters, window, None, 'bilinear')
        else:
            values, held = self.rasters[0].read(self.data[0], window)
        valid: Array = np.ones(values.shape, bool) if held is None else held
        empty = 1 - float((valid & np.isfinite(values)).any(axis=0).mean())
        if self.colors:
            values, valid = self._read_own(self.indices, [1], window), valid[:1]
            nodata = self.indices.nodata if self.options.marks.value is None else None
        else:
            values, nodata = self._filled(values, valid)
        path = self.rasters[0].path
        given = nodata_of(
            [nodata] * len(values), [values.dtype.name] * len(values), Marks(rule=self.options.marks.rule), path
        )
        told = given.valid(values, range(len(values)), lambda: values[:0] == 0) if given else np.ones_like(valid)
        if self.alpha is not None and not self.colors:
            alpha = self._read_own(self.rasters[0].source, [self.alpha + 1], window)
            values, told = np.insert(values, self.alpha, alpha[0], axis=0), told & (alpha > 0)
        return TilePixels(values, *_marked(valid, told, nodata), empty)

    def _read_own(self, raster: rasterio.DatasetReader, numbers: list[int], window: Window) -> Array:
        part = RasterWindow(window.left, window.top, window.width, window.height)
        with reaching(self.options.access), errors_of(self.rasters[0].path):
            return raster.read(numbers, window=part)

    def _filled(self, values: Array, valid: Array) -> tuple[Array, float | None]:
        """Choose the one value that means no data in a tile, and put it where bands had others, or a mask."""
        given = [
            raster.nodata.values[band]
            for raster, bands in zip(self.rasters, self.data, strict=True)
            if raster.nodata
            for band in bands
        ]
        kinds = {str(value): value for value in given if value is not None and can_hold(values.dtype.name, value)}
        nodata = next(iter(kinds.values()), None)
        if values.dtype.kind == 'f' and (len(kinds) > 1 or (nodata is None and len(self.rasters) > 1)):
            nodata = float('nan')  # or what is told of single bands would be lost
        if nodata is not None and (len(self.rasters) > 1 or len(kinds) > 1):
            values = np.where(valid, values, values.dtype.type(nodata))
        return values, nodata

    def describe(self, file: rasterio.io.DatasetWriter) -> None:
        """Give a tile's bands the names, meanings and scales of the scene's."""
        if self.colors:
            file.descriptions, file.scales = self.indices.descriptions, self.indices.scales
            file.offsets = self.indices.offsets
            return
        sources = [(raster.source, band) for raster, band in self.bands]
        meanings = [source.colorinterp[band] for source, band in sources]
        if len(self.rasters) > 1:
            meanings = [ColorInterp.undefined if each == ColorInterp.gray else each for each in meanings]
        if self.options.alpha is False or self.options.bands:  # data, whatever the file says
            meanings = [ColorInterp.undefined if each == ColorInterp.alpha else each for each in meanings]
        file.colorinterp = meanings  # or the fourth band of 8 bits becomes alpha
        file.descriptions = (len(self.rasters) > 1 and self.options.band_files) or [
            source.descriptions[band] for source, band in sources
        ]
        file.scales = [source.scales[band] for source, band in sources]
        file.offsets = [source.offsets[band] for source, band in sources]

    def close(self) -> None:
        """Close its files."""
        for raster in self.rasters:
            raster.close()
        if self.colors:
            self.indices.close()


def _marked(valid: Array, told: Array, nodata: float | None) -> tuple[float | None, Array | None]:
    """Say by which nodata value and mask a tile tells the pixels (C, H, W) that hold data.

    Args:
        valid: which do.
        told: which do by the value, and by an alpha channel.
        nodata: the value.
    """
    if (told == valid).all():
        return nodata, None
    mask: Array = np.asarray(valid.any(axis=0))
    if ((told & mask) == valid).all():
        return nodata, mask
    if (valid == mask).all():  # e.g. other bands, which the tile does not have, hold data
        return None, mask
    return nodata, np.asarray(valid.all(axis=0))  # a file has one mask: rather less data than pixels that are none


def write_png(path: Path, values: Array, colors: dict[int, tuple[int, ...]] | None = None) -> None:
    """Write pixels (C, H, W), perhaps with a palette."""
    with _create(path, 'PNG', values) as file:
        if colors:
            file.write_colormap(1, colors)
        file.write(values)


def write_tif(path: Path, scene: OpenScene, tile: TilePixels, window: Window) -> None:
    """Write a tile with all that is known of it."""
    source, header = scene.rasters[0].source, scene.rasters[0].header
    options = dict(crs=scene.grid.crs or source.crs, nodata=tile.nodata, compress='deflate')
    if header.control and scene.grid == header.grid:
        points, crs = source.gcps
        options['crs'] = crs or CRS()
        options['gcps'] = [
            GroundControlPoint(p.row - window.top, p.col - window.left, p.x, p.y, p.z or 0.0) for p in points
        ]
    else:
        options['transform'] = Affine(*scene.grid.transform) @ Affine.translation(window.left, window.top)
    if scene.colors:
        options['photometric'] = 'palette'
    elif header.inverted and scene.count == 1:
        options['photometric'] = 'miniswhite'
    # Without the setting the mask would be a second file.
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), _create(path, 'GTiff', tile.values, **options) as file:
        if scene.colors:
            file.write_colormap(1, scene.colors)
        scene.describe(file)
        file.write(tile.values)
        if tile.mask is not None:
            file.write_mask(tile.mask)


def _create(path: Path, driver: str, values: Array, **options: Any) -> rasterio.io.DatasetWriter:
    count, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        return rasterio.open(
            path, 'w', driver=driver, count=count, height=height, width=width, dtype=values.dtype, **options
        )


def read_label(raster: rasterio.DatasetReader, path: str | Path, window: Window) -> Array:
    """Read class numbers, (1, H, W) of uint8 or uint16.

    Raises:
        ValueError: if they are others.
    """
    with errors_of(path):
        label = raster.read(window=RasterWindow(window.left, window.top, window.width, window.height))
    if label.dtype.name in PNG_TYPES:
        return label
    if label.min() < 0 or label.max() > 255:
        raise ValueError(f'{path} holds values from {label.min()} to {label.max()}; expected class numbers 0 to 255')
    return label.astype(np.uint8)
