"""Put the dates of a place on one grid, and say which of them do not fit. No pixel is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from affine import Affine

from mmrs_ssl.rasters.grid import Grid, Header, Window
from mmrs_ssl.scenes.coverage import Corners, covered_area
from mmrs_ssl.scenes.placing import (
    SceneError,
    around,
    box_on,
    check_no_rpcs,
    finest,
    in_pixels,
    pixel_size,
    placed,
    share_pixels,
    shared_part,
    whole_pixels,
)

# Raises ValueError where a modality's file (of so many) does not have the bands that will be read.
BandCheck = Callable[[str, Header, str, int], object]


@dataclass(frozen=True)
class Demands:
    """What a scene must have, and how its files are put together.

    Attributes:
        modalities: those it must have.
        band_files: bands, a file each.
        min_dates: how many dates it must have, and how many must cover a window.
        crs: the one all files must be in.
        check_bands: see :data:`BandCheck`.
        grid: the modality or band whose grid is taken; that of the smallest pixels by default.
        extent: where windows lie: ``'union'`` of its dates, ``'intersection'``, or one date's extent.
        window: side of a window.
        unit: ``'pixels'`` or ``'metres'``.
    """

    modalities: Sequence[str]
    band_files: Sequence[str] | None = None
    min_dates: int = 1
    crs: str | None = None
    check_bands: BandCheck | None = None
    grid: str | None = None
    extent: str = 'union'
    window: float = 1
    unit: str = 'pixels'


class DateFile(NamedTuple):
    """One of the files of a date."""

    path: str
    modality: str
    band: str
    header: Header


class Placement(NamedTuple):
    """Where the dates of a place lie.

    Attributes:
        grid: on which all of them are read.
        shape: its height and width.
        extent: the part of it in which windows lie.
        extents: what every date covers of it.
        gsd: metres on the ground per pixel (down, across) in the center of ``extent``; None where not known.
        part: the file whose grid it is.
        covered: how many of its pixels windows may lie in.
        largest: how many pixels of it the largest file has.
    """

    grid: Grid
    shape: tuple[int, int]
    extent: Window
    extents: dict[str, Window]
    gsd: tuple[float, float] | None
    part: DateFile
    covered: int
    largest: int


Dates = Mapping[str, Sequence[DateFile]]


def place_dates(dates: Dates, demands: Demands, left_out: dict[str, str]) -> Placement:
    """Put the dates that fit together on one grid: as if there were no others.

    Args:
        dates: the files of each.
        demands: what is asked for.
        left_out: what is wrong with dates that do not fit; those found here are added.

    Raises:
        SceneError: if too few are left.
    """
    while True:
        dates = {date: parts for date, parts in dates.items() if date not in left_out}
        _check_enough(dates, left_out, max(demands.min_dates, 1))
        placement = _place(dates, demands)
        if isinstance(placement, Placement):
            return placement
        left_out |= placement


def _check_enough(dates: Dates, left_out: Mapping[str, str], least: int) -> None:
    if len(dates) >= least:
        return
    if list(left_out) == ['']:
        raise SceneError(left_out[''])
    where = next((f' ({parts[0].path})' for parts in dates.values()), '')
    reasons = [f'date {date!r} {reason}' for date, reason in left_out.items()]
    more = [f'and {len(reasons) - 2} more'] if len(reasons) > 2 else []
    why = f'; left out: {"; ".join(reasons[:2] + more)}' if reasons else ''
    raise SceneError(f'has {len(dates)} date(s) of all modalities, expected {least}{where}{why}')


def _place(dates: Dates, demands: Demands) -> Placement | dict[str, str]:
    """Put dates on one grid, or return what is wrong with those that do not fit."""
    parts = [part for group in dates.values() for part in group]
    why = "unit='metres' needs a grid" if demands.unit == 'metres' else f'the place has {len(parts)} files'
    if demands.unit == 'metres' or len(parts) > 1:
        _, wrong = _try_each(dates, lambda group: _check_grids(group, why))
        if wrong:
            return wrong
    if not share_pixels([part.header for part in parts]):
        dates = {date: [part._replace(header=placed(part.header)) for part in group] for date, group in dates.items()}
    _, wrong = _try_each(dates, lambda group: _boxes(group[0], group))
    if wrong := wrong or _elsewhere(dates, demands.extent):
        return wrong
    choice = [part for group in dates.values() for part in group if demands.grid in (None, part.modality, part.band)]
    reference = choice[finest([part.header for part in choice])]
    boxes, wrong = _try_each(dates, lambda group: _boxes(reference, group))
    return wrong or _fit(reference, dates, boxes, demands)


def _try_each(dates: Dates, do: Callable[[Sequence[DateFile]], Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a function gives for every date, and what is wrong where it raises SceneError."""
    results, wrong = {}, {}
    for date, group in dates.items():
        try:
            results[date] = do(group)
        except SceneError as error:
            wrong[date] = str(error)
    return results, wrong


