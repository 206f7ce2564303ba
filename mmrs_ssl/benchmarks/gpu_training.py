"""The longest training on a folder of images that the time allows, and what its features are worth before and after."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmrs_ssl.benchmarks.gpu_setup import SMALL, Workshop, change_cmid, fit_machine, mixed_settings
from mmrs_ssl.benchmarks.gpu_table import Deadline, Differs, NotRun
from mmrs_ssl.benchmarks.measure import DEVICE
from mmrs_ssl.evaluation.knn import knn_accuracy, pooled_features
from mmrs_ssl.models.quiet import quiet
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES
from mmrs_ssl.rasters.pictures import read_image
from mmrs_ssl.shipped_configs import get_config
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.scene import make_split

CONFIG = 'cmid/cmid_resnet18_1xb32-coslr-22e_demo-64px'
SIDE = 96  # of the images that are compared; views have 64 pixels
COMPARED = 2000  # images at most, of training and held-out ones each
RESERVE = 15.0  # seconds for comparing at the end
TRIAL = 12.0  # seconds that tell how long an epoch takes
NEIGHBORS = 20


class TimeIsUp(Exception):
    """The time is over; what was learned is kept."""


class TimedHook(Hook):
    """Measure the features before the training, keep losses, and end it in time.

    Args:
        measure: accuracy of a model; None without labels.
        deadline: of everything.
    """

    priority = 'LOWEST'

    def __init__(self, measure: Callable[[Any], float] | None, deadline: Deadline) -> None:
        self.measure = measure
        self.deadline = deadline
        self.before: float | None = None
        self.losses: list[Tensor] = []
        self.started = 0.0

    def before_train(self, runner: Any) -> None:
        """Measure what random weights are worth."""
        self.before = self.measure(runner.model) if self.measure else None
        self.started = time.time()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the loss where it is; end the training when only the comparison's time is left."""
        self.losses.append(outputs['loss'].detach())
        if self.deadline.left() < RESERVE:
            raise TimeIsUp


def write_scenes(folder: Path, per_class: int) -> None:
    """Generated scenes, a folder for each class."""
    images, labels = make_split(per_class, size=SIDE)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / SCENE_CLASSES[label] / f'{number:05d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image[..., ::-1])


def split_files(root: Path) -> tuple[list[str], list[str]]:
    """Images of a folder by their paths below it: two thirds of every class to train on, the rest held out.

    Classes are the folders of the first level. Without such folders all are to train on.

    Raises:
        FileNotFoundError: if there is no image.
    """
    suffixes = IMAGE_SUFFIXES + RASTER_SUFFIXES
    classes: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob('*')):
        if path.name.lower().endswith(suffixes):
            relative = path.relative_to(root)
            classes[relative.parts[0] if len(relative.parts) > 1 else ''].append(str(relative))
    if not classes:
        raise FileNotFoundError(f'no image in {root}')
    if len(classes) < 2:
        return next(iter(classes.values())), []
    files = [(name, i % 3 == 2) for names in classes.values() for i, name in enumerate(names)]
    return [name for name, held in files if not held], [name for name, held in files if held]


def read_compared(root: Path, names: list[str]) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, SIDE, SIDE) and the numbers of their classes (N,), evenly chosen if there are too many."""
    names = names[:: -(-len(names) // COMPARED)]
    folders = sorted({name.split('/')[0] for name in names})
    pictures = []
    for name in names:
        pictures.append(cv2.resize(read_image(root / name)[..., :3], (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    labels = torch.tensor([folders.index(name.split('/')[0]) for name in names])
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), labels


def accuracy(model: Any, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> float:
    """20-NN accuracy of the backbone that the method's authors evaluate, on held-out images."""
    (own, own_labels), (other, other_labels) = (
        (pooled_features(model.evaluated_backbone, model.data_preprocessor.normalize(images)), labels)
        for images, labels in (train, held_out)
    )
    return knn_accuracy(own, own_labels, other, other_labels, min(NEIGHBORS, len(own)))


def training_config(shop: Workshop, root: Path, names: list[str]) -> Config:
    """The demo's config over these images, with as many workers as there are cores; larger batches of many images."""
    cfg = get_config(CONFIG)
    if shop.small:
        cfg.model.backbone, width = SMALL['ResNet']
        change_cmid(cfg.model, 'ResNet', width, small=True)
    listed = shop.folder / 'training.txt'
    listed.write_text('\n'.join(names))
    cfg.train_dataloader.dataset.update(data_root=str(root), ann_file=str(listed))
    cfg.train_dataloader.batch_size = 16 if shop.small else 32 * max(1, min(4, len(names) // 2500))
    cfg.train_dataloader.num_workers = 16
    fit_machine(cfg)
    if DEVICE == 'cuda':
        cfg.optim_wrapper = mixed_settings(cfg, 'bfloat16')
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    return cfg


def run(shop: Workshop, cfg: Config, epochs: int, hook: TimedHook) -> Runner:
    """Train for some epochs, or until the time is over."""
    cfg.train_cfg.max_epochs = epochs
    cfg.work_dir = str(shop.folder / f'training_{epochs}')
    cfg.experiment_name = f'training_{epochs}'
    with quiet():
        runner = Runner.from_cfg(cfg)
        runner.register_hook(hook)
        with suppress(TimeIsUp):
            runner.train()
    return runner


def train(shop: Workshop) -> dict[str, Any]:
    """A row: 20-NN accuracy before and after as many epochs as fit, by the pace of a trial before it.

    Raises:
        Differs: if the loss is not finite.
        NotRun: if there is no time for two steps.
    """
    root = Path(shop.images or shop.folder / 'scenes')
    if not shop.images:
        write_scenes(root, 8 if shop.small else 150)
    names, held_out = split_files(root)
    cfg = training_config(shop, root, names)
    splits = (read_compared(root, names), read_compared(root, held_out)) if held_out else None
    measure = partial(accuracy, train=splits[0], held_out=splits[1]) if splits else None

    trial = TimedHook(None, Deadline(TRIAL + RESERVE))
    steps = len(run(shop, cfg, 2, trial).train_dataloader)
    epoch = (time.time() - trial.started) / len(trial.losses) * steps  # the workers' start is in it, as a reserve
    fit = int((shop.deadline.left() - 2 * RESERVE) / epoch)
    hook = TimedHook(measure, shop.deadline)
    runner = run(shop, cfg, 3 if shop.small else max(2, min(fit, 400)), hook)
    if len(hook.losses) < 2:
        raise NotRun('out of time')
    took = time.time() - hook.started
    losses = torch.stack(hook.losses).float().cpu()
    ten = max(1, min(10, len(losses) // 2))
    hub = runner.message_hub
    figures = {
        'images': len(names),
        'epochs': f'{runner.epoch}/{runner.max_epochs}',
        'batch': cfg.train_dataloader.batch_size,
        'images/s': len(losses) * cfg.train_dataloader.batch_size / took,
        'waiting': hub.get_scalar('train/data_time').mean() / hub.get_scalar('train/time').mean(),
        'first_loss': float(losses[:ten].mean()),
        'last_loss': float(losses[-ten:].mean()),
    }
    if measure:
        figures |= {'20-NN_before': hook.before, '20-NN_after': measure(runner.model), 'held_out': len(held_out)}
    if not losses.isfinite().all():
        raise Differs('a loss is not finite', figures)
    return figures


def checks() -> Iterator[tuple[str, Callable[[Workshop], dict[str, Any]]]]:
    """List the one training."""
    yield CONFIG.rsplit('/', 1)[-1], train
