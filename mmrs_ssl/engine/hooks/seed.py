"""Make an epoch's randomness depend on the seed and the epoch alone."""

from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from mmrs_ssl.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed torch (masks, drop path, dropout) before the first step of every epoch, and the sampler.

    A run resumed at an epoch boundary then draws what the uninterrupted run would have drawn. Every process draws its
    own masks.
    """

    def before_train(self, runner: Any) -> None:
        """Refuse a loop without epochs, where nothing would be seeded after the start."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                "EpochSeedHook needs train_cfg.type='EpochBasedTrainLoop'; an IterBasedTrainLoop has no epochs"
            )

    def before_train_epoch(self, runner: Any) -> None:
        """Give the sampler the seed: a resumed run takes over the checkpoint's after its sampler was built."""
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed from (seed, epoch, rank), not before: a loader draws when it starts workers, which may persist."""
        if batch_idx == 0:
            seed = int(np.random.SeedSequence((runner.seed, runner.epoch, get_rank())).generate_state(1, np.uint64)[0])
            torch.manual_seed(seed)