def _check_grids(group: Sequence[DateFile], why: str) -> None:
    for part in group:
        check_no_rpcs(part.path, part.header, why)


def _boxes(reference: DateFile, group: Sequence[DateFile]) -> list[Window]:
    """Return the whole pixels of a grid that each file covers.

    Raises:
        SceneError: if a file cannot be put on the grid, or they have no pixel in common.
    """
    boxes: list[Window] = []
    for part in group:
        boxes.append(whole_pixels(box_on(reference.header, reference.path, part.header, part.path)))
        if shared_part(boxes) is None:
            raise SceneError(f'{part.path} does not overlap with {group[0].path if len(boxes) > 1 else reference.path}')
    return boxes


def _elsewhere(dates: Dates, wanted: str) -> dict[str, str]:
    """Say which dates lie elsewhere than most, or than the wanted one: they do not touch, not even by way of others."""
    order = list(dates)
    clusters: list[list[str]] = []
    for date in order:
        touched = [c for c in clusters if any(_touch(dates[other][0], dates[date][0]) for other in c)]
        clusters = [c for c in clusters if c not in touched] + [[d for c in touched for d in c] + [date]]
    kept = max(clusters, key=lambda c: (wanted in c, len(c), -min(map(order.index, c))))
    first = dates[min(kept, key=order.index)][0]
    _, wrong = _try_each(
        {date: [first, dates[date][0]] for date in order if date not in kept}, lambda pair: _boxes(first, pair)
    )
    return wrong


def _touch(one: DateFile, other: DateFile) -> bool:
    try:
        _boxes(one, [one, other])
    except SceneError:
        return False
    return True


def _fit(
    reference: DateFile, dates: Dates, boxes: Mapping[str, list[Window]], demands: Demands
) -> Placement | dict[str, str]:
    """Choose the part of the grid where windows lie; return what is wrong with dates that hold none of them."""
    header = reference.header
    extents = {date: shared for date, files in boxes.items() if (shared := shared_part(files))}
    for wanted in dict.fromkeys(('union', demands.extent)):  # a date that is too small by itself cuts no other
        extent = _whole_extent(extents, wanted)
        extents = {date: shared_part([own, extent]) or Window(0, 0, 0, 0) for date, own in extents.items()}
        gsd = pixel_size(header, header.grid, extent)
        side = in_pixels(gsd, demands.window, demands.unit, header.grid.crs)
        small = {date: own for date, own in extents.items() if own.height < side[0] or own.width < side[1]}
        if small:
            return {date: _too_small(dates[date], own, side, wanted) for date, own in small.items()}
    least = max(demands.min_dates, 1)
    if least > 1 and not len(Corners(list(extents.values()), side, least)):
        raise SceneError(f'has no window of {side[0]} x {side[1]} pixels that {least} dates cover ({reference.path})')
    up, left = min(extent.top, 0), min(extent.left, 0)  # other dates may begin before the grid's own raster does
    grid = header.grid
    if up or left:
        grid = Grid(grid.crs, tuple(Affine(*grid.transform) @ Affine.translation(left, up))[:6])
    shape = max(header.height, extent.top + extent.height) - up, max(header.width, extent.left + extent.width) - left
    return Placement(
        grid,
        shape,
        _moved(extent, -up, -left),
        {date: _moved(own, -up, -left) for date, own in extents.items()},
        gsd,
        reference,
        covered_area(extents.values(), least),
        max(box.height * box.width for files in boxes.values() for box in files),
    )


def _whole_extent(extents: Mapping[str, Window], wanted: str) -> Window:
    if wanted == 'union':
        return around(list(extents.values()))
    if wanted != 'intersection':
        if wanted not in extents:
            raise SceneError(f'has no date extent={wanted!r} that can be used, but {", ".join(map(repr, extents))}')
        return extents[wanted]
    if (shared := shared_part(list(extents.values()))) is None:
        raise SceneError(f"has {len(extents)} dates without a pixel that all of them cover; set extent='union'")
    return shared


def _too_small(group: Sequence[DateFile], extent: Window, side: tuple[int, int], wanted: str) -> str:
    shared = f' that its {len(group)} files share' if len(group) > 1 else ''
    shared += '' if wanted == 'union' else f' in extent={wanted!r}'
    return (
        f'({group[0].path}) has {extent.height} x {extent.width} pixels{shared}, less than a window of '
        f'{side[0]} x {side[1]}; make the window smaller'
    )


def _moved(window: Window, down: int, right: int) -> Window:
    return Window(window.top + down, window.left + right, window.height, window.width)
