"""Which cells of two views show the same ground, by exact distances however many cells there are."""

import cv2
import numpy as np
import torch

from mmrs_ssl.datasets.transforms import RandomCropResize
from mmrs_ssl.models.matching import boxes_overlap, cell_centers, gather_cells, nearest_cells


def test_the_pairs_of_many_cells_are_those_of_exact_distances():
    """By hand in float64. An image has 400 pixels a side, whose square float32 knows to 0.02 only."""
    rng = torch.Generator().manual_seed(0)
    views = []
    for _ in range(2):
        corner, size = (low + span * torch.rand(128, 2, generator=rng) for low, span in ((0, 200), (120, 80)))
        flips = torch.randint(2, (128,), generator=rng).bool()
        views.append(cell_centers(torch.cat((corner, size), dim=1), flips, (14, 14)))
    own, partner = nearest_cells(*views, matches=20)
    first, second = (view.double() for view in views)
    exact = (first[:, :, None] - second[:, None]).square().sum(dim=-1).sqrt()
    nearest = exact.min(dim=2).values
    assert torch.equal(own, nearest.topk(20, dim=1, largest=False).indices.sort(dim=1).values)
    chosen = exact.gather(1, own[..., None].expand(-1, -1, 196)).gather(2, partner[..., None])[..., 0]
    assert (chosen - nearest.gather(1, own)).max() < 1e-5  # of two that are equally near either may be taken


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
