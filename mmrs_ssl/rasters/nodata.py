"""Tell pixels that hold data from those that do not: one definition, for loading, statistics, tiling and searching.

A pixel is empty where a mask or an alpha channel says so, where it is not finite, and by the value that means no data:
the one that the file declares for a band, or one that an option gives in its place. Values are compared in the file's
own type and precision, as GDAL does.

A value that a measurement can have, from 0 to a billion, is also found on bright roofs and dark water. It therefore
means no data only where *all* bands of the file hold it (of an image with a file per band: all of these). A negative
value, one beyond a billion (such as netCDF's 9.97e36), infinity or NaN is found by accident nowhere: it empties each
*band* where it stands. ``rule`` overrides this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mmrs_ssl.rasters.errors import NoDataError, UnreadableImageError

Rule = Literal['auto', 'all', 'any', 'band']
_RELIEF = 9000  # metres; no mountain rises higher above what lies around it
_MEASURED = 1e9  # no reflectance, radiance, height or count of photons is larger
RULES = ('auto', 'all', 'any', 'band')


class Marks(NamedTuple):
    """What marks pixels of a file as empty, beside its masks.

    Attributes:
        value: that means no data in every band, in place of what the file declares (None); ``'none'`` for no value.
        rule: empty are pixels of which ``'all'`` bands of the file hold their value, or ``'any'`` of those that are
            read, or each ``'band'`` by itself; ``'auto'``: see above.
        alpha: whether a band that is declared alpha is a mask; None: if it looks like one.
    """

    value: float | Literal['none'] | None = None
    rule: Rule = 'auto'
    alpha: bool | None = None


DECLARED = Marks()


class NoData(NamedTuple):
    """The values that mean no data, one per band of a file (None: no such value), and the rule, not ``'auto'``."""

    values: tuple[float | None, ...]
    rule: str

    def marked(self, pixels: np.ndarray, bands: Sequence[int]) -> np.ndarray:
        """Tell which pixels (C, H, W), of these bands of the file, hold their band's value: (C, H, W) bool.

        Where all bands have to, a band without a value is not asked.
        """
        other = np.full(pixels.shape[1:], self.rule == 'all')
        values = [self.values[band] for band in bands]
        return np.stack([other if v is None else holds(band, v) for band, v in zip(pixels, values, strict=True)])

    def valid(self, pixels: np.ndarray, bands: Sequence[int], rest: Callable[[], np.ndarray]) -> np.ndarray:
        """Tell which pixels hold data.

        Args:
            pixels: (C, H, W) of some bands of the file.
            bands: their numbers from 0.
            rest: reads which pixels of the file's other bands hold their band's value, (C, H, W) bool. It is asked only
                if that matters.

        Returns:
            (C, H, W) bool.
        """
        marked = self.marked(pixels, bands)
        if self.rule == 'band':
            return ~marked
        together = marked.all(axis=0) if self.rule == 'all' else marked.any(axis=0)
        if self.rule == 'all' and together.any() and len(bands) < len(self.values):
            together &= rest().all(axis=0)
        return np.broadcast_to(~together, pixels.shape)


def nodata_of(declared: Sequence[float | None], dtypes: Sequence[str], marks: Marks, path: str) -> NoData | None:
    """Say which values of a file mean no data; None if none does.

    Args:
        declared: by the file, for every band.
        dtypes: numpy's name of every band's type.
        marks: what was asked for.
        path: for the message.

    Raises:
        ValueError: if a band cannot hold the value that was asked for.
    """
    if marks.value == 'none':
        return None
    values = list(declared)
    if marks.value is not None:
        values = [marks.value] * len(values)
        for dtype in dtypes:
            if not can_hold(dtype, marks.value):
                raise ValueError(
                    f'{path} holds {dtype}, which has no value nodata={marks.value:g}; give one that its pixels can '
                    "have, or nodata=None for what the file declares, 'none' for no value"
                )
    values = [
        None if value is None or not can_hold(dtype, value) else float(np.dtype(dtype).type(value))
        for value, dtype in zip(values, dtypes, strict=True)
    ]
    if values.count(None) == len(values):
        return None
    rule = default_rule(values) if marks.rule == 'auto' else marks.rule
    if rule == 'all' and not all(value is None or np.isfinite(value) for value in values):
        rule = 'band'  # what is not finite is no data whatever the other bands hold
    return NoData(tuple(values), rule)


def default_rule(values: Sequence[float | None]) -> Literal['all', 'band']:
    """Choose the rule for values that mean no data: ``'all'`` for those that a measurement can have, 0 to a billion."""
    return 'all' if all(value is None or 0 <= value <= _MEASURED for value in values) else 'band'


def can_hold(dtype: str, value: float) -> bool:
    """Tell whether pixels of a type can have a value; of decimal numbers, the nearest one of the type's precision."""
    kind = np.dtype(dtype)
    if kind.kind in 'iu':
        limits = np.iinfo(kind)
        return bool(limits.min <= value <= limits.max and value == np.floor(value))
    with np.errstate(over='ignore'):
        return bool(not np.isfinite(value) or np.isfinite(kind.type(value)))


