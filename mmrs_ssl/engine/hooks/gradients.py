"""Change gradients between the backward pass and the optimizer's step."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop
from mmpretrain.utils import get_ori_model
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mmrs_ssl.options import COUNT, POSITIVE, check_numbers
from mmrs_ssl.registry import HOOKS


def clip_each(params: Sequence[Tensor], max_norm: float) -> Tensor:
    """Scale the gradient of every parameter by itself to a norm of at most ``max_norm``, in place.

    A gradient g is multiplied by ``max_norm / (|g| + 1e-6)`` where that is below 1.

    Returns:
        The norm of all gradients together, before clipping, for the log.
    """
    norms = [clip_grad_norm_(param, max_norm) for param in params if param.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms))


@HOOKS.register_module()
class ClipEachGradientHook(Hook):
    """Clip the gradient of each parameter by its own norm, where ``optim_wrapper.clip_grad`` uses that of all together.

    It takes the place of the wrapper's own clipping, so it comes once per step of the optimizer: after the gradients
    of several batches are added up, and after the loss scale of mixed precision is taken out of them. The norm of all
    gradients before clipping is logged as ``grad_norm``.

    Args:
        max_norm: largest norm of a gradient.

    Source: the published programs of DINO and DINO-MC.
    """

    def __init__(self, max_norm: float = 3.0) -> None:
        check_numbers(self, POSITIVE, max_norm=max_norm)
        self.max_norm = max_norm

    def before_train(self, runner: Any) -> None:
        """Attach the clipping to the runner's optimizer wrapper."""
        self.attach(single_wrapper(runner))

    def attach(self, wrapper: OptimWrapper) -> None:
        """Let a wrapper clip each gradient by itself; refuse one that clips in another way already."""
        if wrapper.clip_grad_kwargs:
            raise ValueError(
                f'ClipEachGradientHook and optim_wrapper.clip_grad={wrapper.clip_grad_kwargs} both clip: remove one'
            )
        wrapper.clip_func = clip_each
        wrapper.clip_grad_kwargs = dict(max_norm=self.max_norm)
        wrapper.grad_name = 'grad_norm'

    def after_train(self, runner: Any) -> None:
        """Take the clipping off again, so that another training can set its own."""
        single_wrapper(runner).clip_grad_kwargs = None


@HOOKS.register_module()
class FreezeHook(Hook):
    """Keep parameters as they are for the first epochs: their gradients are dropped before the optimizer's step.

    Without a gradient an optimizer neither decays a weight nor starts its averages. The parameters still take part in
    the backward pass, so that data-parallel training finds the gradients it waits for. Gradients that are being added
    up when the first epochs end are dropped too.

    Args:
        path: part of the model, e.g. ``'head.last_layer'``.
        epochs: how many epochs.

    Source: DINO (arXiv 2104.14294), appendix C; DINO-MC.
    """

    def __init__(self, path: str, epochs: int = 1) -> None:
        check_numbers(self, COUNT, epochs=epochs)
        self.path = path
        self.epochs = epochs

    def before_train(self, runner: Any) -> None:
        """Register with the optimizer, to act before each of its steps; refuse to freeze for the whole training."""
        if isinstance(runner.train_loop, IterBasedTrainLoop) or not 1 <= self.epochs < runner.max_epochs:
            raise ValueError(
                f'FreezeHook: epochs={self.epochs} of a training of {runner.max_epochs} epochs '
                f'({type(runner.train_loop).__name__}), expected fewer than those of an EpochBasedTrainLoop, 1 at '
                'least: train longer, or leave the hook out'
            )
        try:
            module = get_ori_model(runner.model).get_submodule(self.path)
        except AttributeError as error:
            raise AttributeError(f'FreezeHook: the model has no {self.path!r} ({error})') from error
        self._params = list(module.parameters())
        self._handle = single_wrapper(runner).optimizer.register_step_pre_hook(lambda *_: self._drop(runner))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Drop the gradients that an iteration without a step has left."""
        self._drop(runner)

    def _drop(self, runner: Any) -> None:
        if runner.epoch < self.epochs:
            for param in self._params:
                param.grad = None

    def after_train(self, runner: Any) -> None:
        """Unregister from the optimizer, which then trains the parameters again."""
        self._handle.remove()


def single_wrapper(runner: Any) -> Any:
    """Return the runner's only optimizer wrapper.

    Raises:
        TypeError: if there are several optimizers.
    """
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        raise TypeError('these hooks are for one optimizer, but optim_wrapper has several')
    return runner.optim_wrapper
