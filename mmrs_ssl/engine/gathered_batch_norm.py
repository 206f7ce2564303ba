"""BatchNorm over the batches of all processes of a machine without a GPU, where torch's SyncBatchNorm does not run."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

Group = distributed.ProcessGroup | None  # None: all processes


class GatheredBatchNorm(_BatchNorm):
    """Normalizes as torch's ``SyncBatchNorm``: by mean and variance of the batches of all processes together.

    Every process must call it, with (N, C, ...) of any N, 0 too. The backward pass gives gradients of the sum of all
    processes' losses, as SyncBatchNorm's does, of which data-parallel training takes the mean. What it has learned has
    the names of any BatchNorm.

    Args:
        like: a ``SyncBatchNorm`` of torch or mmcv, whose settings, parameters and buffers it takes over.
    """

    def __init__(self, like: nn.Module) -> None:
        given: Any = like
        super().__init__(given.num_features, given.eps, given.momentum, given.affine, given.track_running_stats)
        self.weight, self.bias = given.weight, given.bias
        self.running_mean, self.running_var = given.running_mean, given.running_var
        self.num_batches_tracked = given.num_batches_tracked
        self.group: Group = getattr(given, 'process_group', getattr(given, 'group', None))
        self.training = given.training

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f'BatchNorm wants (N, C, ...), not {tuple(input.shape)}')

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, ...): by the batches of all processes while training, else by the running statistics."""
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        if not by_batch or distributed.get_world_size(self.group) == 1:
            return super().forward(input)
        self._check_input_dim(input)
        mean, variance, total = gathered_statistics(input.detach(), self.group)
        if self.training and self.running_mean is not None:
            self.move_running_statistics(mean, variance * total / (total - 1))
        scale = (variance + self.eps).rsqrt()
        output: Tensor = _NormalizeTogether.apply(input, self.weight, self.bias, mean, scale, total, self.group)
        return output

    @torch.no_grad()
    def move_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Average mean and unbiased variance (C,) into the running ones, as any BatchNorm."""
        assert self.running_mean is not None
        assert self.running_var is not None
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        assert share is not None
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


class _NormalizeTogether(torch.autograd.Function):
    """Normalize by statistics of all processes; their share of the gradient is summed over all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        scale: Tensor,
        total: int,
        group: Group,
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, scale)
        ctx.total, ctx.group = total, group
        result = along(values, mean, scale)
        if weight is not None and bias is not None:
            result = result * spread(weight, values) + spread(bias, values)
        return result.to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale = ctx.saved_tensors
        gradient = gradient.to(mean.dtype)
        normalized, others = along(values, mean, scale), others_than_channels(values)
        of_bias, of_weight = gradient.sum(others), (gradient * normalized).sum(others)
        sums = torch.stack((of_bias, of_weight))
        distributed.all_reduce(sums, group=ctx.group)
        sums /= ctx.total
        wrong = gradient - spread(sums[0], values) - normalized * spread(sums[1], values)
        factor = scale if weight is None else scale * weight
        of_values = (wrong * spread(factor, values)).to(values.dtype)
        return of_values, None if weight is None else of_weight, None if weight is None else of_bias, *[None] * 4


def gathered_statistics(values: Tensor, group: Group = None) -> tuple[Tensor, Tensor, int]:
    """Compute mean and biased variance (C,) of (N, C, ...) of all processes, and how many values a channel has.

    Raises:
        ValueError: if that is one at most, of which there is no variance.
    """
    count, channels = values.numel() // values.shape[1], values.shape[1]
    wide = torch.promote_types(values.dtype, torch.float32)
    own = torch.zeros(3, channels, dtype=torch.float64)
    if count:
        variance, mean = torch.var_mean(values.to(wide), others_than_channels(values), correction=0)
        own[0], own[1], own[2] = count, mean, variance
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(every, own, group=group)
    counts, means, variances = torch.stack(every).unbind(1)
    total = int(counts[:, 0].sum())
    if total < 2:
        raise ValueError(f'BatchNorm has {total} values per channel in all processes, expected 2: raise batch_size')
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return mean.to(wide), variance.to(wide), total


def along(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Shift and scale the channels of (N, C, ...), in the precision of mean and scale (C,)."""
    return (values.to(mean.dtype) - spread(mean, values)) * spread(scale, values)


def spread(of_channels: Tensor, like: Tensor) -> Tensor:
    """Give (C,) the dimensions that let it meet (N, C, ...)."""
    return of_channels.view(-1, *[1] * (like.ndim - 2))


def others_than_channels(values: Tensor) -> list[int]:
    """List the dimensions of (N, C, ...) but the channels."""
    return [0, *range(2, values.ndim)]


def gather_batch_norms(module: nn.Module) -> nn.Module:
    """Replace every ``SyncBatchNorm`` inside a module, torch's and mmcv's, by :class:`GatheredBatchNorm`; return it."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child).__name__ == 'SyncBatchNorm':
                setattr(parent, name, GatheredBatchNorm(child))
    return module
