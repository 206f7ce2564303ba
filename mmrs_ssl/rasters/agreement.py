"""See whether the files of an archive agree on what their bands are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmrs_ssl.rasters.bands import contradiction
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.nodata import holds

_SHOWN = 3  # files of each kind, in messages

Found = tuple[str, Header]  # a file's path and header


def alpha_is_mask(files: Sequence[Found], asked: bool | None, as_data: bool) -> tuple[bool | None, str]:
    """Settle for all files whether a band that is declared alpha is a mask.

    Args:
        files: path and header of each.
        asked: what an option says; None for nothing.
        as_data: whether this band is read as data in any case.

    Returns:
        Whether it is (None: their values do not tell, so that a file of 0 alone is masked by none), and what the user
        ought to know, if anything.

    Raises:
        OtherBandsError: if its values are those of a mask in some files and not in others.
    """
    if asked is not None or as_data:
        return bool(asked), ''
    masks = [path for path, header in files if header.alpha is not None and header.mask]
    data = [path for path, header in files if header.alpha is not None and header.mask is False]
    if masks and data:
        raise OtherBandsError(
            f'{len(masks)} files have an alpha channel whose values are those of a mask ({listed(masks)}), in '
            f'{len(data)} others they are data ({listed(data)}); say which: alpha=True or alpha=False of the loader'
        )
    if not data:
        return (True if masks else None), ''
    return False, (
        f'{len(data)} of {len(files)} files declare a band alpha whose values are no mask ({listed(data)}): it is '
        'taken for data, e.g. near infrared, and masks nothing; alpha=True makes a mask of it'
    )


def refuse_contradictions(files: Sequence[tuple[str, Header, list[int]]], by_name: str) -> None:
    """Refuse files that are taken by position, but name or color their bands differently.

    Args:
        files: path, header and numbers of the bands that are taken of each.
        by_name: how to choose bands by name, for the message.

    Raises:
        OtherBandsError: if two of them contradict each other.
    """
    groups: list[list[tuple[str, Header, list[int]]]] = []
    # Those that say most come first: a file that says nothing fits all others, which need not fit each other.
    for file in sorted(files, key=lambda file: -sum(map(bool, (*file[1].names, *file[1].colors)))):
        for group in groups:
            if not contradiction(*group[0][1:], *file[1:]):
                group.append(file)
                break
        else:
            groups.append([file])
    if len(groups) < 2:
        return
    groups.sort(key=len, reverse=True)
    first, second = ([path for path, *_ in group] for group in groups[:2])
    fault = contradiction(*groups[0][0][1:], *groups[1][0][1:])
    raise OtherBandsError(
        f'{len(first)} files ({listed(first)}) and {len(files) - len(first)} others ({listed(second)}) do not have the '
        f"same bands: {fault}. Choose by name, which orders each file's bands: {by_name}; or mend the files; or, where "
        'the names are wrong, take bands by position: ignore_names=True (--ignore-names)'
    )


def listed(paths: Sequence[str]) -> str:
    """Name some files."""
    return ', '.join(paths[:_SHOWN]) + (f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else '')


def settle_alpha(loader: Any, files: Sequence[Found]) -> bool | None:
    """Settle for all files whether a band that is declared alpha is a mask, and tell the loader and the user.

    Args:
        loader: what reads them (:class:`mmrs_ssl.LoadRaster`).
        files: path and header of each.

    Raises:
        OtherBandsError: if it is one in some files and not in others.
    """
    declared = [(path, header) for path, header in files if header.alpha is not None]
    every = bool(declared) and all(loader.bands == len(header.names) for _, header in declared)
    mask, note = alpha_is_mask(files, loader.marks.alpha, every)
    if mask is not False and declared and loader.bands is None and not loader.convert:
        note = (
            f'{len(declared)} files declare a band alpha, {declared[0][0]} among them: it masks the others, uncounted. '
            'If it is data, give the number of all bands: train_dataloader.dataset.pipeline.0.bands=...'
        )
    elif mask and loader.marks.alpha is None:
        masks = [path for path, header in declared if header.mask]
        note = (
            f'{len(masks)} of {len(files)} files declare a band alpha whose values are those of a mask '
            f'({listed(masks)}): where it is 0, the others are replaced. Say alpha=True to the loader if that is '
            'right, alpha=False if it is data, e.g. near infrared'
        )
    if note:
        print_log(note, 'current', logging.WARNING)
    if declared:  # no file is judged by itself from here on
        loader.marks = loader.marks._replace(alpha=mask)
    return mask


def note_declared(loader: Any, files: Sequence[Found]) -> None:
    """Warn where files declare another value than the one that the loader takes in its place."""
    value = loader.marks.value
    if value is None or value == 'none':
        return
    others = [
        (path, kept)
        for path, header in files
        if (kept := [v for v in header.nodata if v is not None and not holds(np.array(v), float(value))])
    ]
    if others:
        print_log(
            f'{len(others)} of {len(files)} files declare another value than nodata={value:g}, e.g. {others[0][0]}: '
            f'{others[0][1][0]:g}, which is data now; leave nodata out where files declare it',
            'current',
            logging.WARNING,
        )


def refuse_inverted(files: Sequence[Found]) -> None:
    """Refuse files that count from white to black among those that count from black to white.

    Raises:
        OtherBandsError: naming some of both.
    """
    counted = [(path, header.inverted) for path, header in files if np.dtype(header.dtype).kind == 'u']
    kinds = [[path for path, inverted in counted if inverted == kind] for kind in (True, False)]
    if all(kinds):
        raise OtherBandsError(
            f'0 is white in {len(kinds[0])} files (MINISWHITE: {listed(kinds[0])}) and black in {len(kinds[1])} '
            f'({listed(kinds[1])}), and numbers are loaded as they are stored; invert those, or load all by '
            "convert='rgb', which reads both as meant"
        )


def scales_note(files: Sequence[tuple[str, tuple[tuple[float, float], ...]]]) -> str:
    """Say which files declare another scale or offset of a band than most; '' if all agree.

    Args:
        files: path, and (scale, offset) of the bands that are taken.
    """
    kinds: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for path, scaling in files:
        kinds.setdefault(scaling, []).append(path)
    if len(kinds) < 2:
        return ''
    (usual, most), *others = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    other = [path for _, paths in others for path in paths]
    band = next(i for i, (one, two) in enumerate(zip(others[0][0], usual, strict=False)) if one != two)
    texts = [f'{scaling[band][0]:g} and {scaling[band][1]:g}' for scaling in (others[0][0], usual)]
    return (
        f'{len(other)} files declare other scales than {len(most)} ({listed(other)}: scale and offset of band {band} '
        f'are {texts[0]}; {listed(most)}: {texts[1]}), and numbers are taken as they are stored, in different units'
    )


def compare_values(loader: Any, files: Sequence[Found], number: int = 1) -> None:
    """See whether one number means the same in all files: refuse 0 that is white here and black there, warn of scales.

    Raises:
        OtherBandsError: if it does not.
    """
    if not loader.convert:
        refuse_inverted(files)
    if loader.unscale:
        return
    scalings = []
    for path, header in files:
        with suppress(OtherBandsError):
            scalings.append((path, header.scaling(loader.choose_of(header, path, number))))
    if note := scales_note([each for each in scalings if len(each[1]) == len(scalings[0][1])]):
        print_log(f'{note}; unscale=True of the loader applies them', 'current', logging.WARNING)


def refuse_other_bands(loader: Any, files: Sequence[Found], number: int = 1) -> None:
    """Refuse files that the loader takes bands from by position, but that name or color them differently.

    Raises:
        OtherBandsError: if two of them contradict each other.
    """
    by_name = isinstance(loader.bands, list) and all(isinstance(band, str) for band in loader.bands)
    converted = loader.convert and not isinstance(loader.bands, list)  # which finds red, green and blue in each file
    if loader.ignore_names or by_name or converted:
        return
    chosen = []
    for path, header in files:
        with suppress(OtherBandsError):
            chosen.append((path, header, loader.choose_of(header, path, number)))
    refuse_contradictions(chosen, "bands=['red', ...]")
