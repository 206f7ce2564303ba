"""Say what a backbone's maps are worth for land cover or heights, beside random weights and the pixels themselves."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrs_ssl.cli.evaluate import image_reader, open_checkpoint
from mmrs_ssl.evaluation.dense import IGNORED, DenseScore, dense_maps, height_probe, segmentation_probe
from mmrs_ssl.evaluation.frozen import FrozenBackbone, recalibrate
from mmrs_ssl.evaluation.labelled import same_files
from mmrs_ssl.rasters.access import access_to, fixed_folder
from mmrs_ssl.rasters.errors import errors_of
from mmrs_ssl.rasters.find import find_images
from mmrs_ssl.rasters.opening import open_raster

CELL = 16  # pixels of a cell of the floor without a network
Read = Callable[[str], np.ndarray]


def pairs_of(images: str, labels: str) -> list[tuple[str, str]]:
    """Pair the files of two folders that have one name below them, folders included, whatever its suffix.

    Raises:
        FileNotFoundError: if an image has no label.
        ValueError: if two labels have one name.
    """
    found: dict[Path, str] = {}
    for path in find_images(labels):
        name = name_below(labels, path)
        if name in found:
            raise ValueError(f'{found[name]} and {path} would both be the label of {name}: keep one')
        found[name] = path
    pairs = [(path, found.get(name_below(images, path), '')) for path in find_images(images)]
    lacking = [image for image, label in pairs if not label]
    if lacking:
        raise FileNotFoundError(
            f'{len(lacking)} images have no label in {labels}, the first is {lacking[0]}; expected '
            f'{name_below(images, lacking[0])}.* there'
        )
    return pairs


def name_below(root: str, path: str) -> Path:
    """Return the path of a file from its root on, without the suffix."""
    return Path(path).relative_to(fixed_folder(Path(root))).with_suffix('')


def tiles_of(pairs: Sequence[tuple[str, str]], size: int, load: Read, read: Read) -> tuple[Tensor, Tensor]:
    """Cut images and labels into tiles, without overlap; what is left at right and bottom is left out.

    Returns:
        Pixels (N, C, size, size) float32 in their own units, and labels (N, size, size).

    Raises:
        ValueError: for a label of another size than its image, or an image smaller than a tile.
    """
    pixels, targets = [], []
    for image, label in pairs:
        picture, target = load(image).astype(np.float32), read(label)
        if picture.shape[:2] != target.shape:
            raise ValueError(f'{label} has {target.shape} pixels, {image} {picture.shape[:2]}; expected the same')
        rows, columns = (side // size for side in target.shape)
        if not rows * columns:
            raise ValueError(f'{image} has {target.shape} pixels, fewer than a tile of {size}: give a smaller --size')
        for top, left in ((size * row, size * column) for row in range(rows) for column in range(columns)):
            part = slice(top, top + size), slice(left, left + size)
            pixels.append(torch.from_numpy(picture[part]).permute(2, 0, 1))
            targets.append(torch.from_numpy(np.ascontiguousarray(target[part])))
    return torch.stack(pixels), torch.stack(targets)


def class_reader(reduce_zero_label: bool) -> Read:
    """Make a function that reads the classes (H, W) of a label, 255 where it has none.

    They are the numbers that are stored: few bits are not spread to 0..255, and a palette is passed over.
    """

    def read(path: str) -> np.ndarray:
        with open_raster(path) as label, errors_of(path):
            if label.count != 1 or label.dtypes[0] != 'uint8':
                raise ValueError(
                    f'{path} has {label.count} bands of {label.dtypes[0]}; expected one of uint8, a class a pixel'
                )
            classes = label.read(1).astype(np.int64)
        return np.where((classes == 0) | (classes == IGNORED), IGNORED, classes - 1) if reduce_zero_label else classes

    return read


def read_heights(path: str) -> np.ndarray:
    """Read heights (H, W) in metres; NaN where there are none."""
    load = image_reader(dict(bands=1, fill=np.nan), access_to([Path(path).parent]))
    return load(path)[..., 0].astype(np.float32)


def plain_maps(frozen: FrozenBackbone, pixels: Tensor) -> Tensor:
    """Describe cells of 16 pixels without a network: mean and deviation of every band."""
    normal = frozen.normalized(pixels)
    mean = F.avg_pool2d(normal, CELL)
    squares = F.avg_pool2d(normal.square(), CELL)
    return torch.cat([mean, (squares - mean.square()).clamp(min=0).sqrt()], dim=1)


def evaluate_dense(args: argparse.Namespace) -> dict[str, DenseScore]:
    """Measure all checkpoints and floors, and print the table."""
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    pairs = pairs_of(args.images, args.labels), pairs_of(args.test_images, args.test_labels)
    if both := same_files(*([image for image, _ in part] for part in pairs[::-1])):
        raise ValueError(f'{both[0][0]} of the test images is the same image as {both[0][1]} of the training')
    read = read_heights if args.heights else class_reader(args.reduce_zero_label)
    found: dict[str, DenseScore] = {}
    for checkpoint in args.checkpoints:
        frozen, loader = open_checkpoint(checkpoint, args)
        load = image_reader(loader, access_to([args.images, args.test_images]))
        (own, own_labels), (other, other_labels) = (tiles_of(part, frozen.size, load, read) for part in pairs)
        if not found:
            print(f'{len(own)} training and {len(other)} test tiles of {frozen.size} pixels')
        count = int(own_labels[own_labels != IGNORED].max()) + 1 if not args.heights else 0
        for name, maps in maps_of(checkpoint, frozen, own, other, args):
            name = f'{name} (of {checkpoint})' if name in found else name  # of other networks or tiles
            given = maps[0], own_labels, maps[1], other_labels
            probe = height_probe(*given, seed=args.seed) if args.heights else None
            found[name] = probe or segmentation_probe(*given, classes=count, seed=args.seed)
    measure, factor = ('RMSE, m', 1) if args.heights else ('mIoU, %', 100)
    width = max(map(len, found))
    print(f'\n| {"features".ljust(width)} | {measure} (95 % interval) |\n| {"-" * width} | --- |')
    for name, score in found.items():
        value, low, high = (factor * number for number in score.figure)
        print(f'| {name.ljust(width)} | {value:.2f} ({low:.2f}-{high:.2f}) |')
    return found


def maps_of(
    checkpoint: str, frozen: FrozenBackbone, own: Tensor, other: Tensor, args: argparse.Namespace
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Compute the maps of the floors, then of the checkpoint, for the training and the test tiles."""
    name = str(frozen.settings['type']).rsplit('.', 1)[-1]

    def both(network: FrozenBackbone) -> tuple[Tensor, Tensor]:
        network.to(args.device)
        parts = [
            torch.cat([
                dense_maps(network.backbone, network.normalized(batch.to(args.device)))
                for batch in pixels.split(args.batch_size)
            ])
            for pixels in (own, other)
        ]  # fmt: skip
        return parts[0], parts[1]

    yield f'mean and deviation of {CELL} pixels', (plain_maps(frozen.cpu(), own), plain_maps(frozen, other))
    twin = frozen.with_random_weights()
    yield f'random {name}', both(twin)
    if recalibrate(twin, (batch.to(args.device) for batch in own.split(max(2, args.batch_size)))):
        yield f'random {name}, BatchNorm measured', both(twin)
    yield checkpoint, both(frozen)
