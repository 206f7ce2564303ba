"""Bring images and heights above ground (nDSM) of US3D or Potsdam into the layout of the height configs.

    python tools/prepare/height.py Track1-RGB Track1-Truth --image-suffix _RGB --height-suffix _AGL --out data/us3d
    python tools/prepare/height.py 2_Ortho_RGB 1_DSM_normalization --image-prefix top_potsdam_ --image-suffix _RGB
        --height-prefix dsm_potsdam_ --height-suffix _normalized_lastools --scale METRES --size 512
        --out data/potsdam_height

Writes OUT/img_dir/{train,val}/NAME.tif (8 bits) and OUT/height_dir/{train,val}/NAME.tif (float32, metres, NaN where
unknown). Images and heights belong together when their names without prefix, suffix and leading zeros are equal
(Potsdam writes 2_10 and 02_10). --scale is the metres of one unit of the height files: look it up in the archive's
description. Which places are for validation is chosen by --seed; tiles of one place (US3D: JAX_004_006 and JAX_004_007,
with --place-parts 2) stay together.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import rasterio

from mmrs_ssl.archives.checks import require_new, require_partners
from mmrs_ssl.archives.tiling import Array, starts
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.rasters.opening import open_raster


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', help='folder of the images')
    parser.add_argument('heights', help='folder of the heights')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    for kind in ('image', 'height'):
        parser.add_argument(f'--{kind}-prefix', default='', help=f'how names of {kind}s begin')
        parser.add_argument(f'--{kind}-suffix', default='', help=f'how they end; other files are no {kind}s')
    parser.add_argument('--scale', type=float, default=1.0, help='metres of one unit of the heights (default: 1)')
    parser.add_argument('--size', type=int, help='cut into tiles of so many pixels (default: whole images)')
    parser.add_argument('--val-share', type=float, default=0.2, metavar='SHARE', help='of the places (default: 0.2)')
    parser.add_argument('--place-parts', type=int, help='how many parts of NAME name a place (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='another seed, another split (default: 0)')
    return parser.parse_args()


def by_name(source: str, prefix: str, suffix: str) -> dict[str, Path]:
    """Find files by the part of their name that image and height share.

    Raises:
        FileNotFoundError: if no file has the prefix and the suffix.
        ValueError: if two files have the same name.
    """
    found: dict[str, Path] = {}
    for path in map(Path, find_all([source])):
        if path.stem.startswith(prefix) and path.stem.endswith(suffix):
            parts = path.stem.removeprefix(prefix).removesuffix(suffix).split('_')
            name = '_'.join(part.lstrip('0') or '0' for part in parts)
            if name in found:
                raise ValueError(f'{found[name]} and {path} are both named {name!r}; give a folder with one of them')
            found[name] = path
    if not found:
        raise FileNotFoundError(f'no file in {source} is named {prefix}NAME{suffix}.*')
    return found


def choose_val(places: list[str], share: float, seed: int) -> set[str]:
    """Choose the places for validation: at least one, and not all."""
    if len(places) < 2 or not 0 < share < 1:
        raise ValueError(f'{len(places)} places and --val-share {share}: expected two places or more, 0 < share < 1')
    count = min(max(round(len(places) * share), 1), len(places) - 1)
    return set(np.random.default_rng(seed).permutation(places)[:count].tolist())


def read_pair(image: Path, height: Path, scale: float) -> tuple[Array, Array]:
    """Read an image of 8 bits, (3, H, W), and heights in metres with NaN where unknown, (1, H, W).

    Raises:
        ValueError: if the image has no three bands of 8 bits or the height not the image's size and one band.
    """
    with open_raster(image) as raster:
        if raster.count < 3 or raster.dtypes[0] != 'uint8':
            raise ValueError(f'{image} has {raster.count} bands of {raster.dtypes[0]}, expected RGB of 8 bits')
        colors = raster.read([1, 2, 3])
    with open_raster(height) as raster:
        if raster.count != 1 or raster.shape != colors.shape[1:]:
            raise ValueError(
                f'{height} has {raster.count} bands of {raster.shape} pixels, expected one of {colors.shape[1:]}, as '
                f'{image}'
            )
        metres = raster.read(masked=True).astype(np.float32).filled(np.nan) * np.float32(scale)
    return colors, metres


def write(path: Path, values: Array) -> None:
    """Write (bands, H, W) as GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, columns = values.shape
    options = dict(count=count, height=rows, width=columns, dtype=values.dtype, compress='deflate')
    with rasterio.open(path, 'w', driver='GTiff', **options) as file:
        file.write(values)


def main() -> None:
    """Write images and heights of both splits, cut into tiles if ``--size`` is given."""
    args = parse_args()
    images = by_name(args.images, args.image_prefix, args.image_suffix)
    heights = by_name(args.heights, args.height_prefix, args.height_suffix)
    require_new(args.out / 'img_dir', args.out / 'height_dir')
    require_partners(images, {args.heights: heights})
    require_partners(heights, {args.images: images})
    names = sorted(images)
    places = {name: '_'.join(name.split('_')[: args.place_parts]) for name in names}
    val = choose_val(sorted(set(places.values())), args.val_share, args.seed)
    counts = dict(train=0, val=0)
    for name in names:
        split = 'val' if places[name] in val else 'train'
        colors, metres = read_pair(images[name], heights[name], args.scale)
        rows, columns = colors.shape[1:]
        high, wide = (args.size, args.size) if args.size else (rows, columns)
        if min(rows - high, columns - wide) < 0:
            raise ValueError(
                f'{images[name]} has {columns} x {rows} pixels; choose --size {min(rows, columns)} at most'
            )
        for top, left in product(starts(rows, high, high), starts(columns, wide, wide)):
            window = np.s_[:, top : top + high, left : left + wide]
            file = f'{name}_{top:05d}_{left:05d}.tif'
            write(args.out / 'img_dir' / split / file, colors[window])
            write(args.out / 'height_dir' / split / file, metres[window])
            counts[split] += 1
    print(f'{counts["train"]} training and {counts["val"]} validation pairs in {args.out}')


if __name__ == '__main__':
    with clear_errors():
        main()
