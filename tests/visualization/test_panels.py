"""Tiles: bands to colors, in their own units."""

import numpy as np
import pytest
import torch

from mmrs_ssl.visualization.panels import TILE, stretch_limits, to_picture


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
