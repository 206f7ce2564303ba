"""Compute numbers that fall when representations collapse."""

import math

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
    unit = F.normalize(features.float(), dim=1)
    return float(unit.std(dim=0).mean() * features.shape[1] ** 0.5)


def effective_rank(features: Tensor) -> float:
    """Compute how many directions the centered, L2-normalized features use.

    Args:
        features: (N, D).

    Returns:
        exp of the entropy of the normalized singular values, between 1 and min(N - 1, D); 1 when there is no variance.

    Source: RankMe (arXiv 2210.02885), equation 1; centered here, since a shared offset is not information.
    """
    unit = F.normalize(features.float(), dim=1)
    singular = torch.linalg.svdvals(unit - unit.mean(dim=0))
    # Below float32's resolution of unit vectors there is only rounding.
    singular = singular[singular > 1e-6 * len(features) ** 0.5]
    share = singular / singular.sum()
    return float(torch.exp(-(share * share.log()).sum()))


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
