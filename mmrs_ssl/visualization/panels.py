"""Draw what a training step saw."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

MARGIN = 6  # pixels between tiles
TITLE = 22  # pixels above a tile for its title
TILE = 224  # side of a tile in pixels


def stretch_limits(view: Tensor) -> tuple[float, float]:
    """The 1st and 99th percentile of a view (C, H, W): what to show as black and white."""
    low, high = torch.quantile(view.flatten(), torch.tensor([0.01, 0.99], device=view.device)).tolist()
    return low, max(high, low + 1e-6)


def to_picture(
    image: Tensor, mean: Tensor, std: Tensor, limits: tuple[float, float], bands: Sequence[int]
) -> np.ndarray:
    """A normalized image (C, H, W) as 8-bit RGB (TILE, TILE, 3), stretched between ``limits`` in its own units."""
    pixels = (image * std.view(-1, 1, 1) + mean.view(-1, 1, 1))[list(bands)].float()
    scaled = ((pixels - limits[0]) / (limits[1] - limits[0])).clamp(0, 1) * 255
    picture = scaled.permute(1, 2, 0).byte().cpu().numpy()
    picture = picture if picture.shape[2] == 3 else np.repeat(picture[..., :1], 3, axis=2)
    return cv2.resize(np.ascontiguousarray(picture), (TILE, TILE), interpolation=cv2.INTER_NEAREST)


def titled(tile: np.ndarray, title: str) -> np.ndarray:
    """The tile (H, W, 3) with a title above and a margin around."""
    framed = cv2.copyMakeBorder(tile, TITLE, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(framed, title, (MARGIN, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def draw_matches(
    left: np.ndarray, right: np.ndarray, pairs: np.ndarray, grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Number and join the matched cells of two tiles (H, W, 3).

    Args:
        pairs: (k, 2) row-major cell indices into the left and the right tile.
        grid: rows and columns of cells.

    Returns:
        The two tiles side by side with a line per pair, (H, 2 * W + gap, 3), and the line's colors (k, 3).
    """
    height, width = left.shape[:2]
    gap = 4 * MARGIN
    canvas = np.full((height, 2 * width + gap, 3), 255, np.uint8)
    canvas[:, :width], canvas[:, width + gap :] = left, right
    hues = np.linspace(0, 179, len(pairs), endpoint=False).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 255), np.full_like(hues, 255)], axis=1)[None]
    colors = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0]

    def center(cell: int, offset: int) -> tuple[int, int]:
        row, col = divmod(int(cell), grid[1])
        return round((col + 0.5) * width / grid[1]) + offset, round((row + 0.5) * height / grid[0])

    for (a, b), color in zip(pairs, colors.tolist(), strict=True):
        start, end = center(a, 0), center(b, width + gap)
        cv2.line(canvas, start, end, color, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(canvas, point, 4, color, -1, cv2.LINE_AA)
    return canvas, colors


def cmid_panel(
    recorded: dict[str, Any], sample: int, mean: Tensor, std: Tensor, bands: Sequence[int] | None = None
) -> np.ndarray:
    """One sample's panel: a row per view (view, masked view, reconstruction), then the matched cells.

    Args:
        recorded: what :class:`mmrs_ssl.models.CMID` keeps of a step.
        sample: index in the batch.
        mean, std: of the data preprocessor, any shape with C elements.
        bands: bands to show; the first three, or the first alone of fewer.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    channels = recorded['views'][0].shape[1]
    bands = bands or ((0, 1, 2) if channels >= 3 else (0,))
    rows, shown = [], []
    for v, view in enumerate(recorded['views']):
        own = view[sample]
        pixels = (own * std.view(-1, 1, 1) + mean.view(-1, 1, 1))[list(bands)]
        limits = stretch_limits(pixels)
        images = (own, recorded['masked'][v][sample], recorded['reconstructions'][v][sample])
        tiles = [to_picture(image.float(), mean, std, limits, bands) for image in images]
        titles = (f'view {v + 1}', f'view {v + 1}, masked', f'view {v + 1}, reconstructed')
        rows.append(np.hstack([titled(tile, title) for tile, title in zip(tiles, titles, strict=True)]))
        shown.append(tiles[0])
    pairs = torch.stack([index[sample] for index in recorded['matches']], dim=1).cpu().numpy()
    canvas, _ = draw_matches(shown[0], shown[1], pairs, tuple(recorded['grid']))
    matched = titled(canvas, f'{len(pairs)} matched cells of view 1 (left) and view 2')
    grid = np.vstack(rows)
    matched = np.pad(matched, ((0, max(0, grid.shape[0] - matched.shape[0])), (0, 0), (0, 0)), constant_values=255)
    grid = np.pad(grid, ((0, max(0, matched.shape[0] - grid.shape[0])), (0, 0), (0, 0)), constant_values=255)
    return np.hstack([grid, matched])
