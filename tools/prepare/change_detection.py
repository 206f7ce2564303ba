"""Bring SECOND and OSCD into the layout that open-cd reads.

    python tools/prepare/change_detection.py second SECOND --out data/SECOND
    python tools/prepare/change_detection.py oscd OSCD --out data/OSCD

LEVIR-CD and SVCD (CDD) are read as downloaded.

second: reads SECOND_train_set (or train) and test of the unpacked archives, links the pictures {train,test}/{im1,im2},
turns the colours of label1 and label2 into class numbers (0 is unchanged) and writes label, 255 where a date has a
class: the archive colours what changed, also within a class.
oscd: writes {train,test}/{A,B,label} with RGB pictures of 8 bits: the reflectances 0 to --white are 0 to 255.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmrs_ssl.cli import clear_errors
from mmrs_ssl.datasets.preparing import require_new, require_partners
from mmrs_ssl.datasets.raster import open_raster
from mmrs_ssl.datasets.tiling import Array

# RGB of the class numbers of open-cd's SECOND_Dataset, 0 to 6.
SECOND = ((255, 255, 255), (0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (128, 0, 0), (255, 0, 0))
SECOND_FOLDERS = {'train': ('train', 'SECOND_train_set'), 'test': ('test', 'SECOND_total_test/test')}
OSCD = 'Onera Satellite Change Detection dataset - '


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name in ('second', 'oscd'):
        command = commands.add_parser(name)
        command.add_argument('source', type=Path, help='folder of the unpacked archive')
        command.add_argument('--out', type=Path, required=True, help='folder to write to, another one')
    command.add_argument('--white', type=float, default=0.3, help='reflectance that becomes 255 (default: 0.3)')
    return parser.parse_args()


def write(path: Path, values: Array) -> None:
    """Write uint8 (H, W) or RGB (H, W, 3) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values):
        raise OSError(f'cannot write {path}; is the disk full?')


def second_classes(path: Path) -> Array:
    """Class numbers of a coloured label, uint8 (H, W).

    Raises:
        ValueError: if it has a colour that is none of SECOND's.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f'{path} is missing or no readable picture')
    classes = np.full(picture.shape[:2], 255, np.uint8)
    for number, colour in enumerate(SECOND):
        classes[(picture[..., ::-1] == colour).all(-1)] = number
    if (classes == 255).any():
        row, column = np.argwhere(classes == 255)[0]
        found = picture[row, column, ::-1].tolist()
        raise ValueError(f'{path} has RGB {found} in row {row}, column {column}, which is no class of SECOND')
    return classes


def find_second(source: Path, split: str) -> tuple[Path, list[str]]:
    """The folder of a split, and the names of its labels.

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
    """Labels of both splits; pictures are linked."""
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


def read_rgb(folder: Path, white: float) -> Array:
    """Sentinel-2's bands 4, 3 and 2 as RGB of 8 bits; the files hold reflectance times 10000."""
    bands = []
    for band in ('B04', 'B03', 'B02'):
        with open_raster(folder / f'{band}.tif') as raster:
            bands.append(raster.read(1))
    return np.clip(np.stack(bands, -1) / (10000 * white) * 255, 0, 255).round().astype(np.uint8)


def prepare_oscd(source: Path, out: Path, white: float) -> None:
    """Pictures and labels of both splits."""
    for split in ('train', 'test'):
        listed = (source / f'{OSCD}Images' / f'{split}.txt').read_text().split(',')
        cities = [city.strip() for city in listed]
        for city in cities:
            images = source / f'{OSCD}Images' / city
            label_path = source / f'{OSCD}{split.title()} Labels' / city / 'cm' / 'cm.png'
            label = cv2.imread(str(label_path), cv2.IMREAD_GRAYSCALE)
            if label is None:
                raise FileNotFoundError(f'{label_path} is missing or no readable picture')
            for folder, date in (('A', 1), ('B', 2)):
                picture = read_rgb(images / f'imgs_{date}_rect', white)
                if picture.shape[:2] != label.shape:
                    sizes = ['{1} x {0}'.format(*array.shape) for array in (label, picture)]
                    raise ValueError(f'{label_path} has {sizes[0]} pixels, {images} at date {date} has {sizes[1]}')
                write(out / split / folder / f'{city}.png', picture)
            write(out / split / 'label' / f'{city}.png', (label > 0).astype(np.uint8) * 255)
        print(f'{split}: {len(cities)} pairs in {out / split}')


def main() -> None:
    """Prepare."""
    args = parse_args()
    if args.out.resolve() == args.source.resolve():
        raise ValueError(f'--out is {args.out}, the archive itself; choose another folder')
    require_new(args.out / 'train', args.out / 'test')
    if args.command == 'second':
        prepare_second(args.source, args.out)
    else:
        prepare_oscd(args.source, args.out, args.white)


if __name__ == '__main__':
    with clear_errors():
        main()
