"""Tell from the names of bands which of them are red, green and blue."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

Colors = tuple[int, int, int]

_CODE = re.compile(r'(?<![a-z0-9])(?:b|band[ _-]?)(\d{1,2}a?)(?![a-z0-9])')
_WORDS = re.compile(r'[a-z]+')
_NUMBERS = {*map(str, range(1, 13)), '8a'}
_OTHER = {'edge', 'rededge', 'coastal', 'deep', 'near', 'infrared', 'nir', 'swir', 'i', 'panchromatic', 'pan'}
_RGB = ('red', 'green', 'blue')
# Landsat 4 to 7 begin with blue; Sentinel-2 and Landsat 8 and 9 have a band of shorter waves before it.
_OLD_LANDSAT, _USUAL, _MODIS = ('3', '2', '1'), ('4', '3', '2'), ('1', '4', '3')


def rgb_bands(names: Sequence[str]) -> Colors | None:
    """Find red, green and blue among bands, by number from 0, or None where names do not tell.

    Names may be words ('red', 'Band 4 - Red', 'r'), also those of GDAL's color interpretation, or the band numbers of
    Sentinel-2 and Landsat ('B4', 'B04', 'SR_B4', 'band_4', 'B4, central wavelength 665 nm'), in upper or lower case.
    Plain numbers that any sensor could have ('B1' to 'B4', 'band 1' to 'band 224') do not tell.
    """
    lowered = [name.strip().lower() for name in names]
    return _by_word(lowered) or _by_number(lowered)


def color_order(bands: Sequence[Any]) -> str | None:
    """Tell whether three bands, all called by name or all numbered from 0, are ``'rgb'`` or ``'bgr'``; None if not."""
    if len(bands) != 3:
        return None
    found = rgb_bands(list(bands)) if all(isinstance(band, str) for band in bands) else tuple(bands)
    return {(0, 1, 2): 'rgb', (2, 1, 0): 'bgr'}.get(found) if found else None


def order_of_loaded(bands: Any, files: Any, names: Sequence[str]) -> tuple[str | None, bool]:
    """Tell in which order three bands are loaded.

    Args:
        bands: which are taken, by name or number; anything else for all of them, or the first ones.
        files: names of the bands that have a file each, in the order in which they are taken; else None.
        names: what files call the bands that are taken, where that is known.

    Returns:
        ``'rgb'`` or ``'bgr'``, None for others, and whether names tell it; else it is that of their numbers.
    """
    listed = isinstance(bands, list | tuple) and len(bands) > 0
    if listed and all(isinstance(band, str) for band in bands):
        return color_order(bands), True
    if not listed and isinstance(files, list | tuple):
        return color_order(files), True
    if any(meanings_of(names)):
        return color_order(names), True
    return color_order(bands) if listed else 'rgb', False


def meanings_of(names: Sequence[str]) -> tuple[str, ...]:
    """Tell of each band by its name: 'red', 'green', 'blue', 'other' for none of these, '' where names do not tell."""
    told = rgb_bands(names)
    if told is not None:
        return tuple(_RGB[told.index(i)] if i in told else 'other' * bool(name) for i, name in enumerate(names))
    words = [set(_WORDS.findall(name.lower())) for name in names]
    colors = [[color for color in _RGB if color in each] for each in words]
    return tuple(
        'other' if each & _OTHER else found[0] if len(found) == 1 else ''
        for each, found in zip(words, colors, strict=True)
    )


def colors_of(several: Iterable[Sequence[str]]) -> dict[int, Colors]:
    """Find red, green and blue of images that are told apart by their number of bands.

    Args:
        several: names of the bands of each kind of image.

    Returns:
        :func:`rgb_bands` by the number of bands, where names tell and all kinds of so many bands agree.
    """
    found = defaultdict(set)
    for names in several:
        found[len(names)].add(rgb_bands(names))
    return {count: colors for count, (colors, *others) in found.items() if colors is not None and not others}


def _by_word(names: list[str]) -> Colors | None:
    words = [set(_WORDS.findall(name)) for name in names]
    exact = [_only([name == color for name in names]) for color in _RGB]
    inside = [_only([color in each and not each & _OTHER for each in words]) for color in _RGB]
    words_of = [first if first is not None else second for first, second in zip(exact, inside, strict=True)]
    return _three(words_of) or _three([_only([name == letter for name in names]) for letter in 'rgb'])


def _by_number(names: list[str]) -> Colors | None:
    found = [match[1] if (match := _CODE.search(name)) else '' for name in names]
    codes = [code.lstrip('0') for code in found]
    known = set(codes) - {''}
    if '00' in found or '0' in found or not known <= _NUMBERS:
        return None
    if any('sur_refl' in name for name in names):
        wanted = _MODIS
    elif {'1', '2', '3', '4', '5', '7'} <= known <= set('1234578'):
        wanted = _OLD_LANDSAT
    elif (
        any(code.startswith('0') for code in found)
        or any(name.startswith('sr_') for name in names)
        or '1' not in known
        or known == set('1234567')
        or '8a' in known
        or {'10', '11'} <= known
    ):
        wanted = _USUAL
    else:
        return None
    return _three([_only([code == number for code in codes]) for number in wanted])


def _only(matches: list[bool]) -> int | None:
    """Return which one it is, None for none or several."""
    return matches.index(True) if sum(matches) == 1 else None


def _three(found: Sequence[int | None]) -> Colors | None:
    red, green, blue = found
    if red is None or green is None or blue is None or len({red, green, blue}) < 3:
        return None
    return red, green, blue
