"""Find rasters and pictures on disk."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from glob import glob, has_magic
from pathlib import Path

from mmengine.logging import print_log

from mmrs_ssl.rasters.access import fixed_folder, is_address
from mmrs_ssl.rasters.foreign import Foreign, conversions, counted, is_zarr, subdataset_hint, survey

RASTER_SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2')
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.webp')
WHERE_TO_SET = 'set it with --cfg-options data_root=FOLDER'
_KINDS = RASTER_SUFFIXES + IMAGE_SUFFIXES
_COPIES = ('@eaDir', '__MACOSX')  # small pictures of a network disk, halves of files of another system


def find_rasters(data_root: str | Path) -> list[Path]:
    """Find the rasters and images of a folder and its sub-folders, of a glob pattern (files or folders), or one file.

    Hidden files and folders are none. Files of formats that are not read here are passed over: the log tells once.

    Returns:
        Sorted paths.

    Raises:
        FileNotFoundError: if there is no such file or folder, or no raster in it.
    """
    root = str(data_root)
    if Path(root).is_file():
        return [Path(root)]
    files, what = _files(root), f'data_root={root!r}'
    if not (rasters := _read_here(files, what)):
        raise FileNotFoundError(f'{what} {_problem(files, root, "raster")}; {WHERE_TO_SET}')
    return sorted(rasters)


def find_all(sources: Iterable[str | Path]) -> list[str | Path]:
    """Find the rasters of several folders, files and glob patterns, each once; addresses stay as they are.

    Raises:
        FileNotFoundError: if there is none in one of them.
    """
    paths: dict[str | Path, str | Path] = {}
    for source in sources:
        if is_address(str(source)):
            paths[str(source)] = str(source)
        elif Path(source).is_file():
            paths[Path(source).resolve()] = Path(source)
        else:
            files = _files(str(source))
            if not (rasters := _read_here(files, str(source))):
                problem = _problem(files, str(source), 'raster')
                raise FileNotFoundError(
                    f'{source}: no raster there: it {problem}; give a folder, a file or a glob pattern'
                )
            paths |= {path.resolve(): path for path in sorted(rasters)}
    return list(paths.values())


def find_images(data_root: str | Sequence[str], exclude: str | Sequence[str] = ()) -> list[str]:
    """Find the images of one or several folders, glob patterns or files, root by root, each in the order of names.

    Args:
        data_root: one or several of them; what two of them hold counts once.
        exclude: glob patterns of files and folders to leave out, relative to the root (of a pattern, to the folder
            before its first wildcard): ``*`` stands for any letters but ``/``, ``**`` for any folders.

    Raises:
        FileNotFoundError: if a root does not exist or holds no image.
    """
    roots = [data_root] if isinstance(data_root, str) else list(data_root)
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    paths: dict[str, str] = {}
    unused = set(patterns)
    for root in roots:
        base, files = fixed_folder(Path(root)), _files(root)
        kept = files
        for pattern in patterns:
            left_out = {path for path in files or () if fits(path.relative_to(base).parts, pattern)}
            kept = None if kept is None else [path for path in kept if path not in left_out]
            unused -= {pattern} if left_out else set()
        if not (images := _read_here(kept, f'data_root={root!r}')):
            out = f', exclude={exclude!r} aside' if files and kept != files else ''
            raise FileNotFoundError(f'data_root={root!r} {_problem(kept, root, "image")}{out}; {WHERE_TO_SET}')
        names = {path.relative_to(base).as_posix(): path for path in images}
        for name in sorted(names):
            path = os.path.join(root, name) if base == Path(root) else str(names[name])
            paths.setdefault(os.path.realpath(path) if len(roots) > 1 else path, path)
    _tell_unused(unused, f'data_root={data_root!r}')
    return list(paths.values())


def leave_out(names: Sequence[str], exclude: str | Sequence[str], listed_in: str) -> list[str]:
    """Leave out the names of a list that fit a pattern, as :func:`find_images` does; warn of patterns that fit none."""
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    fitting = {pattern: {name for name in names if fits(name.split('/'), pattern)} for pattern in patterns}
    _tell_unused({pattern for pattern, found in fitting.items() if not found}, f'the list {listed_in}')
    gone = set().union(*fitting.values())
    return [name for name in names if name not in gone]


def _tell_unused(patterns: Iterable[str], where: str) -> None:
    for pattern in sorted(patterns):
        _tell(f'exclude={pattern!r} fits no file of {where}; it counts from there, e.g. **/label/*', logging.WARNING)


def fits(parts: Sequence[str], pattern: str | Sequence[str]) -> bool:
    """Tell whether a path, or a folder that it lies in, fits a glob pattern; both are relative."""
    wanted = [part for part in pattern.split('/') if part not in ('', '.')] if isinstance(pattern, str) else pattern
    if not wanted:
        return True
    if wanted[0] == '**':
        return any(fits(parts[i:], wanted[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], wanted[0]) and fits(parts[1:], wanted[1:])


def _files(root: str) -> list[Path] | None:
    """Return every file of a folder or glob pattern, and every store of Zarr; None if there is no such thing."""
    path = Path(root)
    if path.is_dir():
        return list(_walk(root))
    if path.is_file():
        return [path]
    if not has_magic(root):
        return None
    if '**' in path.parts:  # glob would follow links in circles
        base = fixed_folder(path)
        rest = path.parts[len(base.parts) :]
        return [found for found in _walk(base, rest) if fits(found.relative_to(base).parts, rest)]
    matches = [Path(name) for name in glob(root)]
    matches = [match for match in matches if not any(_passed_over(part, path.parts) for part in match.parts)]
    return list(dict.fromkeys(p for match in matches for p in (_walk(match) if match.is_dir() else [match])))


def _passed_over(folder: str, named: Sequence[str]) -> bool:
    """Tell whether a folder holds other programs' copies, no images of its own, and no part of a pattern names it."""
    copies = folder.startswith('.') or folder in _COPIES
    return copies and not any(fnmatchcase(folder, part) and part[0] == folder[0] for part in named)


