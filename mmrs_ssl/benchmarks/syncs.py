"""Find how often a training step makes the processor wait for the device, hooks included, and where.

A processor that waits has nothing queued for the device, which then idles too. It waits for a value that it reads
(``item``, ``float``, ``if tensor``), for a shape that depends on values (``nonzero``, a boolean mask as index), for a
tensor that it fetches (``cpu``, ``tolist``), and for one that it sends without ``non_blocking``.
"""

import sys
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import mmengine
import mmpretrain
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mmrs_ssl
from mmrs_ssl.benchmarks.inputs import loader_settings
from mmrs_ssl.benchmarks.measure import DEVICE

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
READ = aten._local_scalar_dense.default  # what Tensor.item ends in
SHAPES = {
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
    aten.histc.default,
    aten._linalg_check_errors.default,  # of a decomposition that reports failure
}
COUNTED = ('aten::_local_scalar_dense', 'aten::item')
ASKING = (*COUNTED, 'aten::is_nonzero')  # what float(), int() and bool() call
# Who asks: the innermost of these folders on the stack. Logging reads what others give it.
FOLDERS = {
    **{module.__name__: module.__path__[0] for module in (mmrs_ssl, mmengine, mmpretrain, mmcv)},
    **{f'torch/{part}': f'{torch.__path__[0]}/{part}' for part in ('optim', 'amp', 'utils/data')},
}
# Reads of a training on the CPU that no device would be asked for: of the loader's batches, of what is drawn and
# counted on the CPU anyway, or made because all is there.
HOST_ONLY = (
    'torch/utils/data/',
    'torch/optim/',
    'mmengine/dataset/',
    'mmrs_ssl/datasets/',
    'mmrs_ssl/models/data_preprocessor.py ModalityPreprocessor.check',
    'mmrs_ssl/models/masks/cross_modal.py draw_modality_masks',
)
PASSED_OVER = (__file__, f'{FOLDERS["mmengine"]}/logging')


class Wait(NamedTuple):
    """What the processor waits for and who asked."""

    kind: str  # 'value', 'shape', 'fetch' or 'send'
    place: str  # file and function
    line: int


