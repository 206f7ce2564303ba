"""Tell layers that normalize by their batch from others."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def is_batch_norm(module: nn.Module) -> bool:
    """Tell whether a module is a BatchNorm, of one process or of all; mmcv's ``SyncBatchNorm`` is no class of torch."""
    return isinstance(module, _BatchNorm) or type(module).__name__ == 'SyncBatchNorm'
