"""Run real steps in a process of its own, and say what they and their data cost."""

import copy
import logging
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmrs_ssl.benchmarks.measure import DEVICE, peak_memory, seconds
from mmrs_ssl.benchmarks.syncs import each_iteration
from mmrs_ssl.cli.checks.findings import Finding, setting
from mmrs_ssl.cli.checks.planned import PlannedTraining
from mmrs_ssl.cli.errors import explain
from mmrs_ssl.datasets import SampleIndex
from mmrs_ssl.ops.memory import keep_freed_memory

WARM_UPS = 2 if DEVICE == 'cuda' else 0  # steps; on a GPU the first ones choose their kernels
TIMED_SAMPLES = 16
FULL = 0.9  # share of the memory
SLOWER = 1.25  # times that loading may take as long as the step


class StepCost(NamedTuple):
    """What was measured.

    Attributes:
        step: seconds of forward pass, backward pass and optimizer for one batch.
        image: seconds to load and augment one image on one core.
        memory: peak in bytes, on the GPU or of the process.
        pictures: files that show the first batch.
    """

    step: float
    image: float
    memory: float
    pictures: tuple[str, ...]


class StepClock(Hook):
    """Keep the seconds of each step, from before its first hook to the end of the optimizer's step."""

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.taken: list[float] = []

    def before_train(self, runner: Any) -> None:
        """Time the model's own step."""
        model = runner.model
        whole = model.train_step

        def timed(*args: Any, **kwargs: Any) -> Any:
            result: list[Any] = []
            self.taken.append(seconds(lambda: result.append(whole(*args, **kwargs))))
            return result[0]

        model.train_step = timed


def measure_step(cfg: Config, steps: int, folder: Path) -> StepCost:
    """Train some steps of a config in this process, with all its hooks, and load some images by themselves.

    Args:
        cfg: of the training; it is not changed.
        steps: to be timed.
        folder: where pictures of the first batch go.
    """
    cfg = copy.deepcopy(cfg)
    pictured = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] != 'mmrs_ssl.PictureHook']
    cfg.custom_hooks = [*pictured, dict(type='mmrs_ssl.PictureHook', interval=10**9)]
    with tempfile.TemporaryDirectory() as work_dir:
        cfg.merge_from_dict(dict(work_dir=work_dir, log_level='ERROR', resume=False, load_from=None))
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        cfg.train_dataloader.pop('prefetch_factor', None)
        runner = Runner.from_cfg(cfg)
        clock = StepClock()
        runner.register_hook(clock, priority=clock.priority)
        each_iteration(runner, WARM_UPS + steps, suppress)
        memory = peak_memory() * 1e9
        shown = sorted(Path(runner.log_dir, 'pictures').glob('*.png'))
        folder.mkdir(parents=True, exist_ok=True)
        pictures = [shutil.copy(path, folder / path.name.split('_', 2)[-1]) for path in shown]
        image = time_images(runner.train_dataloader.dataset)
    return StepCost(median(clock.taken[WARM_UPS:]), image, memory, tuple(map(str, pictures)))


