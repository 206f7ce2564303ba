"""A loop over epochs that goes on inside an epoch."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from mmrs_ssl.engine.distributed import end_with_parent
from mmrs_ssl.registry import LOOPS

VALIDATED = 'validated_epoch'  # the last one, in the message hub


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Train epochs as mmengine's loop does, and continue with the next batch where a checkpoint is of inside an epoch.

    mmengine's own loop begins such an epoch again and counts on, beyond the end of every schedule. The sampler leaves
    out what was seen (see :class:`mmrs_ssl.datasets.samplers.EpochSampler`); one that cannot is gone through, which
    loads that data again. A checkpoint of the end of an epoch is written before its validation: a run that goes on from
    it validates first, if that was due.
    """

    def __init__(self, runner: Any, dataloader: Any, max_epochs: int, **options: Any) -> None:
        super().__init__(runner, dataloader, max_epochs, **options)
        self.dataloader.worker_init_fn = partial(start_worker, os.getpid(), self.dataloader.worker_init_fn)

    def run(self) -> nn.Module:
        """Train, and validate after every epoch where that is due, which is noted for a run that goes on."""
        self.runner.call_hook('before_train')
        at_end = self._epoch > 0 and self._iter == self._epoch * len(self.dataloader)
        if at_end and self.runner.message_hub.runtime_info.get(VALIDATED) != self._epoch:
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            # before it, as the checkpoint that is saved again with better weights than before is to hold this
            self.runner.message_hub.update_info(VALIDATED, self._epoch)
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """Iterate over what is left of an epoch; of one whose end alone was missed, nothing."""
        begin = self._iter - self._epoch * len(self.dataloader)
        if not 0 <= begin <= len(self.dataloader):
            raise ValueError(
                f'the checkpoint stands at iteration {self._iter} of epoch {self._epoch + 1}, but an epoch of this '
                f'training has {len(self.dataloader)} iterations: go on with tools/train.py --resume, which converts '
                'the position, or with the batch size and the data of the checkpoint'
            )
        samplers: list[Any] = [self.dataloader.sampler, getattr(self.dataloader.batch_sampler, 'sampler', None)]
        for sampler in samplers:
            if hasattr(sampler, 'seed'):  # a resumed run takes over the checkpoint's after its sampler was built
                sampler.seed = self.runner.seed
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(self._batches(begin), begin):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches(self, begin: int) -> Iterator[Any]:
        """Yield the batches of this epoch from number ``begin`` on."""
        sampler = self.dataloader.sampler
        if begin == 0:
            return iter(self.dataloader)
        if hasattr(sampler, 'skip') and self.dataloader.batch_size is not None:
            sampler.skip(begin * self.dataloader.batch_size)
            return iter(self.dataloader)
        self.runner.logger.info(f'{type(sampler).__name__} cannot skip: the first {begin} batches are loaded for it')
        return islice(self.dataloader, begin, None)


def start_worker(parent: int, init: Callable[[int], None] | None, worker: int) -> None:
    """Let a data worker end with its process, however and whenever that ends, and start it as the loader does."""
    end_with_parent(parent)
    if init is not None:
        init(worker)
