"""Swin as its authors and torchvision run it on maps of any size."""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models import SimMIMSwinTransformer, SwinTransformer
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor, nn

from mmrs_ssl.registry import MODELS

APART = -100.0  # added to the scores of places that a shift has brought into one window


class PaddedWindowAttention(ShiftWindowMSA):
    """Attention in windows: pads a map to whole windows, and shifts them only where there are several in a direction.

    Args:
        attention: mmpretrain's, whose weights, window and shift it takes over under the same names.

    Source: Swin (arXiv 2103.14030), section 3.2. Differs from mmpretrain's, which refuses maps smaller than a window
    or, with ``pad_small_map=True``, shifts windows that already hold the whole map.
    """

    def __init__(self, attention: ShiftWindowMSA) -> None:
        BaseModule.__init__(self, attention.init_cfg)
        self.window_size = attention.window_size
        self.shift_size = attention.shift_size
        self.pad_small_map = False  # what asks for mmpretrain's way of shifting
        self.w_msa = attention.w_msa
        self.drop = attention.drop

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attend within windows: tokens (B, H * W, C) of a map with ``hw_shape`` (H, W) -> (B, H * W, C)."""
        height, width = hw_shape
        side, channels = self.window_size, query.shape[-1]
        maps = query.unflatten(1, (height, width))
        maps = F.pad(maps, (0, 0, 0, -width % side, 0, -height % side))
        padded = (maps.shape[1], maps.shape[2])
        rows, columns = (0 if length <= side else self.shift_size for length in padded)
        mask = None
        if rows or columns:
            maps = torch.roll(maps, (-rows, -columns), (1, 2))
            mask = self.mask_of(padded, (rows, columns), query)
        windows = self.window_partition(maps, side).view(-1, side**2, channels)
        mixed = self.w_msa(windows, mask=mask).view(-1, side, side, channels)
        maps = self.window_reverse(mixed, *padded, side)
        if rows or columns:
            maps = torch.roll(maps, (rows, columns), (1, 2))
        return self.drop(maps[:, :height, :width].flatten(1, 2))

    def mask_of(self, padded: tuple[int, int], shifts: tuple[int, int], like: Tensor) -> Tensor:
        """Set places apart that are neighbors only by the shift: (windows, side ** 2, side ** 2), added to scores."""
        side = self.window_size
        ends = []
        for length, shift in zip(padded, shifts, strict=True):
            place = torch.arange(length, device=like.device)
            ends.append(place >= length - shift)  # of a shifted map, what comes from its other end
        regions = (2 * ends[0][:, None] + ends[1]).to(like.dtype)
        of_window = self.window_partition(regions[None, :, :, None], side).flatten(1)
        return APART * (of_window[:, :, None] != of_window[:, None, :]).to(like.dtype)


def pad_windows(swin: nn.Module) -> None:
    """Replace all of a Swin's window attentions by :class:`PaddedWindowAttention`, weights and names as they were."""
    for module in list(swin.modules()):
        if type(getattr(module, 'attn', None)) is ShiftWindowMSA:
            module.attn = PaddedWindowAttention(module.attn)


@MODELS.register_module()
class PaddedSwinTransformer(SwinTransformer):
    """mmpretrain's SwinTransformer with the published windows on small maps and on those of any size.

    Names of weights are mmpretrain's, so checkpoints fit both. Maps are always padded to whole windows;
    ``pad_small_map`` changes nothing. On maps that are whole numbers of windows, more than one in both directions, the
    two compute the same. Rows and columns beyond whole patches are left out, as published; mmpretrain's adds zeros.

    Args:
        patch_cfg: of the patch embedding.
        **options: of mmpretrain's ``SwinTransformer``.
    """

    def __init__(self, patch_cfg: dict | None = None, **options: Any) -> None:
        super().__init__(patch_cfg={'padding': 0, **(patch_cfg or {})}, **options)
        pad_windows(self)


@MODELS.register_module()
class PaddedSimMIMSwinTransformer(SimMIMSwinTransformer):
    """SimMIM's backbone with the windows of :class:`PaddedSwinTransformer`.

    Args:
        **options: of mmpretrain's ``SimMIMSwinTransformer``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        pad_windows(self)
