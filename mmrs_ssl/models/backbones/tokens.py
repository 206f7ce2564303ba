"""Work on tokens of images: gather and scatter them by place, prepare them as targets, mix them by layers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalized(tokens: Tensor, by: str | None) -> Tensor:
    """Give tokens (B, L, D) zero mean and unit variance, over each of the ``'tokens'`` or ``'dimensions'``.

    ``'whiten'`` does as :func:`whitened`; None leaves them as they are.
    """
    if by == 'tokens':
        return F.layer_norm(tokens, tokens.shape[-1:])
    if by == 'dimensions':
        return F.batch_norm(tokens.mT, None, None, training=True).mT
    return whitened(tokens) if by == 'whiten' else tokens


def whitened(tokens: Tensor, shrinkage: float = 0.02) -> Tensor:
    """Give tokens (B, L, D) zero mean, unit variance and no correlation over the batch: (B, L, D).

    By the Cholesky factor of the covariance (W-MSE, arXiv 2007.06346), to which ``shrinkage`` times the mean variance
    is added: dimensions with next to none would be noise made large.
    """
    rows = tokens.flatten(0, 1).double()  # which autocast leaves alone
    rows = rows - rows.mean(dim=0)
    covariance = rows.T @ rows / len(rows)
    covariance.diagonal().add_(shrinkage * covariance.diagonal().mean() + 1e-12)
    factor = torch.linalg.cholesky_ex(covariance).L  # the plain function waits for the device to report failure
    white = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    return white.T.to(tokens.dtype).view_as(tokens)


def visible_places(mask: Tensor, count: int) -> Tensor:
    """Find where a mask (B, L) is False: (B, count) indices in rising order.

    In images that have fewer visible places than ``count``, masked ones follow; of more, the last are left out.
    """
    return mask.byte().argsort(dim=1, stable=True)[:, :count]


def gather_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Pick the tokens (B, L, D) at some places (B, V): (B, V, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def scatter_tokens(tokens: Tensor, places: Tensor, count: int) -> Tensor:
    """Put tokens (B, V, D) at their places (B, V), zeros at the others: (B, count, D)."""
    empty = tokens.new_zeros(len(tokens), count, tokens.shape[-1])
    return empty.scatter_add(1, places[..., None].expand_as(tokens), tokens)


def sincos_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Compute fixed two-dimensional sine-cosine positions of a grid's cells, row by row: (L, width).

    The halves of a position are its row's and its column's, each sines and cosines of falling frequencies (MoCo v3,
    arXiv 2104.02057). mmpretrain's function has the same for a square grid, and counts others column by column.

    Raises:
        ValueError: if the width can't be divided by 4.
    """
    if width % 4:
        raise ValueError(f'positions of width {width}, expected a multiple of 4: change fusion.channels or embed_dims')
    frequencies = 10000 ** -(torch.arange(width // 4) / (width // 4))
    cells = torch.cartesian_prod(*(torch.arange(float(side)) for side in grid))
    angles = cells[:, :, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)


def transformer(width: int, heads: int, layers: int) -> nn.TransformerEncoder:
    """Build pre-norm transformer layers with a last norm; padding is given as ``src_key_padding_mask``.

    Keys start as the queries, so that a place attends to itself and its neighbors before anything is learned (after
    mimetic initialisation, arXiv 2305.09828): else every place is first told the same average of all.

    Raises:
        ValueError: if the heads do not divide the width.
    """
    if width % heads:
        raise ValueError(
            f'heads={heads} do not divide channels={width}: change one of them, in fusion and decoder alike'
        )
    layer: Any = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation='gelu', batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
    for layer in encoder.layers:  # which are copies of one
        for parameter in layer.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        query, key, value = layer.self_attn.in_proj_weight.data.chunk(3)
        for matrix in (query, value):  # which are matrices of their own
            nn.init.xavier_uniform_(matrix)
        key.copy_(query)
    return encoder
