"""Write the backbone of a training checkpoint to a file of its own."""

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmrs_ssl.transfer.targets import NAMES, layout_in, named_for, target_of, translate

FORMATS = ('openmmlab', 'timm', 'torchvision', 'safetensors')
PREFIX = 'backbone.'
BRANCHES = dict(student=PREFIX, teacher=f'teacher.module.{PREFIX}')
# Which branch each method's authors evaluate.
EVALUATED = dict(CMID='student', DINOMC='teacher', MSSDF='student')


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
        ``bands``, ``mean`` and ``std`` (per band, in the rasters' units), ``config_sha256`` and ``source``.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is refused, holds no backbone, no config, or not this branch or modality; or if the format
            or library is unknown or has no such backbone.
    """
    if file_format not in FORMATS:
        raise ValueError(f'--format {file_format}: expected one of {", ".join(FORMATS)}')
    path, out = Path(checkpoint), Path(out)
    if (out.suffix == '.safetensors') != (file_format == 'safetensors'):
        raise ValueError(f'--format {file_format} and {out.name}: .safetensors is for that format, and no other')
    backbone, meta = read_training(path, branch, modality)
    own = {key.removeprefix(PREFIX): value for key, value in backbone.items()}
    if file_format in NAMES:
        content: dict[str, Any] = named_for(own, file_format)
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
    """The backbone of a training checkpoint, its keys beginning with ``backbone.``, and its meta data."""
    from mmrs_ssl.transfer.sources import meta_of, read_file, tensors_of  # it imports this module

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
    method = model['type'].rsplit('.', 1)[-1]
    branch = branch or EVALUATED.get(method, 'student')
    backbone = branch_of(weights, branch, path)
    statistics = model['data_preprocessor']
    modalities = statistics.get('modalities')
    if modalities is not None or modality is not None:
        modality, statistics = choose_modality(modalities or {}, modality)
        backbone |= patch_embedding_of(weights, branch, modality)
    meta = dict(
        method=model['type'],
        branch=branch,
        modality=modality,
        backbone={key: value for key, value in model['backbone'].items() if key != 'init_cfg'},
        bands=len(statistics['mean']),
        mean=list(statistics['mean']),
        std=list(statistics['std']),
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        source=path.name,
    )
    json.dumps(meta)  # plain values only: the file must load with weights_only and without this package
    return backbone, meta


def branch_of(weights: dict[str, Tensor], branch: str, path: Path) -> dict[str, Tensor]:
    """The student's or the teacher's backbone, its keys beginning with ``backbone.``."""
    head = BRANCHES[branch]
    found = {PREFIX + key.removeprefix(head): value.clone() for key, value in weights.items() if key.startswith(head)}
    if not found:
        raise ValueError(
            f'{path} holds no {branch}, whose keys begin with {head!r}; export the other: --branch student'
        )
    return found


def choose_modality(modalities: dict[str, dict], name: str | None) -> tuple[str, dict]:
    """The modality of this name, by default the first, and its statistics."""
    name = next(iter(modalities), '') if name is None else name
    if name not in modalities:
        raise ValueError(f'there is no modality {name!r}, the model has {", ".join(modalities) or "none of its own"}')
    return name, modalities[name]


def patch_embedding_of(weights: dict[str, Tensor], branch: str, modality: str) -> dict[str, Tensor]:
    """The patch embedding of a modality in the backbone's names; nothing where it is the backbone's own."""
    head = f'{BRANCHES[branch].removesuffix(PREFIX)}patch_embeds.{modality}.'
    own = f'{PREFIX}patch_embed.'
    return {own + key.removeprefix(head): value.clone() for key, value in weights.items() if key.startswith(head)}


def read_model(text: str) -> dict[str, Any]:
    """The model's settings in a config's text, read without running it.

    Raises:
        ValueError: if there are none.
    """
    model = read_setting(text, 'model')
    if not isinstance(model, dict):
        raise ValueError(f'the config in the checkpoint has model={model!r}, expected a dict')
    return model


def read_setting(text: str, name: str) -> Any:
    """One variable of a config's text, read without running it: a checkpoint may come from anyone.

    Raises:
        ValueError: if it is not there, or made of anything but literals and ``dict(...)``.
    """
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [name]:
                return _literal(statement.value)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'the config in the checkpoint is not plain data and is not read: {error}') from error
    raise ValueError(f'the config in the checkpoint has no {name!r}')


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict' and not node.args:
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): _literal(value) for key, value in zip(node.keys, node.values, strict=True) if key
        }
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    return ast.literal_eval(node)
