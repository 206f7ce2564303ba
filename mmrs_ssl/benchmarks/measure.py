"""Measure the seconds and the memory of this process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def seconds(work: Callable[[], Any]) -> float:
    """Return the duration of one call, to its end on the device."""
    start = time.perf_counter()
    work()
    if DEVICE == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory() -> float:
    """Return the most memory held so far, in GB: of the process, or on the GPU."""
    if DEVICE == 'cuda':
        return torch.cuda.max_memory_allocated() / 1e9
    return process_memory('VmHWM')


def process_memory(field: str) -> float:
    """Read a size from /proc/self/status (Linux) in GB: ``'VmHWM'`` is the peak, ``'VmRSS'`` what is held now."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e9


def reset_peak() -> float:
    """Forget the peak of the memory so far (Linux); returns what is held now, in GB."""
    Path('/proc/self/clear_refs').write_text('5')
    return process_memory('VmRSS')
