"""Masks, and which cells of two views show the same ground."""

import math

import cv2
import numpy as np
import pytest
import torch

from mmrs_ssl.datasets.transforms import RandomCropResize
from mmrs_ssl.models.masks.blocks import block_grid, block_mask, fill_with_mean, upsample_mask
from mmrs_ssl.models.matching import boxes_overlap, cell_centers, gather_cells, nearest_cells


@pytest.mark.parametrize('ratio', [0.3, 0.6, 0.75])
def test_block_mask_masks_exactly_the_share_in_every_image(ratio):
    mask = block_mask(16, (7, 7), ratio)
    assert mask.dtype == torch.bool
    assert mask.flatten(1).sum(1).tolist() == [math.ceil(ratio * 49)] * 16
    assert not (mask[0] == mask[1]).all()


def test_block_mask_is_uniform():
    torch.manual_seed(0)
    draws = 20000
    share = block_mask(draws, (3, 3), 0.6).float().mean(0).flatten()  # 6 of 9
    deviation = (6 / 9 * 3 / 9 / draws) ** 0.5
    assert (share - 6 / 9).abs().max() < 4 * deviation


def test_block_mask_refuses_to_mask_everything():
    with pytest.raises(ValueError, match=r'mask_ratio=0\.9 masks 1 of 1 blocks'):
        block_mask(2, (1, 1), 0.9)


def test_crop_smaller_than_a_block():
    with pytest.raises(ValueError, match='view of 16 x 16 pixels cannot be cut into mask blocks of 32 x 32'):
        block_grid(16, 16, 32)
    assert block_grid(224, 96, 32) == (7, 3)


def test_upsample_and_fill():
    mask = torch.tensor([[[True, False], [False, False]]])
    pixels = upsample_mask(mask, (8, 8))
    assert pixels.shape == (1, 1, 8, 8)
    assert pixels[0, 0, :4, :4].all()
    assert pixels.sum() == 16
    view = torch.randn(1, 3, 8, 8)
    filled = fill_with_mean(view, pixels)
    torch.testing.assert_close(filled[0, :, 0, 0], view.mean((2, 3))[0])
    torch.testing.assert_close(filled[0, :, 4:, 4:], view[0, :, 4:, 4:])


def test_matching_golden(golden):
    locations = [torch.from_numpy(golden[f'match/locations_{side}']) for side in 'ab']
    features = [torch.from_numpy(golden[f'match/features_{side}']) for side in 'ab']
    own, partner = nearest_cells(*locations, matches=20)
    torch.testing.assert_close(gather_cells(features[0], own), torch.from_numpy(golden['match/matched_a']))
    torch.testing.assert_close(gather_cells(features[1], partner), torch.from_numpy(golden['match/matched_b']))


def test_few_cells_are_all_matched():
    centers = torch.rand(2, 9, 2)
    own, partner = nearest_cells(centers, centers, matches=20)
    assert own.tolist() == partner.tolist() == [list(range(9))] * 2


def test_boxes_overlap():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    others = torch.tensor([[9, 9, 5, 5], [10, 0, 5, 5], [20, 20, 5, 5]])
    assert boxes_overlap(boxes, others).tolist() == [True, False, False]


def test_matched_cells_show_the_same_ground():
    """Views of an image whose pixels are their own coordinates: what a matched pair shows lies within one cell."""
    size, cells = 224, 7
    y, x = np.mgrid[:240, :300].astype(np.float32)
    image = np.stack([y, x], axis=2)
    transform = RandomCropResize(size=size, scale=(0.3, 1.0))
    rng = np.random.default_rng(0)
    flips_seen = set()
    worst = 0.0
    for _ in range(60):
        views = [transform.transform(dict(img=image, rng=rng)) for _ in range(2)]
        boxes = [torch.tensor([view['box']]) for view in views]
        flips = [torch.tensor([view['flip']]) for view in views]
        flips_seen.add((views[0]['flip'], views[1]['flip']))
        centers = [cell_centers(box, flip, (cells, cells)) for box, flip in zip(boxes, flips, strict=True)]
        own, partner = nearest_cells(centers[0], centers[1], matches=20)
        # What each cell shows: the mean of the coordinates that its pixels carry.
        shown = [
            cv2.resize(np.ascontiguousarray(view['img']), (cells, cells), interpolation=cv2.INTER_AREA).reshape(-1, 2)
            for view in views
        ]
        for i in range(2):  # positions as computed and as seen agree to a pixel
            np.testing.assert_allclose(centers[i][0].numpy() - 0.5, shown[i], atol=1.0)
        if not boxes_overlap(*boxes).item():
            continue
        cell = np.maximum(*[np.array([view['box'][2], view['box'][3]]) / cells for view in views])
        distance = np.abs(shown[0][own[0].numpy()] - shown[1][partner[0].numpy()])
        overlap = np.minimum(*[np.array(v['box'][:2]) + v['box'][2:] for v in views]) - np.maximum(
            *[np.array(v['box'][:2]) for v in views]
        )
        if (overlap / cell).min() >= 5:  # enough shared ground for 20 pairs of 5 x 5 cells
            worst = max(worst, float((distance / cell).max()))
    assert flips_seen == {(False, False), (False, True), (True, False), (True, True)}
    assert 0 < worst <= 1
