"""Embed the patches of several modalities for one transformer: by one embedding where their bands allow it."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from mmrs_ssl.models.backbones.tokens import gather_tokens
from mmrs_ssl.models.data_preprocessor import with_input_bands


def common_bands(bands: Mapping[str, int], share: bool | None = None) -> int | None:
    """Find the number of bands with which all modalities go through one patch embedding; None if each has its own.

    It is the number of all those with several bands; a single band is repeated to it.

    Args:
        bands: of every modality.
        share: whether to share; None where it is possible, which is said where it is not.

    Raises:
        ValueError: if ``share`` asks for what the bands don't allow.
    """
    several = {count for count in bands.values() if count > 1}
    if share is False:
        return None
    if len(several) <= 1:
        return max(bands.values())
    found = ', '.join(f'{name} {count}' for name, count in bands.items())
    if share:
        raise ValueError(
            f'share_patch_embed=True needs modalities of one number of bands (or a single one, which is repeated), '
            f'found {found}; leave it out: each then has a patch embedding of its own'
        )
    print_log(f'modalities with unequal bands ({found}): each has a patch embedding of its own', logger='current')
    return None


def other_patch_embeds(backbone: VisionTransformer, bands: Mapping[str, int], common: int | None) -> nn.ModuleDict:
    """Make a patch embedding for every modality but the first, whose is the backbone's own; none where it is shared."""
    names = list(bands)[1:] if common is None else []
    return nn.ModuleDict({name: with_input_bands(backbone.patch_embed, bands[name]) for name in names})


def embed_modality(
    backbone: VisionTransformer, patch_embeds: nn.ModuleDict, name: str, image: Tensor, places: Tensor | None = None
) -> Tensor:
    """Embed a modality with class token and positions, by its own patch embedding, else by the backbone's.

    As the patch embedding, a convolution, would, but for the patches that are asked for alone; and the kernel of a
    single band that is to be repeated is added up instead.

    Args:
        backbone: whose patches do not overlap.
        patch_embeds: of the modalities that have one of their own.
        name: of the modality.
        image: (B, C, H, W), whole patches.
        places: (B, V), the patches that are asked for; by default all.

    Returns:
        (B, 1 + V, D).
    """
    patch_embed: Any = dict(patch_embeds.items()).get(name, backbone.patch_embed)
    kernel, bias = patch_embed.projection.weight, patch_embed.projection.bias
    if image.shape[1] == 1:
        kernel = kernel.sum(dim=1, keepdim=True)
    pixels = F.pixel_unshuffle(image, kernel.shape[-1])
    grid = pixels.shape[2:]
    pixels = pixels.flatten(2).mT  # (B, L, C * p * p), in the order of the kernel's
    positions = resize_pos_embed(
        backbone.pos_embed, backbone.patch_resolution, grid, backbone.interpolate_mode, backbone.num_extra_tokens
    ).expand(len(image), -1, -1)
    ahead, positions = positions[:, :1], positions[:, 1:]
    if places is not None:
        pixels, positions = gather_tokens(pixels, places), gather_tokens(positions, places)
    tokens = F.linear(pixels, kernel.flatten(1), bias)
    if patch_embed.norm is not None:
        tokens = patch_embed.norm(tokens)
    return torch.cat((backbone.cls_token + ahead, tokens + positions), dim=1)
