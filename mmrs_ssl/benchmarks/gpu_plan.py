"""Measure the rows of ``tools/gpu_check.py`` one after another, in order of worth."""

import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from mmengine.registry import init_default_scope

from mmrs_ssl.benchmarks import gpu_options, gpu_parity, gpu_precision, gpu_resume, gpu_speed, gpu_training
from mmrs_ssl.benchmarks.gpu_setup import Workshop
from mmrs_ssl.benchmarks.gpu_table import Differs, NotRun, OutOfTime, Table
from mmrs_ssl.benchmarks.measure import DEVICE

Measure = Callable[[Workshop], dict[str, Any]]
BROKEN = 75  # exit code: the device does not answer any more, another process may go on
PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain', 'numpy')


class Row(NamedTuple):
    """One thing to measure, and the share of all time by which its part ends."""

    part: str
    what: str
    end: float
    measure: Measure


def plan(small: bool) -> list[Row]:
    """List all rows; for a CPU fewer and smaller ones. A part that ends early leaves its time to those after it."""
    parts: Sequence[tuple[str, float, Iterator[tuple[str, Measure]]]] = (
        ('environment', 1.0, iter([(gpu_speed.device_name(), environment)])),
        ('fp32 against the CPU', 0.24, gpu_parity.checks()),
        ('bf16', 0.36, gpu_precision.checks('bfloat16', small)),
        ('fp16', 0.46, gpu_precision.checks('float16', small)),
        ('resume', 0.54, gpu_resume.checks(small)),
        ('speed', 0.74, gpu_speed.checks(small)),
        ('options', 0.84, gpu_options.checks(small)),
        ('training', 1.0, gpu_training.checks()),
    )
    return [Row(part, what, end, measure) for part, end, checks in parts for what, measure in checks]


def environment(shop: Workshop) -> dict[str, Any]:
    """Name the device and the programs that all other rows are about."""
    del shop
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    figures: dict[str, Any] = {'python': platform.python_version(), **found, 'cores': os.cpu_count()}
    if DEVICE == 'cuda':
        memory = torch.cuda.get_device_properties(0).total_memory
        figures |= {'cuda': torch.version.cuda, 'cudnn': torch.backends.cudnn.version(), 'memory_GB': memory / 1e9}
    return figures


def run_plan(rows: Sequence[Row], shop: Workshop, table: Table) -> int:
    """Measure all rows that the table does not have yet.

    Returns:
        1 if a row failed, else 0; ``BROKEN`` if the device stopped answering before the last row.
    """
    init_default_scope('mmpretrain')
    torch.backends.cudnn.benchmark = True  # as configs/_base_/default_runtime.py has it
    if table.begun:
        late = shop.deadline.left() <= 0
        table.add(*table.begun, {}, 0, 'not run: out of time' if late else 'failed: its process was ended')
    for row in rows:
        if (row.part, row.what) in table.states:
            continue
        if shop.deadline.left(row.end) <= 0:
            table.add(row.part, row.what, {}, 0, 'not run: out of time')
            continue
        measure(row, shop, table)
        if not device_works():
            return BROKEN
    return 1 if table.failed else 0


def measure(row: Row, shop: Workshop, table: Table) -> None:
    """Measure one row and write it, whatever becomes of it; what libraries print goes to standard error."""
    table.begin(row.part, row.what)
    start = time.time()
    figures: dict[str, Any] = {}
    try:
        with redirect_stdout(sys.stderr), shop.deadline.interrupting(row.end):
            figures, state = row.measure(shop), 'ok'
    except OutOfTime:
        state = 'not run: out of time'
    except NotRun as reason:
        state = f'not run: {reason}'
    except Differs as error:
        figures, state = error.figures, f'failed: {error}'
    except Exception as error:
        traceback.print_exc()
        state = f'failed: {type(error).__name__}: {error}'
    if state != 'ok':
        try:
            shop.clear()
        except RuntimeError:
            traceback.print_exc()  # of a device that does not answer
    table.add(row.part, row.what, figures, time.time() - start, state)


def device_works() -> bool:
    """Tell whether the device still answers: after some errors it does not until the process ends."""
    if DEVICE == 'cpu':
        return True
    try:
        torch.cuda.synchronize()
        return bool(torch.ones(1, device=DEVICE).item())
    except RuntimeError:
        return False
