"""Tiles: bands to colors, in their own units."""

import numpy as np
import pytest
import torch

from mmrs_ssl.visualization.panels import MARGIN, TILE, TITLE, stretch_limits, titled, to_picture


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


def test_a_long_title_fits_its_tile():
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    short, long = titled(blank, 'view 1'), titled(blank, 'crop 1, 224 px, bands 0 1 2: prototype 12345 (0.92)')
    for panel, low, high in ((short, 10, 60), (long, TILE - 30, TILE + 2)):
        columns = np.flatnonzero((panel[:TITLE] < 128).any((0, 2)))
        assert low < columns.max() - MARGIN < high
        assert (panel[TITLE:] == 255).all()
