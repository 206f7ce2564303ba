"""Hooks, optimizer wrappers and the CPU's data-parallel wrapper."""

from mmrs_ssl.engine import hooks, optim
from mmrs_ssl.engine.distributed import CPUDistributedDataParallel, start_gloo

__all__ = ['CPUDistributedDataParallel', 'hooks', 'optim', 'start_gloo']
