"""Describe the pictures of a training step as data, which :mod:`mmrs_ssl.visualization.pictures` draws."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class View(NamedTuple):
    """A normalized image (C, H, W), shown in the units of its bands."""

    image: Tensor
    mean: Tensor  # with C elements, of any shape
    std: Tensor
    like: Tensor | None = None  # another normalized image (C, H, W), whose darkest and brightest are black and white


class HeatMap(NamedTuple):
    """Values (L,) of the cells of a square grid, row by row: dark for the lowest, bright for the highest."""

    values: Tensor


class Behind(NamedTuple):
    """A view with white cells where a mask (L,) of a square grid is not 0."""

    view: View
    mask: Tensor


class Tokens(NamedTuple):
    """Tokens (L, D) of a square grid, colored by the first three principal components of other tokens (L, D)."""

    tokens: Tensor
    basis: Tensor


class Matches(NamedTuple):
    """Two views side by side with a line for each pair of matched cells."""

    left: View
    right: View
    pairs: tuple[Tensor, Tensor]  # k row-major indices each, into the cells of the left and of the right view
    grid: tuple[int, int]  # rows and columns of cells


class Tile(NamedTuple):
    """A thing to show, with a title above."""

    title: str
    content: View | HeatMap | Behind | Tokens | Matches
    choices: Tensor | None = None  # probabilities (K,); the title then names the highest


Block = list[list[Tile]]  # rows of tiles
Picture = list[Block]  # blocks side by side


def masked_row(
    name: str, mean: Tensor, std: Tensor, image: Tensor, information: Tensor, mask: Tensor, made: Tensor, target: Tensor
) -> list[Tile]:
    """Lay out what a masked model does in a row: the image, its information, what is seen, tokens beside their target.

    Args:
        name: of the image.
        mean, std: of its bands.
        image: (C, H, W), normalized.
        information: (L,), of its patches.
        mask: (L,), True = masked.
        made, target: tokens (L, D); the colors are principal components of the target's.
    """
    view = View(image, mean, std)
    return [
        Tile(name, view),
        Tile('information', HeatMap(information)),
        Tile('visible', Behind(view, mask)),
        Tile('teacher', Tokens(target, basis=target)),
        Tile('predicted', Tokens(made, basis=target)),
    ]


class Statistics(NamedTuple):
    """Mean and deviation of each band."""

    mean: Tensor
    std: Tensor


def statistics_of(preprocessor: Any, bands: int) -> Statistics:
    """Return a data preprocessor's ``mean`` and ``std``; 0 and 1 of one that has none for so many bands."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if isinstance(mean, Tensor) and isinstance(std, Tensor) and mean.numel() == std.numel() == bands:
        return Statistics(mean, std)
    return Statistics(torch.zeros(bands), torch.ones(bands))


def pictures_of_passes(images: list[Tensor], preprocessor: nn.Module, samples: int) -> dict[str, Picture]:
    """Show what a network was given: for each of the first samples a row of its images, one (B, C, H, W) per pass."""
    count = min([samples, *map(len, images)]) if images else 0
    return {
        f'sample_{i}': [
            [
                [
                    Tile(
                        f'pass {number + 1}, {batch.shape[-1]} px',
                        View(batch[i], *statistics_of(preprocessor, len(batch[i]))),
                    )
                    for number, batch in enumerate(images)
                ]
            ]
        ]
        for i in range(count)
    }
