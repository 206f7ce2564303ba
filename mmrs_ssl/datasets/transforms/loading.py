"""Read images and windows of rasters, of any number of bands and any type."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from rasterio.enums import Resampling

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.options import (
    COUNT,
    POSITIVE,
    check_choice,
    check_fill,
    check_numbers,
    check_parts,
    check_switches,
    or_none,
    refuse,
)
from mmrs_ssl.rasters.arrays import bands_last, column, to_8_bits
from mmrs_ssl.rasters.bands import check_wanted, choose_bands
from mmrs_ssl.rasters.convert import checked_stretch, full_range, picture_to_rgb, rgb_limits, rgb_numbers
from mmrs_ssl.rasters.errors import NoDataError, OtherBandsError
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.nodata import RULES, Marks, Rule, nodata_of, require_data, require_fill, require_relief
from mmrs_ssl.rasters.pictures import masked_by_gdal, read_masked
from mmrs_ssl.rasters.pool import pool
from mmrs_ssl.rasters.reader import OpenRaster
from mmrs_ssl.rasters.stacks import read_stack
from mmrs_ssl.registry import TRANSFORMS

_RESAMPLING = tuple(name for name in Resampling.__members__ if name != 'gauss')
# OpenCV resizes and blurs none of these types; the values keep their meaning in a wider one.
_WIDER = dict(
    int8=np.int16, int32=np.float32, uint32=np.float32, int64=np.float32, uint64=np.float32, float16=np.float32
)


@TRANSFORMS.register_module()
@accept_old_options
class LoadRaster(BaseTransform):
    """Load ``img``, (H, W, C), bands in the file's order, of the file's own type unless an option changes it.

    Integers of 32 bits and more become float32, which is exact to 2**24. Reads what :class:`mmrs_ssl.SceneDataset`
    names (a window of a scene, one modality, one or several dates), or else ``img_path``: a file, or a list of files
    (the two dates of a change detection pipeline), of which ``img`` is then a list. Pixels without data are those the
    file marks (nodata value, mask or alpha), and what is not finite.

    Args:
        bands: how many bands there must be (int), which to take, by number from 0 or by name, or None for all. The
            alpha channel of a raster masks the others, unless it is counted or named here or its values are not those
            of a mask (GDAL calls the fourth band of an 8-bit GeoTIFF alpha unless told otherwise).
        modality: which modality of the scene, where there are several.
        resampling: for pixels on another grid, and for ``size``: a name of rasterio's ``Resampling`` that warps.
        size: pixels a side of the result; the window's own by default.
        nodata: value that means no data, in place of what files declare; ``'none'`` for no such value.
        nodata_rule: whether ``'all'`` bands or ``'any'`` band of a pixel must hold it, or each ``'band'`` is by itself;
            ``'auto'`` depends on the value, see :mod:`mmrs_ssl.rasters.nodata`.
        alpha: whether a band that is declared alpha is a mask; None: if all files' look like one.
        ignore_names: take bands by position even where files of an archive name or color them differently.
        convert: ``'rgb'`` makes 8-bit RGB of every file: gray is repeated, 1 to 7 bits become 0 to 255; of more than
            8, the quantiles 0.02 and 0.98 of all bands' valid pixels become these (or what ``stretch`` says).
        fill: what pixels without data become before ``stretch``: a value, or ``'mean'`` of the band's other pixels.
        unscale: apply the file's scale and offset per band; the result is float32.
        stretch: bring bands to 8 bits. (low, high) per band become 0 and 255; two numbers in [0, 1] are quantiles of
            the image's own valid pixels instead.
        height: for surface models: ``'above_minimum'`` subtracts the smallest valid value, ``'colors'`` also maps
            0 to ``height_limit`` to 8-bit RGB.
        height_limit: metres that get the last color.

    Raises:
        UnreadableImageError: if a file is missing, truncated or no image.
        NoDataError: if an image or one of its bands has no valid pixel, or a larger share of the image is empty than
            ``results['max_nodata']``.
        ValueError: if it has other bands than configured.
    """

    def __init__(
        self,
        bands: int | Sequence[int | str] | None = 3,
        modality: str | None = None,
        resampling: str = 'bilinear',
        size: int | None = None,
        nodata: float | Literal['none'] | None = None,
        nodata_rule: Rule = 'auto',
        alpha: bool | None = None,
        ignore_names: bool = False,
        convert: Literal['rgb'] | None = None,
        fill: float | Literal['mean'] = 'mean',
        unscale: bool = False,
        stretch: Sequence[float] | Sequence[Sequence[float]] | None = None,
        height: Literal['above_minimum', 'colors'] | None = None,
        height_limit: float = 50.0,
    ) -> None:
        check_wanted(self, bands)
        check_numbers(self, or_none(COUNT), size=size)
        check_numbers(self, POSITIVE, height_limit=height_limit)
        check_switches(self, ignore_names=ignore_names, unscale=unscale)
        check_fill(self, fill, nan=True)
        self.bands = bands if isinstance(bands, int) or bands is None else list(bands)
        self.modality = modality
        self.resampling = resampling
        self.size = None if size is None else (size, size)
        self.marks = Marks(nodata, nodata_rule, alpha)
        self.ignore_names = ignore_names
        self.convert = convert
        self.fill = fill
        self.unscale = unscale
        self.stretch = checked_stretch(self, stretch)
        self.height = height
        self.height_limit = height_limit
        check_choice('resampling', resampling, _RESAMPLING)
        check_choice('height', height, (None, 'above_minimum', 'colors'))
        check_choice('nodata_rule', nodata_rule, RULES)
        check_choice('alpha', alpha, (None, True, False))
        if nodata not in (None, 'none') and not isinstance(nodata, Real):  # which NaN may be
            refuse(self, 'nodata', nodata, "a number, or 'none' for no such value")
        check_choice('convert', convert, (None, 'rgb'))
        count = len(self.bands) if isinstance(self.bands, list) else self.bands
        if convert and (height or count not in (None, 1, 3) or self.bands == 1):
            raise ValueError(f"convert='rgb' with bands={bands!r}, height={height!r}; expected 3 bands and no heights")

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        image = self.load(results)
        first = image[0] if isinstance(image, list) else image
        results.update(img=image, img_shape=first.shape[:2], ori_shape=first.shape[:2])
        return results

    def load(self, results: dict) -> np.ndarray | list[np.ndarray]:
        """Load the image, or a list of images where there are several dates or paths."""
        if 'layers' in results:
            sources = results['layers'][self.layer_name(results['layers'])]
            several = len(sources) > 1
        else:
            several = isinstance(results['img_path'], list)
            sources = [(path,) for path in results['img_path']] if several else [(results['img_path'],)]
        loaded: dict[tuple, np.ndarray] = {}  # a date may be drawn twice
        for source in sources:
            if source not in loaded:
                loaded[source] = self.load_one(source, results)
        return [loaded[source] for source in sources] if several else loaded[sources[0]]

    def layer_name(self, layers: dict[str, Any]) -> str:
        """Choose the modality to read: the one that was set, or the only one there is.

        Raises:
            ValueError: if it is not among the scene's, or not given where there are several.
        """
        name = next(iter(layers)) if self.modality is None and len(layers) == 1 else self.modality
        if name not in layers:
            raise ValueError(
                f'LoadRaster(modality={self.modality!r}), but the scene has {", ".join(map(repr, layers))}; name one '
                'of them, or load all with mmrs_ssl.LoadModalities'
            )
        return name

    def load_one(self, files: tuple[str, ...], results: dict) -> np.ndarray:
        """Load one image: of one file, or of several that hold a band each."""
        name, window = files[0], results.get('window')
        whole = len(files) == 1 and window is None and self.size is None and name.lower().endswith(IMAGE_SUFFIXES)
        if whole and not masked_by_gdal(name):
            pixels, valid = self.read_picture(name, results)
        else:
            pixels, valid = self.read_files(files, results)
        where = f' in window {tuple(window)}' if window else ''
        valid = require_data(pixels, valid, results.get('max_nodata', 1.0), name, where)
        if 'valid' in results:  # for who counts pixels: by loader, of every image
            results['valid'].append((self, valid))
        if self.height:
            require_relief(pixels, valid, name, where)
        require_fill(self, pixels.dtype.name, name)
        pixels = self.values(pixels, valid)
        return bands_last(pixels.astype(_WIDER.get(pixels.dtype.name, pixels.dtype), copy=False))

    def read_picture(self, name: str, results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Read pixels (C, H, W) of a whole picture, and which are valid (None: all)."""
        image, header, opaque = read_masked(name, results.get('access'), self.marks.alpha)
        if self.convert and not isinstance(self.bands, list):
            pixels, valid = picture_to_rgb(image, bool(header.mask))
            every = pixels
        else:
            bands = self.choose_of(header, name)
            pixels = (image if bands == list(range(image.shape[2])) else image[..., bands]).transpose(2, 0, 1)
            valid = None if opaque is None or header.alpha in bands else np.broadcast_to(opaque, pixels.shape)
            every = (image if valid is None else image[..., : header.alpha]).transpose(2, 0, 1)  # that hold data
        count = max(len(every), len(pixels))
        if given := nodata_of((None,) * count, (image.dtype.name,) * count, self.marks, name):
            held = given.valid(pixels, range(len(pixels)), lambda: given.marked(every, range(len(every))))
            valid = held if valid is None else held & valid
        return pixels, valid

    def read_files(self, files: tuple[str, ...], results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Read pixels (C, H, W) of one file, or of several that hold a band each, and which are valid (None: all)."""
        if len(files) == 1:
            return self.read(files[0], results)
        rasters = [self.open(file, results) for file in files]
        for raster in rasters:
            self.choose_of(raster.header, raster.path, len(files))
        pixels, valid = read_stack(rasters, results.get('window'), self.size, self.resampling)
        return self.scaled(pixels, [(raster, 0) for raster in rasters]), valid

    def read(self, file: str, results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Read pixels (C, H, W) of one file, and which are valid (None: all)."""
        raster = self.open(file, results)
        bands = self.choose_of(raster.header, file)
        pixels, valid = raster.read(bands, results.get('window'), self.size, self.resampling)
        if self.convert:
            pixels = full_range(raster.source, raster.header, pixels)
        return self.scaled(pixels, [(raster, band) for band in bands]), valid

    def scaled(self, pixels: np.ndarray, bands: list[tuple[OpenRaster, int]]) -> np.ndarray:
        """Apply the scale and offset of every band (C, H, W), if that is asked for."""
        if not self.unscale:
            return pixels
        scales = [raster.source.scales[band] for raster, band in bands]
        offsets = [raster.source.offsets[band] for raster, band in bands]
        return pixels * column(scales) + column(offsets)

    def open(self, file: str, results: dict) -> OpenRaster:
        """Open a file, or take it from those that are open."""
        place = results.get('grid'), results.get('shape'), self.resampling, results.get('access')
        return pool().get(file, *place, self.marks)

    def choose_of(self, header: Header, path: str, files: int = 1) -> list[int]:
        """Choose bands of a raster, as numbers from 0; it may be one of several that hold a band each.

        Raises:
            OtherBandsError: if it does not have them.
        """
        if files == 1:
            if self.convert and not isinstance(self.bands, list):
                return rgb_numbers(header, path)
            masks = header.mask is not False if self.marks.alpha is None else self.marks.alpha
            numbers = choose_bands(header, self.bands, path, masks)
            return numbers * 3 if self.convert and len(numbers) == 1 else numbers
        if len(header.names) != 1 or self.bands not in (None, files):
            raise OtherBandsError(
                f'{path} has {len(header.names)} bands and is one of {files} files with a band each (bands='
                f'{self.bands}); expected one band a file and bands=None or {files}: choose bands with band_files'
            )
        return [0]

    def outcome(self, header: Header, path: str, files: int = 1) -> tuple[int, str]:
        """Tell how many bands, of which type, are loaded of a file, from its header alone.

        Raises:
            OtherBandsError: if it does not have the bands.
        """
        bands = len(self.choose_of(header, path, files))
        if self.stretch is not None and self.stretch.ndim == 2 and len(self.stretch) != bands * files:
            many = f'{bands * files} bands, but stretch has {len(self.stretch)} pairs of limits'
            raise OtherBandsError(f'{path} gives {many}; set one for every band')
        if self.convert or self.stretch is not None or self.height == 'colors':
            return (3 if self.height == 'colors' else bands), 'uint8'
        dtype = np.dtype('float32') if self.unscale or self.height else np.dtype(header.dtype)
        return bands, np.dtype(_WIDER.get(dtype.name, dtype)).name

    def values(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Take heights above the lowest, fill empty pixels and stretch, in this order and as asked; (C, H, W)."""
        if self.height:
            lowest = pixels.min() if valid is None else pixels[valid].min()
            pixels = pixels.astype(np.float32) - np.float32(lowest)
        limits = rgb_limits(pixels, valid) if self.convert else None
        if self.stretch is not None:
            limits = self.stretch_limits(pixels, valid)
        if valid is not None:
            pixels = pixels.copy()
            for band, mask in zip(pixels, valid, strict=True):
                band[~mask] = band[mask].mean(dtype=np.float64) if self.fill == 'mean' else self.fill
        if self.height == 'colors':
            gray = np.clip(pixels[0] * (255 / self.height_limit), 0, 255).round().astype(np.uint8)
            return cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1].transpose(2, 0, 1)
        return pixels if limits is None else to_8_bits(pixels, limits)

    def stretch_limits(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Compute what becomes 0 and 255 in every band, (C, 2)."""
        assert self.stretch is not None
        if self.stretch.ndim == 1:
            kept = pixels if valid is None else [band[mask] for band, mask in zip(pixels, valid, strict=True)]
            return np.stack([np.quantile(band, self.stretch) for band in kept])
        if len(self.stretch) != len(pixels):
            raise OtherBandsError(f'stretch has {len(self.stretch)} pairs of limits for {len(pixels)} bands')
        return self.stretch


@TRANSFORMS.register_module()
class LoadModalities(BaseTransform):
    """Load several modalities of a scene on one grid: ``img`` is a dict name -> (H, W, C).

    Args:
        modalities: :class:`LoadRaster`'s options per modality, e.g. ``dict(rgb=dict(bands=3), dsm=dict(bands=1,
            height='above_minimum'))``.

    Raises:
        NoDataError: if a modality of heights has one height everywhere, as water and filled holes have;
            ``SceneDataset`` draws another window then.
    """

    def __init__(self, modalities: dict[str, dict]) -> None:
        check_parts(self, 'dict(rgb=dict(bands=3), dsm=dict(bands=1))', modalities=modalities)
        self.loaders = {name: LoadRaster(**{'modality': name, **options}) for name, options in modalities.items()}

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        images = {name: loader.load(results) for name, loader in self.loaders.items()}
        for name, image in images.items():
            if self.loaders[name].height and np.ptp(image) == 0:
                raise NoDataError(
                    f'{results["img_path"]}: one height everywhere in {name!r}, nothing to be told from it'
                )
        shape = np.shape(next(iter(images.values())))[:2]
        results.update(img=images, img_shape=shape, ori_shape=shape)
        return results


def loaders_of(transforms: Sequence[Any]) -> dict[str, LoadRaster]:
    """Find the loaders of a pipeline by modality, '' for one that takes whatever there is."""
    loaders: dict[str, LoadRaster] = {}
    for transform in transforms:
        if isinstance(transform, LoadModalities):
            loaders.update(transform.loaders)
        elif isinstance(transform, LoadRaster):
            loaders[transform.modality or ''] = transform
    return loaders
