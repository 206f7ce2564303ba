"""See whether the files of an archive agree on what their bands are."""

from __future__ import annotations

from collections.abc import Sequence

from mmrs_ssl.rasters.bands import contradiction
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Header

_SHOWN = 3  # files of each kind, in messages


def alpha_is_mask(files: Sequence[tuple[str, Header]], asked: bool | None, as_data: bool) -> tuple[bool, str]:
    """Settle for all files whether a band that is declared alpha is a mask.

    Args:
        files: path and header of each.
        asked: what an option says; None for nothing.
        as_data: whether this band is read as data in any case.

    Returns:
        Whether it is, and what the user ought to know, if anything.

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
        return True, ''
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
        'the names are wrong, take bands by position: ignore_names=True'
    )


def listed(paths: Sequence[str]) -> str:
    """Name some files."""
    return ', '.join(paths[:_SHOWN]) + (f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else '')
