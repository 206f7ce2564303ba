"""Read images and windows of rasters, of any number of bands and any type."""

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from rasterio.enums import Resampling

from mmrs_ssl.aliases import accept_old_options
from mmrs_ssl.rasters.arrays import bands_last
from mmrs_ssl.rasters.errors import NoDataError
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.nodata import has_data
from mmrs_ssl.rasters.pictures import read_image
from mmrs_ssl.rasters.reader import pool
from mmrs_ssl.registry import TRANSFORMS

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
            alpha channel of a raster masks the others, unless it is counted or named here (GDAL calls the fourth band
            of an 8-bit GeoTIFF alpha unless told otherwise).
        modality: which modality of the scene, where there are several.
        resampling: for pixels that lie on another grid, and for ``size``: a name of rasterio's ``Resampling``.
        size: pixels a side of the result; the window's own by default.
        nodata: value that means no data in files that do not say so (a pixel is empty if all its bands are).
        fill: what pixels without data become: a value, or ``'mean'`` of the band's other pixels.
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
        nodata: float | None = None,
        fill: float | Literal['mean'] = 'mean',
        unscale: bool = False,
        stretch: Sequence[float] | Sequence[Sequence[float]] | None = None,
        height: Literal['above_minimum', 'colors'] | None = None,
        height_limit: float = 50.0,
    ) -> None:
        self.bands = bands if isinstance(bands, int) or bands is None else list(bands)
        self.modality = modality
        self.resampling = resampling
        self.size = None if size is None else (size, size)
        self.nodata = nodata
        self.fill = fill
        self.unscale = unscale
        self.stretch = None if stretch is None else np.asarray(stretch, np.float32)
        self.height = height
        self.height_limit = height_limit
        if isinstance(self.bands, list) and (not self.bands or any(isinstance(b, int) and b < 0 for b in self.bands)):
            raise ValueError(f'bands={bands!r}, expected numbers from 0 or names')
        if resampling not in Resampling.__members__:
            raise ValueError(f'resampling={resampling!r}, expected one of: {", ".join(Resampling.__members__)}')
        if (
            self.stretch is not None
            and self.stretch.ndim == 1
            and not (0 <= self.stretch.min() < self.stretch.max() <= 1)
        ):
            raise ValueError(f'stretch={stretch!r}, expected two quantiles in [0, 1], or (low, high) for every band')
        if height not in (None, 'above_minimum', 'colors'):
            raise ValueError(f"height={height!r}, expected 'above_minimum', 'colors' or None")

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
        if len(files) == 1 and window is None and self.size is None and name.lower().endswith(IMAGE_SUFFIXES):
            image = read_image(name, results.get('access'))
            bands = self.choose(('',) * image.shape[2], None, name)
            if bands != list(range(image.shape[2])):
                image = image[..., bands]
            pixels, valid = image.transpose(2, 0, 1), None
        else:
            pixels, valid = self.read_files(files, results)
        pixels = self.values(pixels, self.valid_pixels(pixels, valid, name, results))
        return bands_last(pixels.astype(_WIDER.get(pixels.dtype.name, pixels.dtype), copy=False))

    def read_files(self, files: tuple[str, ...], results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Read pixels (C, H, W) of one file, or of several that hold a band each, and which are valid (None: all)."""
        parts = [self.read(file, len(files), results) for file in files]
        pixels = np.concatenate([part[0] for part in parts]) if len(parts) > 1 else parts[0][0]
        return pixels, _join_masks(parts)

    def read(self, file: str, files: int, results: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """Read pixels (C, H, W) of one file, and which are valid (None: all)."""
        raster = pool().get(file, results.get('grid'), results.get('shape'), self.resampling, results.get('access'))
        bands = self.choose_of(raster.header, file, files)
        pixels, valid = raster.read(bands, results.get('window'), self.size, self.resampling)
        if self.nodata is not None:  # in the file's own units
            given = has_data(pixels, [self.nodata] * len(pixels)).any(axis=0)
            valid = np.broadcast_to(given, pixels.shape) if valid is None else valid & given
        if self.unscale:
            scales = [raster.source.scales[band] for band in bands]
            offsets = [raster.source.offsets[band] for band in bands]
            pixels = pixels * _column(scales) + _column(offsets)
        return pixels, valid

    def choose_of(self, header: Header, path: str, files: int = 1) -> list[int]:
        """Choose bands of a raster, as numbers from 0; it may be one of several that hold a band each.

        Raises:
            ValueError: if it does not have them.
        """
        if files == 1:
            return self.choose(header.names, header.alpha, path)
        if len(header.names) != 1 or self.bands not in (None, files):
            raise ValueError(
                f'{path} has {len(header.names)} bands and is one of {files} files with a band each (bands='
                f'{self.bands}); expected one band a file and bands=None or {files}: choose bands with band_files'
            )
        return [0]

    def choose(self, names: Sequence[str], alpha: int | None, path: str) -> list[int]:
        """Choose bands, as numbers from 0, of a file with bands of these names, one of them perhaps alpha.

        Raises:
            ValueError: if the file does not have them.
        """
        total = len(names)
        if self.bands == total:
            return list(range(total))
        if self.bands is None or isinstance(self.bands, int):
            found = [band for band in range(total) if band != alpha]
            if self.bands not in (None, len(found)):
                raise ValueError(
                    f'{path} has {len(found)} bands{"" if alpha is None else " and an alpha channel"}, but bands='
                    f'{self.bands} is configured; set bands (and the mean and std of as many) to {len(found)}, or name '
                    f'those to take, e.g. bands={list(range(min(len(found), self.bands or 1)))}'
                )
            return found
        known = {name.lower(): number for number, name in enumerate(names) if name}
        numbers = [known.get(band.lower(), total) if isinstance(band, str) else band for band in self.bands]
        if max(numbers) >= total:
            named = f', named {", ".join(known)}' if known else ''
            raise ValueError(
                f'{path} has {total} bands (0 to {total - 1}{named}), but bands={self.bands} is configured; name bands '
                'it has'
            )
        return numbers

    def valid_pixels(self, pixels: np.ndarray, valid: np.ndarray | None, name: str, results: dict) -> np.ndarray | None:
        """Tell which pixels hold data, (C, H, W), None for all; refuse images with too few.

        Raises:
            NoDataError: if a band has no valid pixel or the image more empty ones than ``results['max_nodata']``.
        """
        masks = [] if valid is None else [valid]
        if pixels.dtype.kind == 'f' and not np.isfinite(pixels).all():
            masks.append(np.isfinite(pixels))
        limit = results.get('max_nodata', 1.0)
        where = f' in window {tuple(results["window"])}' if results.get('window') else ''
        if not masks:
            if limit < 1 and not pixels.any():  # e.g. a hole of a mosaic that declares no nodata value
                raise NoDataError(f'{name}: all pixels{where} are 0; declare what means no data')
            return None
        valid = np.logical_and.reduce(masks)
        share = 1 - float(valid.any(axis=0).mean())
        if share > limit:
            raise NoDataError(f'{name}: {share:.0%} of the pixels{where} hold no data, more than max_nodata={limit}')
        empty = [band for band in range(len(pixels)) if not valid[band].any()]
        if empty:
            raise NoDataError(f'{name}: band {empty[0]} (from 0) has no valid pixel{where}')
        return None if valid.all() else valid

    def values(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Take heights above the lowest, fill empty pixels and stretch, in this order and as asked; (C, H, W)."""
        if self.height:
            lowest = pixels.min() if valid is None else pixels[valid].min()
            pixels = pixels.astype(np.float32) - np.float32(lowest)
        limits = None if self.stretch is None else self.stretch_limits(pixels, valid)
        if valid is not None:
            pixels = pixels.copy()
            for band, mask in zip(pixels, valid, strict=True):
                band[~mask] = band[mask].mean(dtype=np.float64) if self.fill == 'mean' else self.fill
        if self.height == 'colors':
            gray = np.clip(pixels[0] * (255 / self.height_limit), 0, 255).round().astype(np.uint8)
            return cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1].transpose(2, 0, 1)
        return pixels if limits is None else _to_8_bits(pixels, limits)

    def stretch_limits(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Compute what becomes 0 and 255 in every band, (C, 2)."""
        assert self.stretch is not None
        if self.stretch.ndim == 1:
            kept = pixels if valid is None else [band[mask] for band, mask in zip(pixels, valid, strict=True)]
            return np.stack([np.quantile(band, self.stretch) for band in kept])
        if len(self.stretch) != len(pixels):
            raise ValueError(f'stretch has {len(self.stretch)} pairs of limits for {len(pixels)} bands')
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


def _join_masks(parts: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> np.ndarray | None:
    if all(valid is None for _, valid in parts):
        return None
    return np.concatenate([np.ones(pixels.shape, bool) if valid is None else valid for pixels, valid in parts])


def _to_8_bits(pixels: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Stretch (C, H, W) between ``limits`` (C, 2) to uint8."""
    low, high = _column(limits[:, 0]), _column(limits[:, 1])
    scaled = (pixels.astype(np.float32) - low) * (255 / np.maximum(high - low, 1e-6))
    return np.clip(scaled, 0, 255).round().astype(np.uint8)


def _column(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Shape a value per band so that it broadcasts: float32 (C, 1, 1)."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def loaders_of(transforms: Sequence[Any]) -> dict[str, LoadRaster]:
    """Find the loaders of a pipeline by modality, '' for one that takes whatever there is."""
    loaders: dict[str, LoadRaster] = {}
    for transform in transforms:
        if isinstance(transform, LoadModalities):
            loaders.update(transform.loaders)
        elif isinstance(transform, LoadRaster):
            loaders[transform.modality or ''] = transform
    return loaders
