"""Patches of one modality that the others must tell, of MSSDF."""

import torch
from torch import Tensor


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
