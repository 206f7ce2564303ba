"""Train: hooks, optimizers and their wrappers, and the data-parallel wrapper of machines without a GPU."""

from mmrs_ssl.engine import hooks, optim
from mmrs_ssl.engine.distributed import CPUDistributedDataParallel, start_gloo

__all__ = ['CPUDistributedDataParallel', 'hooks', 'optim', 'start_gloo']
