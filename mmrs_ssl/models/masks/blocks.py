"""Draw masks of square blocks, and apply them to images.

A mask is 1 (True) where the student must not see, 0 where it may.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def block_mask(batch: int, grid: tuple[int, int], ratio: float, device: torch.device | str = 'cpu') -> Tensor:
    """Mask ``ceil(ratio * blocks)`` blocks of every image, uniformly without replacement.

    Args:
        batch: number of images B.
        grid: blocks per column and per row (gh, gw).
        ratio: share of masked blocks, in (0, 1).
        device: where to draw.

    Returns:
        Boolean (B, gh, gw), True = masked; every image has the same number of True.

    Raises:
        ValueError: if the ratio would mask nothing or everything.
    """
    blocks = grid[0] * grid[1]
    masked = math.ceil(ratio * blocks)
    if not 0 < masked < blocks:
        raise ValueError(
            f'mask_ratio={ratio} masks {masked} of {blocks} blocks ({grid[0]} x {grid[1]}); at least one must be '
            'masked and one visible: use a larger crop, a smaller mask_block or another mask_ratio'
        )
    order = torch.rand(batch, blocks, device=device).argsort(dim=1)
    return (order < masked).view(batch, *grid)


def block_grid(height: int, width: int, block: int) -> tuple[int, int]:
    """Count the blocks per column and row of an image of ``height`` x ``width`` pixels.

    Raises:
        ValueError: if the image is no whole number of blocks, or smaller than one.
    """
    if height < block or width < block or height % block or width % block:
        raise ValueError(
            f'a view of {height} x {width} pixels cannot be cut into mask blocks of {block} x {block}: set the crop '
            f'size to a multiple of {block} (e.g. {max(round(height / block), 2) * block}), or change mask_block'
        )
    return height // block, width // block


def upsample_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a block mask (B, gh, gw) to another resolution: (B, 1, H, W) of the same type, by whole blocks.

    Finer grids repeat a block's value. On a grid coarser than the blocks a cell takes the value at its center.
    """
    return torch.nn.functional.interpolate(mask[:, None].float(), size=tuple(size), mode='nearest-exact').to(mask.dtype)


def fill_with_mean(view: Tensor, mask: Tensor) -> Tensor:
    """Replace masked pixels by the view's own per-channel mean.

    Args:
        view: (B, C, H, W), normalized.
        mask: (B, 1, H, W), boolean, True = masked.

    Returns:
        (B, C, H, W), in the memory format of ``view``.

    Source: CMID, section III-A. Differs from the official code: done on the device, not in the data workers.
    """
    return torch.where(mask, view.mean(dim=(2, 3), keepdim=True), view)
