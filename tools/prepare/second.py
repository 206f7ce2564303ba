"""Bring SECOND into the layout that open-cd reads.

    python tools/prepare/second.py SECOND --out data/SECOND

Reads SECOND_train_set (or train) and test of the unpacked archives, links the pictures {train,test}/{im1,im2}, turns
the colors of label1 and label2 into class numbers (0 is unchanged) and writes label, 255 where a date has a class: the
archive colors what changed, also within a class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmrs_ssl.archives.checks import require_new, require_partners
from mmrs_ssl.archives.tiling import Array
from mmrs_ssl.cli.errors import clear_errors

# RGB of the class numbers of open-cd's SECOND_Dataset, 0 to 6.
SECOND = ((255, 255, 255), (0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (128, 0, 0), (255, 0, 0))
SECOND_FOLDERS = {'train': ('train', 'SECOND_train_set'), 'test': ('test', 'SECOND_total_test/test')}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder of the unpacked archives')
    parser.add_argument('--out', type=Path, required=True, help='folder to write to, another one')
    return parser.parse_args()


def write(path: Path, values: Array) -> None:
    """Write uint8 (H, W) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), values):
        raise OSError(f'cannot write {path}; is the disk full?')


def second_classes(path: Path) -> Array:
    """Read a colored label as class numbers, uint8 (H, W).

    Raises:
        ValueError: if it has a color that is none of SECOND's.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f'{path} is missing or no readable picture')
    classes = np.full(picture.shape[:2], 255, np.uint8)
    for number, color in enumerate(SECOND):
        classes[(picture[..., ::-1] == color).all(-1)] = number
    if (classes == 255).any():
        row, column = np.argwhere(classes == 255)[0]
        found = picture[row, column, ::-1].tolist()
        raise ValueError(f'{path} has RGB {found} in row {row}, column {column}, which is no class of SECOND')
    return classes


def find_second(source: Path, split: str) -> tuple[Path, list[str]]:
    """Find the folder of a split, and the names of its labels.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a picture has no label.
    """
    for folder in (source / name for name in SECOND_FOLDERS[split]):
        if names := sorted(path.name for path in (folder / 'label1').glob('*.png')):
            pictures = {path.name for date in '12' for path in (folder / f'im{date}').glob('*.png')}
            require_partners(pictures, {str(folder / 'label1'): names})
            return folder, names
    places = ' or '.join(str(source / name / 'label1') for name in SECOND_FOLDERS[split])
    raise FileNotFoundError(f'no PNG in {places}; expected the unpacked archives of SECOND')


def prepare_second(source: Path, out: Path) -> None:
    """Write the labels of both splits, and link their pictures."""
    found = {split: find_second(source, split) for split in SECOND_FOLDERS}
    for split, (folder, names) in found.items():
        (out / split).mkdir(parents=True)
        for date in '12':
            (out / split / f'im{date}').symlink_to((folder / f'im{date}').resolve())
        for name in names:
            before, after = (second_classes(folder / f'label{date}' / name) for date in '12')
            for picture in (folder / f'im{date}' / name for date in '12'):
                if not picture.is_file():
                    raise FileNotFoundError(f'{picture} is missing: there is a label for it')
            write(out / split / 'label1' / name, before)
            write(out / split / 'label2' / name, after)
            changed = (before > 0) | (after > 0)
            write(out / split / 'label' / name, changed.astype(np.uint8) * 255)
        print(f'{split}: {len(names)} pairs in {out / split}')


def main() -> None:
    """Prepare both splits in a folder that is not the archive itself."""
    args = parse_args()
    if args.out.resolve() == args.source.resolve():
        raise ValueError(f'--out is {args.out}, the archive itself; choose another folder')
    require_new(args.out / 'train', args.out / 'test')
    prepare_second(args.source, args.out)


if __name__ == '__main__':
    with clear_errors():
        main()
