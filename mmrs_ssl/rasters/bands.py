"""Choose bands of a raster by number or name, and see whether files agree on what their bands are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mmrs_ssl.band_names import meanings_of, rgb_bands
from mmrs_ssl.options import COUNT, WHOLE, or_none, refuse
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header

Wanted = int | Sequence[int | str] | None

RGB = ('red', 'green', 'blue')
_NO_COLORS = ('undefined', 'gray', 'palette', '')


def check_wanted(owner: object, bands: Any) -> None:
    """Refuse what is neither a number of bands, nor a list of numbers and names, nor None.

    Raises:
        ValueError: saying what it may be.
    """
    listed = isinstance(bands, Sequence) and not isinstance(bands, str) and len(bands) > 0
    if not (or_none(COUNT).fits(bands) or (listed and all(isinstance(b, str) or WHOLE.fits(b) for b in bands))):
        refuse(owner, 'bands', bands, 'how many (1 or more), a list of numbers from 0 or of names, or None for all')


def choose_bands(header: Header, wanted: Wanted, path: str, masks: bool = True) -> list[int]:
    """Choose bands, as numbers from 0.

    Args:
        header: of the file.
        wanted: how many bands there must be, which to take (numbers from 0, names, colors such as ``'red'``), or None
            for all. A band that is declared alpha need not be counted.
        path: for messages.
        masks: whether a band that is declared alpha is a mask, which is not among all.

    Raises:
        OtherBandsError: if the file does not have them.
    """
    names, alpha = header.names, header.alpha
    total = len(names)
    if wanted == total:
        return list(range(total))
    if wanted is None or isinstance(wanted, int):
        found = [band for band in range(total) if band != alpha or (wanted is None and not masks)]
        if wanted not in (None, len(found)):
            raise OtherBandsError(
                f'{path} has {len(found)} bands{"" if alpha is None else " and an alpha channel"}, but bands='
                f'{wanted} is configured; if all files are like it set bands (and the mean and std of as many) to '
                f'{len(found)}, or name those to take, e.g. bands={list(range(min(len(found), wanted or 1)))}; if not, '
                "leave it out, or make RGB of every file: convert='rgb'"
            )
        return found
    known = numbers_by_name(header)
    numbers = []
    for band in wanted:
        fitting = known.get(band.lower(), []) if isinstance(band, str) else [band]
        if len(fitting) > 1:
            raise OtherBandsError(
                f'{path} has {len(fitting)} bands named {band!r} (numbers {", ".join(map(str, fitting))} from 0); '
                'choose by number: bands=[...]'
            )
        if not fitting or fitting[0] >= total:
            named = f', named {", ".join(known)}' if known else ''
            raise OtherBandsError(
                f'{path} has {total} bands (0 to {total - 1}{named}), but bands={list(wanted)} is configured; name '
                'bands it has'
            )
        numbers.append(fitting[0])
    return numbers


def numbers_by_name(header: Header) -> dict[str, list[int]]:
    """List the bands of each name, in lower case; of what no band is named, the bands of each color."""
    known: dict[str, list[int]] = {}
    for number, name in enumerate(header.names):
        if name:
            known.setdefault(name.strip().lower(), []).append(number)
    colors: dict[str, list[int]] = {}
    for number, color in enumerate(header.colors):
        if color not in _NO_COLORS:
            colors.setdefault(color, []).append(number)
    if told := rgb_bands(header.names):  # names such as B4 tell more than the order in which files are written
        colors |= {color: [band] for color, band in zip(RGB, told, strict=True)}
    return {**known, **{color: bands for color, bands in colors.items() if color not in known}}


def names_of(header: Header, bands: Sequence[int]) -> tuple[str, ...]:
    """Name bands by what the file calls them, or else by their color; '' where it says neither."""
    colors = ['' if color in _NO_COLORS else color for color in header.colors] or [''] * len(header.names)
    return tuple(header.names[band] or colors[band] for band in bands)


def telling_names(header: Header, bands: Sequence[int]) -> tuple[str, ...]:
    """Name bands so that red, green and blue can be told, if names or else colors tell; see :func:`names_of`."""
    names = names_of(header, bands)
    if rgb_bands(names) is None and header.colors:
        colors = tuple(header.colors[band] for band in bands)
        return colors if rgb_bands(colors) else names
    return names


def common_names(files: Iterable[tuple[Header, Sequence[int]]]) -> tuple[str, ...]:
    """Name the bands that are taken of several files: by the first that tell red, green and blue, or that say anything.

    Args:
        files: header and bands, from 0, of each, which do not contradict each other.
    """
    best: tuple[str, ...] = ()
    seen = set()
    for header, bands in files:
        if (said := (header.names, header.colors, tuple(bands))) in seen:
            continue
        seen.add(said)
        names = telling_names(header, bands)
        if rgb_bands(names) is not None:
            return names
        best = best if any(best) else names
    return best


def _plain(name: str) -> str:
    """Return a name as others spell it: B04 is B4."""
    return re.sub(r'\b(b|band[ _-]?)0+(?=\d)', r'\1', name.strip().lower())


def contradiction(header: Header, bands: Sequence[int], other: Header, others: Sequence[int]) -> str:
    """Say which bands, taken from two files for the same place, are not the same by name or color; '' if they agree.

    Where a file says nothing of a band, there is nothing to compare.
    """
    pairs = list(zip(bands, others, strict=False))
    for position, (a, b) in enumerate(pairs):
        first, second = _plain(header.names[a]), _plain(other.names[b])
        if first and second and first != second:
            return f'band {position} (from 0) is named {first!r} in one and {second!r} in the other'
    (kind, meanings), (other_kind, other_meanings) = _meanings(header), _meanings(other)
    for position, (a, b) in enumerate(pairs):
        first, second = meanings[a], other_meanings[b]
        if first and second and first != second and ('other' not in (first, second) or {first, second} & {*RGB}):
            other_kind = '' if other_kind == kind else f'{other_kind} '
            first, second = (file.names[c] or word for file, c, word in ((header, a, first), (other, b, second)))
            return f'band {position} (from 0) is {kind} {first!r} in one and {other_kind}{second!r} in the other'
    return ''


def _meanings(header: Header) -> tuple[str, tuple[str, ...]]:
    """Tell what bands are by their names, or else by their colors, and by which; '' of a band of which neither tells.

    Where names tell, colors are no more than what writing a file gives it.
    """
    colors = header.colors or ('',) * len(header.names)
    colors = tuple('' if color in (*_NO_COLORS, 'alpha') else color for color in colors)
    if {*(meanings := meanings_of(header.names))} & {*RGB}:
        return 'named', meanings
    if any(meanings):  # of bands that are no colors
        return 'named', tuple(told or color for told, color in zip(meanings, colors, strict=True))
    return 'colored', colors
