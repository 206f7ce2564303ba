"""Describe the pictures of a training step as data, which :mod:`mmrs_ssl.visualization.pictures` draws."""

from typing import Any, NamedTuple

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


class PictureTile(NamedTuple):
    """A thing to show, with a title above."""

    title: str
    content: View | HeatMap | Behind | Tokens | Matches
    choices: Tensor | None = None  # probabilities (K,); the title then names the highest


Block = list[list[PictureTile]]  # rows of tiles
Picture = list[Block]  # blocks side by side


def masked_row(
    name: str, mean: Tensor, std: Tensor, image: Tensor, information: Tensor, mask: Tensor, made: Tensor, target: Tensor
) -> list[PictureTile]:
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
        PictureTile(name, view),
        PictureTile('information', HeatMap(information)),
        PictureTile('visible', Behind(view, mask)),
        PictureTile('teacher', Tokens(target, basis=target)),
        PictureTile('predicted', Tokens(made, basis=target)),
    ]


def view_of(image: Tensor, preprocessor: Any) -> View:
    """Show an image (C, H, W) in the units of a data preprocessor's ``mean`` and ``std``, or as it is.

    It is shown as it is where there are none for so many bands.
    """
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if isinstance(mean, Tensor) and isinstance(std, Tensor) and mean.numel() == std.numel() == len(image):
        return View(image, mean, std)
    return View(image, image.new_zeros(len(image)), image.new_ones(len(image)))


def pictures_of_passes(images: list[Tensor], preprocessor: nn.Module, samples: int) -> dict[str, Picture]:
    """Show what a network was given: a row per sample of its images, one (B, C, H, W) for each pass."""

    def row(sample: int) -> list[PictureTile]:
        titles = [f'pass {number + 1}, {batch.shape[-1]} px' for number, batch in enumerate(images)]
        views = [view_of(batch[sample], preprocessor) for batch in images]
        return [PictureTile(title, view) for title, view in zip(titles, views, strict=True)]

    return {f'sample_{i}': [[row(i)]] for i in range(min(samples, *map(len, images)))}
