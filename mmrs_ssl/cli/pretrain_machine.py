"""Add to a pre-training what the machine decides: precision, workers, images at once, and the epochs of some hours."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.cli.checks.step import FULL, StepCost, duration, measure_apart
from mmrs_ssl.cli.config import count_images
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.cli.recipe import Chosen

_MOST_WORKERS, _FEWEST_AT_ONCE = 8, 4


def machine_choices(cfg: Config, folder: Path, machine: Machine, epoch: int, hours: float | None) -> list[Chosen]:
    """Choose what does not change what is learned, by a real step where the time or a GPU's memory counts.

    Args:
        cfg: of the training, without any of it; it is not changed.
        folder: of the work.
        machine: that trains.
        epoch: images of an epoch.
        hours: to train, in place of the config's epochs.

    Raises:
        ValueError: if no step runs.
    """
    choices = [Chosen('work_dir', str(folder), 'where checkpoints and logs go'), *_simple(machine)]
    if hours is None and machine.device == 'cpu':
        return choices
    batch = at_once = cfg.train_dataloader.batch_size
    while True:
        changes = [*choices, *_split(batch, at_once, machine)]
        cost = measure_apart(with_choices(cfg, changes), 1, folder / 'check')
        too_much = 'emory' in cost if isinstance(cost, str) else cost.memory > FULL * machine.memory
        if not too_much or at_once <= _FEWEST_AT_ONCE:
            break
        at_once //= 2
    if isinstance(cost, str):
        raise ValueError(f'no step runs: {cost}')
    if hours is not None:
        workers = next(each.value for each in changes if each.setting == 'train_dataloader.num_workers')
        dataset = cfg.train_dataloader.dataset
        windows = dataset.type.rsplit('.', 1)[-1] == 'SceneDataset' and dataset.get('sampling') != 'grid'
        changes += length_of(hours, cost, batch, at_once, workers, epoch, windows)
    return changes


def _simple(machine: Machine) -> Iterator[Chosen]:
    workers = max(1, machine.cores // 2 if machine.device == 'cpu' else min(machine.cores, _MOST_WORKERS))
    why = f'{machine.cores} cores' + (', which train as well' if machine.device == 'cpu' else '')
    yield Chosen('train_dataloader.num_workers', min(workers, _MOST_WORKERS), why)
    if machine.bfloat16:
        yield Chosen('optim_wrapper.type', 'AmpOptimWrapper', f'{machine.name} is faster with bfloat16')
        yield Chosen('optim_wrapper.dtype', 'bfloat16', 'half the memory')


def _split(batch: int, at_once: int, machine: Machine) -> Iterator[Chosen]:
    """Yield what lets a batch be computed in parts, if it is."""
    if at_once < batch:
        why = f'all {batch} of a batch need more than {FULL:.0%} of {machine.memory / 1e9:.0f} GB'
        yield Chosen('train_dataloader.batch_size', at_once, why)
        yield Chosen('optim_wrapper.accumulative_counts', batch // at_once, f'parts of a batch of {batch}')


def length_of(
    hours: float, cost: StepCost, batch: int, at_once: int, workers: int, epoch: int, windows: bool
) -> Iterator[Chosen]:
    """Choose how many epochs fit in some hours, by what a step costs: one at least, of fewer windows if it must be."""
    step = max(cost.step * batch / at_once, cost.image * batch / workers)
    each = step * max(1, epoch // batch)
    why = f'{hours:g} hours; a step of {batch} takes {step:.3g} s, an epoch {duration(each)}'
    if each <= 3600 * hours:
        yield Chosen('train_cfg.max_epochs', math.floor(3600 * hours / each), why)
    elif windows:
        steps = max(1, math.floor(3600 * hours / step))
        yield Chosen('train_cfg.max_epochs', 1, why)
        yield Chosen('train_dataloader.dataset.windows_per_epoch', steps * batch, 'at random places, so many fit')
    else:
        yield Chosen('train_cfg.max_epochs', 1, f'{why}, and one is the least')


def with_choices(cfg: Config, choices: list[Chosen]) -> Config:
    """Return the config with choices of a machine, as it is trained."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({each.setting: each.value for each in choices})
    set_precision(cfg, amp=False)
    count_images(cfg)
    return cfg
