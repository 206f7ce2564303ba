"""Look at the machine: versions, device, precision, room on the disk."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from mmengine.config import Config
from packaging.requirements import Requirement
from torch import nn

from mmrs_ssl.cli.checks.findings import Finding

_DRIVER = Path('/proc/driver/nvidia/version')
_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')  # of a container
_INSTRUCTIONS = {'avx512_bf16', 'amx_bf16', 'bf16'}  # of x86 and of ARM
_WORTH = 1.1  # less than this is noise
# How many tensors of a parameter's size an optimizer keeps in a checkpoint; two where nothing else is known.
_STATES = dict(SGD=1, LARS=1, BlockAdan=4, Adan=4)
_USUAL_STATES = 2


@dataclass(frozen=True)
class Machine:
    """What trains.

    Attributes:
        device: ``'cuda'`` or ``'cpu'``.
        name: of the GPU or the processor.
        cores: that this process may use.
        memory: bytes that a training may use there.
        bfloat16: whether it trains faster with it: a GPU that has instructions for it, a processor where that was
            measured. Of processors with the same instructions some are, others half as fast.
        unseen_gpu: whether there is an NVIDIA driver while torch sees no GPU.
    """

    device: str
    name: str
    cores: int
    memory: int
    bfloat16: bool
    unseen_gpu: bool = False

    @classmethod
    def here(cls) -> 'Machine':
        """Describe this machine."""
        cores = len(os.sched_getaffinity(0))
        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            half = torch.cuda.is_bf16_supported(including_emulation=False)
            return cls('cuda', properties.name, cores, properties.total_memory, half)
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        said = {key.strip(): value.strip() for key, _, value in (line.partition(':') for line in reversed(lines))}
        able = not _INSTRUCTIONS.isdisjoint(said.get('flags', said.get('Features', '')).split())
        half = able and bfloat16_speed() >= _WORTH
        return cls('cpu', said.get('model name', 'processor'), cores, main_memory(), half, _DRIVER.exists())


@cache
def bfloat16_speed() -> float:
    """Measure how many times as fast as in float32 this processor trains convolutions and linear layers in bfloat16."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        convolutions = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        linear = nn.Sequential(nn.Linear(384, 1536), nn.GELU(), nn.Linear(1536, 384))
        maps = torch.rand(8, 64, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
        tokens = torch.rand(256, 384, requires_grad=True)

        def step(half: bool) -> float:
            start = time.perf_counter()
            with torch.autocast('cpu', torch.bfloat16, enabled=half):
                total = convolutions(maps).float().sum() + linear(tokens).float().sum()
            total.backward()
            return time.perf_counter() - start

        seconds = [[step(half) for half in (False, True)] for _ in range(4)][1:]  # the first ones set up
        float32, bfloat16 = map(min, zip(*seconds, strict=True))
    return float32 / bfloat16


def main_memory() -> int:
    """Return the bytes of memory that this machine, or the container, has."""
    sizes = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    for path in map(Path, _LIMITS):
        text = path.read_text().strip() if path.exists() else ''
        sizes += [int(text)] if text.isdecimal() else []
    return min(sizes)


def check_versions(requirements: Sequence[str] | None = None) -> Iterator[Finding]:
    """Compare installed packages with what this package declares; those that are not installed are passed over.

    Args:
        requirements: in the form of pyproject.toml; by default those for pre-training that this package was installed
            with.
    """
    if requirements is None:
        try:
            requirements = requires('mmrs_ssl') or ()
        except PackageNotFoundError:  # run from a folder that was never installed
            requirements = ()
    said = []
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate(dict(extra=extra)) for extra in ('', 'pretrain')):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            continue
        if wanted.specifier.contains(found, prereleases=True):
            said.append(f'{wanted.name} {found}')
        else:
            line = f'pip install "{wanted.name}{wanted.specifier}"'
            yield Finding('warning', 'versions', f'{wanted.name} {found}', f'{wanted.name}{wanted.specifier}', line)
    if said:
        yield Finding('note', 'versions', ', '.join(said))


def check_device(machine: Machine) -> Iterator[Finding]:
    """Say what trains, and whether a GPU lies idle."""
    yield Finding(
        'note', 'device', f'{machine.name}, {machine.memory / 1e9:.0f} GB of memory; {machine.cores} processor cores'
    )
    if machine.unseen_gpu:
        yield Finding(
            'warning',
            'device',
            f'an NVIDIA driver is installed, but torch {torch.__version__} sees no GPU',
            'a torch that is made for its CUDA version',
            'install torch and torchvision anew as one pair; look at nvidia-smi and CUDA_VISIBLE_DEVICES',
        )


def check_precision(cfg: Config, machine: Machine) -> Iterator[Finding]:
    """Compare the precision of the config with what the machine computes fast."""
    wrapper = cfg.get('optim_wrapper') or {}
    kind = str(wrapper.get('type', 'OptimWrapper')).rsplit('.', 1)[-1]
    half = kind == 'CPUAmpOptimWrapper' or (kind == 'AmpOptimWrapper' and wrapper.get('dtype') == 'bfloat16')
    if half and not machine.bfloat16:
        other = "optim_wrapper.type = 'OptimWrapper'"
        if machine.device == 'cuda':
            other = "optim_wrapper.dtype = 'float16', optim_wrapper.loss_scale = 'dynamic'"
        yield Finding(
            'warning',
            'precision',
            f'bfloat16 on {machine.name}, which has no instructions for it, or is slower with them',
            'float16' if machine.device == 'cuda' else 'float32, which is faster here',
            other,
        )
    elif kind == 'OptimWrapper' and machine.bfloat16:
        yield Finding('note', 'precision', f'float32, while {machine.name} has bfloat16', 'faster', '--amp')


def check_disk(cfg: Config, model: nn.Module, work_dir: str | Path | None = None) -> Iterator[Finding]:
    """Compare what all checkpoints of a training need with the room on the disk of its work dir.

    Args:
        cfg: of the training.
        model: of which a checkpoint holds weights, buffers and the optimizer's state.
        work_dir: by default the config's; it need not exist.
    """
    folder = Path(work_dir or cfg.get('work_dir') or '.').absolute()
    free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.is_dir())).free
    size = checkpoint_size(cfg, model)
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    kept = hook.get('max_keep_ckpts', -1)
    if kept < 0:
        loop = cfg.get('train_cfg') or {}
        length = loop.get('max_epochs' if hook.get('by_epoch', True) else 'max_iters') or 1
        kept = -(-length // max(hook.get('interval', 1), 1))
    count = kept + 2  # that of the last minutes, and the one that is being written before an old one goes
    seen = f'{count} checkpoints of {size / 1e9:.2f} GB are {count * size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free'
    if free >= count * size:
        yield Finding('note', 'disk', seen)
        return
    fit = int(free // size) - 2
    yield Finding(
        'error' if free < 2 * size else 'warning',
        'disk',
        f'{seen} where {folder} is',
        f'at least {count * size / 1e9:.1f} GB',
        f'default_hooks.checkpoint.max_keep_ckpts = {fit}' if fit > 0 else 'work_dir = a folder on another disk',
    )


def checkpoint_size(cfg: Config, model: nn.Module) -> int:
    """Estimate the bytes of a checkpoint."""
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    states = _STATES.get(str(optimizer.get('type')).rsplit('.', 1)[-1], _USUAL_STATES)
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return sum(tensor.nbytes for tensor in model.state_dict().values()) + states * trained
