"""The demo: generate scenes, pre-train on them without labels, compare with random weights."""

import shutil
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from mmrs_ssl.cli.checks.machine import Machine
from mmrs_ssl.cli.config import override
from mmrs_ssl.cli.console import build_runner
from mmrs_ssl.cli.launch import set_precision
from mmrs_ssl.cli.live_line import live_line
from mmrs_ssl.evaluation.floors import color_histograms
from mmrs_ssl.evaluation.knn import knn_accuracy, most_alike, pooled_features
from mmrs_ssl.models.protocol import evaluated_backbone
from mmrs_ssl.models.quiet import quiet
from mmrs_ssl.ops.memory import keep_freed_memory
from mmrs_ssl.shipped_configs import config_names, find_config, get_config
from mmrs_ssl.synthetic.canvas import SCENE_CLASSES
from mmrs_ssl.synthetic.layouts import write_layout
from mmrs_ssl.synthetic.scene import make_split
from mmrs_ssl.visualization.evaluation import draw_neighbors

TRAIN_PER_CLASS, TEST_PER_CLASS, SIZE, GSD = 100, 50, 96, 1.0
SHOWN = 8  # neighbors in a row of the gallery


def write_demo_scenes(folder: Path, seed: int, heights: bool) -> tuple[np.ndarray, np.ndarray]:
    """Write scenes to pre-train on, as PNGs, or GeoTIFFs with surface heights; their names do not tell the class.

    Returns:
        Their pictures (N, H, W, 3) and classes (N,).
    """
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run's scenes
    if heights:
        count = TRAIN_PER_CLASS * len(SCENE_CLASSES)
        files = write_layout('hr_pairs', folder, scenes=count, size=SIZE, seed=seed, gsd=GSD)
        pictures = []
        for path in files:
            if path.stem.endswith('_dom'):
                with rasterio.open(path) as file:
                    pictures.append(file.read().transpose(1, 2, 0))
        return np.stack(pictures), np.arange(count) % len(SCENE_CLASSES)  # classes take turns
    images, labels = make_split(TRAIN_PER_CLASS, SIZE, GSD, seed=seed)
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        if not cv2.imwrite(str(folder / f'scene_{i:04d}.png'), image[..., ::-1]):
            raise OSError(f'could not write {folder}/scene_{i:04d}.png; is the disk full?')
    return images, labels


def demo_features(model: Any, splits: list[tuple[np.ndarray, np.ndarray]]) -> list[Tensor]:
    """Compute features (N, D) of the pictures of both splits by a model's backbone."""
    preprocessor = model.data_preprocessor
    preprocessor = preprocessor.parts['rgb'] if hasattr(preprocessor, 'parts') else preprocessor
    features: list[Tensor] = []
    for images, _ in splits:
        inputs = preprocessor.normalize(torch.from_numpy(images).permute(0, 3, 1, 2))
        features.append(pooled_features(evaluated_backbone(model), inputs))
    return features


def compared(features: list[Tensor], splits: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Measure the 20-NN accuracy of features of both splits, in percent."""
    labels = [torch.from_numpy(split[1]) for split in splits]
    return 100 * knn_accuracy(features[0], labels[0], features[1], labels[1])


def draw_nearest_scenes(features: list[Tensor], splits: list[tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Draw a held-out scene of each class, with those of the pre-training whose features are nearest."""
    pictures = dict(zip(('train', 'test'), (split[0] for split in splits), strict=True))
    train, test = ([SCENE_CLASSES[label] for label in split[1]] for split in splits)
    queries = [test.index(name) for name in SCENE_CLASSES]
    rows = zip(*most_alike(features[0].numpy(), features[1][queries].numpy(), SHOWN), strict=True)
    draw_neighbors(
        [(f'test {query}', test[query]) for query in queries],
        [[(f'train {near}', train[near], alike) for alike, near in zip(*row, strict=True)] for row in rows],
        lambda name: pictures[name.split()[0]][int(name.split()[1])],
        path,
    )


def pretrain(cfg: Config) -> Runner:
    """Run the training of a config."""
    runner = build_runner(cfg)
    with live_line(runner):
        runner.train()
    return runner


def show_demo(args: Namespace) -> dict[str, float]:
    """Run the demo and print its table; returns the accuracies in percent."""
    start = time.time()
    keep_freed_memory()
    cfg = get_config(args.config)
    override(cfg, args.cfg_options)
    cfg.work_dir = args.work_dir
    cfg.randomness = dict(seed=args.seed)
    set_precision(cfg, amp=Machine.here().bfloat16)
    if args.epochs:
        cfg.train_cfg.max_epochs = args.epochs
    scenes = Path(args.work_dir) / f'scenes_seed{args.seed}'
    cfg.train_dataloader.dataset.data_root = str(scenes)

    print(f'generating {(TRAIN_PER_CLASS + TEST_PER_CLASS) * len(SCENE_CLASSES)} scenes ...', flush=True)
    several = 'modalities' in cfg.model.data_preprocessor
    train = write_demo_scenes(scenes, seed=2 * args.seed, heights=several)
    held_out = make_split(TEST_PER_CLASS, SIZE, GSD, seed=2 * args.seed + 1)
    print(f'{time.time() - start:.0f} s; pre-training on {len(train[0])} scenes, labels unused ...', flush=True)

    init_default_scope('mmpretrain')
    torch.manual_seed(args.seed)
    untrained = MODELS.build(cfg.model)
    with quiet():
        untrained.init_weights()
    random = compared(demo_features(untrained, [train, held_out]), [train, held_out])
    colors = compared([color_histograms(images) for images, _ in (train, held_out)], [train, held_out])
    runner = pretrain(cfg)
    features = demo_features(runner.model, [train, held_out])
    pretrained = compared(features, [train, held_out])
    gallery = Path(args.work_dir) / 'neighbors.png'
    draw_nearest_scenes(features, [train, held_out], gallery)

    gain = pretrained - random
    used = 'labels used for this comparison only'
    if several:
        used += ', on pictures alone'
    method = cfg.model.type.rsplit('.', 1)[-1]
    backbone = f'backbone ({cfg.model.backbone.type})'
    pictures = Path(runner.log_dir) / 'pictures'
    checkpoint = Path(args.work_dir, (Path(args.work_dir) / 'last_checkpoint').read_text())
    print(f"""
{len(SCENE_CLASSES)} classes of generated scenes, {len(held_out[0])} held out; {used}
{backbone:<29}20-NN accuracy
color histogram              {colors:5.1f} %
random weights               {random:5.1f} %
pre-trained with {method:<12}{pretrained:5.1f} %   ({gain:+.1f} points, {time.time() - start:.0f} s in all)

checkpoint  {checkpoint}
neighbors   {gallery}
pictures    {pictures if pictures.is_dir() else 'none of this method'}
next        {next_training(args, 'geotiff' if several else 'folder')} \\
                --cfg-options data_root=PATH/TO/YOUR/{'SCENES' if several else 'IMAGES'}
""")
    return dict(colors=colors, random=random, pretrained=pretrained)


def next_training(args: Namespace, data: str) -> str:
    """Write the command that trains this method on one's own images: a folder of pictures, or GeoTIFFs."""
    names = config_names(find_config(args.config).parent.name)
    name = next((each for each in names if f'_{data}-' in each), 'CONFIG')
    return f'mmrs-ssl train {name}' if args.by_name else f'{Path(sys.executable)} tools/train.py configs/{name}.py'
