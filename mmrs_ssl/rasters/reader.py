"""Read windows of rasters with rasterio, several rasters on one grid."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.errors import GDAL_ERRORS, UnreadableImageError, errors_of
from mmrs_ssl.rasters.gdal_log import listen
from mmrs_ssl.rasters.grid import Grid, Window, aligned_offset
from mmrs_ssl.rasters.guard import reaching
from mmrs_ssl.rasters.header import ANY_CRS, header_of, masks_alone
from mmrs_ssl.rasters.nodata import DECLARED, Marks, holds, nodata_of
from mmrs_ssl.rasters.opening import described_anew, open_image
from mmrs_ssl.rasters.resampling import FLIP, part_under, resample

_WARPED = ('max', 'min', 'med', 'q1', 'q3', 'sum')  # ways of resampling that GDAL knows only where it warps

# A picture without a position is as good as any; said once for all threads that open files.
warnings.filterwarnings('ignore', category=NotGeoreferencedWarning)


class OpenRaster:
    """An open raster from which windows of a grid are read; it is warped if its pixels do not lie on that grid.

    Args:
        path: a file, or an address that GDAL reads.
        grid: where the pixels that are read shall lie; by default those of the file.
        shape: height and width of the grid; by default the file's.
        resampling: name of rasterio's ``Resampling``, for putting the raster on the grid.
        access: where the file, and what it names, may lie; the file's folder by default.
        marks: what marks empty pixels.

    Raises:
        UnreadableImageError: if the file cannot be opened.
        ValueError: if it cannot hold the nodata value that was asked for.
    """

    def __init__(
        self,
        path: str,
        grid: Grid | None = None,
        shape: tuple[int, int] | None = None,
        resampling: str = 'bilinear',
        access: Access | None = None,
        marks: Marks = DECLARED,
    ) -> None:
        self.path = path
        self.source = open_image(path, access)
        self.access, self.marks = access, marks
        with errors_of(self.path):
            self.header = header_of(self.source)
        self.grid, self.shape, self.resampling = grid or self.header.grid, shape, resampling
        self.offset: tuple[int, int] | None = (0, 0)
        if grid is not None and not (self.header.control and grid == self.header.grid):
            self.offset = None if self.header.control else aligned_offset(self.header.grid, grid)
        self.nodata = nodata_of(self.header.nodata, self.source.dtypes, marks, path)
        self.alpha = self.header.alpha  # the band that is a mask, if one is
        if self.alpha is not None:
            with errors_of(self.path):
                masks = masks_alone(self.source, self.alpha) if marks.alpha is None else marks.alpha
            self.header = self.header._replace(mask=masks)
            self.alpha = self.alpha if masks else None
        self.by_mask = any(
            not {MaskFlags.alpha, MaskFlags.nodata, MaskFlags.all_valid} & set(flags)
            for flags in self.source.mask_flag_enums
        )
        mixed = len(set(self.source.dtypes)) > 1
        self.dtype = self.header.dtype if mixed else None  # to read all bands in
        self.undeclared = self.nodata is None and any(value is not None for value in self.header.nodata)
        # GDAL knows one value for all bands, and heeds no mask beside it.
        values = set(map(str, self.nodata.values)) if self.nodata else set()
        self.mixed_marks = bool(values) and (self.has_mask or len(values) > 1) and self.header.control is None
        # By whether its alpha channel is a mask: the raster as it shall be understood, and on the grid.
        self.described: dict[bool, rasterio.DatasetReader] = {}
        self.warped: dict[bool, WarpedVRT] = {}

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
                asked for is data; one that is not is a mask, unless ``marks`` or its values say otherwise.
            window: in pixels of the grid, inside the raster; None for all of it.
            size: height and width to resample to, or None. Overviews are used where nothing means no data but what the
                file declares for single bands: whoever made them knew of nothing else; by ``mode`` only where nothing
                does, and by ``max`` and others that GDAL knows in a warp alone as it warps.
            resampling: name of rasterio's ``Resampling``.

        Raises:
            UnreadableImageError: if the window cannot be read.
        """
        listen(self.path)
        try:
            with reaching(self.access):  # sources of a VRT are opened when their place is read
                return self._read(list(bands), window, size, resampling)
        except GDAL_ERRORS as error:
            where = '' if window is None else f' in window {tuple(window)}'
            raise UnreadableImageError(f'{self.path}: cannot be read{where} ({error})') from error

    def _read(
        self, bands: list[int], window: Window | None, size: tuple[int, int] | None, resampling: str
    ) -> tuple[np.ndarray, np.ndarray | None]:
        masked = self.alpha is not None and self.alpha not in bands
        shape = self.source.shape if self.offset is not None else self.shape or self.source.shape
        window = window or Window(0, 0, *shape)
        if size == window[2:]:
            size = None
        if self.mixed_marks and (size or self.offset is None):
            return self.resample(bands, *self.place(window, size), resampling if size else self.resampling)
        if size and self._misread(masked, resampling):
            with self._warp(masked, self._part(window, size), size, resampling) as exact:
                return self._pixels(exact, bands, masked)
        if self.offset is None:
            if masked not in self.warped:
                self.warped[masked] = self._warp(masked, self.grid, shape, self.resampling)
            raster, (down, right) = self.warped[masked], (0, 0)
        else:
            raster, (down, right) = self.source, self.offset
        part = RasterWindow(window.left + right, window.top + down, window.width, window.height)
        return self._pixels(raster, bands, masked, part, size, resampling)

    def _pixels(
        self,
        raster: rasterio.DatasetReader | WarpedVRT,
        bands: list[int],
        masked: bool,
        part: RasterWindow | None = None,
        size: tuple[int, int] | None = None,
        resampling: str = 'nearest',
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read part of the raster, or of what it was warped to, and tell which pixels are valid."""

        def read(numbers: list[int]) -> np.ndarray:
            shape = None if size is None else (len(numbers), *size)
            how = dict(window=part, resampling=Resampling[resampling])
            if self.dtype:  # several types
                bands = [raster.read(number + 1, out_shape=size, out_dtype=self.dtype, **how) for number in numbers]
                return np.stack(bands)
            return raster.read([number + 1 for number in numbers], out_shape=shape, **how)

        def marked_elsewhere() -> np.ndarray:
            others = [
                band for band in range(self.source.count) if band not in bands and not (masked and band == self.alpha)
            ]
            if self.nodata is None or not others:
                return np.ones((0, *pixels.shape[1:]), bool)
            return self.nodata.marked(read(others), others)

        warped = isinstance(raster, WarpedVRT)
        added = raster.count > self.source.count
        # A warped raster's masks know nothing of its alpha: it is read with the pixels.
        alpha = raster.count - 1 if added else self.alpha if masked else None
        pixels = read(bands if alpha is None else [*bands, alpha])
        masks = []
        if alpha is not None:
            masks.append(np.broadcast_to(pixels[-1:] > 0, pixels[:-1].shape))
            pixels = pixels[:-1]
        if self.nodata and warped and added:
            pixels[:, ~masks[0][0]] = self.nodata.values[0]
        elif self.nodata:
            masks.append(self.nodata.valid(pixels, bands, marked_elsewhere))
        if self.by_mask and not warped:
            numbers = [band + 1 for band in bands]
            masks.append(raster.read_masks(numbers, window=part, out_shape=pixels.shape) > 0)
        return pixels, np.logical_and.reduce(masks) if masks else None

    def _misread(self, masked: bool, resampling: str) -> bool:
        """Tell whether GDAL would resample something else than is meant, where it reads at another size.

        It takes the indices of a palette for values, heeds an alpha channel that is no mask, and leaves out values of
        one band that mean no data in all bands alone. As the most frequent value of a place without data it gives 0
        where integers have a negative nodata value.
        """
        if resampling in _WARPED or (resampling == 'mode' and self.nodata is not None):
            return True
        palette = self.source.name.startswith('<')
        by_value = self.nodata is not None and not (self.nodata.rule == 'band' and self.marks.value is None)
        return by_value or self.undeclared or palette or (self.header.alpha is not None and not masked)

    def _described(self, masked: bool) -> rasterio.DatasetReader:
        """Return the raster, without a nodata value that shall not count, and without an alpha that is no mask."""
        if not self.undeclared and (masked or self.header.alpha is None):
            return self.source
        if masked not in self.described:
            self.described[masked] = described_anew(self.source, alpha=masked, nodata=not self.undeclared)
        return self.described[masked]

    def resamples(self, window: Window | None, size: tuple[int, int] | None) -> bool:
        """Tell whether other pixels are read of a window than the file has."""
        return self.offset is None or size not in (None, (window or Window(0, 0, *self.source.shape))[2:])

    def place(self, window: Window | None, size: tuple[int, int] | None) -> tuple[Grid, tuple[int, int]]:
        """Return the grid of what is read of a window, and its height and width."""
        shape = self.source.shape if self.offset is not None else self.shape or self.source.shape
        window = window or Window(0, 0, *shape)
        size = size or (window.height, window.width)
        return self._part(window, size), size

    def resample(
        self,
        bands: Sequence[int],
        grid: Grid,
        shape: tuple[int, int],
        resampling: str,
        holds_data: Callable[[np.ndarray, Window], np.ndarray] = lambda valid, part: valid,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put the raster on a grid, pixel by pixel as it is told which hold data.

        Args:
            bands: numbers from 0 in the file's order.
            grid: where the pixels that are read shall lie.
            shape: height and width.
            resampling: name of rasterio's ``Resampling``.
            holds_data: changes which pixels (C, H, W) of a part of the raster are valid.

        Returns:
            Pixels and which are valid, both (C, height, width).
        """
        part = part_under(self.header, grid, shape)
        if part is None:
            empty = np.zeros((len(bands), *shape), self.header.dtype)
            return empty, np.zeros(empty.shape, bool)
        own = OpenRaster(self.path, access=self.access, marks=self.marks)
        try:
            pixels, valid = own.read(bands, part)
        finally:
            own.close()
        valid = holds_data(np.ones(pixels.shape, bool) if valid is None else valid, part)
        return resample(pixels, valid, self.header, part, grid, shape, resampling)

    def _part(self, window: Window, size: tuple[int, int]) -> Grid:
        """Return the grid of so many pixels on a window."""
        step = Affine.translation(window.left, window.top) @ Affine.scale(
            window.width / size[1], window.height / size[0]
        )
        return self.grid._replace(transform=tuple(Affine(*self.grid.transform) @ step)[:6])

    def _warp(self, masked: bool, grid: Grid, shape: tuple[int, int], resampling: str) -> WarpedVRT:
        """Put the raster on a grid; what it does not cover gets its nodata value or else alpha 0.

        Where several bands together mean no data, what is valid becomes an alpha channel: GDAL would else change a
        valid value that is the nodata value.
        """
        source = self._described(masked)
        has_alpha = ColorInterp.alpha in source.colorinterp
        by_value: dict[str, object] = {}
        if self.nodata:
            together = self.nodata.rule == 'all'
            by_value = dict(src_nodata=self.nodata.values[0], UNIFIED_SRC_NODATA='YES' if together else 'NO')
            if has_alpha or not together:
                by_value['nodata'] = self.nodata.values[0]
        options = dict(
            resampling=Resampling[resampling], add_alpha=not has_alpha and 'nodata' not in by_value, **by_value
        )
        own: dict[str, object] = {} if grid.crs else dict(src_crs=ANY_CRS)
        by_points = self.header.control is not None and self.offset is None  # and not on the file's own pixels
        if by_points:  # GDAL forgets control points where it is told the target's transform
            source = WarpedVRT(source, crs=source.gcps[1] or ANY_CRS, **options)
            options = dict(resampling=Resampling[resampling], **({} if 'nodata' not in by_value else by_value))
            own = {}
        transform = Affine(*grid.transform)
        if not self.header.georeferenced and not by_points:
            transform, own = FLIP @ transform, dict(src_crs=ANY_CRS, src_transform=FLIP)
        return WarpedVRT(
            source,
            crs=grid.crs or ANY_CRS,
            transform=transform,
            height=shape[0],
            width=shape[1],
            **own,
            **options,
        )

    @property
    def has_mask(self) -> bool:
        """Tell whether a mask or an alpha channel says what is valid."""
        return self.by_mask or self.alpha is not None

    @property
    def missing_is_empty(self) -> bool:
        """Tell whether a block that a sparse file does not have is empty: it holds what is declared, or else 0."""
        return self.nodata is not None and all(
            value is not None and bool(holds(np.array(declared or 0, dtype), value))
            for value, declared, dtype in zip(self.nodata.values, self.header.nodata, self.source.dtypes, strict=True)
        )

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
        """Close the file, and the copies that were made of it."""
        for copy in (*self.warped.values(), *self.described.values()):
            copy.close()
        self.source.close()
