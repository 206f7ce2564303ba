"""Add a learned mask token at a backbone's entrance, without touching the backbone.

The token lives beside the backbone and reaches it through a hook that exists only during the forward pass, so the
backbone keeps exactly mmpretrain's parameter names.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmpretrain.models import ConvNeXt, ResNet, SwinTransformer, VisionTransformer
from torch import Tensor, nn

from mmrs_ssl.models.masks.blocks import upsample_mask

MODES = ('add', 'replace')


def entrance_of(backbone: nn.Module) -> tuple[nn.Module, int]:
    """Find the module whose output enters the first stage, and that output's channels.

    ResNet's stem (before ``layer1``), ConvNeXt's stem, Swin's or ViT's patch embedding (before position embeddings).

    Raises:
        TypeError: for a backbone of another family.
    """
    if isinstance(backbone, ResNet):
        return backbone.maxpool, backbone.stem_channels
    if isinstance(backbone, ConvNeXt):
        return backbone.downsample_layers[0], backbone.channels[0]
    if isinstance(backbone, SwinTransformer | VisionTransformer):
        return backbone.patch_embed, backbone.embed_dims
    raise TypeError(
        f'masked pre-training does not know where {type(backbone).__name__} begins; use a ResNet, ConvNeXt, '
        'SwinTransformer or VisionTransformer of mmpretrain, or a subclass of one'
    )


class MaskToken(nn.Module):
    """A learned token (zeros at the start) for masked positions at the entrance of the first stage.

    Args:
        channels: channels of the entrance's output.
        mode: ``'add'`` the token to the features there, or ``'replace'`` them by it.

    Source: CMID, section III-A.
    """

    def __init__(self, channels: int, mode: str = 'add') -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'mask token mode {mode!r} is not one of {MODES}')
        self.mode = mode
        self.token = nn.Parameter(torch.zeros(channels))

    @contextmanager
    def applied(self, backbone: nn.Module, mask: Tensor) -> Iterator[None]:
        """Let ``backbone`` see the token where ``mask`` (B, gh, gw) is True, within this context."""

        def hook(module: nn.Module, args: object, output: Tensor | tuple) -> Tensor | tuple:
            if isinstance(output, Tensor):  # a map (B, C, h, w)
                return self._mark(output, upsample_mask(mask, output.shape[-2:]), self.token[:, None, None])
            tokens, size = output  # (B, h * w, C)
            flat = upsample_mask(mask, size).flatten(1)[..., None]
            return self._mark(tokens, flat, self.token), size

        handle = entrance_of(backbone)[0].register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def _mark(self, features: Tensor, mask: Tensor, token: Tensor) -> Tensor:
        token = token.to(features.dtype)
        if self.mode == 'replace':
            return torch.where(mask, token, features)
        return features + mask.to(features.dtype) * token
