"""Turn BigEarthNet-S2 into RGB pictures of 8 bits and annotations of its 19 classes for mmpretrain's MultiLabelDataset.

    python tools/prepare/bigearthnet.py BigEarthNet-v1.0 --out data/bigearthnet --train train.csv --val test.csv

Writes OUT/images/*.png, OUT/train.json and OUT/val.json. --train and --val are lists with a patch's name in the first
column; without them a share of the patches, chosen by --seed, is for validation. --part 0.1 keeps the first tenth of
the shuffled training patches. Reflectances 0 to --white become 0 to 255. Patches without any of the 19 classes are left
out. The published lists also leave out patches under snow and clouds; the random choice does not.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmrs_ssl.archives.tiling import Array
from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.names import check_name
from mmrs_ssl.rasters.opening import open_raster

# The 19 classes and the CORINE classes each of them joins (Sumbul et al., https://arxiv.org/abs/2105.07921), in the
# order of the authors' label_indices.json; and the CORINE classes that have no place among them.
CLASSES = {
    'Urban fabric': ('Continuous urban fabric', 'Discontinuous urban fabric'),
    'Industrial or commercial units': ('Industrial or commercial units',),
    'Arable land': ('Non-irrigated arable land', 'Permanently irrigated land', 'Rice fields'),
    'Permanent crops': (
        'Vineyards', 'Fruit trees and berry plantations', 'Olive groves',
        'Annual crops associated with permanent crops',
    ),
    'Pastures': ('Pastures',),
    'Complex cultivation patterns': ('Complex cultivation patterns',),
    'Land principally occupied by agriculture, with significant areas of natural vegetation': (
        'Land principally occupied by agriculture, with significant areas of natural vegetation',
    ),
    'Agro-forestry areas': ('Agro-forestry areas',),
    'Broad-leaved forest': ('Broad-leaved forest',),
    'Coniferous forest': ('Coniferous forest',),
    'Mixed forest': ('Mixed forest',),
    'Natural grassland and sparsely vegetated areas': ('Natural grassland', 'Sparsely vegetated areas'),
    'Moors, heathland and sclerophyllous vegetation': ('Moors and heathland', 'Sclerophyllous vegetation'),
    'Transitional woodland, shrub': ('Transitional woodland/shrub',),
    'Beaches, dunes, sands': ('Beaches, dunes, sands',),
    'Inland wetlands': ('Inland marshes', 'Peatbogs'),
    'Coastal wetlands': ('Salt marshes', 'Salines'),
    'Inland waters': ('Water courses', 'Water bodies'),
    'Marine waters': ('Coastal lagoons', 'Estuaries', 'Sea and ocean'),
}  # fmt: skip
LEFT_OUT = {
    'Road and rail networks and associated land', 'Port areas', 'Airports', 'Mineral extraction sites', 'Dump sites',
    'Construction sites', 'Green urban areas', 'Sport and leisure facilities', 'Bare rock', 'Burnt areas',
    'Intertidal flats',
}  # fmt: skip
NUMBERS = {corine: number for number, names in enumerate(CLASSES.values()) for corine in names}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder with a folder per patch')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    parser.add_argument('--train', type=Path, help='list of the training patches')
    parser.add_argument('--val', type=Path, help='list of the patches to evaluate on')
    parser.add_argument('--val-share', type=float, default=0.2, metavar='SHARE', help='without lists (default: 0.2)')
    parser.add_argument('--part', type=float, default=1.0, metavar='SHARE', help='of the training patches (default: 1)')
    parser.add_argument('--white', type=float, default=0.3, help='reflectance that becomes 255 (default: 0.3)')
    parser.add_argument('--seed', type=int, default=0, help='another seed, another choice (default: 0)')
    return parser.parse_args()


def read_list(path: Path) -> list[str]:
    """Read the first column of a list: names of patches, which are folders.

    Raises:
        ValueError: if a name would lead elsewhere.
    """
    with open(path, newline='') as file:
        return [check_name(row[0].strip(), path, folders=False) for row in csv.reader(file) if row]


def choose(args: argparse.Namespace) -> dict[str, list[str]]:
    """Choose the names of the training and validation patches.

    Raises:
        ValueError: if only one list is given or the two share patches, a share makes no sense or there are too few
            patches.
    """
    if (args.train is None) != (args.val is None):
        raise ValueError('only one of --train and --val is given; give both or none')
    if not (0 < args.val_share < 1 and 0 < args.part <= 1):
        raise ValueError(f'--val-share is {args.val_share}, --part is {args.part}; expected shares in (0, 1)')
    rng = np.random.default_rng(args.seed)
    if args.train is not None:
        train, val = read_list(args.train), read_list(args.val)
        if both := sorted(set(train) & set(val)):
            raise ValueError(f'{len(both)} patches are in both lists, e.g. {both[0]}')
    else:
        names = sorted(path.name for path in args.source.iterdir() if path.is_dir())
        if len(names) < 2:
            raise ValueError(f'{args.source} has {len(names)} patches, expected at least two')
        names = rng.permutation(names).tolist()
        count = min(max(round(len(names) * args.val_share), 1), len(names) - 1)
        train, val = names[count:], names[:count]
    train = rng.permutation(sorted(train))[: max(1, round(len(train) * args.part))].tolist()
    return dict(train=sorted(train), val=sorted(val))


def read_labels(folder: Path) -> list[int]:
    """Read the class numbers of a patch; none if all its CORINE classes are left out.

    Raises:
        FileNotFoundError: if the patch or its record is missing.
        ValueError: if it has a class that is none of CORINE's.
    """
    path = folder / f'{folder.name}_labels_metadata.json'
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; expected a folder of BigEarthNet-S2 v1.0 for every patch')
    record = json.loads(path.read_text())
    if unknown := sorted(set(record['labels']) - NUMBERS.keys() - LEFT_OUT):
        raise ValueError(f'{path} has {unknown[0]!r}, which is none of the 43 classes')
    return sorted({NUMBERS[label] for label in record['labels'] if label in NUMBERS})


def read_rgb(folder: Path, white: float) -> Array:
    """Read bands 4, 3 and 2 as RGB of 8 bits; the files hold reflectance times 10000."""
    bands = []
    for band in ('B04', 'B03', 'B02'):
        with open_raster(folder / f'{folder.name}_{band}.tif') as raster:
            bands.append(raster.read(1))
    return np.clip(np.stack(bands, -1) / (10000 * white) * 255, 0, 255).round().astype(np.uint8)


def main() -> None:
    """Write pictures and annotations of both splits."""
    args = parse_args()
    splits = choose(args)
    (args.out / 'images').mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        samples: list[dict[str, Any]] = []
        for name in names:
            if labels := read_labels(args.source / name):
                picture = read_rgb(args.source / name, args.white)
                if not cv2.imwrite(str(args.out / 'images' / f'{name}.png'), picture[..., ::-1]):
                    raise OSError(f'cannot write to {args.out}; is the disk full?')
                samples.append(dict(img_path=f'{name}.png', gt_label=labels))
        record = dict(metainfo=dict(classes=list(CLASSES)), data_list=samples)
        (args.out / f'{split}.json').write_text(json.dumps(record))
        print(f'{split}: {len(samples)} of {len(names)} patches have one of the 19 classes')


if __name__ == '__main__':
    with clear_errors():
        main()
