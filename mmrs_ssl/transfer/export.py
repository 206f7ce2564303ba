"""Write the backbone of a training checkpoint to a file of its own."""

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PREFIX = 'backbone.'


def export_backbone(checkpoint: str | Path, out: str | Path) -> dict[str, Any]:
    """Write the student's backbone of a checkpoint, and what a user must know of it.

    Args:
        checkpoint: a checkpoint of a pre-training run.
        out: the new file: ``state_dict`` with the keys ``backbone.*`` and ``meta``.

    Returns:
        The meta data: ``method``, ``backbone`` (its config), ``bands``, ``mean`` and ``std`` (per band, in the
        rasters' units), ``config_sha256`` and ``source``.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it holds no backbone or no config.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint {str(path)!r}')
    content = torch.load(path, map_location='cpu', weights_only=True)
    weights: dict[str, Tensor] = content.get('state_dict', {})
    backbone = {key: value.clone() for key, value in weights.items() if key.startswith(PREFIX)}
    if not backbone:
        raise ValueError(
            f'{path} holds no key that begins with {PREFIX!r}; it has {", ".join(list(weights)[:5]) or "none"}'
        )
    text = content.get('meta', {}).get('cfg')
    if text is None:
        raise ValueError(f'{path} holds no config (meta.cfg), expected a checkpoint that tools/train.py wrote')
    model = read_setting(text, 'model')
    statistics = model['data_preprocessor']
    meta = dict(
        method=model['type'],
        backbone={key: value for key, value in model['backbone'].items() if key != 'init_cfg'},
        bands=len(statistics['mean']),
        mean=list(statistics['mean']),
        std=list(statistics['std']),
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        source=path.name,
    )
    json.dumps(meta)  # plain values only: the file must load with weights_only and without this package
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=backbone, meta=meta), out)
    return meta


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
