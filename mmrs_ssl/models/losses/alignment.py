"""Compare what several modalities say of the same places."""

from collections.abc import Callable, Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor


def symmetric_info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE in both directions: rows of one index are positives, all other rows negatives.

    Args:
        first, second: (N, C), or (B, N, C) where the negatives are the other rows of the same image; L2-normalized
            here.
        temperature: > 0; the cosines are divided by it.

    Returns:
        Scalar, mean of both directions, in float32.

    Source: CLIP (arXiv 2103.00020), figure 3; MSSDF (arXiv 2506.09327), alignment loss.
    """
    first, second = F.normalize(first.float(), dim=-1), F.normalize(second.float(), dim=-1)
    with torch.autocast(first.device.type, enabled=False):
        logits = first @ second.mT / temperature
    rows = logits.shape[-1]
    own = torch.arange(rows, device=logits.device).repeat(logits.numel() // rows**2)
    directions = [F.cross_entropy(each.flatten(0, -2), own) for each in (logits, logits.mT)]
    return sum(directions) / 2  # type: ignore[return-value]


def linear_hsic(first: Tensor, second: Tensor) -> Tensor:
    """Compute linear HSIC, the squared norm of the cross-covariance: 0 where no linear map relates the vectors.

    Args:
        first: (N, C), N at least 2.
        second: (N, D).

    Returns:
        Scalar, >= 0, in float32.

    Raises:
        ValueError: for a single row, which has no covariance.

    Source: HSIC (Gretton et al., 2005) with linear kernels; MSSDF (arXiv 2506.09327), independence loss.
    """
    return cross_covariance(first, second) / (len(first) - 1) ** 2


def linear_cka(first: Tensor, second: Tensor) -> Tensor:
    """Compute linear CKA, linear HSIC relative to that of each with itself: between 0 and 1, whatever their scale.

    Args:
        first: (N, C), N at least 2.
        second: (N, D).

    Returns:
        Scalar in [0, 1], in float32; 0 where one of them is constant.

    Raises:
        ValueError: for a single row.

    Source: Kornblith et al. (arXiv 1905.00414), equation 3.
    """
    own = cross_covariance(first, first) * cross_covariance(second, second)
    return cross_covariance(first, second) / own.clamp(min=1e-24).sqrt()


def cross_covariance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the squared Frobenius norm of the cross-products of centered rows (N, C) and (N, D), in float32."""
    if len(first) < 2:
        raise ValueError('independence of one sample is not defined: use a batch of 2 or more, or set its weight to 0')
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        products = (first - first.mean(dim=0)).T @ (second - second.mean(dim=0))
    return products.square().sum()


def mean_cross_entropy(scores: list[Tensor]) -> Tensor:
    """Compute the cross-entropy of scores (B, M) of M modalities, one tensor each, with that modality; averaged."""
    losses = [
        F.cross_entropy(each.float(), torch.full((len(each),), label, device=each.device))
        for label, each in enumerate(scores)
    ]
    return torch.stack(losses).mean()


def same_places(tokens: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Draw at most so many places of a batch, the same of every modality: (B, L, D) -> (N, D) each."""
    rows = {name: each.flatten(0, 1) for name, each in tokens.items()}
    first = next(iter(rows.values()))
    chosen = torch.randperm(len(first), device=first.device)[:count]
    return {name: each[chosen] for name, each in rows.items()}


def mean_over_pairs(rows: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Average a loss of two modalities' rows over all pairs of modalities."""
    return torch.stack([loss(first, second) for first, second in combinations(rows.values(), 2)]).mean()
