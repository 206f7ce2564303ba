"""The windows in which a raster is read."""

from __future__ import annotations

import numpy as np
import pytest

from mmrs_ssl.rasters.blocks import BlockWindows


@pytest.mark.parametrize(
    ('size', 'block'),
    [
        ((100, 90), (1, 90)),
        ((1000, 700), (256, 256)),
        ((300, 5000), (300, 5000)),
        ((130, 130), (512, 512)),
        ((7, 9), (3, 2)),
    ],
)
def test_windows_cover_every_pixel_once(size: tuple[int, int], block: tuple[int, int]) -> None:
    windows, seen = BlockWindows.of_blocks(size, block, 2**14), np.zeros(size, int)
    for number in range(len(windows)):
        window = windows[number]
        assert window.width * window.height <= 4 * 2**14
        seen[window.toslices()] += 1
    assert (seen == 1).all()
    if np.prod(block) <= 4 * 2**14:
        assert windows.shape[0] % block[0] == 0 or windows.shape[0] == size[0]
        assert windows.shape[1] % block[1] == 0 or windows.shape[1] == size[1]
