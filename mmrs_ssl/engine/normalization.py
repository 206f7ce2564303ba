"""Compare how a model normalizes images with how those of its pre-training were normalized, or make it the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from torch import nn

from mmrs_ssl.engine.band_order import OTHER, Reading
from mmrs_ssl.engine.preprocessors import (
    Normalization,
    alike,
    preprocessors_of,
    read_normalization,
    set_normalization,
)
from mmrs_ssl.transfer.adapt import Bands
from mmrs_ssl.transfer.records import Record

# Where a checkpoint of a downstream model keeps what was adopted.
ADOPTED = 'adopted_normalization'
# How far a band's deviation may be from pre-training's, as a factor, and its mean, in these deviations.
LIMIT = 3.0
MEND = (
    "normalization='adopt' takes mean, std and order of bands from the file, 'ignore' leaves them as the config has "
    'them, unseen'
)
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Pretrained:
    """How images of the pre-training were normalized, each field None where nothing says it.

    Args:
        mean, std: per band of the model, None for a band that pre-training did not have.
        order: of three bands, ``'rgb'`` or ``'bgr'``; of several modalities, of the first one's three.
        bands: how many there are.
        swaps: whether the data preprocessor is to swap them where no loader tells the order it gives them in.
        by_position, named: see :class:`mmrs_ssl.transfer.records.Record`.
    """

    mean: tuple[float | None, ...] | None
    std: tuple[float | None, ...] | None
    order: str | None
    bands: int | None
    swaps: bool | None = None
    by_position: str | None = None
    named: bool = False

    def beside(self, reading: Reading) -> tuple[str | None, str | None]:
        """Return the order that a pipeline gives, and the one wanted: by places in files unless names tell both."""
        if reading.by_position and self.by_position and not (reading.named and self.named):
            return reading.by_position, self.by_position
        return reading.order, self.order


@dataclass
class Comparison:
    """What was compared, in rows for a table, what is wrong, and what the model was given."""

    rows: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    adopted: Normalization | None = None

    @property
    def differs(self) -> bool:
        """Whether something is not as it was in pre-training."""
        return any(row[3] == 'differs' for row in self.rows)


def seen_in_pretraining(record: Record, bands: Bands) -> Pretrained:
    """Bring what a file records to the bands of a model, each of which may have taken another band's kernel."""
    mean: Any = record.mean
    std: Any = record.std
    order, place, count = record.channel_order, record.by_position, record.bands
    if bands != 'mean':
        chosen = list(bands)
        if mean and std and all(band is None or band < len(mean) for band in chosen):
            mean, std = ([None if band is None else of[band] for band in chosen] for of in (mean, std))
        order, place = (_turned(each, tuple(chosen)) for each in (order, place))
        count = len(chosen)
    statistics = tuple(mean) if mean else None, tuple(std) if std else None
    return Pretrained(*statistics, order, count, by_position=place, named=record.named)


def _turned(order: str | None, chosen: tuple[int | None, ...]) -> str | None:
    return None if order is None else {(0, 1, 2): order, (2, 1, 0): OTHER[order]}.get(chosen)  # type: ignore[arg-type]


def compare_normalization(
    model: nn.Module, bands: int, pretrained: Pretrained, read: Sequence[Reading], adopt: bool
) -> Comparison:
    """Compare a model, and the pipelines that feed it, with its pre-training, or make its data preprocessor the same.

    Args:
        model: whole; its data preprocessors are changed where ``adopt``.
        bands: of its backbone.
        pretrained: what it should be.
        read: the pipelines.
        adopt: whether to change the model.
    """
    result = Comparison()
    if pretrained.bands is not None:
        same = pretrained.bands == bands
        result.rows.append(('bands', str(pretrained.bands), str(bands), 'same' if same else 'refused'))
        if not same:
            result.errors.append(
                f'the pre-training saw {pretrained.bands} bands, the model takes {bands}: name the band of the file '
                "that each of the model's takes, bands=[...], or set normalization='ignore' and mean and std yourself"
            )
            return result
    found = preprocessors_of(model)
    recorded = None not in (*(pretrained.mean or (None,)), *(pretrained.std or (None,)))
    own = read_normalization(found[0], bands, adopt and recorded) if found and alike(found) else None
    swaps = _compare_order(result, pretrained, own, read, bands, adopt)
    if pretrained.mean is None or pretrained.std is None:
        result.rows.append(('mean and std', 'not recorded', _numbers(own.mean) if own else '', 'as the config says'))
        return result
    if not _usable(pretrained):
        result.rows.append(('std', _numbers(pretrained.std), _numbers(own.std) if own else '', 'refused'))
        result.errors.append(
            f'the file records mean={list(pretrained.mean)} and std={list(pretrained.std)}, expected finite numbers, '
            "deviations above 0: set normalization='ignore' and mean and std yourself"
        )
        return result
    if own is None or any(each.normalized for each in read):
        where = 'the pipeline normalizes' if own else 'no data preprocessor normalizes all images'
        result.rows.append(('mean and std', _numbers(pretrained.mean), where, 'not compared'))
        if adopt:
            result.errors.append(
                f"normalization='adopt' sets the model's data preprocessor, but here {where}: leave Normalize out of "
                'the pipeline and give the model one with mean and std'
            )
        return result
    _compare_statistics(result, pretrained, own, bands, adopt)
    if adopt and not result.errors:
        result.adopted = _merged(pretrained, own, bands, swaps)
        for each in found:
            set_normalization(each, result.adopted)
    return result


