"""Draw what a step of MSSDF saw: modalities, information, masks, and what it made of them."""

from typing import Any

import cv2
import numpy as np
from sklearn.decomposition import PCA
from torch import Tensor

from mmrs_ssl.models.data_preprocessor import ModalityPreprocessor
from mmrs_ssl.visualization.panels import TILE, stretch_limits, titled, to_picture


def mssdf_panel(recorded: dict[str, Any], sample: int, preprocessor: ModalityPreprocessor) -> np.ndarray:
    """One sample's panel, a row per modality.

    A row shows the modality, the information of its patches (bright: much), what is left of it behind its mask, and the
    teacher's and the predicted tokens, whose first three principal components (of the teacher's) are the colors.

    Args:
        recorded: what :class:`mmrs_ssl.models.MSSDF` keeps of a step.
        sample: index in the batch.
        preprocessor: of the model.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = []
    for name, images in recorded['views'].items():
        image, part = images[sample].float(), preprocessor.parts[name]
        bands = (0, 1, 2) if len(image) >= 3 else (0,)
        limits = stretch_limits((image * part.std.view(-1, 1, 1) + part.mean.view(-1, 1, 1))[list(bands)])
        picture = to_picture(image, part.mean, part.std, limits, bands)
        mask = grid_of(recorded['masks'][name][sample])
        targets, predictions = principal_colors(
            recorded['targets'][name][sample], recorded['predictions'][name][sample]
        )
        tiles = dict(
            {name: picture},
            information=heat_map(grid_of(recorded['information'][name][sample])),
            visible=behind(picture, mask),
            teacher=enlarged(targets),
            predicted=enlarged(predictions),
        )
        rows.append(np.hstack([titled(tile, title) for title, tile in tiles.items()]))
    return np.vstack(rows)


def grid_of(values: Tensor) -> np.ndarray:
    """Values of the patches of a square image (L,) or (L, D), row by row, as (side, side) or (side, side, D)."""
    side = round(len(values) ** 0.5)
    return values.detach().float().cpu().numpy().reshape(side, side, *values.shape[1:])


def enlarged(cells: np.ndarray) -> np.ndarray:
    """(side, side, 3) uint8 as a tile of whole cells."""
    return cv2.resize(cells, (TILE, TILE), interpolation=cv2.INTER_NEAREST)


def heat_map(values: np.ndarray) -> np.ndarray:
    """(side, side) as a tile, from dark for the lowest to bright for the highest."""
    low, high = float(values.min()), float(values.max())
    gray = ((values - low) / max(high - low, 1e-6) * 255).round().astype(np.uint8)
    return enlarged(cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1])


def behind(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The tile with white where the mask (side, side) is not 0."""
    cells = enlarged(np.repeat((mask > 0).astype(np.uint8)[..., None], 3, axis=2))
    return np.where(cells > 0, 255, picture).astype(np.uint8)


def principal_colors(targets: Tensor, predictions: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (L, D) of teacher and student as colors (side, side, 3) by the teacher's principal components.

    Both have the same scale, from the 2nd to the 98th percentile of the teacher's: like colors are like tokens.
    """
    first, second = (tokens.detach().float().cpu().numpy() for tokens in (targets, predictions))
    side = round(len(first) ** 0.5)
    analysis = PCA(n_components=3, random_state=0).fit(first)
    parts = [analysis.transform(tokens) for tokens in (first, second)]
    low, high = np.percentile(parts[0], [2, 98], axis=0)
    colors = [(part - low) / np.maximum(high - low, 1e-6) * 255 for part in parts]
    teacher, student = (part.clip(0, 255).round().astype(np.uint8).reshape(side, side, 3) for part in colors)
    return teacher, student
