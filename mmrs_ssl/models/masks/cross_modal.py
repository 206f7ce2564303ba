"""Draw masks of several modalities as MSSDF does: each by itself, then patches of one that the others must tell."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmrs_ssl.models.backbones.tokens import visible_places
from mmrs_ssl.models.masks.information import draw_mask, masked_patches, masking_probability


class ModalityMasks(NamedTuple):
    """What the student does not see of each modality."""

    information: dict[str, Tensor]  # (B, L), of every patch
    masks: dict[str, Tensor]  # boolean (B, L), True = masked
    places: dict[str, Tensor]  # (B, V), the V patches that are visible


def draw_modality_masks(
    information: dict[str, Tensor],
    ratio: float,
    information_aware: bool = True,
    substitution: float = 0.0,
    masked_modality: str | None = None,
) -> ModalityMasks:
    """Mask every modality by itself, then some more patches of one of them.

    Args:
        information: of the patches of every modality, (B, L); those of all are drawn by its sum.
        ratio: share of the patches masked in every modality.
        information_aware: mask informative patches less often; otherwise all alike.
        substitution: share of the visible patches of one modality that are masked too; 0 for none.
        masked_modality: that modality; by default drawn for the batch, on the CPU, since lengths follow from it.

    Source: MSSDF (arXiv 2506.09327), information-aware and cross-modal masking.
    """
    total = torch.stack(list(information.values())).sum(dim=0)
    patches = total.shape[1]
    probability = masking_probability(total) if information_aware else torch.full_like(total, 1 / patches)
    masks = {name: draw_mask(probability, ratio) for name in information}
    visible = dict.fromkeys(masks, patches - masked_patches(patches, ratio))
    if substitution > 0:
        way = masked_modality or tuple(masks)[torch.randint(len(masks), (1,)).tolist()[0]]
        hidden = substituted_patches(visible[way], substitution)
        others = torch.stack([~mask for name, mask in masks.items() if name != way]).any(dim=0)
        masks[way] = ~substitute(~masks[way], others, hidden)
        visible[way] -= hidden
    return ModalityMasks(
        information, masks, {name: visible_places(mask, visible[name]) for name, mask in masks.items()}
    )


def substituted_patches(visible: int, share: float) -> int:
    """Compute how many of a modality's visible patches are masked as well: ``round(share * visible)``.

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
