"""Time an input pipeline: images or windows per second and core."""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import rasterio
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmrs_ssl.benchmarks.inputs import write_jpegs
from mmrs_ssl.benchmarks.measure import process_memory, reset_peak, seconds
from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.synthetic.large_raster import write_large_scene


def time_data(cfg: Config, args: Namespace) -> None:
    """Print images per second on one core: reading, decoding, augmentation and packing."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    settings = cfg.train_dataloader.dataset
    with tempfile.TemporaryDirectory() as folder:
        if settings.type.endswith('SceneDataset'):
            time_windows(settings, args, folder)
            return
        if not args.images:
            write_jpegs(Path(folder))
        dataset = DATASETS.build({**settings, 'data_root': args.images or folder})
        for i in range(len(dataset)):  # files into the page cache
            dataset[i]
        rounds = []
        for _ in range(5):
            rounds.append(seconds(lambda: [dataset[i % len(dataset)] for i in range(200)]))
    source = args.images or 'generated 400 x 400 JPEGs'
    print(f'{Path(args.config).name}: {200 / median(rounds):.0f} images/s on one core ({source}, median of 5 x 200)')


def time_windows(settings: Any, args: Namespace, folder: str, rounds: int = 10, count: int = 200) -> None:
    """Print the time of the index, windows per second against bare rasterio on the same windows, and memory."""
    root, source = args.images, args.images
    if root is None:
        root, source = f'{folder}/large.tif', f'generated GeoTIFF, {args.side} x {args.side} x 4 uint16'
        # in a process of its own: its memory is not the loader's
        writer = get_context('spawn').Process(target=write_large_scene, args=(root, args.side))
        writer.start()
        writer.join()
    settings = {**settings, 'data_root': root, 'max_value': settings.get('max_value') or 10_000, 'cache_dir': folder}
    start = time.perf_counter()
    plan = DATASETS.build({**settings, 'pipeline': []})
    index = time.perf_counter() - start
    loader, whole = (DATASETS.build({**settings, 'pipeline': settings['pipeline'][:n]}) for n in (1, None))
    loader[0]  # sets GDAL's block cache, which bare rasterio shares
    before = reset_peak()
    files: dict[str, rasterio.DatasetReader] = {}
    timings: dict[str, list[float]] = dict(loader=[], rasterio=[])
    for number in range(rounds):
        indices = [SampleIndex(i % len(plan), number, 0) for i in range(count * number, count * (number + 1))]
        windows = [(sample['img_path'], sample['window']) for sample in (plan[i] for i in indices)]
        work: dict[str, Callable[[], Any]] = dict(
            loader=lambda indices=indices: [loader[i]['img'].shape for i in indices],  # type: ignore[misc]
            rasterio=lambda windows=windows: [read_bare(files, *w).shape for w in windows],  # type: ignore[misc]
        )
        for name in list(work)[:: 1 if number % 2 else -1]:  # who comes second finds the files in the page cache
            timings[name].append(seconds(work[name]))
    peak = process_memory('VmHWM')
    pipeline = seconds(lambda: [whole[SampleIndex(i % len(whole), rounds, 0)] for i in range(count)])
    own, bare = (count / median(timings[name]) for name in ('loader', 'rasterio'))
    size = f'{settings["window"]} {settings.get("unit", "pixels")}'
    print(f'{Path(args.config).name}: {source}; {len(plan)} windows of {size}; index {index:.3f} s, from headers alone')
    print(f'loading {own:.0f} windows/s on one core, bare rasterio {bare:.0f}: ratio {own / bare:.2f} '
          f'(median of {rounds} x {count}); whole pipeline {count / pipeline:.0f} windows/s')  # fmt: skip
    print(
        f'memory of {rounds * count} windows: {(peak - before) * 1000:.0f} MB beyond the {before * 1000:.0f} MB before'
    )


def read_bare(files: dict[str, rasterio.DatasetReader], path: str, window: Any) -> np.ndarray:
    """Read all bands of a window with rasterio alone."""
    if path not in files:
        files[path] = rasterio.open(path)
    top, left, height, width = window
    return files[path].read(window=rasterio.windows.Window(left, top, width, height))
