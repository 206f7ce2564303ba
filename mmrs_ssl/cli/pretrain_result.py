"""Show what a pre-training made: collapse measures, nearest images, the backbone as a file, and what comes next."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.runner import Runner

from mmrs_ssl.cli.checks.planned import loading_alone, random_state_kept
from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.datasets.transforms.views import resize
from mmrs_ssl.evaluation.knn import pooled_features
from mmrs_ssl.models.protocol import evaluated_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.visualization.evaluation import as_picture, framed

LOOKED_AT, QUERIES, SHOWN = 200, 8, 6  # images; rows and neighbors of the gallery
_MEASURES = ('std', 'rank', 'information')


def show_result(runner: Runner, folder: Path, size: int) -> None:
    """Export the backbone, draw the gallery, and print what there is.

    Args:
        runner: whose training has ended.
        folder: its work dir.
        size: pixels a side of the images that are compared.
    """
    checkpoint = Path((folder / 'last_checkpoint').read_text().strip())
    checkpoint = checkpoint if checkpoint.is_file() else folder / checkpoint.name
    backbone = folder / 'backbone.pth'
    meta = export_backbone(checkpoint, backbone)
    gallery = draw_gallery(runner, folder / 'neighbors.png', size)
    measures = last_measures(Path(runner.log_dir))
    told = ', '.join(f'{name} {value:.3g}' for name, value in measures.items()) or 'the training was too short for one'
    shown = gallery or 'none: the images cannot be loaded by themselves'
    print(f"""
collapse    {told}
neighbors   {shown}
backbone    {backbone}: the {meta['branch']}, {meta['bands']} bands

next        mmrs-ssl evaluate {checkpoint} --data PATH/TO/LABELLED
            mmrs-ssl export {checkpoint} {folder / 'mmseg.pth'} --for mmseg
            mmrs-ssl train {folder / 'config.py'} --resume --cfg-options epochs=MORE
""")


def last_measures(log_dir: Path) -> dict[str, float]:
    """Return the collapse measures that were logged last."""
    file = log_dir / 'vis_data' / 'scalars.json'
    found: dict[str, float] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        values = json.loads(line)
        found |= {name: value for name, value in values.items() if name.endswith(tuple(f'_{m}' for m in _MEASURES))}
    return found


def draw_gallery(runner: Runner, path: Path, size: int) -> Path | None:
    """Draw some training images, each with those whose features are nearest; None where they cannot be loaded alone."""
    dataset: Any = runner.train_dataloader.dataset
    loading = loading_alone(dataset)
    if loading is None:
        return None
    with random_state_kept():
        numbers = np.unique(np.linspace(0, len(dataset) - 1, LOOKED_AT).round().astype(int)).tolist()
        images = [_square(loading[SampleIndex(number, 0, 0)]['img'], size) for number in numbers]
    vectors = features_of_images(runner.model, images)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)  # nothing is its own neighbor
    rows = []
    shown = min(SHOWN, len(images) - 1)
    for query in np.unique(np.linspace(0, len(images) - 1, QUERIES).round().astype(int)):
        tiles = [framed(as_picture(images[query]), f'image {numbers[query]}', None)]
        for near in np.argsort(-alike[query])[:shown]:
            tiles.append(framed(as_picture(images[near]), f'{numbers[near]}: {alike[query, near]:.2f}', None))
        rows.append(np.hstack(tiles))
    if not cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)):
        raise OSError(f'could not write {path}; is the disk full?')
    return path


def _square(image: Any, size: int) -> np.ndarray:
    """Bring an image, the first of several dates or modalities, to a square (size, size, C)."""
    image = next(iter(image.values())) if isinstance(image, dict) else image
    image = image[0] if isinstance(image, list) else image
    return resize(image, (size, size), cv2.INTER_AREA)


def features_of_images(model: Any, images: list[np.ndarray]) -> np.ndarray:
    """Compute unit vectors (N, D) of images (H, W, C) of one modality by the network that is evaluated."""
    preprocessor = model.data_preprocessor
    preprocessor = next(iter(preprocessor.parts.values())) if hasattr(preprocessor, 'parts') else preprocessor
    device = next(model.parameters()).device
    stacked = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2).to(device)
    with torch.no_grad():
        vectors = pooled_features(evaluated_backbone(model), preprocessor.normalize(stacked)).numpy()
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
