"""Write the backbone of a training checkpoint to a file of its own."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
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
    model = Config.fromstring(text, '.py').model
    statistics = model.data_preprocessor
    meta = dict(
        method=model.type,
        backbone=model.backbone.to_dict(),
        bands=len(statistics.mean),
        mean=list(statistics.mean),
        std=list(statistics.std),
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        source=path.name,
    )
    json.dumps(meta)  # plain values only: the file must load with weights_only and without this package
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=backbone, meta=meta), out)
    return meta
