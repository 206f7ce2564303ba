"""Keep the inputs of a backbone's blocks alone and compute the rest again for gradients: less memory, more time."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(network: nn.Module, name: str = 'backbone') -> int:
    """Let all residual blocks or transformer layers of a network compute themselves again during the backward pass.

    Losses, gradients and BatchNorm's running statistics are those of a plain pass. mmpretrain's own ``with_cp`` and
    mmengine's ``activation_checkpointing`` use torch's older way, which data-parallel training refuses ("marked ready
    twice") and which moves running statistics twice a step.

    Args:
        network: of mmpretrain, mmseg or mmdet: a network whose blocks have ``with_cp``, or a VisionTransformer.
        name: what messages call it.

    Returns:
        The number of blocks.

    Raises:
        TypeError: if it has none.
    """
    blocks = blocks_of(network)
    if not blocks:
        raise TypeError(
            f'{name} ({type(network).__name__}) has no blocks that can be recomputed: neither any with the option '
            "with_cp nor layers of mmpretrain's VisionTransformer"
        )
    for block in blocks:
        recompute(block)
    return len(blocks)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """List the innermost modules that have ``with_cp``, or a ViT's layers."""
    own = [module for module in network.modules() if hasattr(module, 'with_cp')]
    inner = [block for block in own if not any(hasattr(part, 'with_cp') for part in list(block.modules())[1:])]
    return inner or [module for module in network.modules() if isinstance(module, TransformerEncoderLayer)]


def take_over_with_cp(network: nn.Module) -> None:
    """Do what ``with_cp=True`` asks of a network's blocks, by :func:`recompute_blocks`' way."""
    for block in blocks_of(network):
        if getattr(block, 'with_cp', False):
            recompute(block)


def recompute(block: nn.Module) -> None:
    """Let a block compute itself again during the backward pass; a second call changes nothing."""
    if getattr(block, 'recomputed', False):
        return
    block.recomputed = True  # type: ignore[assignment]
    block.with_cp = False  # type: ignore[assignment]
    block.forward = partial(run_block, block, block.forward)


def run_block(block: nn.Module, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that runs a block's parts; its results are computed again where the block is to be recomputed."""
    if not getattr(block, 'recomputed', False):
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, context_fn=partial(contexts, block))


def contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Return what surrounds a block's first pass and its recomputation."""
    return nullcontext(), StatisticsLeftAlone(block)


class StatisticsLeftAlone(AbstractContextManager[None]):
    """Move copies of BatchNorm's running statistics: the first pass has moved them already.

    A graph that is gone through several times, for the gradients of several terms, enters this as often.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __enter__(self) -> None:
        norms = [module for module in self.block.modules() if module.training and hasattr(module, 'running_mean')]
        self.kept = [(norm, dict(norm._buffers)) for norm in norms]
        for norm, buffers in self.kept:
            norm._buffers.update({name: None if each is None else each.clone() for name, each in buffers.items()})

    def __exit__(self, *error: object) -> None:
        for norm, buffers in self.kept:
            norm._buffers.update(buffers)
        self.kept.clear()
