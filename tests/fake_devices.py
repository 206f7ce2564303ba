"""A device that is not there: fake tensors of it, which have shapes and no values, beside real ones on the CPU."""

from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from typing import Any

import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from mmrs_ssl.benchmarks.syncs import READ, HostWaits

aten = torch.ops.aten


class FakeDevice(HostWaits):
    """Within this context there is a device: ``'cuda'``, or ``'meta'``, on which the backward pass runs as well.

    Tensors of two devices raise as they do on a GPU. ``found`` tells where the processor waited for the device: a
    number that is read is 0, a truth True, what is fetched rises from 0; a shape that depends on values raises.
    """

    def __init__(self, device: str = 'cuda') -> None:
        super().__init__(device)
        self.stack = ExitStack()
        self.written: set[int] = set()

    def __enter__(self) -> 'FakeDevice':
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        # without a GPU, torch switches autocast and the gradients' scaler off
        patch.setattr('torch.cuda.amp.common.amp_definitely_not_available', lambda: False)
        patch.setattr('torch.cuda.is_bf16_supported', lambda: True)
        if self.device == 'meta':  # of which autocast knows nothing
            real = torch.autocast
            patch.setattr('torch.autocast', lambda _, *args, **options: real('cpu', *args, **options))
        self.stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.stack.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        waits = self.look(func, args, kwargs)
        if func._schema.is_mutable:
            for value, argument in zip(args, func._schema.arguments, strict=False):
                if argument.is_write:
                    self.written.update(id(leaf) for leaf in tree_leaves(value))
        asked = kwargs.get('device')
        here = FakeTensor in types or (asked is not None and torch.device(asked).type == self.device)
        fetched = waits in ('value', 'fetch')
        if here and not fetched:
            return func(*args, **kwargs)
        with torch._C._DisableTorchDispatch():
            return invented(func, args, kwargs) if fetched else func(*args, **kwargs)  # the CPU's own work is real

    def adopt(self, model: nn.Module) -> nn.Module:
        """The model with its parameters and buffers on the device, and a preprocessor that sends batches there."""
        moved: dict[int, Tensor] = {}
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = moved.setdefault(id(tensor), self.like(tensor))
            if isinstance(module, BaseDataPreprocessor):
                module._device = torch.device(self.device)
        return model

    def like(self, tensor: Tensor) -> Tensor:
        """A tensor or parameter of the same shape and layout on the device."""
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=self.device)
        return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made

    def wrote_to(self, tensors: Iterable[Tensor]) -> bool:
        """Whether some operator changed every one of these, which have no values to tell."""
        return all(id(tensor) in self.written for tensor in tensors)

    def places(self) -> list[str]:
        """Where the processor waited, file and function, with what for."""
        return sorted({f'{wait.kind}: {wait.place}' for wait in self.found})


def untrained(config: dict) -> Any:
    """The model of a config as it is built; a device without values needs none to start from."""
    init_default_scope('mmpretrain')
    model = MODELS.build(config)
    model.teacher_is_updated = True
    return model.train()


def invented(func: Any, args: tuple, kwargs: dict) -> Any:
    """What is read from a device without values."""
    if func is READ:
        return args[0].dtype == torch.bool or torch.zeros((), dtype=args[0].dtype).item()
    here, there = args[:2] if func is aten.copy_.default else (None, args[0])
    rising = torch.arange(there.numel()).view(there.shape)
    return rising.to(kwargs.get('dtype') or there.dtype) if here is None else here.copy_(rising)


def autocast(dtype: torch.dtype) -> Any:
    """The context of a forward pass on a GPU in this precision."""
    return nullcontext() if dtype == torch.float32 else torch.autocast('cuda', dtype)
