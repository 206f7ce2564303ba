"""Count how many operators a training step calls and how much memory it takes, by the batch size."""

import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch.profiler import ProfilerActivity, profile

from mmrs_ssl.benchmarks.inputs import make_loader
from mmrs_ssl.benchmarks.measure import DEVICE
from mmrs_ssl.benchmarks.steps import Step


def is_call(event: Any) -> bool:
    """Tell whether a profiler's event is an operator that the program calls, not one that another operator calls."""
    caller = event.cpu_parent
    return event.name.startswith('aten::') and not (caller and caller.name.startswith('aten::'))


def profile_gradients(step: Step, batch: dict[str, Any], amp: bool = False) -> tuple[int, int]:
    """Count calls of torch's operators in forward and backward pass, and the most bytes that they held at once."""
    if DEVICE == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if DEVICE == 'cuda' else 0
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step.gradients(batch, amp)
    step.optim.zero_grad()
    calls = sum(is_call(event) for event in record.events())
    if DEVICE == 'cuda':
        return calls, torch.cuda.max_memory_allocated() - before
    held = peak = 0
    changes = [event for event in record.profiler.kineto_results.events() if event.name() == '[memory]']
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return calls, peak


def count_operators(cfg: Config, args: Namespace) -> None:
    """Print both for batches of one quarter, one half and all of ``--batch-size``."""
    sizes = sorted({max(2, args.batch_size // part) for part in (4, 2, 1)})
    print(f'{Path(args.config).name}: {DEVICE}, one forward and backward pass\nbatch  operator calls  peak of tensors')
    step = Step(cfg)
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            batch = next(make_loader(cfg, Namespace(**{**vars(args), 'batch_size': size}), Path(folder)))
        step.gradients(batch, False)
        step.optim.zero_grad()
        calls, peak = profile_gradients(step, batch)
        print(f'{size:5d}  {calls:14d}  {peak / 1e9:8.3f} GB')
