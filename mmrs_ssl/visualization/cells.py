"""Draw the cells of a square grid: values, masks and tokens."""

import cv2
import numpy as np
from sklearn.decomposition import PCA
from torch import Tensor

from mmrs_ssl.visualization.panels import TILE


def grid_of(values: Tensor) -> np.ndarray:
    """Arrange values (L,) or (L, D) of a square image's patches, row by row, as (side, side) or (side, side, D)."""
    side = round(len(values) ** 0.5)
    return values.detach().float().cpu().numpy().reshape(side, side, *values.shape[1:])


def enlarged(cells: np.ndarray) -> np.ndarray:
    """Enlarge (side, side, 3) uint8 to a tile of whole cells."""
    return cv2.resize(cells, (TILE, TILE), interpolation=cv2.INTER_NEAREST)


def heat_map(values: np.ndarray) -> np.ndarray:
    """Draw (side, side) as a tile, from dark for the lowest to bright for the highest."""
    low, high = float(values.min()), float(values.max())
    gray = ((values - low) / max(high - low, 1e-6) * 255).round().astype(np.uint8)
    return enlarged(cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1])


def behind(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paint a tile white where the mask (side, side) is not 0."""
    cells = enlarged(np.repeat((mask > 0).astype(np.uint8)[..., None], 3, axis=2))
    return np.where(cells > 0, 255, picture).astype(np.uint8)


def principal_colors(tokens: Tensor, basis: Tensor) -> np.ndarray:
    """Draw tokens (L, D) as a tile whose colors are the first three principal components of other tokens (L, D).

    The scale goes from the 2nd to the 98th percentile of the basis: of one basis like colors are like tokens.
    """
    own, other = (each.detach().float().cpu().numpy() for each in (tokens, basis))
    side = round(len(own) ** 0.5)
    analysis = PCA(n_components=3, random_state=0).fit(other)
    parts = [analysis.transform(each) for each in (other, own)]
    low, high = np.percentile(parts[0], [2, 98], axis=0)
    colors = (parts[1] - low) / np.maximum(high - low, 1e-6) * 255
    return enlarged(colors.clip(0, 255).round().astype(np.uint8).reshape(side, side, 3))
