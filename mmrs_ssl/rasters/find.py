"""Find rasters and pictures on disk."""

import os
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from mmrs_ssl.rasters.access import is_address

RASTER_SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2')
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.webp')
WHERE_TO_SET = 'set it with --cfg-options data_root=FOLDER'


def find_rasters(data_root: str | Path) -> list[Path]:
    """Find the rasters and images of a folder and its sub-folders, of a glob pattern (files or folders), or one file.

    Returns:
        Sorted paths.

    Raises:
        FileNotFoundError: if there is no such file or folder, or no raster in it.
    """
    root, kinds = str(data_root), RASTER_SUFFIXES + IMAGE_SUFFIXES
    if has_magic(root) and not Path(root).exists():
        matches = [Path(name) for name in glob(root, recursive=True)]
        found = list({path for match in matches for path in (_walk(match) if match.is_dir() else [match])})
    elif Path(root).is_dir():
        found = list(_walk(root))
    elif Path(root).is_file():
        return [Path(root)]
    else:
        raise FileNotFoundError(f'data_root={root!r} is no folder, file or glob pattern; {WHERE_TO_SET}')
    rasters = sorted(path for path in found if path.suffix.lower() in kinds and path.is_file())
    if not rasters:
        raise FileNotFoundError(f'data_root={root!r} holds no raster ({" ".join(kinds)}); {WHERE_TO_SET}')
    return rasters


def _walk(folder: str | Path) -> Iterator[Path]:
    """Yield every file below a folder; links to folders are followed, each folder once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(place, name)) not in seen]
        yield from (Path(place, name) for name in names)


def find_all(sources: Iterable[str | Path]) -> list[str | Path]:
    """Find the rasters of several folders, files and glob patterns, each once; addresses stay as they are.

    Raises:
        FileNotFoundError: if there is none in one of them.
    """
    paths: dict[str | Path, str | Path] = {}
    for source in sources:
        if is_address(str(source)):
            paths[str(source)] = str(source)
            continue
        try:
            paths |= {path.resolve(): path for path in find_rasters(source)}
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{source}: no raster there; give a folder, a file or a glob pattern') from error
    return list(paths.values())
