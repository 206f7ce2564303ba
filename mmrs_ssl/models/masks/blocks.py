"""Masks, made batched on the device that uses them.

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
    """Blocks per column and row of an image of ``height`` x ``width`` pixels.

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

    Finer grids repeat a block's value. On a grid coarser than the blocks a cell takes the value at its centre.
    """
    return torch.nn.functional.interpolate(mask[:, None].float(), size=tuple(size), mode='nearest-exact').to(mask.dtype)


def fill_with_mean(view: Tensor, mask: Tensor) -> Tensor:
    """Replace masked pixels by the view's own per-channel mean.

    Args:
        view: (B, C, H, W), normalised.
        mask: (B, 1, H, W), boolean, True = masked.

    Returns:
        (B, C, H, W), in the memory format of ``view``.

    Source: CMID, section III-A. Differs from the official code: done on the device, not in the data workers.
    """
    return torch.where(mask, view.mean(dim=(2, 3), keepdim=True), view)


GREY = (0.299, 0.587, 0.114)  # luminance of RGB, ITU-R BT.601


def patch_information(image: Tensor, patch: int) -> Tensor:
    """How much there is to see in every patch: mean gradient plus variance.

    Args:
        image: (B, C, H, W) on the scale 0-255, uint8 where the raster has 8 bits.
        patch: side of a patch in pixels, at least 2; divides H and W.

    Returns:
        (B, L) float32, L patches row by row: the mean magnitude of the 3 x 3 Sobel gradient of the patch's grey image,
        by itself with reflected borders, plus the population variance of all its pixels and bands. Grey is the
        luminance of three bands, rounded where ``image`` has 8 bits, else the mean of the bands.

    Source: MSSDF (arXiv 2506.09327), information-aware masking.
    """
    height, width = image.shape[2] // patch, image.shape[3] // patch
    pixels = image.float().unflatten(3, (width, patch)).unflatten(2, (height, patch))  # (B, C, h, p, w, p)
    pixels = pixels.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, L, C, p, p)
    grey = pixels.mean(dim=2)
    if image.shape[1] == 3:
        grey = sum(weight * band for weight, band in zip(GREY, pixels.unbind(2), strict=True))
        if image.dtype == torch.uint8:  # thousandths, exact in float32: ties round up, as they do in integers
            grey = ((1000 * grey).round() + 500).div(1000, rounding_mode='floor')
    padded = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode='reflect')
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    gradient = (across**2 + down**2).sqrt().mean(dim=(2, 3))
    return gradient + pixels.var(dim=(2, 3, 4), correction=0)


def masking_probability(information: Tensor) -> Tensor:
    """The probability of masking each patch (B, L): informative patches are masked less often.

    Patches below the 20th percentile of their image have weight 0.8, above the 80th 0.3, the others 0.5; the weights of
    an image add up to 1.

    Source: MSSDF (arXiv 2506.09327), information-aware masking.
    """
    ranked = information.sort(dim=1).values
    low, high = percentile(ranked, 0.2), percentile(ranked, 0.8)
    weight = torch.full_like(information, 0.5)
    weight = torch.where(information < low, 0.8, weight)
    weight = torch.where(information > high, 0.3, weight)
    return weight / weight.sum(dim=1, keepdim=True)


def percentile(ranked: Tensor, share: float) -> Tensor:
    """The value (B, 1) below which a share of rising values (B, L) lies, interpolated between two of them."""
    rank = share * (ranked.shape[1] - 1)
    below, above = ranked[:, math.floor(rank), None], ranked[:, math.ceil(rank), None]
    return below.lerp(above, rank - math.floor(rank))


def masked_patches(patches: int, ratio: float) -> int:
    """How many patches of an image are masked: ``round(ratio * patches)``.

    Raises:
        ValueError: if that is none or all.
    """
    masked = round(ratio * patches)
    if not 0 < masked < patches:
        raise ValueError(
            f'mask_ratio={ratio} masks {masked} of {patches} patches; at least one must be masked and one visible: use '
            'another mask_ratio, a larger window or smaller patches'
        )
    return masked


def draw_mask(probability: Tensor, ratio: float) -> Tensor:
    """Mask ``round(ratio * L)`` patches of every image, drawn one after another without replacement.

    Args:
        probability: (B, L), of being drawn first.
        ratio: share of masked patches, in (0, 1).

    Returns:
        Boolean (B, L), True = masked; every image has the same number of True.

    Raises:
        ValueError: if the ratio would mask nothing or everything.

    Source: Gumbel top-k (arXiv 1903.06059), which draws as successive drawing does, for all images at once.
    """
    masked = masked_patches(probability.shape[1], ratio)
    noise = -torch.empty_like(probability).exponential_().log()  # Gumbel
    chosen = (probability.log() + noise).topk(masked, dim=1).indices
    return torch.zeros_like(probability, dtype=torch.bool).scatter_(1, chosen, True)


def substituted_patches(visible: int, share: float) -> int:
    """How many of a modality's visible patches are masked as well: ``round(share * visible)``.

    Raises:
        ValueError: if none would remain visible.
    """
    hidden = round(share * visible)
    if hidden >= visible and share > 0:
        raise ValueError(
            f'substitution of {share} hides all {visible} visible patches of a modality; lower it below '
            f'{(visible - 0.5) / visible:.2f}, or lower mask_ratio'
        )
    return hidden


def substitute(visible: Tensor, others: Tensor, hidden: int) -> Tensor:
    """Mask some of the visible patches of one modality as well, so that others must tell what is there.

    Args:
        visible: boolean (B, L), the visible patches of the modality that gives way; the same number in every image,
            more than ``hidden``.
        others: boolean (B, L), the patches visible in another modality.
        hidden: how many of every image, see :func:`substituted_patches`.

    Returns:
        Boolean (B, L): ``visible`` without ``hidden`` patches of each image, drawn at random, those first that
        ``others`` show too.

    Source: MSSDF (arXiv 2506.09327), cross-modal masking. Differs from the official code: the number is fixed, so that
    all images of a batch keep sequences of one length.
    """
    order = torch.rand(visible.shape, device=visible.device) + (visible & others).float() + 2 * visible.float()
    chosen = order.topk(hidden, dim=1).indices  # visible in both, then visible, then the rest, which is never reached
    return visible & ~torch.zeros_like(visible).scatter_(1, chosen, True)
