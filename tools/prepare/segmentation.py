"""Bring ISPRS Potsdam and Vaihingen into mmsegmentation's layout, and choose half of a training set.

    python tools/prepare/segmentation.py potsdam --images 2_Ortho_RGB --labels 5_Labels_all_noBoundary
        --out data/potsdam
    python tools/prepare/segmentation.py vaihingen --images top --labels gts_eroded --out data/vaihingen
    python tools/prepare/segmentation.py half data/potsdam

The first two cut the scenes of the unpacked archives into tiles, turn the labels' colors into class numbers (0 is
ignored) and split by scene as mmsegmentation does. The last writes train_half.txt: every second training tile in the
order of names, the same ones every time. Tiles that overlap (the default stride) show nearly all pixels even so: for
half of the labelled pixels, cut with --stride 512. LoveDA needs mmsegmentation's own
tools/dataset_converters/loveda.py.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import rasterio

from mmrs_ssl.archives.checks import require_new, require_partners
from mmrs_ssl.archives.tiling import Array, cut_tiles, find_scenes, plan_tiles
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.rasters.names import check_name
from mmrs_ssl.rasters.opening import open_raster

# RGB of class numbers 1 to 6; black (the eroded boundaries) is 0, and so is a small share of pixels of other colors.
COLORS = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))
MAX_UNKNOWN = 0.01
# How file names go on before and after the scene's name; mmsegmentation's scenes for training and evaluation.
NAMES = {
    'potsdam': ('top_potsdam_', ('_RGB', '_IRRG', '_label_noBoundary', '_label')),
    'vaihingen': ('top_mosaic_09cm_', ('_noBoundary',)),
}
TRAIN = {
    'potsdam': [f'{row}_{i}' for row in (2, 3, 4, 5, 6, 7) for i in (10, 11, 12)]
    + [f'{row}_{i}' for row in (6, 7) for i in (7, 8, 9)],
    'vaihingen': [f'area{i}' for i in (1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37)],
}
VAL = {
    'potsdam': [f'{row}_{i}' for row in (2, 3, 4, 5, 6) for i in (13, 14)] + ['4_15', '5_15', '6_15', '7_13'],
    'vaihingen': [f'area{i}' for i in (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)],
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name in NAMES:
        command = commands.add_parser(name)
        command.add_argument('--images', required=True, help='folder of the orthophotos')
        command.add_argument('--labels', required=True, help='folder of the colored labels')
        command.add_argument('--out', type=Path, required=True, help='folder to write to')
        command.add_argument('--size', type=int, default=512, help='pixels a side of a tile (default: 512)')
        command.add_argument('--stride', type=int, default=256, help='pixels from tile to tile (default: 256)')
    half = commands.add_parser('half')
    half.add_argument('data_root', type=Path, help='folder with img_dir/train')
    return parser.parse_args()


def scene_name(stem: str, dataset: str) -> str:
    """Find a scene's name in its file's: ``'2_10'`` in ``top_potsdam_2_10_RGB``, ``'area1'`` in Vaihingen's.

    Raises:
        ValueError: if the name is not one of the archive's.
    """
    prefix, suffixes = NAMES[dataset]
    if not stem.startswith(prefix):
        raise ValueError(f'{stem} is no name of {dataset}: expected {prefix}..., as in the archive')
    name = stem.removeprefix(prefix)
    for suffix in suffixes:
        name = name.removesuffix(suffix)
    if name not in TRAIN[dataset] + VAL[dataset]:
        raise ValueError(f'{stem}: {name!r} is no scene that mmsegmentation trains or evaluates on')
    return name


def by_scene(folder: str, dataset: str) -> dict[str, Path]:
    """Find the file of every scene.

    Raises:
        ValueError: if two files are of one scene.
    """
    found: dict[str, Path] = {}
    for path in map(Path, find_all([folder])):
        name = scene_name(path.stem, dataset)
        if name in found:
            raise ValueError(f'{found[name]} and {path} are both of scene {name!r}; give a folder with one of them')
        found[name] = path
    return found


def read_classes(path: Path) -> Array:
    """Read a colored label as class numbers, uint8 (H, W).

    Raises:
        ValueError: if it has not three bands, or more than a few pixels of colors that no label has.
    """
    with open_raster(path) as raster:
        if raster.count != 3:
            raise ValueError(f'{path} has {raster.count} bands, expected the three of a colored label')
        colors = raster.read()
    classes = np.zeros(colors.shape[1:], np.uint8)
    for number, color in enumerate(COLORS, 1):
        classes[(colors == np.array(color)[:, None, None]).all(0)] = number
    unknown = float(((classes == 0) & colors.any(0)).mean())
    if unknown > MAX_UNKNOWN:
        raise ValueError(f'{path}: {unknown:.0%} of the pixels have colors that are no class; is this a label?')
    return classes


def tile(args: argparse.Namespace) -> None:
    """Cut the scenes and their labels into tiles of both splits."""
    require_new(args.out / 'img_dir', args.out / 'ann_dir')
    label_files, image_files = by_scene(args.labels, args.command), by_scene(args.images, args.command)
    require_partners(label_files, {args.images: image_files})
    with TemporaryDirectory() as folder:
        images, labels = Path(folder, 'images'), Path(folder, 'labels')
        images.mkdir()
        labels.mkdir()
        for name, path in label_files.items():
            if not cv2.imwrite(str(labels / f'{name}.png'), read_classes(path)):
                raise OSError(f'cannot write {labels / name}.png; is the disk full?')
            image = image_files[name]  # there are more: some scenes of the archives have no label
            (images / f'{name}{image.suffix}').symlink_to(image.resolve())
        plan = plan_tiles(find_scenes([images], [labels]), args.size, args.stride)
        if plan.small:
            raise ValueError(f'scene {plan.small[0].name} is smaller than {args.size} pixels; choose a smaller --size')
        val = VAL[args.command]
        tiles = [replace(t, split='val' if t.scene.name in val else 'train') for t in plan.tiles]
        with rasterio.Env():
            counts = Counter(t.split for t, _ in cut_tiles(tiles, args.out, args.size, 'png'))
    print(f'{counts["train"]} training and {counts["val"]} validation tiles in {args.out}')


def choose_half(data_root: Path) -> None:
    """Write the names, without suffix, of every second training tile."""
    folder = data_root / 'img_dir' / 'train'
    names = sorted(check_name(path.stem, folder) for path in folder.glob('*.png'))
    if not names:
        raise FileNotFoundError(f'no PNG tile in {folder}; cut them first')
    path = data_root / 'train_half.txt'
    path.write_text('\n'.join(names[::2]) + '\n')
    print(f'{len(names[::2])} of {len(names)} training tiles: {path}')


def main() -> None:
    """Cut an archive into tiles, or choose half of those that were cut."""
    args = parse_args()
    if args.command == 'half':
        choose_half(args.data_root)
    else:
        tile(args)


if __name__ == '__main__':
    with clear_errors():
        main()
