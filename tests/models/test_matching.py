"""Cells are matched by exact distances, however many cells there are."""

import torch

from mmrs_ssl.models.matching import cell_centers, nearest_cells


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
