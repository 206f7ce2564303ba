"""Draw which cells of two views show the same ground."""

import cv2
import numpy as np

from mmrs_ssl.visualization.panels import MARGIN


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