class HostWaits(TorchDispatchMode):
    """Remember, within this context, where the processor waits for a kind of device.

    On the CPU, where nothing waits, every value that is read counts: a device's might be. What would be sent does not
    show there.
    """

    def __init__(self, device: str = DEVICE) -> None:
        super().__init__()
        self.device = device
        self.found: list[Wait] = []
        self.calls = Fetches(self.found) if device == 'cpu' else nullcontext()

    def __enter__(self) -> 'HostWaits':
        self.calls.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.calls.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Note what an operator's call waits for, then make it."""
        self.look(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def look(self, func: Any, args: tuple, kwargs: dict) -> str | None:
        """Note what this call waits for."""
        kind = waits_for(func, args, kwargs, self.device)
        if kind:
            self.found.append(Wait(kind, *asking()))
        return kind


class Fetches(TorchFunctionMode):
    """Remember what is fetched from the CPU, which no operator tells."""

    def __init__(self, found: list[Wait]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Note a call that fetches something, then make it."""
        if func in (Tensor.cpu, Tensor.tolist):
            self.found.append(Wait('fetch', *asking()))
        return func(*args, **(kwargs or {}))


def waits_for(func: Any, args: tuple, kwargs: dict, device: str) -> str | None:
    """Say what a call of an operator waits for, if for anything.

    It reads a ``'value'`` of the device; takes a ``'shape'`` (or truth) from values there; has to ``'fetch'`` or to
    ``'send'`` a tensor.
    """
    if func in COPIES:
        source = args[1] if func is aten.copy_.default else args[0]
        target = args[0].device if func is aten.copy_.default else torch.device(kwargs.get('device') or source.device)
        if source.device.type == device != target.type:
            return 'fetch'
        waits = source.device.type != device == target.type and not kwargs.get('non_blocking', args[2:] == (True,))
        return 'send' if waits else None
    counts = func is aten.repeat_interleave.Tensor and kwargs.get('output_size') is None
    if not (counts or func is READ or func in SHAPES or func in INDEXING):
        return None
    if not any(isinstance(leaf, Tensor) and leaf.device.type == device for leaf in tree_leaves(args)):
        return None
    if func in INDEXING:
        return indexing_waits_for(args, device)
    return 'value' if func is READ else 'shape'


def indexing_waits_for(args: tuple, device: str) -> str | None:
    """Say what ``index`` and ``index_put`` wait for: they count a mask's True cells unless one number is put there."""
    indices = [index for index in args[1] if index is not None]
    one_number = len(args) > 2 and args[2].numel() == 1 and args[2].device.type == 'cpu'
    if any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not one_number:
        return 'shape'
    return 'send' if any(index.device.type != device for index in indices) else None


def asking() -> tuple[str, int]:
    """Find the innermost function on the stack that lies in one of ``FOLDERS``, and its line."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        for name, folder in FOLDERS.items():
            if path.startswith(f'{folder}/') and not path.startswith(PASSED_OVER):
                function = frame.f_code.co_qualname.split('.<')[0]
                return f'{name}{path.removeprefix(folder)} {function}', frame.f_lineno
        frame = frame.f_back
    return 'elsewhere', 0


class Enough(Exception):
    """Raised when as many iterations have run as were asked for."""


class EachIteration(Hook):
    """Run every iteration, all other hooks and the loading of the next batch included, in a context of its own."""

    priority = 'HIGHEST'

    def __init__(self, steps: int, make: Callable[[], AbstractContextManager]) -> None:
        self.steps = steps
        self.make = make
        self.contexts: list[Any] = []
        self.stack = ExitStack()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Leave the last iteration's context, enter this one's."""
        self.stack.close()
        if len(self.contexts) == self.steps:
            raise Enough
        self.contexts.append(self.stack.enter_context(self.make()))


def each_iteration(runner: Runner, steps: int, make: Callable[[], AbstractContextManager]) -> list[Any]:
    """Train a runner for some iterations, each in a context of its own, and return what these contexts gave."""
    hook = EachIteration(steps, make)
    runner.register_hook(hook, priority=hook.priority)
    with hook.stack, suppress(Enough):
        runner.train()
    return hook.contexts


def count_syncs(cfg: Config, args: Namespace) -> None:
    """Print what the profiler counts in every iteration, and all places where the processor would wait."""
    with tempfile.TemporaryDirectory() as folder:
        cfg.merge_from_dict(dict(work_dir=folder, log_level='WARNING'))
        cfg.train_dataloader = loader_settings(cfg, args, Path(folder), batches=args.steps + 1)
        records = each_iteration(Runner.from_cfg(cfg), args.steps, lambda: profile(activities=[ProfilerActivity.CPU]))
        waits = each_iteration(Runner.from_cfg(cfg), args.steps, HostWaits)
    found = [[f'{wait.kind}: {wait.place}, line {wait.line}' for wait in mode.found] for mode in waits]
    hidden = [[f'inside {name}' for name in map(operator_around, record.events()) if name] for record in records]
    print(
        f'{Path(args.config).name}: {DEVICE}, batch {args.batch_size}, '
        f'logged every {cfg.default_hooks.logger.interval} iterations\n{row(range(1, len(records) + 1), "iteration")}'
    )
    for name in COUNTED:
        print(row([sum(event.name == name for event in record.events()) for record in records], name))
    own = [[name for name in names if DEVICE == 'cpu' and name.split(': ')[1].startswith(HOST_ONLY)] for names in found]
    print('of the device:')
    print_rows([[name for name in names if name not in others] for names, others in zip(found, own, strict=True)])
    if DEVICE == 'cpu':
        print('of the CPU, where a device has no part in it:')
        print_rows(own)
        print('of the CPU by its own operators; those of a device may not:')
        print_rows(hidden)


def operator_around(event: Any) -> str | None:
    """Find the operator that reads a value for itself, which no line of Python does; None for all other events."""
    if event.name != COUNTED[0]:
        return None
    while event is not None and event.name in ASKING:
        event = event.cpu_parent
    return event.name if event is not None and event.name.startswith('aten::') else None


def print_rows(names: list[list[str]]) -> None:
    """Print how often each name comes in every iteration, the most frequent first."""
    total = Counter(name for each in names for name in each)
    for name, _ in total.most_common():
        print(row([each.count(name) for each in names], name))


def row(counts: Iterable[int], name: str) -> str:
    """Format a line of numbers, one for each iteration."""
    return f'{"".join(f"{count:5d}" for count in counts)}  {name}'