def time_images(dataset: Any, count: int = TIMED_SAMPLES) -> float:
    """Return the seconds that one image takes on one core, files in the page cache or not as they are."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        indices = [SampleIndex(number * len(dataset) // count, 1, 0) for number in range(count)]
        return seconds(lambda: [dataset[index] for index in indices]) / count
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def measure_apart(cfg: Config, steps: int, folder: Path) -> StepCost | str:
    """Measure in a process of its own, which may run out of memory; returns what went wrong instead of the cost."""
    context = get_context('spawn')
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send_cost, args=(there, cfg, steps, folder))
    process.start()
    there.close()
    try:
        answer: StepCost | str = here.recv()
    except EOFError:
        process.join()
        answer = f'the process was ended from outside (exit code {process.exitcode}), most often since memory ran out'
    process.join()
    return answer


def _send_cost(pipe: Connection, cfg: Config, steps: int, folder: Path) -> None:
    logging.disable(logging.WARNING)
    set_start_method(None, force=True)  # the config's is set with the runner
    keep_freed_memory()
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    try:
        pipe.send(measure_step(cfg, steps, folder))
    except Exception as error:
        traceback.print_exc()
        pipe.send(explain(error))


def check_step(planned: PlannedTraining, cost: StepCost | str) -> Iterator[Finding]:
    """Say what a step costs, and whether loading or computing is slower.

    Args:
        planned: the training.
        cost: what was measured, or what went wrong.
    """
    smaller = setting(planned.cfg, 'batch', max(1, planned.batch // 2), 'train_dataloader.batch_size')
    if isinstance(cost, str):
        advice = f'{smaller}, where it is memory' if 'emory' in cost else ''
        yield Finding('error', 'a real step', cost, 'a step that runs', advice)
        return
    total, used = planned.machine.memory, f'{cost.memory / 1e9:.2f} GB'
    seen = f'{used} of {total / 1e9:.0f} GB with a batch of {planned.batch}'
    if cost.memory > FULL * total:
        recompute = "custom_hooks = [*_base_.custom_hooks, dict(type='mmrs_ssl.RecomputeHook')]"
        yield Finding('warning', 'memory', seen, f'at most {FULL:.0%}', f'{smaller}, or {recompute}')
    else:
        yield Finding('note', 'memory', seen)
    yield from compare_speed(planned, cost)
    if cost.pictures:
        seen = f'{len(cost.pictures)} images of the first batch in {Path(cost.pictures[0]).parent}'
        yield Finding('note', 'pictures', seen, 'what you expect your images to be')


def compare_speed(planned: PlannedTraining, cost: StepCost) -> Iterator[Finding]:
    """Say how long the training takes, and compare loading with computing."""
    workers = int(planned.cfg.train_dataloader.get('num_workers', 0))
    share = max(1, planned.machine.cores // planned.devices)  # cores for the workers of a device
    loading = cost.image * planned.batch / max(1, min(workers, share))
    step = max(cost.step, loading) if workers else cost.step + loading
    yield Finding(
        'note',
        'time',
        f'{step:.3g} s a step with its data, {duration(step * planned.steps)} for {planned.steps} steps',
    )
    seen = f'loading a batch takes {loading:.3g} s with {workers} workers, a step {cost.step:.3g} s'
    if loading <= SLOWER * cost.step:
        yield Finding('note', 'loader or step', f'{seen}: the step is slower, or nearly')
        return
    yield Finding(
        'warning',
        'loader or step',
        f'{seen}: the data is slower, {planned.machine.device} waits',
        f'at most {SLOWER:g} times the step',
        ', '.join(faster_loading(planned, cost, workers, share)),
    )


def faster_loading(planned: PlannedTraining, cost: StepCost, workers: int, cores: int) -> Iterator[str]:
    """List what makes loading faster, the easiest first."""
    needed = -(-cost.image * planned.batch // max(cost.step, 1e-9))
    if workers < cores:
        yield f'train_dataloader.num_workers = {int(min(max(needed, 1), cores))}'
    text = str(planned.cfg.train_dataloader.dataset.get('pipeline'))
    if "'pillow'" in text:
        yield "antialias = True instead of 'pillow' in the crops"
    view = planned.largest_view
    if any(pixels.side > 3 * view.height for pixels in planned.pixels.values()):
        yield f'smaller images: tools/tile_scenes.py, or windows of {2 * view.height} pixels'
    yield f'tools/benchmark.py {planned.cfg.filename or "CONFIG"} --data says more'


def duration(total: float) -> str:
    """Write seconds for people."""
    for unit, length in (('days', 86_400), ('hours', 3600), ('minutes', 60)):
        if total >= 2 * length:
            return f'{total / length:.1f} {unit}'
    return f'{total:.0f} seconds'
