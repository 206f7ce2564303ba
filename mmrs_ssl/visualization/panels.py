"""Draw one image as a tile with a title."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

MARGIN = 6  # pixels between tiles
TITLE = 22  # pixels above a tile for its title
TILE = 224  # side of a tile in pixels


def stretch_limits(view: Tensor) -> tuple[float, float]:
    """Compute the 1st and 99th percentile of a view (C, H, W): what to show as black and white."""
    low, high = torch.quantile(view.flatten(), torch.tensor([0.01, 0.99], device=view.device)).tolist()
    return low, max(high, low + 1e-6)


def to_picture(
    image: Tensor, mean: Tensor, std: Tensor, limits: tuple[float, float], bands: Sequence[int]
) -> np.ndarray:
    """Draw a normalized image (C, H, W) as 8-bit RGB (TILE, TILE, 3), stretched between ``limits`` in its own units."""
    pixels = (image * std.view(-1, 1, 1) + mean.view(-1, 1, 1))[list(bands)].float()
    scaled = ((pixels - limits[0]) / (limits[1] - limits[0])).clamp(0, 1) * 255
    picture = scaled.permute(1, 2, 0).byte().cpu().numpy()
    picture = picture if picture.shape[2] == 3 else np.repeat(picture[..., :1], 3, axis=2)
    return cv2.resize(np.ascontiguousarray(picture), (TILE, TILE), interpolation=cv2.INTER_NEAREST)


def titled(tile: np.ndarray, title: str) -> np.ndarray:
    """Add a title above and a margin around a tile (H, W, 3); a long title in smaller letters, as wide as the tile."""
    (width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    size = 0.45 * min(1, tile.shape[1] / max(width, 1))
    framed = cv2.copyMakeBorder(tile, TITLE, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(framed, title, (MARGIN, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return framed
