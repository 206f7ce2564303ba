"""What a momentum teacher says of the whole images, as targets of MSSDF."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmrs_ssl.models.backbones.modality_embeds import embed_modality
from mmrs_ssl.models.backbones.packed_vit import packed_layers
from mmrs_ssl.models.backbones.tokens import normalized
from mmrs_ssl.options import check_choice
from mmrs_ssl.registry import MODELS


class TeacherTokens(NamedTuple):
    """The teacher's tokens of every modality."""

    classes: dict[str, Tensor]  # (B, D)
    tokens: dict[str, Tensor]  # (B, L, D), normalized


@MODELS.register_module()
class TokenTargets(nn.Module):
    """The teacher's patch tokens after its last norm, of every modality, unmasked.

    Args:
        normalize: bring to zero mean and unit variance each of the ``'tokens'``, or each of their ``'dimensions'`` over
            the batch, so that what differs from place to place counts and not what all tokens have in common;
            ``'whiten'`` also removes the correlation of dimensions, so that what is large in all of them (brightness,
            the place in the image) does not outweigh the rest. By default they are as they are.

    Source: MSSDF (arXiv 2506.09327), latent reconstruction.
    """

    def __init__(self, normalize: str | None = None) -> None:
        super().__init__()
        check_choice('targets.normalize', normalize, (None, 'tokens', 'dimensions', 'whiten'))
        self.normalize = normalize

    @torch.no_grad()
    def forward(self, teacher: nn.ModuleDict, inputs: dict[str, Tensor]) -> TeacherTokens:
        """Compute the tokens of images (B, C, H, W) of every modality.

        Args:
            teacher: its ``backbone`` and ``patch_embeds``.
            inputs: normalized.
        """
        backbone: Any = teacher['backbone']
        patch_embeds: Any = teacher['patch_embeds']
        embedded = [embed_modality(backbone, patch_embeds, name, image) for name, image in inputs.items()]
        encoded = [backbone.ln1(each).float() for each in packed_layers(backbone, embedded)]
        return TeacherTokens(
            {name: each[:, 0] for name, each in zip(inputs, encoded, strict=True)},
            {name: normalized(each[:, 1:], self.normalize) for name, each in zip(inputs, encoded, strict=True)},
        )
