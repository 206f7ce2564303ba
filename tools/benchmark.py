"""Time full training steps of a pre-training config, or its input pipeline.

    python tools/benchmark.py CONFIG                   # the whole step against the bare backbone, in one run
    python tools/benchmark.py CONFIG --amp             # and bfloat16 autocast against float32
    python tools/benchmark.py CONFIG --data            # images per second and core of the input pipeline; for windows
                                                       # of rasters also against bare rasterio, and their memory

The bare compute is what no implementation can leave out: a forward and backward pass of the student's backbone for
every view (for crops of several sizes: for every size) and a forward pass of the teacher's for those it sees,
channels-last. Both are timed alternately and compared by their medians, so that a busy machine slows both.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import rasterio
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner
from torch import Tensor

import mmrs_ssl  # noqa: F401  (registers its modules)
from mmrs_ssl.cli import add_config_arguments, clear_errors, keep_freed_memory, read_config
from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.datasets.synthetic import SCENE_CLASSES, make_scene
from mmrs_ssl.datasets.synthetic_large import write_large_scene
from mmrs_ssl.datasets.synthetic_layouts import write_layout
from mmrs_ssl.models import DINOMC
from mmrs_ssl.models.algorithms.dino_mc import by_size

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_arguments(parser)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--steps', type=int, default=8, help='timed steps, after two that warm up')
    parser.add_argument('--amp', action='store_true', help='also time mixed precision')
    parser.add_argument('--data', action='store_true', help='time the input pipeline instead of the model')
    parser.add_argument('--images', help='what to read (default: generated 400 x 400 JPEGs, or one large GeoTIFF)')
    parser.add_argument('--side', type=int, default=30_000, help='pixels a side of the generated GeoTIFF')
    return parser.parse_args()


def seconds(work: Callable[[], Any]) -> float:
    """Duration of one call, to its end on the device."""
    start = time.perf_counter()
    work()
    if DEVICE == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def write_jpegs(folder: Path, count: int = 64, size: int = 400) -> None:
    """Generated scenes as JPEGs of quality 90."""
    for i in range(count):
        image = make_scene(SCENE_CLASSES[i % len(SCENE_CLASSES)], seed=i, size=size, gsd=0.5).rgb()
        cv2.imwrite(str(folder / f'{i:03d}.jpg'), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


class Step:
    """A model with its optimizer, and the parts of its training step."""

    def __init__(self, cfg: Config) -> None:
        self.model: Any = MODELS.build(cfg.model).to(DEVICE).train()
        self.model.teacher_is_updated = True
        settings = {**cfg.optim_wrapper, 'type': 'OptimWrapper'}
        for option in ('loss_scale', 'dtype'):
            settings.pop(option, None)
        self.optim: OptimWrapper = build_optim_wrapper(self.model, settings)
        for hook in cfg.custom_hooks:
            if hook.type == 'mmrs_ssl.ClipEachGradientHook':
                HOOKS.build(hook).attach(self.optim)

    def autocast(self, amp: bool) -> Any:
        """The context of the forward pass."""
        return torch.autocast(DEVICE, torch.bfloat16) if amp else nullcontext()

    def gradients(self, batch: dict[str, Any], amp: bool) -> None:
        """Preprocessing, forward pass, losses and backward pass."""
        data = self.model.data_preprocessor(batch, True)
        with self.autocast(amp):
            losses = self.model.loss(**data)
        sum(losses.values()).backward()

    def optimize(self) -> None:
        """The optimizer's step."""
        self.optim.step()
        self.optim.zero_grad()

    def batches(self, views: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What the student's and the teacher's backbones are given at once."""
        if not isinstance(self.model, DINOMC):
            return views, views
        return by_size(views), by_size(views[: self.model.num_global])

    def bare(self, student: list[Tensor], teacher: list[Tensor], amp: bool) -> None:
        """The backbones alone on the same views."""
        for batch in student:
            with self.autocast(amp):
                features = self.model.backbone(batch)[-1]
            features.backward(torch.ones_like(features))
        with torch.no_grad(), self.autocast(amp):
            for batch in teacher:
                self.model.teacher.module['backbone'](batch)
        self.optim.zero_grad()


def time_model(cfg: Config, args: argparse.Namespace) -> None:
    """Print speed, memory and the ratio to the bare compute, for float32 and, if asked, mixed precision."""
    with tempfile.TemporaryDirectory() as folder:
        loader = iter(make_loader(cfg, args, Path(folder)))
        step = Step(cfg)
        batch = next(loader)
        views = step.model.data_preprocessor(batch, True)['inputs']
        batches = step.batches(views)
        modes = [False, True] if args.amp else [False]
        timings: dict[tuple[bool, str], list[float]] = {}

        def clock(amp: bool, part: str, work: Callable[[], Any]) -> None:
            timings.setdefault((amp, part), []).append(seconds(work))

        for _ in range(args.steps + 2):
            for amp in modes:
                clock(amp, 'bare', partial(step.bare, *batches, amp))
                clock(amp, 'gradients', partial(step.gradients, batch, amp))
                clock(amp, 'optimizer', step.optimize)
                clock(amp, 'teacher', step.model.update_teacher)
            clock(False, 'loading', lambda: next(loader))
    typical = {key: median(values[2:]) for key, values in timings.items()}
    full = {amp: sum(typical[amp, part] for part in ('gradients', 'optimizer', 'teacher')) for amp in modes}
    sides = ' '.join(str(view.shape[-1]) for view in views)
    print(
        f'{Path(args.config).name}: {DEVICE}, batch {args.batch_size}, {sides} px, '
        f'{torch.get_num_threads()} threads, median of {args.steps} steps'
    )
    for amp in modes:
        bare, whole = typical[amp, 'bare'], full[amp]
        print(
            f'{"bf16" if amp else "fp32"}: {args.batch_size / whole:.2f} images/s without data, '
            f'{args.batch_size / max(whole, typical[False, "loading"]):.2f} with data loaded beside it '
            f'(loading one batch in this process: {typical[False, "loading"]:.3f} s, '
            f'{args.batch_size / (whole + typical[False, "loading"]):.2f} images/s one after the other)'
        )
        print(
            f'      step {whole:.3f} s = bare backbone {bare:.3f} s + heads and losses '
            f'{typical[amp, "gradients"] - bare:.3f} s + optimizer {typical[amp, "optimizer"]:.3f} s + teacher update '
            f'{typical[amp, "teacher"]:.3f} s;  ratio to bare {whole / bare:.3f}'
        )
    if args.amp:
        bare_gain = typical[False, 'bare'] / typical[True, 'bare']
        print(f'bf16 over fp32: {full[False] / full[True]:.2f} x (bare: {bare_gain:.2f} x)')
    print(f'peak memory {peak_memory():.2f} GB')


def peak_memory() -> float:
    """Most memory held so far, in GB: of the process, or on the GPU."""
    if DEVICE == 'cuda':
        return torch.cuda.max_memory_allocated() / 1e9
    return process_memory('VmHWM')


def process_memory(field: str) -> float:
    """A size from /proc/self/status (Linux) in GB: ``'VmHWM'`` is the peak, ``'VmRSS'`` what is held now."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e9


def write_images(cfg: Config, dataset: dict[str, Any], folder: Path, count: int) -> None:
    """Generated images that the config's data set can read, at least ``count``."""
    if not dataset['type'].endswith('SceneDataset'):
        write_jpegs(folder)
        return
    layout = 'seco' if dataset.get('band_files') else 'time_series'
    if '{date}' not in dataset.get('files', ''):
        dataset['files'] = '{scene}/{date}'  # one of several dates
    dataset['max_value'] = dataset.get('max_value') or 10_000
    bands = len(cfg.model.data_preprocessor.mean)
    write_layout(layout, folder, scenes=max(4, count), size=math.ceil(dataset['window']), bands=bands)


def make_loader(cfg: Config, args: argparse.Namespace, folder: Path) -> Any:
    """The config's loader in this process, over the given or generated images, repeated for ever."""
    dataset = {**cfg.train_dataloader.dataset, 'data_root': args.images or str(folder)}
    if not args.images:
        write_images(cfg, dataset, folder, args.batch_size)
    settings = {**cfg.train_dataloader, 'batch_size': args.batch_size, 'num_workers': 0, 'pin_memory': False}
    settings.pop('persistent_workers', None)
    settings['dataset'] = dataset
    loader = Runner.build_dataloader(settings, seed=0)
    while True:
        yield from loader


def time_data(cfg: Config, args: argparse.Namespace) -> None:
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


def time_windows(settings: Any, args: argparse.Namespace, folder: str, rounds: int = 10, count: int = 200) -> None:
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
    """All bands of a window, with rasterio alone."""
    if path not in files:
        files[path] = rasterio.open(path)
    top, left, height, width = window
    return files[path].read(window=rasterio.windows.Window(left, top, width, height))


def reset_peak() -> float:
    """Forget the peak of the memory so far (Linux); returns what is held now, in GB."""
    Path('/proc/self/clear_refs').write_text('5')
    return process_memory('VmRSS')


def main() -> None:
    """Time what was asked for."""
    args = parse_args()
    cfg = read_config(args)
    keep_freed_memory()
    (time_data if args.data else time_model)(cfg, args)


if __name__ == '__main__':
    with clear_errors():
        main()
