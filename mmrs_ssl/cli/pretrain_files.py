"""Tell the images of a pre-training from what lies beside them: labels, previews of rasters, rasters or pictures."""

from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import NamedTuple

from mmrs_ssl.cli.pretrain_names import label_patterns
from mmrs_ssl.rasters.access import fixed_folder
from mmrs_ssl.rasters.find import RASTER_SUFFIXES, WHERE_TO_SET, find_images, fits


class Sources(NamedTuple):
    """The files of some data.

    Attributes:
        data: as the user named it.
        names: relative to the folder of the data, by path, of all that was found.
        paths: of the images.
        rasters: whether scenes are meant, else pictures, among which may be some rasters.
        exclude: patterns of what is left out of a data set of pictures.
        apart: whether names alone tell what is left out, so that rules of scenes can leave it out, too.
        said: in sentences, what is left out.
    """

    data: str
    names: Mapping[str, str]
    paths: tuple[str, ...]
    rasters: bool
    exclude: tuple[str, ...]
    apart: bool
    said: tuple[str, ...]


def find_sources(data: str, exclude: Sequence[str] | None) -> Sources:
    """Find the images of a folder, a glob pattern or a file.

    Args:
        data: where they are.
        exclude: patterns that the user gives in place of what names tell of labels and previews.

    Raises:
        FileNotFoundError: if there is no image.
        ValueError: if there are as many rasters as pictures, which are not their previews.
    """
    try:
        paths = find_images(data, exclude or ())
    except FileNotFoundError as error:
        text = str(error).replace(f'data_root={data!r}', data).removesuffix(f'; {WHERE_TO_SET}')
        raise FileNotFoundError(f'{text}; give a folder, a glob pattern in quotes or one large raster') from error
    base = fixed_folder(Path(data))
    names = {path: Path(path).relative_to(base).as_posix() for path in paths}
    patterns = label_patterns(list(names.values())) if exclude is None else tuple(exclude)
    labels, previews = set[str](), set[str]()
    if exclude is None:
        labels = {path for path in paths if any(fits(names[path].split('/'), pattern) for pattern in patterns)}
        previews = _previews([path for path in paths if path not in labels])
    gone = labels | previews
    kept = [path for path in paths if path not in gone]
    rasters = [path for path in kept if _is_raster(path)]
    if 2 * len(rasters) == len(kept):
        raise ValueError(
            f'{data} holds as many rasters as pictures, {len(rasters)} of each ({rasters[0]}); give a glob pattern of '
            f"those that are meant, e.g. '{data.rstrip('/')}/**/*{Path(rasters[0]).suffix}'"
        )
    first = min(previews, default='')
    said = [f'{len(previews):,} pictures are left out: previews, beside rasters of their name ({first})'] * bool(first)
    if 2 * len(rasters) > len(kept):
        every = [path for path in paths if _is_raster(path)]  # labels among them are left out by the rules of scenes
        if unused := len(paths) - len(every) - len(previews):
            said.append(f'{unused:,} pictures beside the rasters are not used')
        return Sources(data, names, tuple(every), True, (), True, tuple(said))
    if labels:
        listed = ', '.join(patterns)
        said.append(f'{len(labels):,} are left out: labels, by their names ({listed}; exclude=[] takes them, too)')
    own = tuple(escape(names[path]) for path in sorted(previews))
    return Sources(data, names, tuple(kept), False, (*patterns, *own), not own and exclude is None, tuple(said))


def _is_raster(path: str) -> bool:
    return path.lower().endswith(RASTER_SUFFIXES)


def _previews(paths: Sequence[str]) -> set[str]:
    """Find the pictures beside a raster whose name they have, with its suffix or without: a.png, a.tif.png of a.tif."""
    rasters = {name for path in paths if _is_raster(path) for name in (path, str(Path(path).with_suffix('')))}
    return {path for path in paths if not _is_raster(path) and str(Path(path).with_suffix('')) in rasters}
