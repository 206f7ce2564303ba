"""Make a step's randomness depend on the seed and the step alone."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed all generators (masks, drop path, dropout) before every step, and the sampler.

    A step draws from (seed, epoch, iteration, rank): however often and wherever the run was interrupted, however many
    workers load its data, it draws what the uninterrupted run would have drawn. Every process draws its own masks.
    """

    priority = 'HIGHEST'  # before hooks that draw

    def before_train_epoch(self, runner: Any) -> None:
        """Give the sampler the seed, which a resumed run takes over after its sampler was built; seed the loader.

        A loader draws a seed for its workers when its iterator is made.
        """
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed
        seed_all(runner.seed, runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed this step."""
        seed_all(runner.seed, runner.epoch, runner.iter, get_rank())


def seed_all(*position: int) -> None:
    """Seed torch on all devices, numpy and Python from a few numbers."""
    first, second, third = np.random.SeedSequence(position).generate_state(3, np.uint64)
    # without a device torch.manual_seed would note for later, with a trace of the stack, how to seed one
    seed = torch.default_generator.manual_seed if get_device() == 'cpu' else torch.manual_seed
    seed(int(first))
    np.random.seed(int(second) % 2**32)  # noqa: NPY002
    random.seed(int(third))
