"""Add heights above ground (nDSM) to Potsdam's tiles, as the configs of color and heights together read them.

    python tools/prepare/ndsm.py data/potsdam 1_DSM_normalisation --prefix dsm_potsdam_ --suffix _normalized_lastools
        --scale METRES

DATA_ROOT/img_dir/{train,val} holds tiles that tools/prepare/segmentation.py or mmsegmentation's own script has cut;
DATA_ROOT/ndsm_dir/{train,val} gets a GeoTIFF of each one's name (float32, metres, NaN where unknown). --scale is the
metres of one unit of the height files: look it up in the archive's description.
"""

from __future__ import annotations

import argparse
import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio

from mmrs_ssl.archives.checks import require_new, require_partners
from mmrs_ssl.archives.tiling import Array
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.rasters.opening import open_raster

# 2_10_TOP_LEFT of tools/prepare/segmentation.py, 2_10_LEFT_TOP_RIGHT_BOTTOM of mmsegmentation's script
_TILE = re.compile(r'(\d+_\d+)_(\d+)_(\d+)(?:_(\d+)_(\d+))?')
EDGE = 8  # pixels that a height file may be smaller than its orthophoto


class Cut(NamedTuple):
    """A tile, and where in its scene it was cut."""

    path: Path
    scene: str
    top: int
    left: int


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', type=Path, help='folder with img_dir/train and img_dir/val')
    parser.add_argument('heights', help='folder of the heights of whole scenes')
    parser.add_argument('--prefix', default='', help='how names of heights begin')
    parser.add_argument('--suffix', default='', help='how they end; other files are no heights')
    parser.add_argument('--scale', type=float, default=1.0, help='metres of one unit of the heights (default: 1)')
    return parser.parse_args()


def cut_of(path: Path) -> Cut:
    """Read off a tile's name where it was cut.

    Raises:
        ValueError: if the name is none of a tile of Potsdam.
    """
    found = _TILE.fullmatch(path.stem)
    if found is None:
        raise ValueError(f'{path} is no tile of Potsdam: expected 2_10_TOP_LEFT or 2_10_LEFT_TOP_RIGHT_BOTTOM')
    first, second = int(found[2]), int(found[3])
    top, left = (first, second) if found[4] is None else (second, first)
    return Cut(path, found[1], top, left)


def scenes_in(folder: str, prefix: str, suffix: str) -> dict[str, Path]:
    """Find the heights of every scene; leading zeros of 02_10 do not count.

    Raises:
        ValueError: if two files are of one scene.
    """
    found: dict[str, Path] = {}
    for path in map(Path, find_all([folder])):
        if not (path.stem.startswith(prefix) and path.stem.endswith(suffix)):
            continue
        name = path.stem.removeprefix(prefix).removesuffix(suffix)
        name = '_'.join(part.lstrip('0') or '0' for part in name.split('_'))
        if name in found:
            raise ValueError(f'{found[name]} and {path} are both of scene {name!r}; choose one by --suffix')
        found[name] = path
    return found


def read_heights(path: Path, scale: float) -> Array:
    """Read the heights of a scene in metres, (H, W) float32 with NaN where unknown.

    Raises:
        ValueError: if there is more than one band.
    """
    with open_raster(path) as raster:
        if raster.count != 1:
            raise ValueError(f'{path} has {raster.count} bands, expected heights alone')
        return raster.read(1, masked=True).astype(np.float32).filled(np.nan) * np.float32(scale)


def heights_of(tile: Cut, scene: Array, path: Path) -> Array:
    """Cut a tile's heights out of its scene's; NaN for the few pixels that a scene may lack at its edges.

    Raises:
        ValueError: if it lacks more.
    """
    with open_raster(tile.path) as picture:
        rows, columns = picture.shape
    found = scene[tile.top : tile.top + rows, tile.left : tile.left + columns]
    lacking = rows - found.shape[0], columns - found.shape[1]
    if max(lacking) > EDGE:
        raise ValueError(
            f'{path} has {scene.shape[0]} x {scene.shape[1]} pixels, but {tile.path.name} was cut at {tile.top}, '
            f'{tile.left} and has {rows} x {columns}: are these heights of the same resolution?'
        )
    return np.pad(found, [(0, count) for count in lacking], constant_values=np.nan)


def main() -> None:
    """Cut the heights of every tile out of those of its scene."""
    args = parse_args()
    require_new(args.data_root / 'ndsm_dir')
    folders = [args.data_root / 'img_dir' / split for split in ('train', 'val')]
    tiles = [cut_of(Path(path)) for path in find_all(folders)]
    files = scenes_in(args.heights, args.prefix, args.suffix)
    require_partners({tile.scene for tile in tiles}, {args.heights: files})
    for scene, group in groupby(sorted(tiles, key=lambda tile: tile.scene), key=lambda tile: tile.scene):
        heights = read_heights(files[scene], args.scale)
        for tile in group:
            out = args.data_root / 'ndsm_dir' / tile.path.parent.name / f'{tile.path.stem}.tif'
            out.parent.mkdir(parents=True, exist_ok=True)
            values = heights_of(tile, heights, files[scene])
            rows, columns = values.shape
            options = dict(count=1, height=rows, width=columns, dtype='float32', compress='deflate')
            with rasterio.open(out, 'w', driver='GTiff', **options) as file:
                file.write(values, 1)
    print(f'heights of {len(tiles)} tiles in {args.data_root / "ndsm_dir"}')


if __name__ == '__main__':
    with clear_errors():
        main()
