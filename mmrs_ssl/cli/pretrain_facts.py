"""Look at the data of a pre-training: names and headers tell what there is, no pixel is read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmrs_ssl.cli.pretrain_names import COLORS, HEIGHTS, naming_of
from mmrs_ssl.cli.recipe import Bands, Facts
from mmrs_ssl.datasets.transforms.loading import LoadRaster
from mmrs_ssl.rasters.access import access_to, fixed_folder
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import RASTER_SUFFIXES, find_images
from mmrs_ssl.rasters.folder import sort_out
from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.rasters.header_cache import read_headers
from mmrs_ssl.scenes.files import SceneFile, find_scene_files

LARGE = 1024  # pixels of the smaller side; pictures of more are cut in windows, as scenes are
FEWEST = 4  # pictures to learn from
_SMALL_SHARE = 0.05  # of the images may be smaller than the side that is planned for
_MOST_LEFT_OUT = 0.5


def look(data: str) -> Facts:
    """Look at a folder, a glob pattern or a file.

    Raises:
        FileNotFoundError: if there is no image.
        ValueError: if they are too few, or of several kinds that nothing tells apart.
    """
    paths = find_images(data)
    rasters = [path for path in paths if path.lower().endswith(RASTER_SUFFIXES)]
    if 2 * len(rasters) > len(paths):
        return _scenes(data, rasters, len(paths) - len(rasters))
    facts = _pictures(data, paths)
    if facts.side > LARGE and not facts.convert and not facts.left_out:
        return _scenes(data, paths, 0)
    return facts


def _pictures(data: str, paths: Sequence[str]) -> Facts:
    """Take images as 8-bit RGB: as they are if nearly all are that, else converted."""
    convert = False
    found = sort_out(paths, [LoadRaster(bands=3)], access_to([data]))
    plain = all(found.headers[path].dtype == 'uint8' for path in found.kept)
    if found.left_out or not plain:
        converted = sort_out(paths, [LoadRaster(bands=3, convert='rgb')], access_to([data]))
        if not plain or len(converted.kept) > len(found.kept):
            found, convert = converted, True
    share = len(found.left_out) / len(paths)
    if share > _MOST_LEFT_OUT or len(found.kept) < FEWEST:
        why = f': {found.explain([LoadRaster(bands=3)])}' if found.left_out else ''
        raise ValueError(f'{data}: {len(found.kept)} of {len(paths)} images can be used, expected more{why}')
    sides = [min(found.headers[path].height, found.headers[path].width) for path in found.kept]
    said = [f'{len(paths):,} pictures, the smaller side {min(sides)} to {max(sides)} pixels']
    if convert:
        kinds = Counter(f'{len(each.names)} x {each.dtype}' for each in found.headers.values())
        said.append(f'made 8-bit RGB when loaded: {", ".join(f"{n} of {kind}" for kind, n in kinds.most_common())}')
    if found.left_out:
        said.append(f'{len(found.left_out)} are left out: {next(iter(found.left_out))}, for one')
    area = sum(found.headers[path].height * found.headers[path].width for path in found.kept)
    rgb = Bands(3, 'uint8', color=True)
    return Facts(
        'folder', data, len(found.kept), _usual(sides), area, {'': rgb}, {}, convert=convert, left_out=share,
        said=tuple(said),
    )  # fmt: skip


def _scenes(data: str, paths: Sequence[str], pictures: int) -> Facts:
    """Group rasters to scenes by their names."""
    base, root = fixed_folder(Path(data)), data
    if pictures:
        root = _only_rasters(data, paths)
    naming = naming_of([Path(path).relative_to(base).as_posix() for path in paths])
    files = find_scene_files(root, naming.rules.get('', naming.rules))
    headers = read_headers([file.path for file in files], None, access_to([data]))
    known = {path: header for path, header in headers.items() if isinstance(header, Header)}
    if not known:
        raise next(error for error in headers.values() if isinstance(error, UnreadableImageError))
    modalities = {name: _bands_of(name, data, files, known, naming.band_files) for name in naming.rules}
    places: dict[str, list[Header]] = {}
    dates: dict[str, set[str]] = {}
    for file in files:
        if file.path in known:
            places.setdefault(file.scene, []).append(known[file.path])
            dates.setdefault(file.scene, set()).add(file.date)
    finest = [max(each, key=lambda header: header.height * header.width) for each in places.values()]
    sides = [min(header.height, header.width) for header in finest]
    usual = Counter(map(len, dates.values())).most_common(1)[0][0]
    shown = '1 place' if len(places) == 1 else f'{len(places):,} places'
    said = [
        f'{len(files):,} rasters of {shown}, the smaller side {min(sides)} to {max(sides)} pixels',
        *([f'{pictures} pictures beside the rasters are not used'] if pictures else []),
        *(f'{name or "bands"}: {_described(bands)}' for name, bands in modalities.items()),
        *(f'left out: {each}' for each in naming.left_out),
    ]
    if bad := len(headers) - len(known):
        said.append(f'{bad} rasters cannot be read')
    return Facts(
        'geotiff', root, len(files), _usual(sides), sum(each.height * each.width for each in finest), modalities,
        naming.rules, naming.band_files, usual, left_out=bad / len(headers), said=tuple(said),
    )  # fmt: skip


def _only_rasters(data: str, paths: Sequence[str]) -> str:
    """Write the pattern that leaves pictures out."""
    suffixes = sorted({Path(path).suffix for path in paths})
    if not Path(data).is_dir() or len(suffixes) > 1:
        raise ValueError(
            f'{data} holds rasters ({", ".join(suffixes)}) and pictures; give a glob pattern of those that are meant'
        )
    return str(Path(data) / '**' / f'*{suffixes[0]}')


def _bands_of(
    modality: str, data: str, files: Sequence[SceneFile], headers: Mapping[str, Header], band_files: Sequence[str]
) -> Bands:
    """Tell the bands of a modality, which nearly all of its files have."""
    own = [headers[file.path] for file in files if file.modality == modality and file.path in headers]
    loader = LoadRaster(bands=None)
    kinds = Counter((loader.outcome(header, data), _is_color(header)) for header in own)
    ((count, dtype), color), most = kinds.most_common(1)[0]
    if most < len(own) and len({kind for kind, _ in kinds}) > 1:
        listed = ', '.join(f'{n} of {bands} x {name}' for ((bands, name), _), n in kinds.most_common())
        raise ValueError(f'{data} holds rasters of several kinds ({listed}); give a glob pattern of those of one kind')
    if band_files:
        return Bands(len(band_files), dtype)
    heights = modality in HEIGHTS
    return Bands(count, dtype, dtype == 'uint8' and count == 3 and (color or modality in COLORS), heights)


def _is_color(header: Header) -> bool:
    return header.colors[:3] == ('red', 'green', 'blue')


def _usual(sides: Sequence[int]) -> int:
    """Return the side that nearly all images have at least."""
    return sorted(sides)[int(_SMALL_SHARE * len(sides))]


def _described(bands: Bands) -> str:
    what = ', colors' if bands.color else ', heights' if bands.heights else ''
    return f'{bands.number} of {bands.dtype}{what}'