def _usable(pretrained: Pretrained) -> bool:
    """Tell whether images can be normalized by what is recorded."""
    means, stds = ([value for value in of or () if value is not None] for of in (pretrained.mean, pretrained.std))
    return all(map(isfinite, [*means, *stds])) and min(stds, default=1.0) > 0


def _compare_order(
    result: Comparison,
    pretrained: Pretrained,
    own: Normalization | None,
    read: Sequence[Reading],
    bands: int,
    adopt: bool,
) -> bool | None:
    """Compare the order of three bands, which may be the first of several modalities'.

    Returns:
        Whether the data preprocessor has to swap them; None where it cannot.
    """
    now = own.swaps if own else None
    if bands != 3 and pretrained.order is None and pretrained.by_position is None:
        return now
    now = now if bands == 3 else None  # it swaps images of three bands alone
    loaders = ', '.join(dict.fromkeys(each.loader for each in read)) or 'no pipeline'
    orders = {each.order for each in read} - {None}
    swapped = ', swapped' if now else ''
    pairs = [pair for pair in map(pretrained.beside, read) if all(pair)]
    if not pairs or own is None:
        told = f'{" and ".join(sorted(map(str, orders))) or "not known"} by {loaders}{swapped}'
        outcome = 'as the config says' if pretrained.order is None else 'not compared'
        result.rows.append(('order of bands', pretrained.order or 'not recorded', told, outcome))
        return now if pretrained.swaps is None else pretrained.swaps
    known, wanted = map(str, pairs[0])
    if len({given == other for given, other in pairs}) > 1:  # which nothing that a data preprocessor sees tells apart
        result.rows.append(('order of bands', wanted, f'rgb and bgr by {loaders}', 'refused'))
        result.errors.append(
            f'{loaders}: one pipeline gives the bands in another order than the next, and one data preprocessor serves '
            'them all; load images for training and for evaluation in the same way'
        )
        return now
    needed = known != wanted
    reaches = OTHER[known] if now else known
    same = reaches == wanted
    possible = now is not None or not needed
    outcome = 'same' if same else 'adopted' if adopt and possible else 'refused'
    result.rows.append(('order of bands', wanted, f'{reaches} ({known} by {loaders}{swapped})', outcome))
    if outcome == 'refused':
        how = f'set to_rgb or bgr_to_rgb={needed} in model.data_preprocessor' if possible else 'load them in that order'
        result.errors.append(f'the pre-training saw {wanted}, the model gets {reaches}: {how}')
    return needed if now is not None else None


def _compare_statistics(
    result: Comparison, pretrained: Pretrained, own: Normalization, bands: int, adopt: bool
) -> None:
    images = len(own.mean) // bands
    scale, shift = 1.0, 0.0
    same = True
    means, stds = ((of or ()) * images for of in (pretrained.mean, pretrained.std))
    for mean, std, wanted, spread in zip(own.mean, own.std, means, stds, strict=True):
        if wanted is None or spread is None:
            continue
        spread = max(spread, 1e-9)
        scale = max(scale, std / spread, spread / max(std, 1e-9))
        shift = max(shift, abs(mean - wanted) / spread)
        same &= abs(mean - wanted) <= 0.01 * spread and abs(std - spread) <= 0.01 * spread
    far = scale > LIMIT or shift > LIMIT
    outcome = 'same' if same else 'adopted' if adopt else 'refused' if far else 'differs'
    result.rows.append(('mean', _numbers(pretrained.mean or ()), _numbers(own.mean), outcome))
    result.rows.append(('std', _numbers(pretrained.std or ()), _numbers(own.std), outcome))
    if outcome == 'refused':
        result.errors.append(
            f'pixels are normalized otherwise than in pre-training, a std by a factor of {scale:.3g}, a mean by '
            f'{shift:.3g} std; more than {LIMIT:g} means other units'
        )


def _merged(pretrained: Pretrained, own: Normalization, bands: int, swaps: bool | None) -> Normalization:
    """Take what pre-training had, for every image; of bands that it did not have what the config says."""
    images = len(own.mean) // bands
    mean, std = (
        tuple(
            own_value if value is None else value for value, own_value in zip((of or ()) * images, given, strict=True)
        )
        for of, given in ((pretrained.mean, own.mean), (pretrained.std, own.std))
    )
    return replace(own, mean=mean, std=std, swaps=swaps)


def _numbers(values: Sequence[float | None]) -> str:
    written = ['-' if value is None else f'{value:.4g}' for value in values]
    return ', '.join(written if len(written) <= 6 else [*written[:6], '...'])


def write_rows(rows: Sequence[Row]) -> str:
    """Write rows in columns, under their titles."""
    every = [('', 'pre-training', 'here', ''), *rows]
    widths = [max(len(row[i]) for row in every) for i in range(4)]
    return '\n'.join(
        '  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every
    )
