"""Draw what a method says about its last step; the parts are in :mod:`mmrs_ssl.models.tiles`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmrs_ssl.band_names import Colors
from mmrs_ssl.models.tiles import Behind, Block, HeatMap, Matches, Picture, PictureTile, Tokens, View
from mmrs_ssl.visualization.cells import behind, grid_of, heat_map, principal_colors
from mmrs_ssl.visualization.matches import draw_matches
from mmrs_ssl.visualization.panels import stretch_limits, titled, to_picture


class Choice(NamedTuple):
    """Which bands of a view are shown.

    Attributes:
        bands: three as red, green and blue, or one as gray, of the views that have them; of all others:
        colors: red, green and blue by the number of a view's bands; of all others the first three, or the first alone
            of fewer.
    """

    bands: Sequence[int] | None = None
    colors: Mapping[int, Colors] = {}

    def of(self, count: int) -> Sequence[int]:
        """Choose among so many bands."""
        if self.bands and max(self.bands) < count:
            return self.bands
        return self.colors.get(count, (0, 1, 2) if count >= 3 else (0,))

    def said(self, count: int) -> str:
        """Write which bands these are, for a title, if nobody chose them and there are others."""
        if count in (1, 3) or count in self.colors or (self.bands and max(self.bands) < count):
            return ''
        return ', band 0' if count == 2 else ', bands 0 1 2'


def draw(
    picture: Picture, bands: Sequence[int] | None = None, colors: Mapping[int, Colors] | None = None
) -> np.ndarray:
    """Draw the panel of a picture: its blocks side by side, white where one of them is lower or a row is shorter.

    Args:
        picture: what to show.
        bands, colors: which bands of a view are shown, see :class:`Choice`; a title says it where neither does.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there are views, and none has these bands.
    """
    counts = [len(view.image) for block in picture for row in block for tile in row for view in views_of(tile)]
    if bands and counts and max(bands) >= max(counts):
        raise ValueError(f'bands={tuple(bands)} to be shown, but the views have {max(counts)}, counted from 0')
    choice = Choice(bands, colors or {})
    return np.hstack(same_size([draw_block(block, choice) for block in picture], axis=0))


def views_of(tile: PictureTile) -> Iterator[View]:
    """List the views in a tile."""
    content = tile.content
    if isinstance(content, View):
        yield content
    elif isinstance(content, Behind):
        yield content.view
    elif isinstance(content, Matches):
        yield from (content.left, content.right)


def draw_block(block: Block, choice: Choice) -> np.ndarray:
    """Draw rows of tiles, one below the other."""
    rows = [np.hstack(same_size([draw_tile(tile, choice) for tile in row], axis=0)) for row in block]
    return np.vstack(same_size(rows, axis=1))


def draw_tile(tile: PictureTile, choice: Choice) -> np.ndarray:
    """Draw one tile with its title, and the teacher's choice in it."""
    title = tile.title + ''.join(dict.fromkeys(choice.said(len(view.image)) for view in views_of(tile)))
    if tile.choices is not None:
        probability, prototype = tile.choices.max(dim=0)
        title += f': prototype {int(prototype)} ({float(probability):.2f})'
    return titled(draw_content(tile.content, choice), title)


def draw_content(content: View | HeatMap | Behind | Tokens | Matches, choice: Choice) -> np.ndarray:
    """Draw what is below a tile's title, (TILE, TILE or more, 3) uint8."""
    if isinstance(content, View):
        return draw_view(content, choice)
    if isinstance(content, HeatMap):
        return heat_map(grid_of(content.values))
    if isinstance(content, Behind):
        return behind(draw_view(content.view, choice), grid_of(content.mask))
    if isinstance(content, Tokens):
        return principal_colors(content.tokens, content.basis)
    pairs = torch.stack(content.pairs, dim=1).cpu().numpy()
    return draw_matches(draw_view(content.left, choice), draw_view(content.right, choice), pairs, content.grid)[0]


def draw_view(view: View, choice: Choice) -> np.ndarray:
    """Draw a view, stretched by its own percentiles or by another's."""
    bands = choice.of(len(view.image))
    like: Tensor = (view.image if view.like is None else view.like).float()
    limits = stretch_limits((like * view.std.view(-1, 1, 1) + view.mean.view(-1, 1, 1))[list(bands)])
    return to_picture(view.image.float(), view.mean, view.std, limits, bands)


def same_size(pictures: list[np.ndarray], axis: int) -> list[np.ndarray]:
    """Make pictures (H, W, 3) as large along an axis as the largest, with white."""
    largest = max(picture.shape[axis] for picture in pictures)
    missing = [largest - picture.shape[axis] for picture in pictures]
    return [
        np.pad(picture, [(0, more if side == axis else 0) for side in range(3)], constant_values=255)
        for picture, more in zip(pictures, missing, strict=True)
    ]
