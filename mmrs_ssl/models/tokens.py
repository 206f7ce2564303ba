"""Tokens of images: at which places they are, and what is done to them as targets."""

from functools import lru_cache

import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor


def whitened(tokens: Tensor, shrinkage: float = 0.02) -> Tensor:
    """Tokens (B, L, D) with zero mean, unit variance and no correlation over the batch: (B, L, D).

    By the Cholesky factor of the covariance (W-MSE, arXiv 2007.06346), to which ``shrinkage`` times the mean variance
    is added: dimensions with next to none would be noise made large.
    """
    rows = tokens.flatten(0, 1).double()  # which autocast leaves alone
    rows = rows - rows.mean(dim=0)
    covariance = rows.T @ rows / len(rows)
    covariance.diagonal().add_(shrinkage * covariance.diagonal().mean() + 1e-12)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), rows.T, upper=False)
    return white.T.to(tokens.dtype).view_as(tokens)


def visible_places(mask: Tensor, count: int | None = None) -> Tensor:
    """Where a mask (B, L) is False: (B, V) indices in rising order, V by default the number in the first image.

    With a larger ``count`` than an image has, masked places follow.
    """
    count = int((~mask[0]).sum()) if count is None else count
    return mask.byte().argsort(dim=1, stable=True)[:, :count]


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens (B, L, D) at some places (B, V): (B, V, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def spread(tokens: Tensor, places: Tensor, count: int) -> Tensor:
    """Tokens (B, V, D) at their places (B, V), zeros at the others: (B, count, D)."""
    empty = tokens.new_zeros(len(tokens), count, tokens.shape[-1])
    return empty.scatter_add(1, places[..., None].expand_as(tokens), tokens)


@lru_cache(maxsize=8)
def sincos_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Fixed two-dimensional sine-cosine positions of a grid's cells, row by row: (L, width)."""
    return build_2d_sincos_position_embedding(grid, width)[0]
