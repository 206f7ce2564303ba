"""Cut DOTA into tiles with horizontal boxes in COCO's format.

    python tools/prepare/dota.py DOTA --out data/dota

DOTA holds train/images, train/labelTxt, val/images and val/labelTxt of the unpacked archives. Writes OUT/train/*.png,
OUT/val/*.png, OUT/annotations/train.json and OUT/annotations/val.json. A horizontal box is the smallest upright one
around the archive's oriented box. A tile keeps the objects of which it shows half; difficult ones are marked as crowd,
which mmdetection neither trains on nor counts.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from mmrs_ssl.archives.checks import require_partners
from mmrs_ssl.archives.tiling import Array, starts
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.opening import open_raster

CLASSES = (
    'plane', 'baseball-diamond', 'bridge', 'ground-track-field', 'small-vehicle', 'large-vehicle', 'ship',
    'tennis-court', 'basketball-court', 'storage-tank', 'soccer-ball-field', 'roundabout', 'harbor', 'swimming-pool',
    'helicopter',
)  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dota', type=Path, help='folder with train and val')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    parser.add_argument('--size', type=int, default=1024, help='pixels a side of a tile (default: 1024)')
    parser.add_argument('--overlap', type=int, default=200, help='pixels that neighbors share (default: 200)')
    parser.add_argument('--keep', type=float, default=0.5, help='share of a box that a tile must show (default: 0.5)')
    return parser.parse_args()


def read_labels(path: Path) -> tuple[Array, Array, Array]:
    """Read boxes (N, 4) as left, top, right, bottom, class numbers (N,) from 0, and whether each is difficult (N,).

    Raises:
        ValueError: if a line is no box of DOTA v1.0.
    """
    boxes, classes, difficult = [], [], []
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith(('imagesource', 'gsd')):
            continue
        if len(words) != 10 or words[8] not in CLASSES:
            raise ValueError(f'{path}: {line!r} is not "x1 y1 ... x4 y4 class difficult" with a class of DOTA v1.0')
        corners = np.array(words[:8], float).reshape(4, 2)
        boxes.append([*corners.min(0), *corners.max(0)])
        classes.append(CLASSES.index(words[8]))
        difficult.append(words[9] != '0')
    return np.array(boxes).reshape(-1, 4), np.array(classes, int), np.array(difficult, bool)


def boxes_of_tile(boxes: Array, left: int, top: int, size: int, keep: float) -> tuple[Array, Array]:
    """Find the indices of the boxes that a tile shows, and what it shows of them, in its own pixels."""
    shown = np.clip(boxes - [left, top, left, top], 0, size)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    seen = np.prod(shown[:, 2:] - shown[:, :2], axis=1)
    kept = np.flatnonzero((seen > 0) & (seen >= keep * area))
    return kept, shown[kept]


def cut(folder: Path, out: Path, size: int, stride: int, keep: float) -> dict[str, Any]:
    """Write the tiles of one split; returns COCO's record."""
    record: dict[str, Any] = dict(
        images=[], annotations=[], categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES)]
    )
    paths = sorted((folder / 'images').glob('*.png'))
    if not paths:
        raise FileNotFoundError(f'no PNG in {folder / "images"}; expected the unpacked images of DOTA')
    require_partners((path.stem for path in (folder / 'labelTxt').glob('*.txt')), {'images': [p.stem for p in paths]})
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        boxes, classes, difficult = read_labels(folder / 'labelTxt' / f'{path.stem}.txt')
        with open_raster(path) as raster:
            rows, columns = raster.shape
            bands = [1, 2, 3] if raster.count >= 3 else [1, 1, 1]  # some pictures are panchromatic
            for top, left in product(*(starts(max(n, size), size, stride) for n in raster.shape)):
                high, wide = min(size, rows - top), min(size, columns - left)
                name, number = f'{path.stem}_{top:05d}_{left:05d}.png', len(record['images'])
                values = raster.read(bands, window=Window(left, top, wide, high))
                write_png(out / name, values)
                record['images'].append(dict(id=number, file_name=name, width=wide, height=high))
                indices, shown = boxes_of_tile(boxes, left, top, size, keep)
                for index, (x, y, right, bottom) in zip(indices, shown.tolist(), strict=True):
                    width, height = right - x, bottom - y
                    record['annotations'].append(
                        dict(
                            id=len(record['annotations']) + 1,  # pycocotools takes 0 for no match
                            image_id=number,
                            category_id=int(classes[index]),
                            bbox=[x, y, width, height],
                            area=width * height,
                            iscrowd=int(difficult[index]),
                        )
                    )
    return record


def write_png(path: Path, values: Array) -> None:
    """Write uint8 (3, H, W) as PNG."""
    count, rows, columns = values.shape
    with rasterio.open(path, 'w', driver='PNG', count=count, height=rows, width=columns, dtype=values.dtype) as file:
        file.write(values)


def main() -> None:
    """Write tiles and annotations of both splits."""
    args = parse_args()
    if not 0 <= args.overlap < args.size:
        raise ValueError(f'--overlap is {args.overlap}, expected 0 to {args.size - 1} for --size {args.size}')
    (args.out / 'annotations').mkdir(parents=True, exist_ok=True)
    for split in ('train', 'val'):
        record = cut(args.dota / split, args.out / split, args.size, args.size - args.overlap, args.keep)
        (args.out / 'annotations' / f'{split}.json').write_text(json.dumps(record))
        print(f'{split}: {len(record["images"])} tiles with {len(record["annotations"])} objects in {args.out / split}')


if __name__ == '__main__':
    with clear_errors():
        main()
