"""Compute numbers that fall when representations collapse."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def normalized_std(features: Tensor) -> float:
    """Compare the standard deviation of L2-normalized features, per dimension, with that of the whole sphere.

    Args:
        features: (N, D).

    Returns:
        The mean standard deviation over the dimensions times sqrt(D): 0 when all features are equal, about 1 when they
        are spread evenly.

    Source: SimSiam (arXiv 2011.10566), section 4.1.
    """
    return float(_stds(_unit(features)))


def effective_rank(features: Tensor) -> float:
    """Compute how many directions the centered, L2-normalized features use.

    Args:
        features: (N, D).

    Returns:
        exp of the entropy of the normalized singular values, between 1 and min(N - 1, D); 1 when there is no variance.

    Source: RankMe (arXiv 2210.02885), equation 1; centered here, since a shared offset is not information.
    """
    return float(_ranks(_unit(features)))


def stds_and_ranks(sets: Sequence[Tensor]) -> list[tuple[float, float]]:
    """Compute :func:`normalized_std` and :func:`effective_rank` of several sets of features (N, D), of any N and D.

    Sets of one shape are measured in one go, and the host waits for the device once.
    """
    groups: dict[torch.Size, list[int]] = {}
    for index, features in enumerate(sets):
        groups.setdefault(features.shape, []).append(index)
    found = []
    for indices in groups.values():
        unit = _unit(torch.stack([sets[index] for index in indices]))
        found.append(torch.stack((_stds(unit), _ranks(unit)), dim=1))
    rows = torch.cat(found).tolist()
    order = [index for indices in groups.values() for index in indices]
    measured = {index: (std, rank) for index, (std, rank) in zip(order, rows, strict=True)}
    return [measured[index] for index in range(len(sets))]


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=-1).double()


def _stds(unit: Tensor) -> Tensor:
    return unit.std(dim=-2).mean(dim=-1) * unit.shape[-1] ** 0.5


def _ranks(unit: Tensor) -> Tensor:
    """Compute effective ranks (...) of unit vectors (..., N, D), float64.

    Squared singular values are eigenvalues of the smaller product of the matrix with itself, which is several times
    faster to take apart; float64 leaves them more digits than float32 has for the singular values.
    """
    centered = unit - unit.mean(dim=-2, keepdim=True)
    count, width = centered.shape[-2:]
    products = centered @ centered.mT if count < width else centered.mT @ centered
    singular = torch.linalg.eigvalsh(products).clamp(min=0).sqrt()
    # Below float32's resolution of unit vectors there is only rounding.
    singular = singular.where(singular > 1e-6 * count**0.5, 0)
    share = singular / singular.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(singular.dtype).tiny)
    return torch.exp(-torch.xlogy(share, share).sum(dim=-1))


def choice_information(choices: Tensor) -> float:
    """Compute how much the choice of a prototype says about which view it was made for.

    Args:
        choices: (N, K) float32 probabilities of K prototypes for each of N views.

    Returns:
        The mutual information of view and prototype, relative to the most it can be, ln(min(N, K)): 1 when every view
        has a prototype of its own (somewhat less when two views of an image share one), 0 when all choose alike, be it
        one prototype or all evenly.
    """
    return information_of(choice_sums(choices))


def choice_sums(choices: Tensor) -> Tensor:
    """Sum up choices (N, K) to (K + 2,) float64, which may be added to those of other processes.

    These are the sums of the probabilities of each prototype, the sum of all p ln p, and N.
    """
    count = torch.full((1,), len(choices), dtype=torch.double, device=choices.device)
    entropies = torch.xlogy(choices, choices).sum(dtype=torch.double)
    return torch.cat((choices.sum(dim=0, dtype=torch.double), entropies[None], count))


def information_of(sums: Tensor) -> float:
    """Compute what :func:`choice_information` does, from what :func:`choice_sums` has summed up."""
    chosen, (entropies, count) = sums[:-2], sums[-2:].tolist()
    mean = (chosen / count).float()
    information = entropies / count - float(torch.xlogy(mean, mean).sum(dtype=torch.double))
    return information / math.log(max(2, min(int(count), len(chosen))))
