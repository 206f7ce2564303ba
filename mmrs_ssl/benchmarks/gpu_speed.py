"""Measure images per second, share of the device's peak, memory and waiting for data of the published configs."""

import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmrs_ssl.benchmarks.gpu_setup import Workshop, mapped, method_config
from mmrs_ssl.benchmarks.gpu_table import NotRun
from mmrs_ssl.benchmarks.measure import DEVICE, peak_memory, reset_peak, seconds
from mmrs_ssl.benchmarks.steps import Step
from mmrs_ssl.shipped_configs import get_config

# config -> its method and family, for the small stand-in on a CPU
PUBLISHED = {
    'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px': ('CMID MoCo', 'ResNet'),
    'cmid/cmid_swin-base_4xb64-amp-coslr-200e_millionaid-224px': ('CMID MoCo', 'Swin'),
    'cmid/cmid_vit-base_4xb64-amp-coslr-200e_millionaid-224px': ('CMID MoCo', 'ViT'),
    'dino_mc/dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px': ('DINO-MC', 'ResNet'),
    'dino_mc/dino-mc_vit-small-p8_4xb64-amp-coslr-300e_seco-224px': ('DINO-MC', 'ViT'),
    'mssdf/mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px': ('MSSDF', 'ViT'),
}
BATCHES, SMALL_BATCHES = (32, 64, 128, 256), (2, 4)
# Part of a device's name -> its peak in bfloat16 without sparsity, TFLOP/s, as its maker gives it; the first that fits.
PEAKS = {
    'B200': 2250,
    'GH200': 989,
    'H200': 989,
    'H100 PCIe': 756,
    'H100 NVL': 835,
    'H100': 989,
    'A100': 312,
    'L40S': 362,
    'L4': 121,
    'RTX 4090': 165,
    'RTX 3090': 71,
}


def peak_flops(device: str) -> float | None:
    """Look up the bfloat16 peak of a device in FLOP/s; None for one that is not listed."""
    return next((peak * 1e12 for name, peak in PEAKS.items() if name in device), None)


def utilisation(flops: float, duration: float, device: str) -> dict[str, Any]:
    """Compute TFLOP/s, and the share of the device's peak (MFU) where that is known."""
    rate, peak = flops / duration, peak_flops(device)
    return {'TFLOP/s': rate / 1e12, 'MFU': 'peak_unknown' if peak is None else rate / peak}


def count_flops(work: Callable[[], Any]) -> int:
    """Count operations of matrix products and convolutions in FLOP, attention as the two products that it is.

    Fused attention is left out: it has no count on a CPU, and on a GPU what its backward pass computes again counts.
    """
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return int(counter.get_total_flops())


def speed_config(name: str, small: bool) -> Config:
    """Read a published config; for a CPU make it a small one of the same method and family."""
    return method_config(*PUBLISHED[name], small=True) if small else get_config(name)


def whole_step(step: Step, data: dict[str, Any]) -> None:
    """Take a training step in bfloat16 autocast on views that are on the device and normalized."""
    with step.autocast(True):
        terms = step.model.loss(**data)
    sum(terms.values()).backward()
    step.optimize()
    step.model.update_teacher()


def time_step(work: Callable[[], Any], least: int = 3, most: int = 12, within: float = 3.0) -> float:
    """Return the median seconds of some calls, after two that are not counted."""
    for _ in range(2):
        seconds(work)
    times: list[float] = []
    while len(times) < least or (len(times) < most and sum(times) < within):
        times.append(seconds(work))
    return median(times)


def speed(shop: Workshop, name: str, size: int) -> dict[str, Any]:
    """Measure speed, share of the peak and memory with the data on the device.

    Raises:
        NotRun: if the batch does not fit into the device's memory.
    """
    if shop.too_large.get(name, math.inf) <= size:
        raise NotRun(f'a batch of {shop.too_large[name]} did not fit')
    cfg = speed_config(name, shop.small)
    step = shop.step(name, cfg)
    try:
        data = step.model.data_preprocessor(shop.batch(cfg, size), True)
        flops = count_flops(partial(whole_step, step, first_samples(data, 2))) / 2 * size
        if DEVICE == 'cuda':
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        else:
            reset_peak()
        duration = time_step(partial(whole_step, step, data), within=0.5 if shop.small else 3.0)
    except torch.OutOfMemoryError as error:
        shop.too_large[name] = size
        raise NotRun("does not fit into the device's memory") from error
    figures = {'images/s': size / duration, 'step_ms': 1000 * duration}
    return figures | utilisation(flops, duration, device_name()) | {'peak_GB': peak_memory()}


def first_samples(data: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the first samples of a batch."""
    return dict(inputs=mapped(data['inputs'], lambda view: view[:size]), data_samples=data['data_samples'][:size])


def preprocess_and_step(step: Step, batch: dict[str, Any]) -> None:
    """Take a training step on a batch as the loader gives it."""
    whole_step(step, step.model.data_preprocessor(batch, True))


def device_name() -> str:
    """Return what the device is called."""
    return torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU'


def waiting(shop: Workshop, name: str) -> dict[str, Any]:
    """Measure the share of the time in which training waits for the config's own loader, on generated images.

    Its workers begin with empty hands, so what they need for their first batches is not counted.
    """
    cfg = speed_config(name, shop.small)
    step = shop.step(name, cfg)
    workers = min(cfg.train_dataloader.num_workers, os.cpu_count() or 1)
    size = SMALL_BATCHES[-1] if shop.small else cfg.train_dataloader.batch_size
    settings = {**cfg.train_dataloader, 'batch_size': size, 'num_workers': workers, 'dataset': shop.dataset(cfg)}
    loader = iter(Runner.build_dataloader({**settings, 'sampler': dict(type='InfiniteSampler')}, seed=0))
    waited = worked = 0.0
    within = 2.0 if shop.small else 6.0
    count = 0
    begun = time.perf_counter()
    while count < 2 * workers or time.perf_counter() - begun < within:
        start = time.perf_counter()
        batch = next(loader)
        received = time.perf_counter()
        took = seconds(partial(preprocess_and_step, step, batch))
        count += 1
        if count > workers:
            waited, worked = waited + received - start, worked + took
    done = count - workers
    share = waited / (waited + worked)
    return {'images/s': done * size / (waited + worked), 'waiting': share, 'workers': workers, 'batch': size}


def title(name: str, small: bool) -> str:
    """Name a config in the table: as it is called, or by what stands in for it."""
    return f'small {" ".join(PUBLISHED[name])}' if small else name.rsplit('/', 1)[-1]


def checks(small: bool) -> Iterator[tuple[str, Callable[[Workshop], dict[str, Any]]]]:
    """List the rows: every published config with its batch sizes, then the loader; for a CPU one of each method."""
    some = {method: name for name, (method, _) in reversed(PUBLISHED.items())}
    for name in reversed(some.values()) if small else PUBLISHED:
        for size in SMALL_BATCHES if small else BATCHES:
            yield f'{title(name, small)}, batch {size}', partial(speed, name=name, size=size)
        yield f'{title(name, small)}, loader', partial(waiting, name=name)
