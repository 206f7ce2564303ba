"""Compare the bands of the data with the statistics and the network, and the statistics with the data's pixels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmrs_ssl.cli.checks.findings import Finding, setting
from mmrs_ssl.cli.checks.planned import Pixels, PlannedTraining
from mmrs_ssl.cli.places import walk
from mmrs_ssl.engine.normalization import LIMIT
from mmrs_ssl.engine.preprocessors import read_normalization
from mmrs_ssl.models.data_preprocessor import ModalityPreprocessor

FAR_MEAN, FAR_SPREAD = 2.0, LIMIT  # of normalized pixels: their mean, and the factor between their deviation and 1
OTHER_UNITS_MEAN, OTHER_UNITS_SPREAD = 10.0, 20.0
FAR_WHITE, OTHER_UNITS_WHITE = 20.0, 2.0  # white over the brightest band, a band's bright pixels over white
FAR_NOISE = 5.0  # between the spread that noise is measured by and that of the pixels
# What values are usually divided by, or forgotten to be.
FACTORS = {255: '255', 10_000: '10,000 (reflectance)', 65_535: '65,535'}
Statistics = tuple[np.ndarray, np.ndarray]


def statistics_of(model: Any) -> dict[str, Statistics]:
    """Return mean and deviation per band in the order of the files, by modality; nothing where a model has none."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    if isinstance(preprocessor, ModalityPreprocessor):
        parts: dict[str, Any] = dict(preprocessor.parts.items())
    else:
        parts = {'': preprocessor} if isinstance(getattr(preprocessor, 'mean', None), Tensor) else {}
    found = {}
    for name, part in parts.items():
        said = read_normalization(part, part.mean.numel())
        order = slice(None, None, -1) if said.swaps else slice(None)
        found[name] = np.array(said.mean)[order], np.array(said.std)[order]
    return found


def first_layer_bands(model: Any) -> int | None:
    """Return how many bands the first layer of the backbone takes; None where that is no convolution."""
    layers = getattr(model, 'backbone', nn.Identity()).modules()
    return next((layer.in_channels for layer in layers if isinstance(layer, nn.Conv2d)), None)


def check_bands(planned: PlannedTraining) -> Iterator[Finding]:
    """Count the bands of data, statistics and network."""
    cfg, statistics = planned.cfg, statistics_of(planned.model)
    bands = {view.modality: view.bands for view in planned.views}
    for name, (mean, _) in statistics.items():
        if name not in bands:
            yield Finding(
                'error',
                'bands',
                f'statistics of {name!r}, samples have {", ".join(map(repr, bands))}',
                'the same modalities',
                f'train_dataloader.dataset.files = a rule for {name!r}, which the pipeline loads, too',
            )
        elif bands[name] != len(mean):
            yield Finding(
                'error',
                'bands' + (f' of {name}' if name else ''),
                f'samples of {bands[name]} bands, mean and std of {len(mean)}',
                'statistics of every band that is loaded',
                f'{statistics_key(name)}.mean and .std = {bands[name]} numbers each (tools/band_stats.py), or '
                + setting(cfg, 'bands', len(mean), 'train_dataloader.dataset.pipeline.0.bands'),
            )
    taken = first_layer_bands(planned.model)
    if set(statistics) == {''} and taken not in (None, len(statistics[''][0])):
        count = len(statistics[''][0])
        yield Finding(
            'error',
            'bands',
            f'the first layer takes {taken} bands, mean and std are of {count}',
            f'in_channels of {count}',
            setting(cfg, 'bands', count, 'model.backbone.in_channels'),
        )


def check_statistics(planned: PlannedTraining) -> Iterator[Finding]:
    """Normalize a sample of the data, and see whether it is near zero mean and unit deviation."""
    statistics = statistics_of(planned.model)
    if not statistics or not planned.pixels:
        where = (
            'the data preprocessor has no mean and std' if not statistics else 'the pipeline does not begin by loading'
        )
        yield Finding('note', 'statistics', f'not compared: {where}')
    for name, pixels in planned.pixels.items():
        if name in statistics and len(statistics[name][0]) == len(pixels.mean):
            yield from compare_pixels(name, pixels, *statistics[name])


def compare_pixels(name: str, pixels: Pixels, mean: np.ndarray, std: np.ndarray) -> Iterator[Finding]:
    """Compare what was measured with the statistics of a modality, of every band."""
    about = 'statistics' + (f' of {name}' if name else '')
    where = f'pixels of {pixels.images} images ({pixels.dtype})'
    if not np.isfinite([pixels.mean, pixels.std]).all() or not pixels.std.any():
        fault = 'are all the same' if np.isfinite(pixels.mean).all() else 'are no numbers in some places'
        nodata = 'train_dataloader.dataset.pipeline.0.nodata = the value that files have there'
        yield Finding('error', about, f'{where} {fault}', 'images that show something', nodata)
        return
    shift, spread = (pixels.mean - mean) / std, pixels.std / std
    factor = np.maximum(spread, 1 / np.maximum(spread, 1e-9))
    if np.abs(shift).max() <= FAR_MEAN and factor.max() <= FAR_SPREAD:
        yield Finding('note', about, f'normalized {where}: mean {_row(shift)}, std {_row(spread)}', 'about 0 and 1')
        return
    key = statistics_key(name)
    other_units = np.abs(shift).max() > OTHER_UNITS_MEAN or factor.max() > OTHER_UNITS_SPREAD
    yield Finding(
        'error' if other_units else 'warning',
        about,
        f'{where} have mean {_row(pixels.mean)}, std {_row(pixels.std)}; normalized by mean {_row(mean)}, std '
        f'{_row(std)} they have mean {_row(shift)}, std {_row(spread)}{guess_units(pixels, mean, std)}',
        f'mean 0, at most {FAR_MEAN:g} off, and std 1, at most a factor of {FAR_SPREAD:g} off, in every band',
        f'{key}.mean = [{_row(pixels.mean, 99)}], {key}.std = [{_row(pixels.std, 99)}], or '
        f'statistics{"." * bool(name)}{name} = a file of tools/band_stats.py',
    )


