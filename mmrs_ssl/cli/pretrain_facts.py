"""Look at the data of a pre-training: names and headers tell what there is, no pixel is read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from pathlib import Path

from mmrs_ssl.cli.pretrain_files import Sources, find_sources
from mmrs_ssl.cli.pretrain_names import COLORS, HEIGHTS, INFRARED, modality_words, naming_of
from mmrs_ssl.cli.recipe import SIZES, Bands, Facts, how_many
from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.rasters.access import access_to, fixed_folder
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.folder import Sorting, sort_out
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.header_cache import read_headers
from mmrs_ssl.scenes.files import SceneFile, find_scene_files

LARGE = 1024  # pixels of the smaller side; pictures of more are cut in windows, as scenes are
FEWEST = 4  # pictures to learn from
NEARLY_ALL = 0.9  # of the places have a modality that is learned from
_SMALL_SHARE = 0.05  # of the images may be smaller than the side that is planned for
_MOST_LEFT_OUT = 0.5
_MOST_NAMED = 100  # files that are left out by a pattern each


def look(data: str, exclude: Sequence[str] | None = None) -> Facts:
    """Look at a folder, a glob pattern or a file.

    Args:
        data: where the images are.
        exclude: patterns of pictures to leave out, in place of what names tell of labels and previews.

    Raises:
        FileNotFoundError: if there is no image.
        ValueError: if they are too few, or of several kinds that nothing tells apart.
    """
    sources = find_sources(data, exclude)
    return _scenes(sources) if sources.rasters else _pictures(sources)


def _pictures(sources: Sources) -> Facts:
    """Take images as 8-bit RGB: as they are if nearly all are that, else converted; large ones are cut in windows."""
    data, paths = sources.data, sources.paths
    convert = False
    found = sort_out(paths, [LoadRaster(bands=3)], access_to([data]))
    plain = all(found.headers[path].dtype == 'uint8' for path in found.kept)
    if found.left_out or not plain:
        converted = sort_out(paths, [LoadRaster(bands=3, convert='rgb')], access_to([data]))
        if not plain or len(converted.kept) > len(found.kept):
            found, convert = converted, True
    if len(found.left_out) > _MOST_LEFT_OUT * len(paths):
        raise ValueError(f'{data}: {len(found.kept)} of {len(paths)} pictures can be used, expected most{_why(found)}')
    sides = {path: min(found.headers[path].height, found.headers[path].width) for path in found.kept}
    said = list(sources.said)
    if convert:
        kinds = Counter(f'{len(each.names)} x {each.dtype}' for each in found.headers.values())
        said.append(f'made 8-bit RGB when loaded: {", ".join(f"{n} of {kind}" for kind, n in kinds.most_common())}')
    if usual_side(list(sides.values())) > LARGE:
        if sources.apart and not naming_of(list(sources.names.values())).labels:
            return _scenes(sources, said, convert)
        said.append(
            'not cut in windows of their pixels, but shrunk: no rule of scenes leaves out what is left out here'
        )
    odd = odd_ones(sides)
    named = odd if len(odd) <= _MOST_NAMED else {}
    if named:
        path, side = next(iter(named.items()))
        said.append(f'{len(named)} are left out: far smaller than the others ({path} of {side} pixels, for one)')
    if len(kept := [path for path in found.kept if path not in named]) < FEWEST:
        raise ValueError(
            f'{data}: {how_many(len(kept), "picture")} can be used, expected at least {FEWEST}, or one of more than '
            f'{LARGE} pixels a side{_why(found)}{"".join(f"; {each}" for each in sources.said)}; give more of them'
        )
    if found.left_out:
        said.append(
            f'{len(found.left_out)} are left out, as they cannot be used: {next(iter(found.left_out))}, for one'
        )
    used = [sides[path] for path in kept]
    exclude = (*sources.exclude, *(escape(sources.names[path]) for path in named))
    return Facts(
        'folder', data, len(kept), usual_side(used), _shapes([found.headers[path] for path in kept]),
        {'': Bands(3, 'uint8', color=True)}, {}, convert=convert, exclude=exclude,
        left_out=len(found.left_out) / (len(paths) - len(named)),
        said=(f'{len(paths):,} pictures, the smaller side {min(used)} to {max(used)} pixels', *said),
    )  # fmt: skip


def _why(found: Sorting) -> str:
    return f': {found.explain([LoadRaster(bands=3)])}' if found.left_out else ''


def _scenes(sources: Sources, said: Sequence[str] | None = None, convert: bool = False) -> Facts:
    """Group rasters, or large pictures, to scenes by their names.

    Args:
        sources: where they are.
        said: of pictures.
        convert: whether 8-bit RGB is made of pictures.
    """
    data = sources.data
    paths = list(sources.paths if said is None else sources.names)
    root = data if len(paths) == len(sources.names) else _only_rasters(data, paths)
    naming = naming_of([sources.names[path] for path in paths])
    if naming.labels:
        raise ValueError(
            f'{data}: {len(naming.labels)} of {len(paths)} rasters are labels by their names ({naming.labels[0]}, for '
            'one), and no rule tells the images from them; give a glob pattern of the images alone, in quotes, e.g. '
            f"'{Path(data) / '**' / 'images' / '*'}'"
        )
    files = find_scene_files(root, naming.rules.get('', naming.rules))
    if naming.band_files:
        files = [file for file in files if file.band in naming.band_files]
    headers = read_headers([file.path for file in files], None, access_to([data]))
    known = {path: header for path, header in headers.items() if isinstance(header, Header)}
    if not known:
        raise next(error for error in headers.values() if isinstance(error, UnreadableImageError))
    readable = [file for file in files if file.path in known]
    kept, usable = shared_modalities(naming.rules, readable)
    places = {file.scene for file in files if file.modality in kept}
    used = [file for file in readable if file.modality in kept and file.scene in usable]
    modalities = {name: _bands_of(name, sources, used, known, naming.band_files, convert) for name in kept}
    finest: dict[str, Header] = {}
    dates: dict[str, set[str]] = {}
    for file in used:
        others = [finest[file.scene]] if file.scene in finest else []
        finest[file.scene] = max([known[file.path], *others], key=lambda header: header.height * header.width)
        dates.setdefault(file.scene, set()).add(file.date)
    usual = Counter(map(len, dates.values())).most_common(1)[0][0]
    told = _told_scenes(naming.rules, readable, kept, finest, modalities, 'raster' if said is None else 'picture')
    told += [*(said or sources.said), *(f'left out: {each}' for each in naming.left_out)]
    bad = len(files) - len(readable)
    broken = {file.scene for file in files if file.path not in known} if naming.band_files else set()
    if len(kept) > 1 and (lost := len(places) - len(usable)):
        told.append(f'left out: {how_many(lost, "place")} without {" or ".join(kept)}')
    if bad:
        told.append(f'{how_many(bad, "file")} cannot be read')
    rules = {name: naming.rules[name] for name in kept}
    if len(kept) == 1:
        rules, modalities = {'': rules[kept[0]]}, {'': modalities[kept[0]]}
    return Facts(
        'geotiff', root, len(used), usual_side([min(each.height, each.width) for each in finest.values()]),
        _shapes(list(finest.values())), modalities, rules, naming.band_files, usual, convert,
        left_out=max(bad / len(files), 1 - len(usable - broken) / len(places)), said=tuple(told),
    )  # fmt: skip


def shared_modalities(rules: Iterable[str], files: Sequence[SceneFile]) -> tuple[list[str], set[str]]:
    """Choose the modalities that nearly all places have, beginning with the one that most have; heights stand last.

    Args:
        rules: the modalities.
        files: that can be read.

    Returns:
        The modalities, in their order, and the places that have all of them.
    """
    has = {name: {file.scene for file in files if file.modality == name} for name in rules}
    first = max([name for name in has if name not in HEIGHTS] or has, key=lambda name: len(has[name]))
    kept, usable = {first}, has[first]
    for name, places in has.items():
        if len(places & usable) >= NEARLY_ALL * len(usable):
            kept.add(name)
            usable = usable & places
    return [name for name in has if name in kept], usable


def _told_scenes(
    rules: Iterable[str],
    files: Sequence[SceneFile],
    kept: Sequence[str],
    finest: Mapping[str, Header],
    modalities: Mapping[str, Bands],
    noun: str,
) -> list[str]:
    """Say how many scenes there are, what they have, and what is left out."""
    sides = [min(header.height, header.width) for header in finest.values()]
    count = sum(file.modality in kept and file.scene in finest for file in files)
    all_places = len({file.scene for file in files})
    places = f'{how_many(count, noun)} of {how_many(len(finest), "place")}'
    told = [f'{places}, the smaller side {min(sides)} to {max(sides)} pixels']
    if noun == 'picture':
        told.append(f'windows of their own pixels are cut from them, as they have more than {LARGE} a side')
    told += [f'{name or "bands"}: {_described(bands)}' for name, bands in modalities.items()]
    for name in rules:
        if name not in kept:
            own = len({file.scene for file in files if file.modality == name})
            told.append(f'left out: {name}: {own} of {all_places} places have it')
    return told


def _only_rasters(data: str, paths: Sequence[str]) -> str:
    """Write the pattern that leaves pictures out."""
    suffixes = sorted({Path(path).suffix for path in paths})
    if not Path(data).is_dir() or len(suffixes) > 1:
        raise ValueError(
            f'{data} holds rasters ({", ".join(suffixes)}) and pictures; give a glob pattern of those that are meant'
        )
    return str(Path(data) / '**' / f'*{suffixes[0]}')


def _bands_of(
    modality: str, sources: Sources, files: Sequence[SceneFile], headers: Mapping[str, Header],
    band_files: Sequence[str], convert: bool,
) -> Bands:  # fmt: skip
    """Tell the bands of a modality, which nearly all of its files have."""
    own = [headers[file.path] for file in files if file.modality == modality]
    loader = LoadRaster(bands=None)
    kinds = Counter((loader.outcome(header, sources.data), _is_color(header)) for header in own)
    ((count, dtype), color), most = kinds.most_common(1)[0]
    if convert:
        return Bands(3, 'uint8', color=True)
    if most < len(own) and len({kind for kind, _ in kinds}) > 1:
        listed = ', '.join(f'{n} of {bands} x {name}' for ((bands, name), _), n in kinds.most_common())
        words = modality_words(list(sources.names.values()))
        advice = (
            f'their names hold {" and ".join(words)}: for a training on several modalities name all by one rule, as '
            'SCENE_rgb.tif with SCENE_dsm.tif or SCENE/rgb.tif with SCENE/dsm.tif, and move others away; for one, '
            if len(words) > 1 and not modality
            else ''
        )
        raise ValueError(
            f'{sources.data} holds rasters of several kinds ({listed}); {advice}give a glob pattern of those of one '
            'kind'
        )
    if band_files:
        return Bands(len(band_files), dtype)
    place = fixed_folder(Path(sources.data)).name
    paths = [f'{place}/{sources.names[file.path]}' for file in files] if not modality else [modality]
    infrared = all(set(INFRARED) & {*modality_words([path])} for path in paths)
    colors = dtype == 'uint8' and count == 3 and not infrared and (color or modality in COLORS)
    return Bands(count, dtype, colors, modality in HEIGHTS)


def _is_color(header: Header) -> bool:
    return header.colors[:3] == ('red', 'green', 'blue')


def usual_side(sides: Sequence[int]) -> int:
    """Return the side that nearly all images have at least, in pixels; a few odd ones do not move it."""
    ordered = sorted(sides)
    fair = [side for side in ordered if side >= _fair_side(ordered)]
    return fair[int(_SMALL_SHARE * len(fair))] if fair else 0


def odd_ones(sides: Mapping[str, int]) -> dict[str, int]:
    """Find the images that are far smaller than the others, and than anything a network is given."""
    least = _fair_side(sorted(sides.values()))
    return {path: side for path, side in sides.items() if side < least}


def _fair_side(ordered: Sequence[int]) -> float:
    return min(SIZES[0], ordered[len(ordered) // 2] / 4) if ordered else 0


def _shapes(headers: Iterable[Header]) -> dict[tuple[int, int], int]:
    return dict(Counter((header.height, header.width) for header in headers))


def _described(bands: Bands) -> str:
    what = ', colors' if bands.color else ', heights' if bands.heights else ''
    return f'{bands.number} of {bands.dtype}{what}'
