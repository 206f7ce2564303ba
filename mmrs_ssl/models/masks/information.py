"""Draw masks that leave informative patches visible more often, as MSSDF does."""

import math

import torch
from torch import Tensor

from mmrs_ssl.rasters.arrays import LUMINANCE


def patch_information(image: Tensor, patch: int) -> Tensor:
    """Measure how much there is to see in every patch: mean gradient plus variance.

    Args:
        image: (B, C, H, W) on the scale 0-255, uint8 where the raster has 8 bits.
        patch: side of a patch in pixels, at least 2; divides H and W.

    Returns:
        (B, L) float32, L patches row by row: the mean magnitude of the 3 x 3 Sobel gradient of the patch's gray image,
        by itself with reflected borders, plus the population variance of all its pixels and bands. Gray is the
        luminance of three bands, rounded where ``image`` has 8 bits, else the mean of the bands.

    Source: MSSDF (arXiv 2506.09327), information-aware masking.
    """
    height, width = image.shape[2] // patch, image.shape[3] // patch
    pixels = image.float().unflatten(3, (width, patch)).unflatten(2, (height, patch))  # (B, C, h, p, w, p)
    pixels = pixels.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, L, C, p, p)
    gray = pixels.mean(dim=2)
    if image.shape[1] == 3:
        gray = sum(weight * band for weight, band in zip(LUMINANCE, pixels.unbind(2), strict=True))
        if image.dtype == torch.uint8:  # thousandths, exact in float32: ties round up, as they do in integers
            gray = ((1000 * gray).round() + 500).div(1000, rounding_mode='floor')
    padded = torch.nn.functional.pad(gray, (1, 1, 1, 1), mode='reflect')
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    gradient = (across**2 + down**2).sqrt().mean(dim=(2, 3))
    return gradient + pixels.var(dim=(2, 3, 4), correction=0)


def masking_probability(information: Tensor) -> Tensor:
    """Compute the probability of masking each patch (B, L): informative patches are masked less often.

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
    """Find the value (B, 1) below which a share of rising values (B, L) lies, interpolated between two of them."""
    rank = share * (ranked.shape[1] - 1)
    below, above = ranked[:, math.floor(rank), None], ranked[:, math.ceil(rank), None]
    return below.lerp(above, rank - math.floor(rank))


def masked_patches(patches: int, ratio: float) -> int:
    """Compute how many patches of an image are masked: ``round(ratio * patches)``.

    Raises:
        ValueError: if that is none or all.
    """
    masked = round(ratio * patches)
    if not 0 < masked < patches:
        raise ValueError(
            f'masking.ratio={ratio} masks {masked} of {patches} patches; at least one must be masked and one visible: '
            'use another ratio, a larger window or smaller patches'
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
