"""Watch what enters and leaves the backbone of a method that does not tell."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class Pass(NamedTuple):
    """One call of a network."""

    image: Tensor  # (B, C, H, W), the first one that it was given
    rest: tuple  # what came after it
    options: dict[str, Any]
    output: Any


class BackboneWatch:
    """Keep something of every pass of a method's ``backbone`` between :meth:`start` and :meth:`stop`.

    Passes of other networks, such as the copy that MoCo has for its keys, are not seen.

    Args:
        model: the method.
        wanted_by: who looks, for messages.
        keep: what to keep of a pass; a tensor with gradients keeps the memory of the whole step.

    Raises:
        AttributeError: if the method has no backbone.
    """

    def __init__(self, model: Any, wanted_by: str, keep: Callable[[Pass], Any]) -> None:
        backbone = getattr(model, 'backbone', None)
        if not isinstance(backbone, nn.Module):
            raise AttributeError(
                f'{wanted_by}: {type(model).__name__} has no backbone to look at; leave this out, or give the method '
                'what mmrs_ssl.models.protocol describes'
            )
        self.wanted_by = wanted_by
        self.backbone = backbone
        self.keep = keep
        self.kept: list[Any] = []
        self._handle: Any = None

    def start(self) -> None:
        """Watch the backbone from now on."""
        if self._handle is None:
            self._handle = self.backbone.register_forward_hook(self._look, with_kwargs=True)

    def stop(self) -> None:
        """Stop watching; what was kept stays until it is collected."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def collect(self) -> list[Any]:
        """Return what was kept of the passes since the last call, and forget it here.

        Raises:
            RuntimeError: if there were none: the method calls parts of its backbone, not the whole.
        """
        kept, self.kept = self.kept, []
        if not kept:
            raise RuntimeError(
                f'{self.wanted_by}: the backbone ({type(self.backbone).__name__}) was not called in this step; '
                'leave this out, or give the method what mmrs_ssl.models.protocol describes'
            )
        return kept

    def _look(self, module: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> None:
        if not args:  # all by name, the image first
            name, *others = options
            args, options = (options[name],), {other: options[other] for other in others}
        self.kept.append(self.keep(Pass(args[0], args[1:], options, output)))


def main_output(output: Any) -> Tensor:
    """Find the features among what a backbone returns: its last map (B, D, h, w), else tokens (B, L, D) or vectors.

    MAE's encoder returns its tokens with the mask and the places.

    Raises:
        TypeError: if there is none of them.
    """
    found = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    for dimensions in (4, 3, 2):
        for tensor in reversed(found):
            if tensor.ndim == dimensions:
                return tensor
    raise TypeError(f'a backbone returned {type(output).__name__} without a map, tokens or vectors')
