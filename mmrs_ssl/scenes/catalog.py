"""Make the scenes of an archive, and tell once what the user ought to know of them."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mode

from mmengine.logging import print_log

from mmrs_ssl.rasters.grid import Header
from mmrs_ssl.scenes.dates import Demands, Placement
from mmrs_ssl.scenes.files import SceneFile
from mmrs_ssl.scenes.index import Scene, assemble_scene, group_files
from mmrs_ssl.scenes.placing import SceneError, placed

_SHOWN = 3
_LARGE_LOSS = 0.5  # of the largest file of a scene


def make_scenes(
    files: Sequence[SceneFile], headers: Mapping[str, object], demands: Demands
) -> tuple[list[Scene], list[str], int]:
    """Make the scenes that can be used, in order of their names.

    Logs the resolution of their grids; warns of dates that are left out, and of scenes most of which is not used.

    Args:
        files: those of all scenes.
        headers: of every file by its path, or why it has none.
        demands: what a scene must have. A ``crs`` of ``'same'`` is that of most files.

    Returns:
        The scenes, what is wrong with the others, and how many there are together.

    Raises:
        ValueError: if ``demands`` name a grid or a date that no file is of.
    """
    _check_names(files, demands)
    if demands.crs == 'same':
        found = [placed(header).grid.crs for header in headers.values() if isinstance(header, Header)]
        known = [crs for crs in found if crs]
        demands = replace(demands, crs=mode(known) if known else '')
    scenes, problems, missing, lost = [], [], [], []
    grids: list[Placement] = []
    groups = group_files(files)
    dates = len({(file.scene, file.date) for file in files if file.date})
    for name, group in groups.items():
        left_out: dict[str, str] = {}
        try:
            scene, placement = assemble_scene(name, group, headers, demands, left_out)
        except SceneError as error:
            problems.append(f'scene {name!r} {error}')
            continue
        scenes.append(scene)
        grids.append(placement)
        missing += [f'scene {name!r} date {date!r} {problem}' for date, problem in sorted(left_out.items())]
        if placement.covered < _LARGE_LOSS * placement.largest:
            lost.append(_describe_loss(scene, placement))
    _warn(f'left out {len(missing)} of {dates} dates', missing)
    options = f'extent={demands.extent!r}, min_dates={demands.min_dates}'
    _warn(f'windows lie in less than half of the largest file in {len(lost)} of {len(scenes)} scenes ({options})', lost)
    if scenes:
        print_log(_describe_grids(grids, demands), 'current')
    return scenes, problems, len(groups)


def _check_names(files: Sequence[SceneFile], demands: Demands) -> None:
    if demands.grid is not None:
        names = [name for name in (*demands.modalities, *(demands.band_files or ())) if name]
        if demands.grid not in names:
            known = ', '.join(map(repr, names)) or 'none: the files are of one kind'
            raise ValueError(f'grid={demands.grid!r} is no modality and none of band_files; there are {known}')
    if demands.extent not in ('union', 'intersection'):
        dates = dict.fromkeys(sorted(file.date for file in files if file.date))
        if demands.extent not in dates:
            some = ', '.join([*map(repr, list(dates)[:_SHOWN]), *(['...'] if len(dates) > _SHOWN else [])])
            raise ValueError(
                f"extent={demands.extent!r}, expected 'union', 'intersection' or a date of the files ({some or 'none'})"
            )


def _warn(text: str, items: Sequence[str]) -> None:
    if items:
        more = f'; and {len(items) - _SHOWN} more' if len(items) > _SHOWN else ''
        print_log(f'{text}: {"; ".join(items[:_SHOWN])}{more}', 'current', logging.WARNING)


def _describe_loss(scene: Scene, placement: Placement) -> str:
    return f'scene {scene.name!r} {placement.covered / placement.largest:.1%} ({placement.part.path})'


def _describe_grids(placements: Sequence[Placement], demands: Demands) -> str:
    """Tell the resolution of the scenes' grids and whose they are."""
    counts = Counter(map(_resolution, placements)).most_common()
    if len(counts) == 1:
        text = counts[0][0]
    elif len(counts) <= 2 * _SHOWN:
        text = ', '.join(f'{resolution} in {number} scenes' for resolution, number in counts)
    else:
        sides = sorted(side for placement in placements for side in placement.gsd or ())
        unknown = sum(placement.gsd is None for placement in placements)
        text = f'{sides[0]:.3g} to {sides[-1]:.3g} m per pixel' + (f', unknown in {unknown} scenes' if unknown else '')
    owners = Counter(placement.part.band or placement.part.modality for placement in placements).most_common()
    if owners[0][0]:
        why = 'as grid= says' if demands.grid else 'the finest'
        text += f' (that of {", ".join(repr(owner) for owner, _ in owners[:_SHOWN])}, {why})'
    return f'grid: {text}'


def _resolution(placement: Placement) -> str:
    if placement.gsd is None:
        return 'pixels of unknown size'
    down, across = (f'{side:.3g}' for side in placement.gsd)
    return f'{down} m per pixel' if down == across else f'{down} m down and {across} m across per pixel'
