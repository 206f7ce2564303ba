"""Draw what features make of labelled images: which classes are confused, and what is near to what."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from mmrs_ssl.visualization.panels import TILE, titled

SIDE = 112  # pixels of an image in the gallery


def draw_confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], path: Path, title: str) -> None:
    """Write a confusion matrix as PNG: in each row the shares of a class's images that were taken for each class.

    Args:
        labels, predicted: (M,) numbers of classes.
        classes: their names.
        path: of the PNG.
        title: above it.
    """
    shares = confusion_matrix(labels, predicted, labels=range(len(classes)), normalize='true')
    side = 3 + 0.45 * len(classes)
    drawing = Drawing(figsize=(side + 1, side), layout='constrained')
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    shown = ConfusionMatrixDisplay(100 * shares, display_labels=classes)
    many = len(classes) > 20  # numbers would overlap
    shown.plot(ax=axes, cmap='Blues', xticks_rotation=60, values_format='.0f', include_values=not many, colorbar=many)
    axes.set_title(title)
    axes.set_xlabel('predicted, % of the class')
    axes.set_ylabel('class')
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110)


def draw_neighbors(
    queries: Sequence[tuple[str, str]],
    neighbors: Sequence[Sequence[tuple[str, str, float]]],
    load: Callable[[str], np.ndarray],
    path: Path,
) -> None:
    """Write a gallery as PNG: a row for each query image, then its nearest images with class and similarity.

    Those of another class have a red frame.

    Args:
        queries: path and class of each.
        neighbors: of each query path, class and cosine similarity of its nearest images, the nearest first.
        load: reads an image (H, W, 3), uint8 RGB.
        path: of the PNG.
    """
    rows = []
    for (query, name), near in zip(queries, neighbors, strict=True):
        tiles = [framed(load(query), name, None)]
        tiles += [framed(load(each), f'{own} {alike:.2f}', own == name) for each, own, alike in near]
        rows.append(np.hstack(tiles))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)):
        raise OSError(f'could not write {path}; is the disk full?')


def framed(image: np.ndarray, title: str, right: bool | None) -> np.ndarray:
    """Draw an image with a title and a frame: green if it is right, red if not, white if there is nothing to say."""
    color = {None: (255, 255, 255), True: (60, 160, 60), False: (210, 50, 50)}[right]
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    edged = cv2.copyMakeBorder(small, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=color)
    wide = min(TILE, edged.shape[1])
    return titled(edged, title[: wide // 7])


def as_picture(image: np.ndarray) -> np.ndarray:
    """Make 8-bit RGB of an image (H, W, C): its first three bands, or its first; other types by their quantiles."""
    bands = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if bands.dtype == np.uint8:
        return np.ascontiguousarray(bands)
    low, high = np.percentile(bands, [2, 98])
    return (np.clip((bands - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
