"""Adan in blocks that stay in the processor's cache."""

import math
from collections.abc import Iterator

import torch
from mmpretrain.engine.optimizers import Adan
from torch import Tensor

from mmrs_ssl.registry import OPTIMIZERS

BLOCK = 1 << 18  # elements; the six arrays of a block take 6 MB, which a last-level cache holds


@OPTIMIZERS.register_module()
class BlockAdan(Adan):
    """mmpretrain's ``Adan``, several times faster on the CPU and without its temporary copies of all gradients.

    Adan reads and writes five arrays as large as the model in a dozen passes. On the CPU those passes run block by
    block, so that only the first of each touches main memory. On other devices mmpretrain's own step runs. The state
    has mmpretrain's names; results agree up to rounding.

    Source: Adan (arXiv 2208.06677), algorithm 1.
    """

    @torch.no_grad()
    def step(self) -> None:
        """One step for every parameter with a gradient."""
        if any(p.device.type != 'cpu' for group in self.param_groups for p in group['params']):
            super().step()
            return
        if self.defaults['max_grad_norm'] > 0 or any(group['no_prox'] for group in self.param_groups):
            raise ValueError('BlockAdan knows no max_grad_norm (use optim_wrapper.clip_grad) and no no_prox')
        for group in self.param_groups:
            group['step'] = group.get('step', 0) + 1
            for param in group['params']:
                if param.grad is not None:
                    self._update(param, param.grad, group)

    def _update(self, param: Tensor, grad: Tensor, group: dict) -> None:
        state = self.state[param]
        if not state:
            for name in ('exp_avg', 'exp_avg_sq', 'exp_avg_diff'):
                state[name] = torch.zeros_like(param)
            state['pre_grad'] = torch.empty_like(param).copy_(grad)
        names = ('exp_avg', 'exp_avg_sq', 'exp_avg_diff', 'pre_grad')
        for name in names:  # a state of another memory layout (loaded from elsewhere) takes the parameter's
            if state[name].stride() != param.stride():
                state[name] = torch.empty_like(param).copy_(state[name])
        beta1, beta2, beta3 = group['betas']
        correction = [1 - beta ** group['step'] for beta in group['betas']]
        shrink = 1 / (1 + group['lr'] * group['weight_decay'])
        for p, g, mean, square, mean_diff, previous in blocks(param, grad, *(state[name] for name in names)):
            diff = torch.sub(g, previous, out=previous)
            mean.lerp_(g, 1 - beta1)
            mean_diff.lerp_(diff, 1 - beta2)
            look_ahead = torch.add(g, diff, alpha=beta2)
            square.mul_(beta3).addcmul_(look_ahead, look_ahead, value=1 - beta3)
            denominator = torch.sqrt(square, out=look_ahead).div_(math.sqrt(correction[2])).add_(group['eps'])
            update = torch.div(mean, correction[0]).add_(mean_diff, alpha=beta2 / correction[1])
            p.addcdiv_(update, denominator, value=-group['lr']).mul_(shrink)
            previous.copy_(g)


def blocks(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Walk through tensors of one shape together, in the memory order of the first, ``BLOCK`` elements at a time.

    A tensor of another layout (a gradient, rarely) is copied into that of the first; such a copy may only be read.
    """
    flat = []
    for tensor in (first, *others):
        if tensor.stride() != first.stride():
            tensor = torch.empty_like(first).copy_(tensor)
        flat.append(tensor.as_strided((tensor.numel(),), (1,)))
    return zip(*(tensor.split(BLOCK) for tensor in flat), strict=True)
