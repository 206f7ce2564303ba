"""Draw what a step of DINO-MC or DINO-TP saw: all crops, and what the teacher chose for its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mmrs_ssl.visualization.panels import stretch_limits, titled, to_picture

CROPS_IN_A_ROW = 4


def dino_panel(
    recorded: dict[str, Any], sample: int, mean: Tensor, std: Tensor, bands: Sequence[int] | None = None
) -> np.ndarray:
    """One sample's panel: its crops, row by row, the teacher's first.

    The title of a crop is its side in pixels; of the teacher's crops also the prototype with the highest probability,
    and that probability. Crops of one image that the teacher sees should agree on it, those of other images not.

    Args:
        recorded: what :class:`mmrs_ssl.models.DINOMC` keeps of a step.
        sample: index in the batch.
        mean, std: of the data preprocessor, any shape with C elements.
        bands: bands to show; the first three, or the first alone of fewer.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    views, choices = recorded['views'], recorded['choices']
    bands = bands or ((0, 1, 2) if views[0].shape[1] >= 3 else (0,))
    tiles = []
    for number, view in enumerate(views):
        own = view[sample].float()
        limits = stretch_limits((own * std.view(-1, 1, 1) + mean.view(-1, 1, 1))[list(bands)])
        title = f'crop {number + 1}, {view.shape[-1]} px'
        if number < len(choices):
            probability, prototype = choices[number, sample].max(dim=0)
            title += f': prototype {int(prototype)} ({float(probability):.2f})'
        tiles.append(titled(to_picture(own, mean, std, limits, bands), title))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % CROPS_IN_A_ROW)
    return np.vstack(
        [np.hstack(tiles[start : start + CROPS_IN_A_ROW]) for start in range(0, len(tiles), CROPS_IN_A_ROW)]
    )
