"""MSSDF's panel: what stands where, and that like colors are like tokens."""

import numpy as np
import torch

from mmrs_ssl.visualization.modalities import behind, heat_map, mssdf_panel, principal_colors
from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE
from tests.conftest import build_mssdf, make_modalities

TWO = dict(rgb=3, dsm=1)


def tile(panel, row, column):
    top, left = row * (TILE + TITLE + MARGIN) + TITLE, column * (TILE + 2 * MARGIN) + MARGIN
    return panel[top : top + TILE, left : left + TILE]


def test_panel_of_a_training_step():
    model = build_mssdf(TWO).train()
    model.recording = True
    model.loss(**model.data_preprocessor(make_modalities(TWO), True))
    panel = mssdf_panel(model.recorded, 1, model.data_preprocessor)
    assert panel.shape == (2 * (TILE + TITLE + MARGIN), 5 * (TILE + 2 * MARGIN), 3)
    for row, name in enumerate(TWO):
        masked = model.recorded['masks'][name][1].view(4, 4)
        whole, visible = tile(panel, row, 0), tile(panel, row, 2)
        side = TILE // 4
        for i in range(4):
            for j in range(4):
                cell = np.s_[i * side : (i + 1) * side, j * side : (j + 1) * side]
                if masked[i, j]:
                    assert (visible[cell] == 255).all()
                else:
                    assert np.array_equal(visible[cell], whole[cell])
        scores = model.recorded['information'][name][1]
        assert np.array_equal(tile(panel, row, 1), heat_map(scores.view(4, 4).numpy()))
    assert (np.ptp(tile(panel, 0, 0), axis=2) > 20).any()  # in colors
    assert not np.ptp(tile(panel, 1, 0), axis=2).any()  # gray


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
    teacher, student = principal_colors(targets, targets.clone())
    assert np.array_equal(teacher, student)
    assert teacher.shape == (4, 4, 3)
    _, other = principal_colors(targets, targets.flip(0))
    assert np.array_equal(other, teacher[::-1, ::-1])
    _, none = principal_colors(targets, targets.mean(dim=0, keepdim=True).repeat(16, 1))
    assert not np.ptp(none.reshape(16, 3), axis=0).any()
    some = torch.cat([targets[:4], 20 * torch.randn(12, 8)])  # whatever else there is
    assert np.array_equal(principal_colors(targets, some)[1][0], teacher[0])
