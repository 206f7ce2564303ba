"""Check, before an archive is prepared, that it is complete and that the folder to write to is new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def require_new(*folders: Path) -> None:
    """Refuse to write between the files of an earlier run: whoever reads the folder later takes all of them.

    Raises:
        ValueError: if one of the folders is there.
    """
    for folder in folders:
        if folder.exists() or folder.is_symlink():
            raise ValueError(f'{folder} is there already; remove it or choose another folder with --out')


def require_partners(names: Iterable[str], others: Mapping[str, Iterable[str]]) -> None:
    """Refuse an archive of which a part is missing.

    Args:
        names: what must be everywhere.
        others: the names of each place, by what to call it.

    Raises:
        ValueError: if a name is not in one of the places.
    """
    wanted = set(names)
    for place, found in others.items():
        if missing := sorted(wanted.difference(found)):
            raise ValueError(
                f'{place} has no {", ".join(missing[:5])}{" ..." if len(missing) > 5 else ""} ({len(missing)} of '
                f'{len(wanted)} are missing): is the archive complete and fully unpacked?'
            )
