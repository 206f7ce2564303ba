"""Write the backbone of a training checkpoint to a file of its own."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmrs_ssl.transfer.adapt import check_finite_weights
from mmrs_ssl.transfer.networks import meta_of, tensors_of
from mmrs_ssl.transfer.own_checkpoints import (
    BRANCHES,
    PREFIX,
    UnsaidBranchError,
    check_out,
    choose_modality,
    evaluated_branch,
    patch_embedding_of,
    read_model,
    read_settings,
)
from mmrs_ssl.transfer.records import loader_of, read_record, size_of_views
from mmrs_ssl.transfer.sources import read_file
from mmrs_ssl.transfer.targets import NAMES, as_plain_backbone, layout_in, named_for, target_of, translate

FORMATS = ('openmmlab', 'timm', 'torchvision', 'safetensors')


def export_backbone(
    checkpoint: str | Path,
    out: str | Path,
    branch: str | None = None,
    modality: str | None = None,
    file_format: str = 'openmmlab',
    library: str = 'mmpretrain',
) -> dict[str, Any]:
    """Write the backbone of a checkpoint, and what a user must know of it.

    Args:
        checkpoint: a checkpoint of a pre-training run.
        out: the new file.
        branch: ``'student'`` or ``'teacher'``; by default the one that the method's authors evaluate.
        modality: whose patch embedding to take where a model has several; by default the first one's.
        file_format: ``'openmmlab'``: a dictionary with ``state_dict``, in the names of the library's class, and
            ``meta``; ``'safetensors'``: the same weights, and each entry of the meta data as JSON; ``'timm'`` or
            ``'torchvision'``: a plain state dict in their names, with no meta data.
        library: whose class is to take the file, see :func:`mmrs_ssl.transfer.targets.target_of`.

    Returns:
        The meta data: ``method``, ``branch``, ``modality`` (None where there is one), ``backbone`` (its config),
        ``bands``, ``mean`` and ``std`` (per band, in the rasters' units), ``channel_order`` (of three bands: ``'rgb'``,
        ``'bgr'``), ``size`` (of the views, in pixels) and ``loader`` (by which options pixels were read), these three
        None if the config does not say it, ``reverses`` and ``named`` (see :class:`mmrs_ssl.transfer.records.Record`),
        ``config_sha256`` and ``source``.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is refused, holds no backbone or one with NaN or inf, no config, or not this branch or
            modality; if the format or library is unknown or has no such backbone; or if ``out`` is the checkpoint or a
            folder.
    """
    if file_format not in FORMATS:
        raise ValueError(f'--format {file_format}: expected one of {", ".join(FORMATS)}')
    path, out = Path(checkpoint), Path(out)
    if (out.suffix == '.safetensors') != (file_format == 'safetensors'):
        raise ValueError(f'--format {file_format} and {out.name}: .safetensors is for that format, and no other')
    check_out(path, out)
    backbone, meta = read_training(path, branch, modality)
    own = {key.removeprefix(PREFIX): value for key, value in backbone.items()}
    if file_format in NAMES:
        content: dict[str, Any] = named_for(own, file_format, meta['backbone'])
    else:
        target = target_of(library, meta['backbone'], meta['bands'])
        layout = layout_in(own)
        if layout is not None:
            own = translate(own, layout, target.layouts.get(layout.name, layout))
        content = dict(state_dict={target.prefix + key: value for key, value in own.items()}, meta=meta)
    out.parent.mkdir(parents=True, exist_ok=True)
    if file_format == 'safetensors':
        tensors = {key: value.contiguous() for key, value in content['state_dict'].items()}
        save_file(tensors, out, {key: json.dumps(value) for key, value in meta.items()})
    else:
        torch.save(content, out)
    return meta


def read_training(path: Path, branch: str | None, modality: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the backbone of a training checkpoint, its keys beginning with ``backbone.``, and its meta data."""
    content = read_file(path)
    weights = tensors_of(content, str(path))
    if not any(key.startswith(PREFIX) for key in weights):
        raise ValueError(f'{path} holds no key that begins with {PREFIX!r}; it has {", ".join(list(weights)[:5])}')
    text = str(meta_of(content).get('cfg', ''))
    model = read_model(text) if text else {}
    if not {'type', 'backbone', 'data_preprocessor'} <= set(model):
        raise ValueError(
            f'{path} holds no config (meta.cfg) of a model, expected a checkpoint that tools/train.py wrote; weights '
            'of other programs go into a model with mmrs_ssl.transfer.load_backbone'
        )
    branch = branch or evaluated_branch(meta_of(content)) or only_branch(weights, path)
    settings, masking = as_plain_backbone(model['backbone'])
    backbone = backbone_in_branch(weights, branch, path)
    backbone = {key: value for key, value in backbone.items() if key.removeprefix(PREFIX) not in masking}
    statistics = model['data_preprocessor'] or {}
    modalities = statistics.get('modalities')
    if modalities is not None or modality is not None:
        modality, statistics = choose_modality(modalities or {}, modality, weights)
        # copies: a view would be written with all that it is a view of
        bands = len(statistics.get('mean') or ())
        backbone |= {key: value.clone() for key, value in patch_embedding_of(weights, branch, modality, bands).items()}
    check_finite_weights(backbone, f'{path} ({branch})')
    if not {'mean', 'std'} <= set(statistics):
        raise ValueError(
            f'the config in {path} has data_preprocessor={model["data_preprocessor"]!r}, expected the mean and std of '
            'each band: without them nobody can normalize pixels as in pre-training; load_backbone takes the checkpoint'
        )
    record = read_record(content, modality)
    meta = dict(
        method=model['type'],
        branch=branch,
        modality=modality,
        backbone={key: value for key, value in settings.items() if key != 'init_cfg'},
        bands=len(statistics['mean']),
        mean=list(statistics['mean']),
        std=list(statistics['std']),
        channel_order=record.channel_order,
        reverses=record.reverses,
        named=record.named,
        size=size_of_views(read_settings(text)),
        loader=loader_of(read_settings(text), modality),
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        source=path.name,
    )
    json.dumps(meta)  # plain values only: the file must load with weights_only and without this package
    return backbone, meta


def only_branch(weights: dict[str, Tensor], path: Path) -> str:
    """Return ``'student'`` for a file without a teacher; raise for one with both, where nothing says which is meant."""
    if any(key.startswith(BRANCHES['teacher']) for key in weights):
        raise UnsaidBranchError(path)
    return 'student'


def backbone_in_branch(weights: dict[str, Tensor], branch: str, path: Path) -> dict[str, Tensor]:
    """Copy the student's or the teacher's backbone, its keys beginning with ``backbone.``."""
    if branch not in BRANCHES:
        raise ValueError(f'branch={branch!r}, expected {" or ".join(BRANCHES)}')
    head = BRANCHES[branch]
    found = {PREFIX + key.removeprefix(head): value.clone() for key, value in weights.items() if key.startswith(head)}
    if not found:
        raise ValueError(
            f'{path} holds no {branch}, whose keys begin with {head!r}; export the other: --branch student'
        )
    return found
