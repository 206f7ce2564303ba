"""Train in mixed precision on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmrs_ssl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on the CPU; mmengine's ``AmpOptimWrapper`` accepts accelerators only.

    bfloat16 has float32's range, so there is no loss scaling. Faster than float32 on some processors with instructions
    for it (avx512_bf16 or amx_bf16), slower on others and without; ``mmrs-ssl check`` measures.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast the forward pass, and accumulate gradients as the base class does."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
