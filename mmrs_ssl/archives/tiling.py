"""Cut scenes and their labels into tile files, in mmsegmentation's folder layout."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from mmrs_ssl.archives.band_statistics import DEFAULT, Options
from mmrs_ssl.archives.counting import Image, files_of
from mmrs_ssl.archives.tile_files import (
    PNG_TYPES,
    OpenScene,
    place_files,
    read_label,
    tiled_bands,
    write_png,
    write_tif,
)
from mmrs_ssl.rasters.access import Access, is_address
from mmrs_ssl.rasters.agreement import Found, alpha_is_mask, refuse_contradictions, refuse_inverted
from mmrs_ssl.rasters.arrays import Array as Array
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.rasters.grid import Grid, Window
from mmrs_ssl.rasters.guard import reaching
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.rasters.opening import open_raster, own_grid, refuse_elsewhere

_PNG_BANDS = (1, 3, 4)


@dataclass(frozen=True)
class TiledScene:
    """A scene to cut.

    Attributes:
        name: what its tiles are called.
        path: its file, or files of a band each.
        size: height and width.
        label: the file of its label.
        files: path and header of each.
    """

    name: str
    path: Image
    size: tuple[int, int]
    label: str | Path | None = None
    files: tuple[Found, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Tile:
    """A tile to cut: of which scene, where its upper left pixel lies, and whether it is for training or validation."""

    scene: TiledScene
    top: int
    left: int
    split: str = 'train'

    @property
    def name(self) -> str:
        """Name the file, without suffix, after the scene and the row and column of the upper left pixel."""
        return f'{self.scene.name}_{self.top:05d}_{self.left:05d}'


@dataclass(frozen=True)
class TilePlan:
    """What to cut: tiles, scenes that are too small for one, and how many tiles would have pixels of both splits."""

    tiles: tuple[Tile, ...]
    small: tuple[TiledScene, ...]
    straddling: int


def find_scenes(
    sources: Sequence[Image],
    labels: Sequence[str | Path] = (),
    image_suffix: str = '',
    label_suffix: str = '',
    options: Options = DEFAULT,
    names: Sequence[str] = (),
) -> list[TiledScene]:
    """Find the scenes of some folders, files and glob patterns, and their labels.

    Args:
        sources: where the scenes are; a tuple is one with a file per band.
        labels: where their labels are; none for scenes without.
        image_suffix: how the stem of a scene's file ends; others are no scenes. The rest of the stem is its name.
        label_suffix: the same for labels. A label belongs to the scene of the same name.
        options: where files may lie.
        names: of all sources, each of which is then one scene; by default they are named after their files.

    Raises:
        FileNotFoundError: if there is nothing, or no file with the suffix.
        ValueError: if two files have the same name, a scene has no label, or a label another size or place than its
            scene.
        UnreadableImageError: if a file cannot be opened.
    """
    if all(names) and names:
        if image_suffix:
            raise ValueError(f'--image-suffix is {image_suffix!r}, but scenes are named by a rule; say it in --files')
        files: dict[str, Image] = {}
        for name, image in zip(names, sources, strict=True):
            if name in files:
                raise ValueError(f'{files[name]} and {image} are both named {name!r}; say in --files what differs')
            files[name] = image
    else:
        single = [source for source in sources if not isinstance(source, tuple)]
        files = dict(_by_name(single, image_suffix, '--image-suffix'))
    label_files = _by_name(labels, label_suffix, '--label-suffix') if labels else {}
    scenes = []
    for name, path in files.items():
        label = label_files.get(name)
        if labels and label is None:
            raise ValueError(
                f'{path} has no label: expected {name}{label_suffix}.* in {" ".join(map(str, labels))}; say with '
                '--image-suffix and --label-suffix how the names differ'
            )
        found = tuple((file, read_header(file, options.access)) for file in files_of(path))
        place, size = place_files(name, found)
        scene = TiledScene(name, path, size, label, found)
        if label is not None:
            _check_label(scene, place, label, options.access)
        scenes.append(scene)
    return scenes


def settle_bands(scenes: Sequence[TiledScene], options: Options) -> tuple[Options, str]:
    """Settle for all scenes whether a band that is declared alpha is a mask, and see that they have the same bands.

    Returns:
        The options in which this is settled, and what the user ought to know, if anything.

    Raises:
        OtherBandsError: if alpha is a mask in some files and data in others, or files that bands are taken of by
            position contradict each other.
    """
    chosen = [
        (column, path, header, tiled_bands(header, path, options, len(scene.files)))
        for scene in scenes
        for column, (path, header) in enumerate(scene.files)
    ]
    files = [(path, header) for _, path, header, _ in chosen]
    named = [header.alpha in bands for _, _, header, bands in chosen if header.alpha is not None]
    refuse_inverted(files)
    mask, note = alpha_is_mask(files, options.alpha, bool(options.bands) and bool(named) and all(named))
    by_name = isinstance(options.bands, tuple) and options.bands and all(isinstance(b, str) for b in options.bands)
    if not (options.ignore_names or by_name):
        for number in range(max(column for column, *_ in chosen) + 1):
            refuse_contradictions(
                [
                    (path, header, [b for b in bands if options.bands or not mask or b != header.alpha])
                    for column, path, header, bands in chosen
                    if column == number
                ],
                '--bands red ...',
            )
    return (replace(options, alpha=mask) if named else options), note


def _by_name(sources: Sequence[str | Path], suffix: str, option: str) -> dict[str, str | Path]:
    """Find files by their stem without the suffix that it must have."""
    files: dict[str, str | Path] = {}
    for path in find_all(sources):
        stem = Path(str(path).split('?')[0] if is_address(str(path)) else path).stem
        if not stem.endswith(suffix):
            continue
        name = stem.removesuffix(suffix)
        if name in files:
            raise ValueError(f'{files[name]} and {path} are both named {name!r}; run once per folder')
        files[name] = path
    if not files:
        raise FileNotFoundError(f'no file in {" ".join(map(str, sources))} has a stem that ends in {option} {suffix!r}')
    return files


def _check_label(scene: TiledScene, place: Grid, label: str | Path, access: Access | None) -> None:
    if not isinstance(scene.path, tuple) and Path(label).resolve() == Path(scene.path).resolve():
        raise ValueError(f'{label} is both scene and label; tell them apart with --image-suffix and --label-suffix')
    with open_raster(label, access) as raster:
        if raster.shape != scene.size:
            sizes = [f'{width} x {height}' for height, width in (scene.size, raster.shape)]
            raise ValueError(f'{scene.path} has {sizes[0]} pixels, its label {label} has {sizes[1]}')
        refuse_elsewhere(label, own_grid(raster), files_of(scene.path)[0], place)
        if raster.count != 1 or np.dtype(raster.dtypes[0]).kind not in 'iu':
            raise ValueError(
                f'{label} has {raster.count} bands of {raster.dtypes[0]}; expected one band of whole class numbers '
                '(turn colors into numbers first)'
            )


def starts(length: int, size: int, stride: int, edge: str = 'shift') -> list[int]:
    """Compute where tiles of ``size`` pixels begin along a side of ``length`` pixels.

    Args:
        edge: for the pixels that are left at the end, ``'shift'`` adds a tile that ends with the side and overlaps the
            one before, ``'drop'`` leaves them out.

    Returns:
        Increasing positions; none if the side is shorter than a tile.
    """
    if length < size:
        return []
    positions = list(range(0, length - size + 1, stride))
    if edge == 'shift' and positions[-1] + size < length:
        positions.append(length - size)
    return positions


def plan_tiles(
    scenes: Sequence[TiledScene], size: int, stride: int, edge: str = 'shift', val_share: float = 0.0
) -> TilePlan:
    """Choose the tiles to cut, and which of them are for validation.

    Several scenes are split as wholes: ``val_share`` of them, chosen by a checksum of their names, are for validation.
    A single scene is parted by a line from top to bottom: the right-most ``val_share`` of the columns of tiles (the
    lowest rows, if there is one column) are for validation, and training tiles that would reach over the line are left
    out, so that no pixel is in both splits. Both choices are the same every time.

    Args:
        scenes: those that are smaller than a tile give none.
        size, stride: pixels a side, and from tile to tile; at most ``size``, so that no pixel is passed over.
        edge: see :func:`starts`.
        val_share: in [0, 1).

    Raises:
        ValueError: if a setting is wrong, all scenes are too small, or there are too few tiles to split.
    """
    if size < 1 or not 1 <= stride <= size:
        raise ValueError(f'size is {size} and stride {stride}; expected 1 <= stride <= size')
    if not 0 <= val_share < 1:
        raise ValueError(f'val_share is {val_share}, expected a share in [0, 1)')
    large = [scene for scene in scenes if min(scene.size) >= size]
    if not large:
        raise ValueError(f'all {len(scenes)} scenes are smaller than {size} x {size} pixels; choose a smaller --size')
    tiles = [
        Tile(scene, top, left)
        for scene in large
        for top in starts(scene.size[0], size, stride, edge)
        for left in starts(scene.size[1], size, stride, edge)
    ]
    split = tiles
    if val_share:
        split = _split_scenes(tiles, large, val_share) if len(large) > 1 else _split_scene(tiles, size, val_share)
    small = tuple(scene for scene in scenes if min(scene.size) < size)
    return TilePlan(tuple(split), small, straddling=len(tiles) - len(split))


def _val_count(count: int, share: float) -> int:
    """Compute how many of several are for validation: at least one, and not all."""
    return min(max(round(count * share), 1), count - 1)


def _split_scenes(tiles: Sequence[Tile], scenes: Sequence[TiledScene], val_share: float) -> list[Tile]:
    names = sorted((scene.name for scene in scenes), key=lambda name: (zlib.crc32(name.encode()), name))
    val = set(names[: _val_count(len(names), val_share)])
    return [replace(tile, split='val' if tile.scene.name in val else 'train') for tile in tiles]


def _split_scene(tiles: Sequence[Tile], size: int, val_share: float) -> list[Tile]:
    across = len({tile.left for tile in tiles}) > 1
    place = {tile: tile.left if across else tile.top for tile in tiles}
    positions = sorted(set(place.values()))
    line = positions[-_val_count(len(positions), val_share)] if len(positions) > 1 else 0
    val = [replace(tile, split='val') for tile in tiles if place[tile] >= line]
    train = [tile for tile in tiles if place[tile] + size <= line]
    if not train:
        raise ValueError(
            f'{tiles[0].scene.path} is too small to be split into training and validation tiles of {size} pixels that '
            'share no pixel; choose a smaller --size, or --val-share 0'
        )
    return train + val


def check_png(scenes: Iterable[TiledScene], options: Options = DEFAULT) -> None:
    """Refuse scenes that PNG cannot hold.

    Raises:
        ValueError: if one has other than 1, 3 or 4 bands of uint8 or uint16.
    """
    for scene in scenes:
        with closing(OpenScene(scene.name, scene.files, options)) as opened:
            if opened.count not in _PNG_BANDS or opened.dtype not in PNG_TYPES:
                raise ValueError(
                    f'{scene.path} has {opened.count} bands of {opened.dtype}; PNG holds 1, 3 or 4 bands of uint8 '
                    'or uint16; choose --format tif'
                )


def cut_tiles(
    tiles: Iterable[Tile],
    out: Path,
    size: int,
    suffix: str = 'tif',
    max_nodata: float = 1.0,
    options: Options = DEFAULT,
) -> Iterator[tuple[Tile, bool]]:
    """Write tiles to ``img_dir/{train,val}`` and those of the labels to ``ann_dir/{train,val}``, one by one.

    Args:
        tiles: of :func:`plan_tiles`.
        out: the folder to write to.
        size: pixels a side.
        suffix: ``'tif'`` keeps type, position, nodata, masks and the names and meanings of bands; ``'png'`` the pixels.
        max_nodata: tiles where a larger share of pixels has no data in any band are left out.
        options: which bands to write, what means no data, and where files may lie; of :func:`settle_bands`.

    Yields:
        Every tile, and whether it was written.

    Raises:
        UnreadableImageError: if a file turns out to be damaged.
        ValueError: if a label holds numbers that 8 bits cannot.
    """
    for scene, group in groupby(tiles, key=lambda tile: tile.scene):
        with (
            closing(OpenScene(scene.name, scene.files, options)) as opened,
            nullcontext() if scene.label is None else open_raster(scene.label, options.access) as label,
        ):
            for tile in group:
                window = Window(tile.top, tile.left, size, size)
                read = opened.read(window)
                if read.empty > max_nodata:
                    yield tile, False
                    continue
                path = _place(out, 'img_dir', tile, suffix)
                if suffix == 'png':
                    write_png(path, read.values, opened.colors)
                else:
                    write_tif(path, opened, read, window)
                if label is not None and scene.label is not None:
                    with reaching(options.access):
                        numbers = read_label(label, scene.label, window)
                    write_png(_place(out, 'ann_dir', tile, 'png'), numbers)
                yield tile, True


def _place(out: Path, folder: str, tile: Tile, suffix: str) -> Path:
    path = out / folder / tile.split / f'{tile.name}.{suffix}'
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
