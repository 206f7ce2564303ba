"""Draw masks of several modalities as MSSDF does: each by itself, then patches of one that the others must tell."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmrs_ssl.models.backbones.tokens import visible_places
from mmrs_ssl.models.masks.information import draw_mask, masked_patches, masking_probability
from mmrs_ssl.options import PROPER_SHARE, Number, check_choice, check_numbers, check_switches
from mmrs_ssl.registry import MODELS


class ModalityMasks(NamedTuple):
    """What the student does not see of each modality."""

    information: dict[str, Tensor]  # (B, L), of every patch
    masks: dict[str, Tensor]  # boolean (B, L), True = masked
    places: dict[str, Tensor]  # (B, V), the V patches that are visible


@MODELS.register_module()
class ModalityMasking(nn.Module):
    """Mask every modality by itself, then some more patches of one of them.

    Args:
        modalities: their names.
        ratio: share of the patches masked in every modality.
        information_aware: mask informative patches less often; otherwise all alike.
        substitution: share of the visible patches of one modality that are masked too, to be told from the others; a
            :class:`mmrs_ssl.ScheduleHook` on ``masking.substitution`` raises it. 0 switches cross-modal masking off.
        masked_modality: the modality that they are taken from; by default drawn for the batch, on the CPU, since
            lengths follow from it.

    Source: MSSDF (arXiv 2506.09327), information-aware and cross-modal masking. Differs from the official code: the
    number of substituted patches is fixed, so that all images of a batch keep sequences of one length.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        ratio: float = 0.75,
        information_aware: bool = True,
        substitution: float = 0.1,
        masked_modality: str | None = None,
    ) -> None:
        super().__init__()
        check_choice('masking.masked_modality', masked_modality, (None, *modalities))
        check_numbers(self, PROPER_SHARE, ratio=ratio)
        check_numbers(self, Number(0, 1, below=True), substitution=substitution)
        check_switches(self, information_aware=information_aware)
        if substitution and len(modalities) < 2:
            raise ValueError(
                f'masking.substitution={substitution} masks what other modalities show, but {", ".join(modalities)} is '
                'the only one: give the data preprocessor two or more, or set it to 0'
            )
        self.ratio = ratio
        self.information_aware = information_aware
        self.substitution = substitution
        self.masked_modality = masked_modality

    def forward(self, information: dict[str, Tensor]) -> ModalityMasks:
        """Draw the masks of a batch.

        Args:
            information: of the patches of every modality, (B, L); the masks of all are drawn by its sum.
        """
        total = torch.stack(list(information.values())).sum(dim=0)
        patches = total.shape[1]
        probability = masking_probability(total) if self.information_aware else torch.full_like(total, 1 / patches)
        masks = {name: draw_mask(probability, self.ratio) for name in information}
        visible = dict.fromkeys(masks, patches - masked_patches(patches, self.ratio))
        if self.substitution > 0:
            way = self.masked_modality or tuple(masks)[torch.randint(len(masks), (1,)).tolist()[0]]
            hidden = substituted_patches(visible[way], self.substitution)
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
            f'{(visible - 0.5) / visible:.2f}, or lower masking.ratio'
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
    """
    order = torch.rand(visible.shape, device=visible.device) + (visible & others).float() + 2 * visible.float()
    chosen = order.topk(hidden, dim=1).indices  # visible in both, then visible, then the rest, which is never reached
    return visible & ~torch.zeros_like(visible).scatter_(1, chosen, True)
