"""List labelled images: a folder of class folders, or a list of files, as mmpretrain reads them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES, find_images
from mmrs_ssl.rasters.names import check_name

_DRAWS, _NEXT = 200, 1_000_003  # splits that are tried, and how far apart their seeds are


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
        ValueError: for an empty class folder, images beside the class folders, fewer than two classes, a line that
            does not have both path and label, or an image that is named twice.
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
    for path, other in same_files(found.paths):
        raise ValueError(
            f'{data}: {path} is the same image as {other}, which would be among the labelled and the test images: '
            'name each once, several labels with commas between'
        )
    return found


def same_files(paths: Sequence[str], others: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """List the paths that lead to a file of ``others``, by default to one that was listed before, and that file's."""
    known = {os.path.realpath(path): path for path in others or ()}
    found = []
    for path in paths:
        real = os.path.realpath(path)
        if real in known:
            found.append((path, known[real]))
        elif others is None:
            known[real] = path
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
    try:
        lines = data.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'{data} is no text in UTF-8 ({error.reason} at byte {error.start}); save it so') from error
    for number, line in enumerate(lines, 1):
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
    numbers = all(word.isdecimal() for labels in said for word in labels)
    said = [[str(int(word)) for word in labels] for labels in said] if numbers else said  # 01 is 1
    words = {each for labels in said for each in labels}
    classes = sorted(words, key=lambda word: (int(word) if numbers else 0, word))
    place = {word: index for index, word in enumerate(classes)}
    hot = np.zeros((len(names), len(classes)), bool)
    for row, labels in zip(hot, said, strict=True):
        row[[place[each] for each in labels]] = True
    several = bool((hot.sum(axis=1) != 1).any())
    return Labelled([str(root / name) for name in names], hot if several else hot.argmax(axis=1), classes)


def check_learnable(labelled: Labelled) -> None:
    """Refuse, of several labels, one that all of the labelled images have, or none.

    Raises:
        ValueError: with its name.
    """
    if labelled.labels.ndim == 1:
        return
    counts = labelled.labels.sum(axis=0)
    for name, count in zip(labelled.classes, counts, strict=True):
        if count in (0, len(labelled.paths)):
            raise ValueError(
                f'label {name!r} is that of {count} of {len(labelled.paths)} labelled images: nothing can be learned '
                'of it; leave it out, or label other images'
            )


def halves(data: Labelled, seed: int = 0, share: float = 0.5) -> tuple[Labelled, Labelled]:
    """Split images into labelled ones and test images, each class alike.

    Where images have several labels, each label is in both halves: of the splits drawn one after another it is the
    first of which that is true.

    Args:
        data: all images.
        seed: of the choice.
        share: of the images that are for the test.

    Raises:
        ValueError: for a class with a single image, or labels so rare that no split has all of them twice.
    """
    one_each = data.labels.ndim == 1
    counts = np.bincount(data.labels, minlength=len(data.classes)) if one_each else data.labels.sum(axis=0)
    if (few := np.flatnonzero(counts < 2)).size:
        name = data.classes[few[0]]
        raise ValueError(f'class {name!r} has {counts[few[0]]} image; expected two at least, to label and to test')
    for draw in range(_DRAWS):
        labelled, test = train_test_split(
            np.arange(len(data.paths)),
            test_size=share,
            random_state=seed + draw * _NEXT,
            stratify=data.labels if one_each else None,
        )
        if one_each or all(data.labels[part].any(axis=0).all() for part in (labelled, test)):
            return data.part(np.sort(labelled)), data.part(np.sort(test))
    raise ValueError(
        f'label {data.classes[int(np.argmin(counts))]!r} has {counts.min()} images, and others are as rare: none of '
        f'{_DRAWS} splits has every label in both halves; leave rare labels out, or name the test images (--test)'
    )
