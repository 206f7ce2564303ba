"""Choose the settings of a pre-training from what its images are like, each with a reason in a sentence.

All of it depends on the data alone: neither on the machine nor on chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from mmrs_ssl.models.heads.sizing import head_size

SIZES = (64, 96, 128, 160, 192, 224)  # pixels a side of what a network is given
FEW_IMAGES, VERY_FEW = 5000, 500
EPOCH_WINDOWS = 1024  # of scenes; fewer lie side by side in a small archive, but windows may lie anywhere
VIEWS = 1_000_000  # images seen in a training, those of all epochs
FEWEST_EPOCHS, MOST_EPOCHS, FEW_PLACES_EPOCHS = 50, 400, 200
PAPER_QUEUE, PAPER_SIZE = 65_536, 224
PAPER_LOCAL_SIZES = (184, 164, 144, 124, 104, 84)  # of DINO-MC, for views of 224 pixels
MULTI_SIZE = ('dino-mc', 'dino-tp')
# where the config says how long a queue is
QUEUES = dict(cmid='model.global_head.queue_length', mocov2='model.queue_len')
# and how many prototypes there are
PROTOTYPES = {
    'cmid': 'model.local_head.num_prototypes',
    'dino-mc': 'model.head.num_prototypes',
    'dino-tp': 'model.head.num_prototypes',
}
CMID_PROTOTYPES = 2048  # as published
FEWEST_IN_BATCH = 4  # of fewer images BatchNorm makes no statistics
SMALL_VIEWS = 128  # pixels; of smaller ones CMID masks smaller blocks


class Bands(NamedTuple):
    """What the bands of a modality are.

    Attributes:
        number: how many are loaded.
        dtype: numpy's name of the type of their values.
        color: whether they are red, green and blue.
        heights: whether they are heights of a surface.
    """

    number: int
    dtype: str = 'uint8'
    color: bool = False
    heights: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of some data from names and headers.

    Attributes:
        kind: ``'folder'``: pictures, each an image; ``'geotiff'``: scenes that windows are cut from.
        data_root: of the data set.
        files: how many are used.
        side: pixels that the smaller side of nearly every image or scene has at least.
        shapes: how many images or places there are of each height and width, a place's those of its finest modality.
        modalities: by name, '' where there is but one.
        rules: which files are which part of a scene, by modality.
        band_files: names of the bands that have a file each.
        dates: of a place, as many as most have.
        convert: whether pictures are made 8-bit RGB of when they are loaded.
        left_out: share of the files or places that cannot be used, in [0, 1].
        exclude: patterns of pictures that are none to learn from.
        said: in sentences, for the user.
    """

    kind: Literal['folder', 'geotiff']
    data_root: str
    files: int
    side: int
    shapes: Mapping[tuple[int, int], int]
    modalities: Mapping[str, Bands]
    rules: Mapping[str, str]
    band_files: tuple[str, ...] = ()
    dates: int = 1
    convert: bool = False
    left_out: float = 0.0
    exclude: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def smaller(self, size: int) -> int:
        """Count the images or places whose smaller side has less than so many pixels."""
        return sum(count for shape, count in self.shapes.items() if min(shape) < size)

    def windows(self, side: int) -> int:
        """Count the windows of so many pixels a side that fit side by side in all places, of every date."""
        fitting = sum(count * (height // side) * (width // side) for (height, width), count in self.shapes.items())
        return max(1, fitting) * self.dates

    def only(self, modality: str) -> 'Facts':
        """Return what is known of one modality alone."""
        return replace(self, modalities={'': self.modalities[modality]}, rules={'': self.rules[modality]})


class Chosen(NamedTuple):
    """One row of the table."""

    setting: str
    value: Any
    why: str


@dataclass(frozen=True)
class Recipe:
    """What was chosen; ``images`` are those that lie side by side, ``epoch`` those of one epoch."""

    facts: Facts
    config: str
    choices: tuple[Chosen, ...]
    images: int
    epoch: int

    def __getitem__(self, setting: str) -> Any:
        """Return the value of a setting; None if this training has no such setting."""
        return next((each.value for each in self.choices if each.setting == setting), None)


def choose(
    facts: Facts,
    names: Sequence[str],
    method: str | None = None,
    backbone: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> Recipe:
    """Choose all settings.

    Args:
        facts: of the data.
        names: of the configs that ship.
        method, backbone: if the user asks for one.
        given: other settings that the user gives, by which what depends on size, window and batch is chosen.

    Raises:
        ValueError: if there is no such method or backbone, or it needs data of another kind.
    """
    way = choose_method(facts, method)
    if way.value != 'mssdf' and len(facts.modalities) > 1:
        facts = facts.only(next(iter(facts.modalities)))
    given = given or {}
    square = _asked('size', given) or choose_size(facts, way.value)
    window = None
    if facts.kind == 'geotiff':
        window = given.get('window', window_of(square.value, facts.side, way.value))
    images = facts.files if window is None else facts.windows(window)
    network, config = choose_backbone(facts, names, way.value, images, backbone)
    choices = [way, network, square]
    if facts.rules and facts.rules != {'': '{scene}'}:
        choices.append(
            Chosen('files', facts.rules.get('', facts.rules), 'which file is which part of a scene, by the names')
        )
    if window is not None:
        choices.append(Chosen('window', window, _why_window(window, square.value)))
    epoch = images
    if window is not None and (images < EPOCH_WINDOWS or facts.dates > 1):
        epoch = max(images, EPOCH_WINDOWS)
        choices.append(Chosen('windows_per_epoch', epoch, _why_epoch(images, facts.dates)))
    if way.value in MULTI_SIZE:
        choices.append(choose_crops(square.value))
    batch = _asked('batch', given) or choose_batch(images, epoch)
    choices.append(batch)
    if way.value in QUEUES:
        choices.append(choose_queue(images, batch.value))
    if way.value in PROTOTYPES:
        choices.append(choose_prototypes(way.value, images, epoch))
    if way.value == 'cmid' and square.value < SMALL_VIEWS:
        why = f'of {square.value} pixels the published 32 would leave {(square.value // 32) ** 2} blocks to choose from'
        choices.append(Chosen('mask_block', 16, why))
    choices.append(choose_epochs(images, epoch))
    return Recipe(facts, config, tuple(choices), images, epoch)


def _asked(setting: str, given: Mapping[str, Any]) -> Chosen | None:
    return Chosen(setting, given[setting], 'as asked for') if setting in given else None


def choose_method(facts: Facts, asked: str | None) -> Chosen:
    """Choose the method: MSSDF for several modalities, else CMID."""
    count = len(facts.modalities)
    if asked == 'mssdf' and count < 2:
        raise ValueError('--method mssdf compares modalities of a place, and there is one; expected e.g. *_rgb, *_dsm')
    if asked == 'dino-tp' and facts.dates < 2:
        raise ValueError('--method dino-tp compares dates of a place, and there is one; expected names with dates')
    if asked:
        return Chosen('method', asked, 'as asked for')
    if count > 1:
        return Chosen('method', 'mssdf', f'{count} modalities of the same places: {", ".join(facts.modalities)}')
    why = 'contrast, reconstruction and self-distillation together learn from few images and small batches'
    if facts.dates > 1:
        why += f'; of {facts.dates} dates of a place one is drawn at each visit (--method dino-tp compares them)'
    return Chosen('method', 'cmid', why)


def choose_backbone(
    facts: Facts, names: Sequence[str], method: str, images: int, asked: str | None
) -> tuple[Chosen, str]:
    """Choose the backbone, and with it the config: a small one for few images, of those that ship with the method."""
    shipped = {}
    for name in names:
        parts = name.rsplit('/', 1)[-1].split('_')
        if parts[0] == method and f'_{facts.kind}-' in name:
            shipped[parts[1]] = name
    if not shipped:
        methods = sorted({n.rsplit('/', 1)[-1].split('_')[0] for n in names if f'_{facts.kind}-' in n})
        kind = 'pictures' if facts.kind == 'folder' else 'scenes'
        raise ValueError(f'--method {method}: none for {kind}; expected one of {", ".join(methods)}')
    if asked and asked not in shipped:
        raise ValueError(f'--backbone {asked}: with {method} there are {", ".join(shipped)}')
    if asked:
        return Chosen('backbone', asked, 'as asked for'), shipped[asked]
    wanted, size = ('resnet18', 'fewer than') if images < FEW_IMAGES else ('resnet50', 'at least')
    if wanted in shipped:
        return Chosen('backbone', wanted, f'{images:,} images, {size} {FEW_IMAGES:,}'), shipped[wanted]
    first = next(iter(shipped))
    return Chosen('backbone', first, f'the one that ships with {method} for such data'), shipped[first]


def choose_size(facts: Facts, method: str) -> Chosen:
    """Choose the side of what the network is given: as large as images are, of scenes as leaves enough windows."""
    if facts.kind == 'folder':
        fitting = [size for size in SIZES if size <= facts.side]
        size = fitting[-1] if fitting else SIZES[0]
        few = facts.smaller(size)
        enlarged = f'{few:,} smaller {"one is" if few == 1 else "ones are"} enlarged'
        if fitting:
            why = f'the largest of {SIZES} that {"nearly " if few else ""}all images fill, {facts.side} pixels a side'
            return Chosen('size', size, f'{why}; {enlarged}' if few else why)
        return Chosen('size', size, f'the smallest of {SIZES}; {enlarged}')
    if facts.side < SIZES[0]:
        side = max(16, facts.side // 16 * 16) if method == 'mssdf' else SIZES[0]
        return Chosen('size', side, f'scenes have but {facts.side} pixels')
    fitting = [size for size in SIZES if size <= facts.side]
    if method == 'mssdf':  # of 64 pixels only 16 patches would be left
        fitting = [size for size in fitting if size > SIZES[0]] or fitting
    for size in reversed(fitting):
        window = window_of(size, facts.side, method)
        if (count := facts.windows(window)) >= VERY_FEW:
            return Chosen('size', size, f'the largest of {SIZES} with at least {VERY_FEW} windows ({count:,})')
    count = facts.windows(window_of(fitting[0], facts.side, method))
    why = f'the smallest there is: {how_many(count, "window")} in all, expect little of so few'
    return Chosen('size', fitting[0], why)


def window_of(size: int, side: int, method: str) -> int:
    """Return the side of a window in pixels: a bit more than the size, as crops need room, and within the scenes."""
    if method == 'mssdf':  # which reads all of a window
        return size
    return min(-(-(size + size // 8) // 16) * 16, side)


def _why_epoch(images: int, dates: int) -> str:
    fit = f'{how_many(images // dates, "window")} side by side' + (f', of {dates} dates each' if dates > 1 else '')
    return f'room for {fit}' + ('; at random places there are many more' if images < EPOCH_WINDOWS else '')


def _why_window(window: int, size: int) -> str:
    return 'all of it is seen' if window == size else f'some more than {size}, or what the smallest scene has'


def choose_crops(size: int) -> Chosen:
    """Choose the local crops of DINO-MC, in the published proportion to the global ones."""
    sizes = [round(side * size / PAPER_SIZE / 4) * 4 for side in PAPER_LOCAL_SIZES]
    return Chosen('crops', sizes, f'the published ones, {PAPER_LOCAL_SIZES} of {PAPER_SIZE}, for {size} pixels')


def choose_batch(images: int, epoch: int) -> Chosen:
    """Choose the images of a step, on all devices together."""
    batch = 64 if images >= VERY_FEW else 32
    if epoch < 2 * FEWEST_IN_BATCH:
        return Chosen('batch', FEWEST_IN_BATCH, f'the fewest that BatchNorm makes statistics of, for {epoch} images')
    if epoch < 2 * batch:
        batch = 2 ** ((epoch // 2).bit_length() - 1)
        return Chosen('batch', batch, f'at least two steps an epoch of {epoch} images')
    return Chosen('batch', batch, f'{"at least" if images >= VERY_FEW else "fewer than"} {VERY_FEW} images')


def choose_queue(images: int, batch: int) -> Chosen:
    """Choose the length of a queue of negatives: no more than there are images, a multiple of the batch."""
    length = max(2, min(images, PAPER_QUEUE) // batch) * batch
    if length == PAPER_QUEUE:
        return Chosen('queue', length, 'as published')
    if length > images:
        return Chosen(
            'queue', length, f'the keys of two steps, the least; {images} images have old keys of their own in it'
        )
    why = f'no more keys than images, or old keys of an image are its own negatives; a multiple of {batch}'
    return Chosen('queue', length, why)


def choose_prototypes(method: str, images: int, epoch: int) -> Chosen:
    """Choose the number of prototypes, by the images as the head of DINO-MC does; of CMID at most the published."""
    if method != 'cmid':
        head = head_size(epoch)
        return Chosen('prototypes', head.num_prototypes, head.reason)
    count = min(CMID_PROTOTYPES, head_size(images).num_prototypes)
    few = f'{images:,} images are too few for the published {CMID_PROTOTYPES:,}'
    return Chosen('prototypes', count, 'as published' if count == CMID_PROTOTYPES else few)


def choose_epochs(images: int, epoch: int) -> Chosen:
    """Choose how often all images are seen."""
    most = MOST_EPOCHS if images >= VERY_FEW else FEW_PLACES_EPOCHS
    wanted = round(VIEWS / epoch)
    epochs = min(most, max(FEWEST_EPOCHS, wanted))
    seen = f'{epochs * epoch:,} images are seen in all'
    if wanted > most:
        return Chosen('epochs', epochs, f'{seen}, fewer than {VIEWS:,}: the most epochs for {images:,} images')
    if wanted < FEWEST_EPOCHS:
        return Chosen('epochs', epochs, f'{seen}, more than {VIEWS:,}: the fewest epochs')
    return Chosen('epochs', epochs, f'{seen}, about {VIEWS:,}')


def how_many(number: int, noun: str) -> str:
    """Write a number of things: ``1 window``, ``20 windows``."""
    return f'{number:,} {noun}{"" if number == 1 else "s"}'
