"""The right circles at the right pixels."""

import numpy as np
import torch

from mmrs_ssl.models.matching import cell_centers, nearest_cells
from mmrs_ssl.visualization.matches import draw_matches
from mmrs_ssl.visualization.panels import MARGIN, TILE


def test_circles_are_at_matched_cells_of_a_flipped_pair():
    """View 2 is the left half of view 1's box, mirrored: the partner's column counts from the other side."""
    boxes = [torch.tensor([[0.0, 0.0, 80.0, 80.0]]), torch.tensor([[0.0, 0.0, 80.0, 40.0]])]
    flips = [torch.tensor([False]), torch.tensor([True])]
    centers = [cell_centers(box, flip, (4, 4)) for box, flip in zip(boxes, flips, strict=True)]
    own, partner = nearest_cells(centers[0], centers[1], 8)
    pairs = torch.stack([own[0], partner[0]], 1).numpy()
    black = np.zeros((TILE, TILE, 3), np.uint8)
    canvas, colors = draw_matches(black, black, pairs, (4, 4))
    gap = 4 * MARGIN
    assert canvas.shape == (TILE, 2 * TILE + gap, 3)
    assert len({tuple(color) for color in colors}) == len(pairs) == 8
    for (a, b), color in zip(pairs, colors, strict=True):
        column = a % 4
        ground = column * 20 + 10  # of the cell's center in the image
        assert ground < 40  # matched cells of view 1 lie in the half that both views show
        mirrored = (40 - ground) / 40 * TILE
        y = (a // 4 + 0.5) * TILE / 4
        left, right = canvas[:, :TILE], canvas[:, TILE + gap :]
        assert has_circle(left, ground / 80 * TILE, y, color)
        assert has_circle(right, mirrored, y, color, slack=TILE / 8)
        assert b // 4 == a // 4
    nothing = np.ones((4, 4), bool)
    nothing.flat[pairs[:, 0]] = False
    for cell in np.flatnonzero(nothing):  # no disc where no pair is, only lines that cross
        disc = canvas[cell // 4 * 56 + 26 : cell // 4 * 56 + 31, cell % 4 * 56 + 26 : cell % 4 * 56 + 31]
        assert (disc.reshape(-1, 3).max(1) == 0).mean() > 0.3


def test_cells_of_an_oblong_map_are_counted_row_by_row():
    black = np.zeros((120, 200, 3), np.uint8)
    canvas, colors = draw_matches(black, black, np.array([[6, 3]]), (3, 5))
    left, right = canvas[:, :200], canvas[:, 200 + 4 * MARGIN :]
    assert has_circle(left, 1.5 * 40, 1.5 * 40, colors[0])  # the second cell of the second row
    assert has_circle(right, 3.5 * 40, 0.5 * 40, colors[0])


def has_circle(tile, x, y, color, slack=0.0):
    """Whether a filled disc of that color of radius 3 lies at (x, y), up to ``slack`` pixels left or right."""
    near = tile[round(y) - 2 : round(y) + 3, max(round(x - slack) - 2, 0) : round(x + slack) + 3]
    columns = (near == color).all(2).all(0)
    return bool(np.convolve(columns, np.ones(5), 'valid').max() == 5)
