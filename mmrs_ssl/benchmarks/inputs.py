"""Generate images for a config's data set."""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
from mmengine.config import Config
from mmengine.runner import Runner

from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.layouts import write_layout
from mmrs_ssl.synthetic.scene import make_scene


def write_jpegs(folder: Path, count: int = 64, size: int = 400) -> None:
    """Write generated scenes as JPEGs of quality 90."""
    for i in range(count):
        image = make_scene(SCENE_CLASSES[i % len(SCENE_CLASSES)], seed=i, size=size, gsd=0.5).rgb()
        cv2.imwrite(str(folder / f'{i:03d}.jpg'), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def write_images(cfg: Config, dataset: dict[str, Any], folder: Path, count: int) -> None:
    """Write generated images that the config's data set can read, at least ``count``.

    Raises:
        ValueError: for modalities that are not RGB with a surface model.
    """
    if not dataset['type'].endswith('SceneDataset'):
        write_jpegs(folder)
        return
    size, scenes = math.ceil(dataset['window']), max(4, count)
    files = dataset.get('files', '')
    if isinstance(files, dict):
        if set(files) != {'rgb', 'dsm'}:
            raise ValueError(f'scenes are generated for rgb and dsm, not for {", ".join(files)}: give --images')
        dataset['files'] = dict(rgb='{scene}_dom', dsm='{scene}_dsm')
        write_layout('hr_pairs', folder, scenes=scenes, size=size)
        return
    layout = 'seco' if dataset.get('band_files') else 'time_series'
    if '{date}' not in files:
        dataset['files'] = '{scene}/{date}'  # one of several dates
    dataset['max_value'] = dataset.get('max_value') or 10_000
    write_layout(layout, folder, scenes=scenes, size=size, bands=len(cfg.model.data_preprocessor.mean))


def loader_settings(cfg: Config, args: Namespace, folder: Path, batches: int = 1) -> dict[str, Any]:
    """Copy the config's loader for this process, over the given images, or generated ones written to ``folder``.

    Of scenes, which take longer to write, there are no more than so many batches.
    """
    dataset = {**cfg.train_dataloader.dataset, 'data_root': args.images or str(folder)}
    if not args.images:
        write_images(cfg, dataset, folder, batches * args.batch_size)
    settings = {**cfg.train_dataloader, 'batch_size': args.batch_size, 'num_workers': 0, 'pin_memory': False}
    settings.pop('persistent_workers', None)
    settings['dataset'] = dataset
    return settings


def make_loader(cfg: Config, args: Namespace, folder: Path) -> Any:
    """Build the loader of these settings, and repeat it for ever."""
    loader = Runner.build_dataloader(loader_settings(cfg, args, folder), seed=0)
    while True:
        yield from loader
