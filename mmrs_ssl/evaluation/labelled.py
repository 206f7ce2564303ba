"""List labelled images: a folder of class folders, or a list of files, as mmpretrain reads them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES, find_images
from mmrs_ssl.rasters.names import check_name


class Labelled(NamedTuple):
    """Images and what is on them.

    Args:
        paths: of N images.
        labels: (N,) numbers of classes; (N, K) booleans where some image has several.
        classes: K names.
    """

    paths: list[str]
    labels: np.ndarray
    classes: list[str]

    def part(self, numbers: np.ndarray) -> 'Labelled':
        """Return some of the images, by number."""
        return Labelled([self.paths[number] for number in numbers], self.labels[numbers], self.classes)


def read_labelled(data: str | Path, root: str | Path | None = None) -> Labelled:
    """List the labelled images of a folder or of a list.

    Args:
        data: a folder with a folder for each class, sub-folders included; or a text file with a line for each image,
            its path and its label: a number (mmpretrain's lists), a name, or several of either with commas between.
        root: folder that the paths of a list start from; the list's own by default.

    Raises:
        FileNotFoundError: if there is no such folder or list, or an image of the list.
        ValueError: for an empty class folder, images beside the class folders, fewer than two classes, or a line that
            does not have both path and label.
    """
    data = Path(data)
    if data.is_dir():
        found = _of_folders(data)
    elif data.is_file():
        found = _of_list(data, Path(root) if root else data.parent)
    else:
        raise FileNotFoundError(f'{data}: no such folder of class folders, and no list of images')
    if len(found.classes) < 2:
        raise ValueError(f'{data} has one class, {found.classes[0]!r}; expected two at least')
    return found


def _of_folders(data: Path) -> Labelled:
    folders = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith('.'))
    if not folders:
        raise ValueError(f'{data} has no folders; expected one for each class')
    suffixes = IMAGE_SUFFIXES + RASTER_SUFFIXES
    beside = sorted(path.name for path in data.iterdir() if path.name.lower().endswith(suffixes))
    if beside:
        raise ValueError(f'{data}/{beside[0]} is in no class folder; move it into one, or out of {data}')
    paths, labels = [], []
    for label, folder in enumerate(folders):
        try:
            images = find_images(str(folder))
        except FileNotFoundError as error:
            raise ValueError(f'class {folder.name!r} is empty, {folder} holds no image: remove the folder') from error
        paths += images
        labels += [label] * len(images)
    return Labelled(paths, np.array(labels), [folder.name for folder in folders])


def _of_list(data: Path, root: Path) -> Labelled:
    names, said = [], []
    for number, line in enumerate(data.read_text().splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(' ')
        if not name:
            raise ValueError(f'{data}, line {number}: {line!r}; expected a path, a blank and a label')
        names.append(check_name(name.strip(), str(data)))
        said.append([each for each in label.split(',') if each])
    if not names:
        raise ValueError(f'{data} is empty; expected a line with path and label for each image')
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{data} names {len(missing)} images that are not in {root}, the first is {missing[0]}; say with --root '
            'where its paths start'
        )
    words = {each for labels in said for each in labels}
    numbers = all(word.isdecimal() for word in words)
    classes = sorted(words, key=lambda word: (int(word) if numbers else 0, word))
    place = {word: index for index, word in enumerate(classes)}
    hot = np.zeros((len(names), len(classes)), bool)
    for row, labels in zip(hot, said, strict=True):
        row[[place[each] for each in labels]] = True
    several = bool((hot.sum(axis=1) != 1).any())
    return Labelled([str(root / name) for name in names], hot if several else hot.argmax(axis=1), classes)


def halves(data: Labelled, seed: int = 0, share: float = 0.5) -> tuple[Labelled, Labelled]:
    """Split images into labelled ones and test images, each class alike.

    Args:
        data: all images.
        seed: of the choice.
        share: of the images that are for the test.

    Raises:
        ValueError: for a class with a single image.
    """
    one_each = data.labels.ndim == 1
    counts = np.bincount(data.labels, minlength=len(data.classes)) if one_each else data.labels.sum(axis=0)
    if (few := np.flatnonzero(counts < 2)).size:
        name = data.classes[few[0]]
        raise ValueError(f'class {name!r} has {counts[few[0]]} image; expected two at least, to label and to test')
    labelled, test = train_test_split(
        np.arange(len(data.paths)), test_size=share, random_state=seed, stratify=data.labels if one_each else None
    )
    return data.part(np.sort(labelled)), data.part(np.sort(test))
