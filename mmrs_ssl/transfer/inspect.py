"""Say what a checkpoint is, without running anything in it."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrs_ssl.transfer.adapt import FIRST_CONVOLUTIONS
from mmrs_ssl.transfer.convert import UNKNOWN, backbone_of, branches_of, known_as, method_of, program_of
from mmrs_ssl.transfer.layouts import DERIVED
from mmrs_ssl.transfer.networks import meta_of
from mmrs_ssl.transfer.own_checkpoints import UnsaidBranchError, modalities_in, read_model
from mmrs_ssl.transfer.sources import backbone_in, read_file

# Entries of a state dict that are no parameters: what BatchNorm counts.
_STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


@dataclass(frozen=True)
class Inspection:
    """What was found out about a checkpoint.

    Args:
        file_format: how it is packed.
        program: who wrote it.
        branches: those it has.
        branch: the one that the rest is about.
        layout: whose names the backbone's weights have, and its family.
        prefix: what stands before them.
        tensors: number of the backbone's weights.
        parameters: number of numbers in them, without BatchNorm's statistics.
        bands: that the first convolution takes; None if there is none.
        meta: what the file says of itself.
        others: names of this branch that are no part of the backbone.
        entry: of the file, that the weights are in; ``''`` for the file itself.
        beside: where the file has other backbones; ``''`` for nowhere.
    """

    file_format: str
    program: str
    branches: list[str]
    branch: str | None
    layout: str
    prefix: str
    tensors: int
    parameters: int
    bands: int | None
    meta: dict[str, Any]
    others: list[str]
    entry: str = ''
    beside: str = ''


def inspect_checkpoint(checkpoint: str | Path, branch: str | None = None) -> Inspection:
    """Find out what a checkpoint is.

    Args:
        checkpoint: a ``.pth`` or ``.safetensors`` file.
        branch: ``'student'`` or ``'teacher'``; by default the one that the method's authors evaluate, or the student
            where nothing says which that is.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is refused, holds no weights, no such branch or several backbones of which none is the
            obvious one.
    """
    path = Path(checkpoint)
    content = read_file(path)
    meta = meta_of(content)
    try:
        source = backbone_in(content, path, UNKNOWN, branch)
    except UnsaidBranchError:
        source = backbone_in(content, path, UNKNOWN, 'student')
        meta = {**meta, 'evaluated': 'not said: to load or export it choose a branch'}
    own = backbone_of(source)
    renamed = source.layout.to_mmpretrain(own)
    parameters = [value for key, value in own.items() if key.rsplit('.', 1)[-1] not in (*_STATISTICS, *DERIVED)]
    return Inspection(
        file_format=packing(path),
        program=writer(content, meta, path),
        branches=branches_of(content, path),
        branch=source.branch,
        layout=f'{source.layout.name} (family {source.layout.family or "unknown"})',
        prefix=source.prefix,
        tensors=len(own),
        parameters=sum(value.numel() for value in parameters),
        bands=next((renamed[key].shape[1] for key in FIRST_CONVOLUTIONS if key in renamed), None),
        meta=facts(content, meta),
        others=[source.prefix + key for key in source.weights if key not in own] + source.others,
        entry=source.entry,
        beside=source.beside,
    )


def packing(path: Path) -> str:
    """Name the way in which a file that could be read is packed."""
    if path.suffix == '.safetensors':
        return 'safetensors'
    return 'torch, zip archive' if zipfile.is_zipfile(path) else 'torch, as before 1.6'


def writer(content: Any, meta: dict[str, Any], path: Path) -> str:
    """Name the program that wrote a file, as far as it shows."""
    method = method_of(content)
    if method is not None:
        if 'program' in meta:
            return f'mmrs_ssl, converted from {meta["program"]} ({method})'
        return f'mmrs_ssl, {"exported" if "config_sha256" in meta else "training"} ({method})'
    if 'mmengine_version' in meta or 'mmcv_version' in meta or 'cfg' in meta:
        return 'OpenMMLab'
    program = program_of(content, path)
    return 'unknown' if program is None else known_as(program, content)


def facts(content: Any, meta: dict[str, Any]) -> dict[str, Any]:
    """Collect what a file says of its method, progress and data."""
    known: dict[str, Any] = {
        key: meta[key] for key in ('method', 'evaluated', 'modality', 'epoch', 'iter', 'mean', 'std') if key in meta
    }
    if isinstance(content.get('epoch'), int):  # of DINO and CMID
        known['epoch'] = content['epoch']
    if isinstance(meta.get('cfg'), str):
        model = read_model(meta['cfg'])
        known['method'] = model.get('type')
        for name, part in modalities_in(model).items():
            known |= {f'{key} {name}'.rstrip(): part[key] for key in ('mean', 'std') if key in part}
    return known


def count_by_prefix(names: Iterable[str]) -> str:
    """Count how many names begin alike, e.g. ``'neck.* 4, queue 1'``."""
    counts = Counter(re.sub(r'^((?:\w+: )?(?:module\.)?[^.]+)\..*', r'\1.*', name) for name in names)
    return ', '.join(f'{head} {count}' for head, count in counts.items())