def check_white(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the values of white with a sample of the data: jitter and noise cut off what is above them."""
    for place, pixels, white in scales_said(planned, 'max_value'):
        yield from compare_white(place, pixels, white)


def check_spread(planned: PlannedTraining) -> Iterator[Finding]:
    """Compare the spreads that noise is measured by with a sample of the data."""
    for place, pixels, spread in scales_said(planned, 'band_spread'):
        yield from compare_spread(place, pixels, spread)


def scales_said(planned: PlannedTraining, key: str) -> Iterator[tuple[str, Pixels, np.ndarray]]:
    """Find a scale of augmentation wherever the config says one: its place, what it scales, and a number or (C,)."""
    for place, node in walk(planned.cfg.train_dataloader.dataset, 'train_dataloader.dataset'):
        said = node.get(key)
        for name, pixels in planned.pixels.items():
            scale, where = (said.get(name), f'{key}.{name}') if isinstance(said, Mapping) else (said, key)
            if scale is None or node.get('modality', name) != name or np.size(scale) not in (1, len(pixels.mean)):
                continue  # it has none, or one of other bands, which the transform itself refuses
            if 'pipeline' in node and pixels.dtype == 'uint8':
                continue  # a data set's scale is of images that are not 8 bits
            yield f'{place}.{where}', pixels, np.atleast_1d(np.asarray(scale, np.float64))


def compare_white(place: str, pixels: Pixels, white: np.ndarray) -> Iterator[Finding]:
    """Compare what was measured with white, a number or one of every band, as it is set at a place of the config."""
    share = pixels.bright / white
    if not (share.max() > 1 or share.max() < 1 / FAR_WHITE):  # of pixels that are no numbers nothing is known
        return
    effect = 'jitter and noise cut off what is above it' if share.max() > 1 else 'nothing comes near it'
    yield Finding(
        'error' if share.max() > OTHER_UNITS_WHITE else 'warning',
        'white',
        f'1 % of the pixels of {pixels.images} images ({pixels.dtype}) are above {_row(pixels.bright)}, max_value is '
        f'{_row(white)}: {effect}',
        f'nearly all pixels below white, and some above a {FAR_WHITE:g}th of it',
        f'{place} = {_row(pixels.bright, 99)} or more, see tools/band_stats.py',
    )


def compare_spread(place: str, pixels: Pixels, spread: np.ndarray) -> Iterator[Finding]:
    """Compare what was measured with the spread, a number or one of every band, that a place of the config says."""
    spread = np.broadcast_to(spread, pixels.spread.shape)
    share = (spread / pixels.spread)[pixels.spread > 0]
    if not share.size or not (share.max() > FAR_NOISE or share.min() < 1 / FAR_NOISE):
        return
    better = np.where(pixels.spread > 0, pixels.spread, spread)
    yield Finding(
        'warning',
        'spread',
        f'within 32 pixels {pixels.images} images ({pixels.dtype}) deviate by {_row(pixels.spread)}, band_spread is '
        f'{_row(spread)}: noise {"hides what they show" if share.max() > FAR_NOISE else "is nothing beside it"}',
        f'at most a factor of {FAR_NOISE:g} off in every band',
        f'{place} = [{_row(better, 99)}], see tools/band_stats.py',
    )


def guess_units(pixels: Pixels, mean: np.ndarray, std: np.ndarray) -> str:
    """Say which usual factor lies between data and statistics, if one does in mean and deviation alike."""
    ratios = [float(np.median(pixels.std / std)), float(np.median(pixels.mean / np.where(mean == 0, np.nan, mean)))]
    if not all(np.isfinite(ratio) and ratio > 0 for ratio in ratios):
        return ''
    typical = float(np.sqrt(ratios[0] * ratios[1]))
    for number, text in FACTORS.items():
        for of, value in (('the statistics', typical), ('the data', 1 / typical)):
            if 0.6 < value / number < 1.6 and 0.4 < ratios[0] / ratios[1] < 2.5:
                return f'; as if {of} were divided by {text}'
    return ''


def statistics_key(name: str) -> str:
    """Return the path of a modality's statistics in a config."""
    return f'model.data_preprocessor.modalities.{name}' if name else 'model.data_preprocessor'


def _row(values: Sequence[float] | np.ndarray, most: int = 4) -> str:
    texts = [f'{float(f"{value:.4g}"):g}' for value in values]
    return ', '.join(texts if len(texts) <= most else [*texts[:most], '...'])