def require_fill(loader: Any, dtype: str, path: str) -> None:
    """Refuse a loader's value for pixels without data that others' type cannot hold; NaN only where there are some.

    Args:
        loader: what fills them (:class:`mmrs_ssl.LoadRaster`).
        dtype: of the file.
        path: for the message.

    Raises:
        ValueError: if it cannot.
    """
    fill = loader.fill
    dtype = 'float32' if loader.unscale or loader.height else dtype
    if fill != 'mean' and np.isfinite(fill) and not can_hold(dtype, fill):
        raise ValueError(
            f"{path} holds {dtype}, which has no value fill={fill:g}; give one that its pixels can have, or fill='mean'"
        )


def holds(band: np.ndarray, value: float) -> np.ndarray:
    """Tell which pixels (H, W) of a band hold a value that its type can have: bool.

    Real numbers need not agree in the last digit, as in GDAL: many programs write -3.4e38 as the value, and the
    smallest number of 32 bits, -3.4028e38, as the pixel.
    """
    if band.dtype.kind != 'f':
        return band == value
    if np.isnan(value):
        return np.isnan(band)
    own = band.dtype.type(value)
    with np.errstate(over='ignore', invalid='ignore'):  # the sum of two such numbers is infinite: nearer than that
        return (band == own) | (np.abs(band - own) < 2 * np.finfo(band.dtype).eps * np.abs(band + own))


Part = tuple[np.ndarray, np.ndarray | None]  # pixels, and which are valid (None: all)


def stack_bands(parts: Sequence[Part], nodata: Sequence[NoData | None]) -> Part:
    """Join the bands of one image that come from a file each.

    Args:
        parts: of every file, pixels (1, H, W) and which are valid.
        nodata: of every file; None where a mask says what is valid, which then holds for its band alone.

    Returns:
        Pixels (C, H, W), and which are valid by the rule for all bands together.
    """
    pixels = np.concatenate([part[0] for part in parts])
    if all(valid is None for _, valid in parts):
        return pixels, None
    valid = np.concatenate([np.ones(pixels[:1].shape, bool) if mask is None else mask for _, mask in parts])
    rules = [each.rule if each else '' for each in nodata]
    if 'any' in rules:
        return pixels, np.broadcast_to(valid.all(axis=0), valid.shape)
    return pixels, valid | (np.array([rule == 'all' for rule in rules])[:, None, None] & valid.any(axis=0))


def require_data(
    pixels: np.ndarray, valid: np.ndarray | None, max_nodata: float, path: str, where: str
) -> np.ndarray | None:
    """Refuse an image with too few valid pixels; those that are not finite are not.

    Args:
        pixels: (C, H, W).
        valid: which of them a file marks as valid, (C, H, W); None for all.
        max_nodata: largest share of pixels that are empty in all bands, in [0, 1].
        path, where: for the message.

    Returns:
        Which are valid, (C, H, W); None for all.

    Raises:
        NoDataError: if a band has no valid pixel, or the image more empty ones.
    """
    if pixels.dtype.kind == 'f' and not (finite := np.isfinite(pixels)).all():
        valid = finite if valid is None else valid & finite
    if valid is None:
        # A hole of a mosaic that declares no nodata value; the first row alone tells that nearly all images are none.
        if max_nodata < 1 and not (pixels[:, 0].any() or pixels.any()):
            raise NoDataError(f'{path}: all pixels{where} are 0; declare what means no data')
        return None
    share = 1 - float(valid.any(axis=0).mean())
    if share > max_nodata:
        raise NoDataError(f'{path}: {share:.0%} of the pixels{where} hold no data, more than max_nodata={max_nodata}')
    empty = [band for band in range(len(pixels)) if not valid[band].any()]
    if empty:
        raise NoDataError(f'{path}: band {empty[0]} (from 0) has no valid pixel{where}')
    return None if valid.all() else valid


def require_relief(heights: np.ndarray, valid: np.ndarray | None, path: str, where: str) -> None:
    """Refuse heights (C, H, W) in metres among which one must mean no data, and nobody has said so.

    Raises:
        UnreadableImageError: if the lowest lies further below the highest than anywhere on Earth.
    """
    found = heights if valid is None else heights[valid]
    low, high = float(found.min()), float(found.max())
    if high - low > _RELIEF:
        raise UnreadableImageError(
            f'{path}: heights from {low:g} to {high:g} m{where}, more than {_RELIEF} m apart; say which value means no '
            f'data: LoadRaster(nodata={low if low < 0 else high:g})'
        )
