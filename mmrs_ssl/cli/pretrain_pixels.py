"""Measure the pixels of a training's images on a sample, as its data set loads them."""

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmrs_ssl.archives.accumulators import patch_deviations
from mmrs_ssl.archives.band_statistics import Statistics
from mmrs_ssl.archives.window_tasks import PartialStatistics
from mmrs_ssl.cli.checks.planned import loading_alone, random_state_kept
from mmrs_ssl.cli.short_names import set_short_names
from mmrs_ssl.cli.stats import settings
from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.datasets.transforms.loading import LoadRaster, loaders_of
from mmrs_ssl.models.quiet import quiet

SAMPLES = 500  # images
_MOST_PIXELS = 60_000_000  # of all of them
_SHARES = (0.001, 0.02, 0.5, 0.98, 0.999)


def sample_statistics(cfg: Config, samples: int = SAMPLES) -> dict[str, Statistics]:
    """Count the bands of images that lie evenly in the data set of a config, by modality: pixels that hold data.

    Raises:
        ValueError: if the pipeline does not begin with what loads.
    """
    with quiet():
        dataset: Any = DATASETS.build(cfg.train_dataloader.dataset)
        loading = loading_alone(dataset)
        if loading is None:
            raise ValueError('the pipeline does not begin with mmrs_ssl.LoadRaster or LoadModalities')
        loaders = loaders_of(loading.pipeline.transforms)
        loading.pipeline.transforms.insert(0, _ask_for_valid)
        found: dict[str, PartialStatistics] = {}
        with random_state_kept():
            count, done = min(samples, len(dataset)), 0
            for index in spread_out(len(dataset), count):
                sample = loading[SampleIndex(index, 0, 0)]
                image = sample['img']
                for name, each in (image if isinstance(image, dict) else {'': image}).items():
                    first = each[0] if isinstance(each, list) else each  # of several dates
                    loader = loaders.get(name) or next(iter(loaders.values()))
                    valid = next((mask for by, mask in sample['valid'] if by is loader), None)  # of the first date
                    _count(found.setdefault(name, PartialStatistics(first.dtype.name, first.shape[2])), first, valid)
                    done += first.shape[0] * first.shape[1]
                if done > _MOST_PIXELS:
                    break
    return {name: _statistics(partial) for name, partial in found.items()}


def spread_out(length: int, count: int) -> list[int]:
    """Return the numbers of so many images that lie evenly among all, in an order whose beginning does so, too.

    That is by their bits in reverse: every second comes first, of these every second, and so on.
    """
    evenly: list[int] = np.linspace(0, length - 1, count).round().astype(int).tolist()
    bits = (count - 1).bit_length()
    return [evenly[place] for place in sorted(range(count), key=lambda place: f'{place:0{bits}b}'[::-1])]


def _ask_for_valid(results: dict) -> dict:
    return {**results, 'valid': []}


def _count(partial: PartialStatistics, image: np.ndarray, valid: np.ndarray | None) -> None:
    """Add those pixels of an image (H, W, C) that hold data, (C, H, W) or one for all bands: others were filled."""
    partial.files += 1
    masks = np.ones((1, *image.shape[:2]), bool) if valid is None else valid
    for column in range(image.shape[2]):
        band, mask = image[..., column], masks[column if len(masks) == image.shape[2] else 0]
        partial.pixels[column] += band.size
        partial.bands[column].update(band[mask])
        deviations = patch_deviations(band, mask)
        if len(deviations):
            partial.patches[column].update(deviations)


def _statistics(partial: PartialStatistics) -> Statistics:
    count = len(partial.bands)
    return Statistics(
        names=tuple(f'band {number}' for number in range(count)),
        indexes=tuple(range(count)),
        dtype=partial.dtype,
        files=partial.files,
        band_pixels=tuple(partial.pixels.tolist()),
        shares=_SHARES,
        bands=tuple(band.summary(_SHARES) for band in partial.bands),
        spreads=tuple(band.median() for band in partial.patches),
        unreadable=(),
        notes=(),
    )


def set_statistics(cfg: Config, heights: frozenset[str]) -> dict[str, tuple[str, str]]:
    """Measure the images of a config, and write statistics and the scales of augmentation into it.

    Bands that have values below 0, which photometric transforms refuse, are stretched to 8 bits when they are loaded.

    Args:
        cfg: of which all is settled that says how images are loaded.
        heights: the modalities that are heights of a surface, which are not stretched.

    Returns:
        What was set and why, by what it is called.

    Raises:
        ValueError: if a band is the same everywhere.
    """
    found = sample_statistics(cfg)
    why = f'measured on {next(iter(found.values())).files} images, as they are loaded'
    told: dict[str, tuple[str, str]] = {}
    if set(found) == {''} and (limits := _limits(found[''])):
        _set_stretch(cfg, limits)
        told['stretch'] = str(limits), 'values below 0: 2 % to 98 % of each band become 0 to 255'
        found = sample_statistics(cfg)
    for name, stats in found.items():
        bands = [band for band in stats.bands if band and band.std > 0]
        if len(bands) < len(stats.bands):
            flat = [n for n, band in zip(stats.names, stats.bands, strict=True) if not (band and band.std > 0)]
            raise ValueError(f'{flat[0]}{" of " * bool(name)}{name} is the same in all images; leave it out')
        keys = settings(stats, bands, name)
        mean, std = (next(value for key, value in keys.items() if key.endswith(last)) for last in ('.mean', '.std'))
        set_short_names(cfg, {'statistics' + '.' * bool(name) + name: [mean, std]})
        of = f' of {name}' if name else ''
        told[f'mean{of}'], told[f'std{of}'] = (str(mean), why), (str(std), why)
        for key, value in keys.items():
            last = key.split('.')[2] if key.startswith('train_dataloader') else ''
            if last and name not in heights:
                cfg.merge_from_dict({key: value})
                what = (
                    '99.9 % of the values are below' if last == 'max_value' else 'how much a patch of 32 pixels varies'
                )
                told[f'{last}{of}'] = str(value), f'{stats.dtype}: {what}; augmentation needs it'
    return told


def _limits(stats: Statistics) -> list[list[float]] | None:
    """Return what is to become 0 and 255 of every band; None where no value is below 0."""
    bands = [band for band in stats.bands if band]
    if stats.dtype == 'uint8' or all(band.low >= 0 for band in bands):
        return None
    return [[float(f'{edge:.4g}') for edge in band.limits] for band in bands]


def _set_stretch(cfg: Config, limits: list[list[float]]) -> None:
    for transform in cfg.train_dataloader.dataset.pipeline:
        if transform['type'].rsplit('.', 1)[-1] == LoadRaster.__name__:
            transform['stretch'] = limits
