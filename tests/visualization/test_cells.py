"""Grids of cells: values, masks, and that like colors are like tokens."""

import numpy as np
import torch

from mmrs_ssl.visualization.cells import behind, heat_map, principal_colors
from mmrs_ssl.visualization.panels import TILE


def test_brightest_is_the_most_informative():
    picture = heat_map(np.array([[1.0, 5.0], [3.0, 2.0]])).sum(axis=2)
    cells = picture[TILE // 4 :: TILE // 2, TILE // 4 :: TILE // 2]
    assert cells.argmax() == 1
    assert cells.argmin() == 0


def test_behind_a_mask():
    picture = np.full((TILE, TILE, 3), 9, np.uint8)
    shown = behind(picture, np.array([[0, 1], [0, 0]]))
    assert (shown[: TILE // 2, TILE // 2 :] == 255).all()
    assert (shown == 9).mean() == 0.75


def test_like_colors_are_like_tokens():
    torch.manual_seed(0)
    targets = torch.randn(16, 8) * torch.linspace(3, 0.1, 8)
    teacher = principal_colors(targets, targets)
    assert teacher.shape == (TILE, TILE, 3)
    assert len(np.unique(teacher.reshape(-1, 3), axis=0)) == 16
    assert np.array_equal(teacher, np.repeat(np.repeat(teacher[::56, ::56], 56, axis=0), 56, axis=1))  # whole cells
    assert np.array_equal(principal_colors(targets.flip(0), targets), teacher[::-1, ::-1])
    none = principal_colors(targets.mean(dim=0, keepdim=True).repeat(16, 1), targets)
    assert not np.ptp(none.reshape(-1, 3), axis=0).any()
    some = torch.cat([targets[:4], 20 * torch.randn(12, 8)])  # whatever else there is
    assert np.array_equal(principal_colors(some, targets)[:56], teacher[:56])
