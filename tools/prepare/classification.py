"""List the scenes of UCM, AID, NWPU-RESISC45, EuroSAT or any folder of classes for training and validation.

    python tools/prepare/classification.py data/ucm/Images --out data/ucm/meta --train-share 0.8 --classes 21
    python tools/prepare/classification.py data/aid --train-share 0.5 --classes 30

Writes train.txt and val.txt ("CLASS/FILE NUMBER" a line) and classes.txt to OUT (default: meta in the folder). Of every
class the same share is for training, chosen by --seed: the same files give the same lists. --classes says how many
there must be (RESISC45 has 45, EuroSAT 10): a class that is missing would change the numbers of those after it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmrs_ssl.cli.errors import clear_errors
from mmrs_ssl.rasters.names import check_name

SUFFIXES = ('.tif', '.jpg', '.jpeg', '.png')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', type=Path, help='folder with a folder per class')
    parser.add_argument('--out', type=Path, help='folder to write to (default: meta in the folder of images)')
    parser.add_argument('--train-share', type=float, default=0.8, metavar='SHARE', help='default: 0.8')
    parser.add_argument('--classes', type=int, help='how many there must be (default: any number)')
    parser.add_argument('--seed', type=int, default=0, help='another seed, another split (default: 0)')
    return parser.parse_args()


def find_classes(images: Path, out: Path, count: int | None) -> dict[str, list[str]]:
    """Find the sorted file names of every class, by class.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a class has no image, there are not as many as there must be, or a list cannot hold a name.
    """
    if not images.is_dir():
        raise FileNotFoundError(f'{images} is no folder; expected one with a folder per class')
    found = {
        check_name(folder.name, images): sorted(
            check_name(path.name, folder) for path in folder.glob('[!.]*') if path.suffix.lower() in SUFFIXES
        )
        for folder in sorted(images.glob('[!.]*'))
        if folder.is_dir() and folder.resolve() != out.resolve()
    }
    classes = {name: files for name, files in found.items() if files}
    if len(classes) < 2 or len(classes) != (count or len(classes)):
        raise ValueError(
            f'{images} has {len(classes)} folders with images ({", ".join(SUFFIXES)}), expected one per class'
            + (f', {count} of them' if count else '')
        )
    if empty := found.keys() - classes.keys():
        raise ValueError(f'{images}: no image in {", ".join(sorted(empty))}; is the archive fully unpacked?')
    return classes


def split_class(files: list[str], train_share: float, seed: list[int]) -> tuple[list[str], list[str]]:
    """Split names for training and for validation, each sorted; a single file is for training."""
    order = np.random.default_rng(seed).permutation(len(files))
    count = max(1, round(len(files) * train_share))
    return sorted(files[i] for i in order[:count]), sorted(files[i] for i in order[count:])


def main() -> None:
    """Write the lists of both splits and of the classes."""
    args = parse_args()
    if not 0 < args.train_share < 1:
        raise ValueError(f'--train-share is {args.train_share}, expected a share in (0, 1)')
    out = args.out or args.images / 'meta'
    classes = find_classes(args.images, out, args.classes)
    lines: dict[str, list[str]] = {'train': [], 'val': []}
    for number, (name, files) in enumerate(classes.items()):
        train, val = split_class(files, args.train_share, [args.seed, number])
        lines['train'] += [f'{name}/{file} {number}' for file in train]
        lines['val'] += [f'{name}/{file} {number}' for file in val]
    out.mkdir(parents=True, exist_ok=True)
    (out / 'classes.txt').write_text('\n'.join(classes) + '\n')
    for split, rows in lines.items():
        (out / f'{split}.txt').write_text('\n'.join(rows) + '\n')
    print(f'{len(classes)} classes, {len(lines["train"])} training and {len(lines["val"])} validation images: {out}')


if __name__ == '__main__':
    with clear_errors():
        main()
