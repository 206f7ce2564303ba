"""The terms of MSSDF's loss, a small module each: what a step made, to a scalar."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from mmrs_ssl.models.losses.alignment import (
    linear_cka,
    linear_hsic,
    mean_cross_entropy,
    mean_over_pairs,
    symmetric_info_nce,
)
from mmrs_ssl.models.losses.reconstruction import masked_token_error
from mmrs_ssl.options import NOT_NEGATIVE, POSITIVE, check_choice, check_numbers, check_parts, merged_weights
from mmrs_ssl.registry import MODELS

# the terms of MSSDF
TERMS: dict[str, dict] = dict(
    reconstruction=dict(type='mmrs_ssl.MaskedTokenTerm', weight=1.0),
    alignment=dict(type='mmrs_ssl.AlignmentTerm', weight=0.5),
    independence=dict(type='mmrs_ssl.IndependenceTerm', weight=0.2),
    modality=dict(type='mmrs_ssl.ModalityClassificationTerm', weight=0.1),
)


class ModalityStep(NamedTuple):
    """What a step made of every modality."""

    masks: dict[str, Tensor]  # boolean (B, L), True = masked
    classes: dict[str, Tensor]  # the student's class tokens (B, D)
    predictions: dict[str, Tensor]  # (B, L, D)
    targets: dict[str, Tensor]  # (B, L, D)
    sampled: dict[str, Tensor]  # predictions at some places of the batch (N, D), the same of every modality


class ModalityTerm(nn.Module):
    """A term of a loss.

    Args:
        modalities: their names.
        channels: width D of the encoder.
        weight: factor of the term; one of weight 0 is not computed. :class:`mmrs_ssl.ScheduleHook` may drive it.
    """

    def __init__(self, modalities: Sequence[str], channels: int, weight: float = 1.0) -> None:
        super().__init__()
        check_numbers(self, NOT_NEGATIVE, weight=weight)
        self.weight = weight

    def forward(self, step: ModalityStep) -> Tensor:
        """Compute the term, without its weight."""
        raise NotImplementedError


@MODELS.register_module()
class MaskedTokenTerm(ModalityTerm):
    """Mean squared error of the predicted tokens at masked places, of each modality, added up.

    Args:
        modality_weights: factors of the modalities, 1 by default (others are not of the paper).

    Source: MSSDF (arXiv 2506.09327), latent reconstruction.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        channels: int,
        weight: float = 1.0,
        modality_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__(modalities, channels, weight)
        self.modality_weights = merged_weights(
            'a modality of modality_weights', dict.fromkeys(modalities, 1.0), modality_weights
        )

    def forward(self, step: ModalityStep) -> Tensor:
        """Compute the term, without its weight."""
        return masked_token_error(step.predictions, step.targets, step.masks, self.modality_weights)


@MODELS.register_module()
class AlignmentTerm(ModalityTerm):
    """InfoNCE between the modalities' predictions at the same place, averaged over pairs of modalities.

    Args:
        temperature: > 0.
        negatives: the other places that are sampled of the ``'batch'``, or all other places of the same ``'image'``.

    Source: MSSDF (arXiv 2506.09327), alignment.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        channels: int,
        weight: float = 0.5,
        temperature: float = 0.07,
        negatives: str = 'batch',
    ) -> None:
        super().__init__(modalities, channels, weight)
        check_choice('negatives', negatives, ('batch', 'image'))
        check_numbers(self, POSITIVE, temperature=temperature)
        self.temperature = temperature
        self.negatives = negatives

    def forward(self, step: ModalityStep) -> Tensor:
        """Compute the term, without its weight."""
        rows = step.sampled if self.negatives == 'batch' else step.predictions
        return mean_over_pairs(rows, partial(symmetric_info_nce, temperature=self.temperature))


@MODELS.register_module()
class IndependenceTerm(ModalityTerm):
    """How much the modalities' vectors have to do with each other linearly, averaged over pairs of modalities.

    Args:
        of: linear HSIC of the ``'predictions'`` at the sampled places, as published; or linear CKA of the
            ``'class_tokens'``: of these HSIC, which has no upper bound, would outweigh all other terms and make them
            constant.

    Source: MSSDF (arXiv 2506.09327), independence.
    """

    def __init__(self, modalities: Sequence[str], channels: int, weight: float = 0.2, of: str = 'predictions') -> None:
        super().__init__(modalities, channels, weight)
        check_choice('of', of, ('predictions', 'class_tokens'))
        self.of = of

    def forward(self, step: ModalityStep) -> Tensor:
        """Compute the term, without its weight."""
        if self.of == 'class_tokens':
            return mean_over_pairs(step.classes, linear_cka)
        return mean_over_pairs(step.sampled, linear_hsic)


@MODELS.register_module()
class ModalityClassificationTerm(ModalityTerm):
    """Cross-entropy of a small network that tells the modality from the class token.

    Source: MSSDF (arXiv 2506.09327), modality classification.
    """

    def __init__(self, modalities: Sequence[str], channels: int, weight: float = 0.1) -> None:
        super().__init__(modalities, channels, weight)
        self.classifier = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, channels // 2),
            nn.GELU(),
            nn.Linear(channels // 2, len(modalities)),
        )

    def forward(self, step: ModalityStep) -> Tensor:
        """Compute the term, without its weight."""
        return mean_cross_entropy([self.classifier(token) for token in step.classes.values()])


def term_configs(given: Mapping[str, dict], modalities: Sequence[str]) -> dict[str, dict]:
    """Complete the configs of the terms whose weight is not 0.

    Raises:
        ValueError: for what is no dict of dicts; for an unknown term without a type; for terms of several modalities
            where there is only one.
    """
    if given:
        check_parts('MSSDF', 'dict(alignment=dict(weight=0.5))', terms=given)
    for name, config in given.items():
        if 'type' not in config:
            check_choice('a term', name, tuple(TERMS))
    configs = {name: {**TERMS.get(name, {}), **given.get(name, {})} for name in {**TERMS, **given}}
    configs = {name: config for name, config in configs.items() if config.get('weight', 1.0)}
    refused = [name for name in configs if name in TERMS and name != 'reconstruction']
    if len(modalities) < 2 and refused:
        raise ValueError(
            f'the terms {", ".join(refused)} compare modalities, but {", ".join(modalities)} is the only one: give the '
            'data preprocessor two or more, or set model.terms.NAME.weight=0 for each'
        )
    return configs
