"""A ViT for images that hold several modalities, which it takes as they were pre-trained together."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from mmrs_ssl.models.backbones.modality_embeds import common_bands, other_patch_embeds
from mmrs_ssl.options import check_choice
from mmrs_ssl.registry import MODELS


class LinearFusion(nn.Module):
    """Mix the tokens of several modalities of a place by one linear map, which starts as their mean.

    No ``nn.Linear``, whose weights an ``init_cfg`` of the backbone would draw anew.

    Args:
        modalities: their number M.
        channels: width D of the tokens.
    """

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels).repeat(1, modalities) / modalities)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        """Mix M tensors (B, L, D) to one."""
        return F.linear(torch.cat(list(tokens), dim=-1), self.weight, self.bias)


@MODELS.register_module()
class ModalityVisionTransformer(VisionTransformer):
    """mmpretrain's VisionTransformer for one image whose channels are the bands of several modalities.

    As in MSSDF's pre-training every modality is a sequence of its own: the encoder that all of them share sees the
    class token and the patches of one modality at a time, all modalities in one batch. At each layer of ``out_indices``
    the tokens of a place are then fused to one, so that heads of mmpretrain, mmsegmentation, mmdetection and open-cd
    get what an ordinary ViT gives them. Names of weights are the VisionTransformer's, and a training checkpoint's
    ``patch_embeds.NAME`` for modalities with a patch embedding of their own.

    Args:
        modalities: ``[name, bands]`` of each, in the order in which their bands are the image's channels, by the names
            that they had in pre-training. A list: mmengine writes the keys of a ``dict`` in the order of the alphabet,
            and who built the model from the config in a work dir would get other channels.
        share_patch_embed: one patch embedding for all modalities, single bands repeated to the number of bands of the
            others, as the pre-training had it; None where the bands allow it.
        fuse: ``'mean'`` of a place's tokens: one encoder has made all of them, so their dimensions mean the same, and
            nothing is new that would need training (frozen features, probes). ``'linear'`` is a linear map of them,
            one for each layer of ``out_indices``, that starts as the mean and learns which dimensions of which modality
            count: for fine-tuning.
        **options: of mmpretrain's ``VisionTransformer``; ``out_type='featmap'`` for dense tasks.

    Raises:
        ValueError: if ``modalities`` is no such list, ``in_channels`` is given, or the bands do not allow to share.
    """

    def __init__(
        self,
        modalities: Sequence[Sequence[Any]],
        share_patch_embed: bool | None = None,
        fuse: str = 'mean',
        **options: Any,
    ) -> None:
        check_choice('fuse', fuse, ('mean', 'linear'))
        bands = bands_by_name(modalities)
        if 'in_channels' in options:
            raise ValueError(
                f'in_channels={options["in_channels"]!r}, but modalities={modalities!r} says it: leave it out'
            )
        common = common_bands(bands, share_patch_embed)
        super().__init__(in_channels=common or next(iter(bands.values())), **options)
        self.modality_bands = bands
        self.shares_patch_embed = common is not None
        self.patch_embeds = other_patch_embeds(self, bands, common)
        if self.frozen_stages > 0:
            self.patch_embeds.requires_grad_(False)
        linear = self.out_indices if fuse == 'linear' else ()
        self.fusions = nn.ModuleDict({str(index): LinearFusion(len(bands), self.embed_dims) for index in linear})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode images (B, C, H, W) of all modalities' bands; one output for each of ``out_indices``.

        It is (B, D, h, w) with ``out_type='featmap'`` and (B, D) with ``'cls_token'``.
        """
        patches, others = [], set(self.patch_embeds)
        for name, image in self.split_modalities(x).items():
            patch_embed: Any = self.patch_embeds[name] if name in others else self.patch_embed
            embedded, grid = patch_embed(image.expand(-1, patch_embed.projection.in_channels, -1, -1))
            patches.append(embedded)
        tokens = torch.cat(patches)  # (M * B, L, D)
        if self.cls_token is not None:
            tokens = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1)
        tokens = tokens + resize_pos_embed(
            self.pos_embed, self.patch_resolution, grid, self.interpolate_mode, self.num_extra_tokens
        )
        tokens = self.pre_norm(self.drop_after_pos(tokens))
        outputs = []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens)
            if index == len(self.layers) - 1 and self.final_norm:
                tokens = self.ln1(tokens)
            if index in self.out_indices:
                outputs.append(self._format_output(self.fused(tokens, index), grid))
        return tuple(outputs)

    def split_modalities(self, x: Tensor) -> dict[str, Tensor]:
        """Divide images (B, C, H, W) into their modalities.

        Raises:
            ValueError: if they have not as many channels as these have bands.
        """
        counts = list(self.modality_bands.values())
        if x.shape[1] != sum(counts):
            listed = ', '.join(f'{name} {count}' for name, count in self.modality_bands.items())
            raise ValueError(
                f'images of {x.shape[1]} channels, expected {sum(counts)}: the bands of {listed}, in this order; '
                'mmrs_ssl.AppendRaster puts those of several files into one image'
            )
        return dict(zip(self.modality_bands, x.split(counts, dim=1), strict=True))

    def fused(self, tokens: Tensor, index: int) -> Tensor:
        """Make one token of those that the modalities have at a place: (M * B, L, D) of a layer -> (B, L, D)."""
        parts = tokens.unflatten(0, (len(self.modality_bands), -1))
        return self.fusions[str(index)](parts.unbind()) if self.fusions else parts.mean(dim=0)


def bands_by_name(modalities: Any) -> dict[str, int]:
    """Read a list of ``[name, bands]``.

    Raises:
        ValueError: if it is anything else, or names one twice.
    """
    pairs = list(modalities) if isinstance(modalities, list | tuple) else []
    plain = [pair for pair in pairs if isinstance(pair, list | tuple) and [type(part) for part in pair] == [str, int]]
    found = {name: count for name, count in plain if count > 0}
    if not found or len(found) != len(pairs):
        raise ValueError(
            f"modalities={modalities!r}, expected a list of [name, bands] in the order of the image's channels, e.g. "
            "[['rgb', 3], ['dsm', 1]]; no dict, whose order is lost in a config that mmengine writes"
        )
    return found
