"""Say where reading may go, and look at a file before GDAL opens it: nothing that it names may lie elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from mmrs_ssl.options import refuse
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.foreign import subdataset_hint

_NETWORK = re.compile(
    r'((zip|tar|gzip)\+)?(https?|ftp|s3|gs|az|oss)://.'
    r'|(/vsi(zip|tar|gzip)/)?/vsi(curl(_streaming)?/(https?|ftp)://|(s3|gs|az|adls|oss|swift)(_streaming)?/).',
    re.IGNORECASE,
)
_ARCHIVE = re.compile(r'/vsi(zip|tar|gzip|7z|rar)/(?P<path>[^{}]+)', re.IGNORECASE)


class Access(NamedTuple):
    """Where reading may go.

    Attributes:
        roots: real paths of folders.
        files: real paths of files that were found or listed.
        named: absolute paths of VRTs that the user named himself: their sources may lie anywhere on this machine.
        remote: whether addresses on the network are read.
    """

    roots: tuple[str, ...]
    files: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    remote: bool = False

    def reaches(self, path: str) -> bool:
        """Tell whether a path lies, links followed, where reading may go."""
        real = os.path.realpath(path)
        return real in self.files or any(real == root or real.startswith(f'{root.rstrip("/")}/') for root in self.roots)

    def with_files(self, found: Iterable[str | Path]) -> Access:
        """Allow reading from files that were found or listed, too: behind links they may lie elsewhere."""
        paths = [path for path in map(str, found) if not is_address(path)]
        if not any(path.lower().endswith('.vrt') for path in paths):
            return self  # nothing names another file, and following the links of many takes a while
        return self._replace(files=frozenset(map(os.path.realpath, paths)))


def check_root(owner: object, data_root: object, several: bool = False) -> None:
    """Refuse a ``data_root`` that is no path, nor a list of such where there may be several.

    Raises:
        ValueError: saying how it is set.
    """
    roots = data_root if several and isinstance(data_root, list | tuple) else [data_root]
    if not roots or not all(isinstance(root, str | Path) and str(root) for root in roots):
        kinds = f'a folder, a pattern or a file{", or a list of them" if several else ""}'
        refuse(owner, 'data_root', data_root, f'{kinds}: --cfg-options data_root=my/images')


def access_to(sources: Iterable[str | Path], roots: Iterable[str | Path] = (), remote: bool = False) -> Access:
    """Allow reading from what the user named, and from nowhere else.

    Args:
        sources: folders, files, glob patterns, lists of files.
        roots: further folders.
        remote: whether addresses on the network are read.
    """
    folders, named = [str(root) for root in roots], []
    for source in map(str, sources):
        if is_address(source):
            continue
        folders.append(str(fixed_folder(Path(source))))
        if source.lower().endswith('.vrt') and os.path.isfile(source):
            named.append(os.path.abspath(source))
    return Access(tuple(dict.fromkeys(map(os.path.realpath, folders))), named=frozenset(named), remote=remote)


def access_beside(path: str) -> Access:
    """Allow reading from the folder of a file, where nothing else is known."""
    return Access((os.path.realpath(os.path.dirname(os.path.abspath(path))),))


def fixed_folder(root: Path) -> Path:
    """Return the folder that paths are relative to: of a glob pattern, the part before the first wildcard."""
    if root.is_dir():
        return root
    if root.exists() or not has_magic(str(root)):
        return root.parent
    first = next(i for i, part in enumerate(root.parts) if has_magic(part))
    return Path(*root.parts[:first])


def is_address(path: str) -> bool:
    """Tell whether GDAL takes a path for something else than a file of this machine."""
    return '://' in path or path[:4].lower() == '/vsi'


def is_remote(path: str) -> bool:
    """Tell whether a path is an address on the network."""
    return bool(_NETWORK.match(path))


def check_address(address: str, access: Access, where: str) -> None:
    """Refuse an address that may not be read.

    Args:
        address: what :func:`is_address` says yes to.
        access: where reading may go.
        where: what names the address, for the message.

    Raises:
        UnreadableImageError: if it is on the network and that is not allowed, in an archive elsewhere, or unknown.
    """
    if is_remote(address):
        if not access.remote:
            raise UnreadableImageError(f'{where} lies on the network, which is read with allow_remote=True alone')
    elif hint := subdataset_hint(address):
        raise UnreadableImageError(f'{where} {hint}')
    elif not (archive := _ARCHIVE.fullmatch(address)) or re.search('vsi|://', archive['path'][:4], re.I):
        raise UnreadableImageError(
            f'{where} is no address that is read; expected a file, /vsizip/FILE, https://..., s3://... or /vsicurl/...'
        )
    else:
        check_path(archive['path'], access, where)


def check_path(path: str, access: Access, where: str) -> None:
    """Refuse a path that lies elsewhere.

    Raises:
        UnreadableImageError: if it does.
    """
    if '\0' in path:
        raise UnreadableImageError(f'{where!r} holds a NUL and is no path')
    if not access.reaches(path):
        folders = ', '.join(access.roots)
        raise UnreadableImageError(
            f'{where} lies outside of {folders}; move it there, or name its folder: roots=[{str(Path(path).parent)!r}]'
        )
