"""Train: hooks, optimizers and their wrappers, and the data-parallel wrapper of machines without a GPU."""

from mmrs_ssl.engine import hooks, optim
from mmrs_ssl.engine.distributed import CPUDistributedDataParallel, start_gloo
from mmrs_ssl.engine.loops import ResumableTrainLoop

__all__ = ['CPUDistributedDataParallel', 'ResumableTrainLoop', 'hooks', 'optim', 'start_gloo']
