"""Train data-parallel on machines without a GPU, whose processes talk by gloo."""

import torch
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn

from mmrs_ssl.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """Wrap a model as mmengine does, but without devices; SyncBN, which needs a GPU, becomes BatchNorm."""

    def __init__(
        self, module: nn.Module, device_ids: list[int] | None = None, find_unused_parameters: bool = False
    ) -> None:
        del device_ids  # mmengine's Runner gives a device to every data-parallel wrapper
        super().__init__(
            revert_sync_batchnorm(module), broadcast_buffers=False, find_unused_parameters=find_unused_parameters
        )


def start_gloo() -> None:
    """Join the process group that torchrun describes in the environment.

    mmengine's ``init_dist`` would select a CUDA device, which a machine without one refuses; it leaves a group alone
    that exists already.
    """
    torch.distributed.init_process_group(backend='gloo')
