"""Make scenes of files: what belongs together, on which grid, and which part all of it covers. No pixel is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot, isfinite
from typing import NamedTuple

from affine import Affine, TransformNotInvertibleError
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_bounds

from mmrs_ssl.rasters.grid import Grid, Header, Window
from mmrs_ssl.scenes.files import SceneFile

Files = tuple[str, ...]  # one file, or one per band
Layers = dict[str, dict[str, Files]]  # modality -> date -> files
# Raises ValueError where a modality's file (of so many) does not have the bands that will be read.
BandCheck = Callable[[str, Header, str, int], object]


class SceneError(ValueError):
    """Raised for a scene that cannot be used; it says why."""


class Scene(NamedTuple):
    """One place: its files, the grid they are read on, and the part that all of them cover.

    ``grid`` (None: the only file's own) has ``shape`` (height, width), of which all layers cover ``extent``; ``gsd`` is
    metres per pixel (down, across), None where unknown.
    """

    name: str
    layers: Layers
    grid: Grid | None
    shape: tuple[int, int]
    extent: Window
    gsd: tuple[float, float] | None


@dataclass(frozen=True)
class Demands:
    """What a scene must have: modalities, bands (a file each) and a number of dates, bands, and a CRS."""

    modalities: Sequence[str]
    band_files: Sequence[str] | None = None
    min_dates: int = 1
    crs: str | None = None
    check_bands: BandCheck | None = None


def group_files(files: Iterable[SceneFile]) -> dict[str, list[SceneFile]]:
    """Group files by scene; scenes come in order of their names."""
    scenes: dict[str, list[SceneFile]] = {}
    for file in files:
        scenes.setdefault(file.scene, []).append(file)
    return dict(sorted(scenes.items()))


def assemble_scene(name: str, files: Sequence[SceneFile], headers: Mapping[str, object], demands: Demands) -> Scene:
    """Make a scene of its files.

    Raises:
        SceneError: if it lacks something or its files do not fit together.
    """
    layers = make_layers(files, demands)
    paths = [path for dates in layers.values() for group in dates.values() for path in group]
    found = []
    for path in paths:
        header = headers[path]
        if not isinstance(header, Header):
            raise SceneError(str(header))
        found.append(header)
    if demands.check_bands:
        by_path = dict(zip(paths, found, strict=True))
        for modality, dates in layers.items():
            for group in dates.values():
                _check_bands(demands.check_bands, modality, group, by_path)
    if demands.crs is not None:
        _check_crs(paths, found, demands.crs)
    first = found[0]
    extent = common_extent(paths, found)
    grid = first.grid if len(paths) > 1 else None
    return Scene(name, layers, grid, (first.height, first.width), extent, ground_sample_distance(first.grid))


def make_layers(files: Sequence[SceneFile], demands: Demands) -> Layers:
    """Sort files by modality and date, in the order demanded.

    Raises:
        SceneError: if a modality, a band or a date is missing.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for file in files:
        found.setdefault(file.modality, {}).setdefault(file.date, {})[file.band] = file.path
    missing = [modality for modality in demands.modalities if modality not in found]
    if missing:
        raise SceneError(f'has no file of modality {missing[0]!r} (beside {files[0].path})')
    # A modality without dates of its own goes with every date; the others share their dates.
    dated = [set(found[modality]) for modality in demands.modalities if set(found[modality]) != {''}]
    dates = sorted(set.intersection(*dated)) if dated else ['']
    if len(dates) < max(demands.min_dates, 1):
        raise SceneError(f'has {len(dates)} date(s) of all modalities, expected {demands.min_dates} ({files[0].path})')
    return {
        modality: {date: _stack(found[modality].get(date) or found[modality][''], demands.band_files) for date in dates}
        for modality in demands.modalities
    }


def _stack(bands: Mapping[str, str], band_files: Sequence[str] | None) -> Files:
    """Return the files of one image: the only one, or one per band in the order of ``band_files``."""
    path = next(iter(bands.values()))
    if band_files is None:
        if len(bands) > 1:
            raise SceneError(f'has a file per band ({", ".join(bands)}; {path}); say which to stack with band_files')
        return (path,)
    missing = [band for band in band_files if band not in bands]
    if missing:
        raise SceneError(f'has no file of band {missing[0]!r} (beside {path})')
    return tuple(bands[band] for band in band_files)


def _check_bands(check: BandCheck, modality: str, group: Files, headers: Mapping[str, Header]) -> None:
    for path in group:
        try:
            check(modality, headers[path], path, len(group))
        except ValueError as error:
            raise SceneError(str(error)) from error


def _check_crs(paths: Sequence[str], headers: Sequence[Header], wanted: str) -> None:
    for path, header in zip(paths, headers, strict=True):
        if not header.grid.crs:
            raise SceneError(f'{path} has no CRS, but crs= asks for one')
        own = CRS.from_user_input(header.grid.crs)
        if own != CRS.from_user_input(wanted):
            raise SceneError(f'{path} is in {describe_crs(header.grid.crs)}, but crs= asks for {describe_crs(wanted)}')


def common_extent(paths: Sequence[str], headers: Sequence[Header]) -> Window:
    """Compute the part that all rasters cover, in whole pixels of the first one's grid.

    Raises:
        SceneError: if they cannot be put on one grid or do not overlap.
    """
    first = headers[0]
    top, left, bottom, right = 0.0, 0.0, float(first.height), float(first.width)
    for path, header in zip(paths[1:], headers[1:], strict=True):
        try:
            box = extent_on(first, header, paths[0], path)
        except (RasterioError, CPLE_BaseError, TransformNotInvertibleError) as error:
            raise SceneError(f'{path} cannot be put on the grid of {paths[0]}: {error}') from error
        if not all(map(isfinite, box)):
            raise SceneError(f'{path} has no finite extent on the grid of {paths[0]}: one of their CRSs is wrong')
        top, left, bottom, right = max(top, box[0]), max(left, box[1]), min(bottom, box[2]), min(right, box[3])
        if ceil(top) >= floor(bottom) or ceil(left) >= floor(right):
            raise SceneError(f'{path} does not overlap with {paths[0]}')
    return Window(ceil(top), ceil(left), floor(bottom) - ceil(top), floor(right) - ceil(left))


def extent_on(first: Header, other: Header, first_path: str, path: str) -> tuple[float, float, float, float]:
    """Compute where a raster lies on the first one's grid: top, left, bottom, right in its pixels.

    Raises:
        SceneError: if that is not known.
    """
    same_size = (first.height, first.width) == (other.height, other.width)
    if first.grid == other.grid and (first.georeferenced or same_size):
        return 0.0, 0.0, float(other.height), float(other.width)
    if not (first.georeferenced and other.georeferenced) or bool(first.grid.crs) != bool(other.grid.crs):
        raise SceneError(
            f'{path} ({_where(other)}) cannot be put on the grid of {first_path} ({_where(first)}): give both a CRS '
            'and a transform (gdal_edit.py -a_srs ... -a_ullr ...), or neither and the same size'
        )
    corners = [Affine(*other.grid.transform) @ (x, y) for x in (0, other.width) for y in (0, other.height)]
    bounds = _bounds(corners)
    if first.grid.crs != other.grid.crs:
        bounds = transform_bounds(CRS.from_wkt(other.grid.crs), CRS.from_wkt(first.grid.crs), *bounds)
    to_pixels = ~Affine(*first.grid.transform)
    left, top, right, bottom = _bounds([to_pixels @ (x, y) for x in bounds[::2] for y in bounds[1::2]])
    # a hair of rounding must not cost a row of pixels
    return round(top, 6), round(left, 6), round(bottom, 6), round(right, 6)


def _bounds(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _where(header: Header) -> str:
    place = 'georeferenced' if header.georeferenced else 'not georeferenced'
    return f'{header.height} x {header.width} pixels, {describe_crs(header.grid.crs)}, {place}'


def describe_crs(wkt: str) -> str:
    """Name a CRS in a few letters, for messages."""
    return CRS.from_user_input(wkt).to_string()[:60] if wkt else 'no CRS'


def ground_sample_distance(grid: Grid) -> tuple[float, float] | None:
    """Compute metres per pixel (down, across); None where the CRS is unknown or in degrees."""
    try:
        crs = CRS.from_user_input(grid.crs)
    except CRSError:
        return None
    if not crs.is_projected:
        return None
    metres = crs.linear_units_factor[1]
    a, b, _, d, e, _ = grid.transform
    return hypot(b, e) * metres, hypot(a, d) * metres
