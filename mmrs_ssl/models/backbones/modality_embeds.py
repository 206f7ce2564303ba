"""Embed the patches of several modalities for one transformer: by one embedding where their bands allow it."""

from collections.abc import Mapping

from mmengine.logging import print_log
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from mmrs_ssl.models.backbones.packed_vit import embed
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


def embed_modality(backbone: VisionTransformer, patch_embeds: nn.ModuleDict, name: str, image: Tensor) -> Tensor:
    """Embed a modality (B, C, H, W) with class token and positions: (B, 1 + L, D).

    By its own patch embedding, else by the backbone's, for which a single band is repeated.
    """
    if name in patch_embeds:
        return embed(backbone, image, patch_embeds[name])
    wanted = backbone.patch_embed.projection.in_channels
    return embed(backbone, image.expand(-1, wanted, -1, -1) if image.shape[1] == 1 else image)
