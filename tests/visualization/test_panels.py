"""Panels: bands to colors, the right circles at the right pixels."""

import cv2
import numpy as np
import pytest
import torch

from mmrs_ssl.models.matching import cell_centers, nearest_cells
from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE, cmid_panel, draw_matches, stretch_limits, to_picture


@pytest.mark.parametrize(('bands', 'shown'), [(1, (0,)), (3, (0, 1, 2)), (5, (3, 2, 0)), (5, (4,))])
def test_to_picture_shows_the_bands_in_their_own_units(bands, shown):
    generator = torch.Generator().manual_seed(0)
    raster = torch.rand(bands, 8, 8, generator=generator) * 4000
    mean, std = torch.linspace(500, 900, bands), torch.linspace(100, 300, bands)
    normalized = (raster - mean[:, None, None]) / std[:, None, None]
    picture = to_picture(normalized, mean[None, :, None, None], std[None, :, None, None], (1000.0, 3000.0), shown)
    assert picture.shape == (TILE, TILE, 3)
    assert picture.dtype == np.uint8
    expected = ((raster.numpy() - 1000) / 2000 * 255).clip(0, 255)
    cells = picture[14::28, 14::28].astype(float)  # 28 pixels of the tile per pixel of the raster
    for channel in range(3):
        band = shown[channel] if len(shown) == 3 else shown[0]
        np.testing.assert_allclose(cells[..., channel], expected[band], atol=1.01)


def test_stretch_limits():
    view = torch.arange(1001.0).reshape(1, 7, 143)
    assert stretch_limits(view) == (10.0, 990.0)
    low, high = stretch_limits(torch.full((3, 4, 4), 5.0))
    assert high > low == 5.0  # a view of one value can be shown


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


@pytest.mark.parametrize('bands', [1, 3, 5])
def test_panel(bands):
    generator = torch.Generator().manual_seed(bands)
    views = [torch.randn(2, bands, 64, 64, generator=generator) for _ in range(2)]
    masked = [torch.zeros_like(view) for view in views]
    recorded = dict(
        views=views,
        masked=masked,
        reconstructions=[view + 0.01 for view in views],
        matches=(torch.tensor([[0, 3], [1, 2]]), torch.tensor([[0, 3], [2, 1]])),
        grid=(2, 2),
    )
    mean, std = torch.full((1, bands, 1, 1), 100.0), torch.full((1, bands, 1, 1), 50.0)
    panel = cmid_panel(recorded, 1, mean, std)
    tile = TILE + 2 * MARGIN
    assert panel.shape == (2 * (TITLE + TILE + MARGIN), 3 * tile + 2 * TILE + 4 * MARGIN + 2 * MARGIN, 3)
    shown = (0, 1, 2) if bands >= 3 else (0,)
    for row, view in enumerate(views):
        pixels = (view[1] * 50 + 100)[list(shown)]
        expected = to_picture(view[1], mean, std, stretch_limits(pixels), shown)
        top = row * (TITLE + TILE + MARGIN) + TITLE
        assert np.array_equal(panel[top : top + TILE, MARGIN : MARGIN + TILE], expected)
        gray = panel[top : top + TILE, MARGIN + tile : MARGIN + tile + TILE]
        assert np.ptp(gray) == 0  # the masked view, here all mean
    left = panel[TITLE : TITLE + TILE, 3 * tile + MARGIN : 3 * tile + MARGIN + TILE]
    first = panel[TITLE : TITLE + TILE, MARGIN : MARGIN + TILE]
    changed = (left != first).any(2)
    assert 0 < changed.mean() < 0.05  # view 1 again, with two circles and lines on it
    assert changed[TILE // 4, 3 * TILE // 4]
    assert changed[3 * TILE // 4, TILE // 4]
    assert not changed[TILE // 4, TILE // 4]


def test_panel_with_chosen_bands():
    view = torch.randn(1, 4, 32, 32)
    recorded = dict(
        views=[view, view],
        masked=[view, view],
        reconstructions=[view, view],
        matches=(torch.zeros(1, 1, dtype=torch.long),) * 2,
        grid=(1, 1),
    )
    mean, std = torch.zeros(4), torch.ones(4)
    reversed_bands = cmid_panel(recorded, 0, mean, std, (2, 1, 0))
    plain = cmid_panel(recorded, 0, mean, std)
    corner = (slice(TITLE, TITLE + TILE), slice(MARGIN, MARGIN + TILE))
    assert np.array_equal(reversed_bands[corner], cv2.cvtColor(plain[corner], cv2.COLOR_RGB2BGR))