def _walk(folder: str | Path, named: Sequence[str] = ()) -> Iterator[Path]:
    """Yield every file below a folder, but none that is hidden or in a folder of copies, see :func:`_passed_over`.

    Links to folders are followed last, each folder once.
    """
    seen: set[str] = set()  # real paths
    waiting = [str(Path(folder))]
    while waiting:
        links: list[str] = []
        for start in waiting:
            real = os.path.realpath(start)
            for place, folders, names in os.walk(start):  # which follows no links
                folders[:] = [name for name in folders if not _passed_over(name, named)]
                if (key := real + place.removeprefix(start)) in seen:
                    folders.clear()
                    continue
                seen.add(key)
                if is_zarr(place, names):
                    folders.clear()  # of very many small files
                    yield Path(place)
                    continue
                links += [link for name in folders if os.path.islink(link := os.path.join(place, name))]
                yield from (Path(place, name) for name in names if not name.startswith('.'))
        waiting = sorted(links)


def _read_here(files: list[Path] | None, what: str) -> list[Path]:
    """Return those files that are read here; tell of which other formats there are some beside them."""
    read = [path for path in files or () if path.suffix.lower() in _KINDS and path.is_file()]
    if read and (others := _others(files, beside_rasters=True)):
        _tell(f'{what}: passed over {counted(others)}: not read here; name one alone to see how to convert it')
    return read


def _others(files: list[Path] | None, beside_rasters: bool = False) -> dict[Foreign, list[str]]:
    return survey((path for path in files or () if path.suffix.lower() not in _KINDS), beside_rasters)


def _problem(files: list[Path] | None, root: str, noun: str) -> str:
    """Say why nothing was found in a root."""
    if files is None:
        return subdataset_hint(root) or 'is no folder, file or glob pattern'
    others = _others(files)
    return f'holds no {noun} ({" ".join(_KINDS)}){f", but {conversions(others)}" if others else ""}'


@cache  # once for a process
def _tell(text: str, level: int = logging.INFO) -> None:
    print_log(text, 'current', level)
