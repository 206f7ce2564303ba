"""Make scenes of files: what belongs together, on which grid, and which part each date covers. No pixel is read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mmrs_ssl.rasters.grid import Grid, Header, Window
from mmrs_ssl.scenes.dates import DateFile, Demands, Placement, place_dates
from mmrs_ssl.scenes.files import SceneFile
from mmrs_ssl.scenes.placing import SceneError, check_crs, check_no_rpcs

Files = tuple[str, ...]  # one file, or one per band
Layers = dict[str, dict[str, Files]]  # modality -> date -> files


class Scene(NamedTuple):
    """One place: its files, the grid they are read on, and what its dates cover of it.

    ``grid`` (None: the only file's own) has ``shape`` (height, width). Windows lie in ``extent``, of which each date
    covers its own of ``extents`` (a raster that lies turned on the grid counts with the rectangle around it, what is
    empty of that holds no data); ``gsd`` is metres on the ground per pixel (down, across) in its center, None where
    unknown.
    """

    name: str
    layers: Layers
    grid: Grid | None
    shape: tuple[int, int]
    extent: Window
    gsd: tuple[float, float] | None
    extents: dict[str, Window]

    def dates_at(self, window: Window) -> list[str]:
        """Return the dates that cover a window, in their order."""
        bottom, right = window.top + window.height, window.left + window.width
        return [
            date
            for date, own in self.extents.items()
            if own.top <= window.top
            and own.left <= window.left
            and bottom <= own.top + own.height
            and right <= own.left + own.width
        ]

    @property
    def uniform(self) -> bool:
        """Tell whether every date covers all of the scene."""
        return all(own == self.extent for own in self.extents.values())


def group_files(files: Iterable[SceneFile]) -> dict[str, list[SceneFile]]:
    """Group files by scene; scenes come in order of their names."""
    scenes: dict[str, list[SceneFile]] = {}
    for file in files:
        scenes.setdefault(file.scene, []).append(file)
    return dict(sorted(scenes.items()))


def assemble_scene(
    name: str, files: Sequence[SceneFile], headers: Mapping[str, object], demands: Demands, left_out: dict[str, str]
) -> tuple[Scene, Placement]:
    """Make a scene of its files.

    Args:
        name: of the scene.
        files: its files.
        headers: of all files, by path, or why there is none.
        demands: what a scene must have.
        left_out: is given the dates that do not fit, and what is wrong with each.

    Returns:
        The scene and where its dates lie.

    Raises:
        SceneError: if it lacks something or too few of its dates fit together.
    """
    dates: dict[str, list[DateFile]] = {}
    stacks: dict[str, dict[str, Files]] = {}
    for date, modalities in _sort_files(files, demands.modalities).items():
        try:
            stacks[date] = {modality: _stack(modality, modalities, demands) for modality in demands.modalities}
            dates[date] = [
                part for modality, paths in stacks[date].items() for part in _parts(modality, paths, headers, demands)
            ]
        except SceneError as error:
            left_out[date] = str(error)
    placement = place_dates(dates, demands, left_out)
    layers = {modality: {date: stacks[date][modality] for date in placement.extents} for modality in demands.modalities}
    several = sum(len(paths) for by_date in layers.values() for paths in by_date.values()) > 1
    grid = placement.grid if several else None
    return Scene(name, layers, grid, placement.shape, placement.extent, placement.gsd, placement.extents), placement


def _sort_files(files: Sequence[SceneFile], demanded: Sequence[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Sort files by date, modality and band.

    Raises:
        SceneError: if a modality is missing.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for file in files:
        found.setdefault(file.modality, {}).setdefault(file.date, {})[file.band] = file.path
    missing = [modality for modality in demanded if modality not in found]
    if missing:
        raise SceneError(f'has no file of modality {missing[0]!r} (beside {files[0].path})')
    # A modality without dates of its own goes with every date; the others share their dates.
    dated = [set(found[modality]) for modality in demanded if set(found[modality]) != {''}]
    dates = sorted(set.union(*dated)) if dated else ['']
    return {
        date: {
            modality: found[modality].get(date) or ({} if set(found[modality]) != {''} else found[modality][''])
            for modality in demanded
        }
        for date in dates
    }


def _stack(modality: str, modalities: Mapping[str, Mapping[str, str]], demands: Demands) -> Files:
    """Return the files of one image: the only one, or one per band in the order of ``band_files``."""
    bands = modalities[modality]
    if not bands:
        other = next(path for found in modalities.values() for path in found.values())
        raise SceneError(f'has no file of modality {modality!r} (beside {other})')
    path = next(iter(bands.values()))
    if demands.band_files is None:
        if len(bands) > 1:
            raise SceneError(f'has a file per band ({", ".join(bands)}; {path}); say which to stack with band_files')
        return (path,)
    missing = [band for band in demands.band_files if band not in bands]
    if missing:
        raise SceneError(f'has no file of band {missing[0]!r} (beside {path})')
    return tuple(bands[band] for band in demands.band_files)


def _parts(modality: str, paths: Files, headers: Mapping[str, object], demands: Demands) -> list[DateFile]:
    """Check the files of one image, each by itself.

    Raises:
        SceneError: if one is not as demanded.
    """
    parts = []
    for path, band in zip(paths, demands.band_files or ('',), strict=True):
        header = headers[path]
        if not isinstance(header, Header):
            raise SceneError(str(header))
        parts.append(DateFile(path, modality, band, header))
    for part in parts:
        if demands.check_bands:
            try:
                demands.check_bands(modality, part.header, part.path, len(paths))
            except ValueError as error:
                raise SceneError(str(error)) from error
        if demands.crs is not None:
            check_no_rpcs(part.path, part.header, f'crs={demands.crs!r} asks for a grid')
            check_crs(part.path, part.header, demands.crs)
    return parts
