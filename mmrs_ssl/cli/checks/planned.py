"""What is known of a training before it runs, and what its images are like."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from torch import Tensor

from mmrs_ssl.archives.accumulators import PATCH, patch_deviations
from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.datasets.transforms.geometric import map_images

SAMPLES = 32
_MOST_PIXELS = 2**20  # of an image whose values are counted; of larger ones every second pixel or fewer
_PATCHES = 16  # rows and columns of them in an image


class Pixels(NamedTuple):
    """What the images of one modality are like as they are loaded, without augmentation.

    Attributes:
        mean, std: (C,) of all values of a band.
        bright: (C,) what 99 % of the values of a band are below, the mean over images.
        spread: (C,) the median deviation within patches of 32 pixels a side, NaN of a band that is the same everywhere.
        dtype: of the images.
        side: the smaller side in pixels, the median of all.
        images: how many were looked at.
    """

    mean: np.ndarray
    std: np.ndarray
    bright: np.ndarray
    spread: np.ndarray
    dtype: str
    side: int
    images: int


class ViewShape(NamedTuple):
    """The size of one tensor of a sample as the model is given it."""

    modality: str  # '' where there is but one
    bands: int
    height: int
    width: int


@dataclass
class PlannedTraining:
    """A config with what is built of it.

    Attributes:
        cfg: of the training.
        dataset, model: built.
        machine: that trains.
        devices: how many processes train side by side.
        samples: how many images are looked at.
        images: training images of an epoch; as many as the data set has, unless it is said.
    """

    cfg: Config
    dataset: Any
    model: Any
    machine: Machine = field(default_factory=Machine.here)
    devices: int = 1
    samples: int = SAMPLES
    images: int = 0

    def __post_init__(self) -> None:
        """Count the images."""
        self.images = self.images or len(self.dataset)

    @property
    def batch(self) -> int:
        """Images of a step on one device."""
        return int(self.cfg.train_dataloader.batch_size)

    @property
    def total_batch(self) -> int:
        """Images of a step of the optimizer, of all devices and accumulated batches."""
        return self.batch * self.devices * int(self.cfg.optim_wrapper.get('accumulative_counts', 1))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch on one device."""
        own = self.images // self.devices
        return own // self.batch if self.cfg.train_dataloader.get('drop_last') else -(-own // self.batch)

    @property
    def steps(self) -> int:
        """Batches of the whole training on one device."""
        loop = self.cfg.train_cfg
        return int(loop.get('max_iters') or loop.get('max_epochs', 1) * self.steps_per_epoch)

    @property
    def method(self) -> str:
        """The name of the model's class."""
        return type(self.model).__name__

    @cached_property
    def sample(self) -> dict[str, Any]:
        """The first sample, through the whole pipeline."""
        with random_state_kept():
            sample: Any = self.dataset[0]
        if not isinstance(sample, dict) or 'inputs' not in sample:
            raise ValueError(
                'train_dataloader.dataset.pipeline gives no inputs to the model; expected that it ends with '
                "dict(type='mmrs_ssl.PackViews')"
            )
        return dict(sample)

    @cached_property
    def views(self) -> list[ViewShape]:
        """What the model is given of an image: a view or several, or several modalities."""
        inputs = self.sample['inputs']
        named = inputs.items() if isinstance(inputs, dict) else [('', inputs)]
        each = [(name, view) for name, views in named for view in (views if isinstance(views, list) else [views])]
        return [ViewShape(name, *view.shape[-3:]) for name, view in each if isinstance(view, Tensor)]

    def load_samples(self) -> None:
        """Load what the checks look at; errors of files and pipeline come from here."""
        _ = self.views, self.pixels

    @property
    def largest_view(self) -> ViewShape:
        """The view with most pixels."""
        return max(self.views, key=lambda view: view.height * view.width)

    @cached_property
    def pixels(self) -> dict[str, Pixels]:
        """What images are like as they are loaded, by modality; empty where the data set does not let us look."""
        with random_state_kept():
            return measure_pixels(self.dataset, self.samples)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give all generators on the CPU their state back at the end: a sample sets them to its own seed."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def loading_alone(dataset: Any) -> Any:
    """Make a view of a data set whose pipeline only loads; None where it has no pipeline or one that loads nothing."""
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    first = [each for each in transforms if type(each).__name__.startswith('Load')]
    if not first or list(transforms[: len(first)]) != first:
        return None
    other = copy.copy(dataset)
    other.pipeline = Compose(first)
    return other


def measure_pixels(dataset: Any, count: int) -> dict[str, Pixels]:
    """Measure images that lie evenly in a data set, as its pipeline loads them."""
    loading = loading_alone(dataset)
    if loading is None:
        return {}
    found: dict[str, list[np.ndarray]] = {}  # by modality, (3, C) of each image
    patches: dict[str, list[list[np.ndarray]]] = {}  # and deviations of each band
    shapes: dict[str, list[tuple[int, str]]] = {}
    for index in np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)):
        img = loading[int(index)]['img']
        for name, images in (img if isinstance(img, dict) else {'': img}).items():

            def note(image: np.ndarray, name: str = name) -> None:
                image = image if image.ndim == 3 else image[..., None]
                found.setdefault(name, []).append(levels_in(image))
                patches.setdefault(name, []).append(deviations_in(image))
                shapes.setdefault(name, []).append((min(image.shape[:2]), image.dtype.name))

            map_images(images, note)
    return {name: _joined(each, patches[name], shapes[name]) for name, each in found.items()}


def levels_in(image: np.ndarray) -> np.ndarray:
    """Compute mean, mean square and 99 % quantile of each band of an image (H, W, C): (3, C)."""
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / _MOST_PIXELS)))
    values = image[::step, ::step].astype(np.float64)
    return np.stack([values.mean(axis=(0, 1)), (values**2).mean(axis=(0, 1)), np.quantile(values, 0.99, axis=(0, 1))])


def deviations_in(image: np.ndarray) -> list[np.ndarray]:
    """Compute the deviation within patches all over an image (H, W, C), of each band."""
    for axis in (0, 1):  # of a large image some rows and columns of patches
        starts = np.arange(0, max(image.shape[axis] - PATCH, 0) + 1, PATCH)
        chosen = starts[:: -(-len(starts) // _PATCHES)]
        image = image.take((chosen[:, None] + np.arange(min(PATCH, image.shape[axis]))).ravel(), axis)
    every = np.ones(image.shape[:2], bool)
    return [patch_deviations(image[..., band], every) for band in range(image.shape[2])]


def _joined(levels: list[np.ndarray], patches: list[list[np.ndarray]], shapes: list[tuple[int, str]]) -> Pixels:
    bands = levels[0].shape[1]
    alike = [each for each in levels if each.shape[1] == bands]  # others are the loader's to refuse
    mean, square, bright = np.mean(alike, axis=0)
    of_bands = zip(*(each for each in patches if len(each) == bands), strict=True)
    pooled = [np.concatenate(each) for each in of_bands]
    spread = np.array([np.median(each) if len(each) else np.nan for each in pooled])
    sides = sorted(side for side, _ in shapes)
    dtypes = ', '.join(dict.fromkeys(dtype for _, dtype in shapes))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return Pixels(mean, deviation, bright, spread, dtypes, sides[len(sides) // 2], len(shapes))
