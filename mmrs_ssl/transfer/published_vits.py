"""Restore what published ViTs keep out of their files, or keep in parts: BEiT's descendants, MSSDF's among them.

Their attention has a bias of queries and one of values, none of keys; their position embeddings are sines of the
patch's number (row by row), which the program computes and no file holds; MSSDF's class token has a position of its
own, ``cls_embed``. BEiT and EVA, which have relative or rotary positions instead, are left as they are.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmrs_ssl.transfer.foreign_names import Placeholder

# Side of the images that MSSDF was published with, in pixels, for files that say no size.
PUBLISHED_SIZE = 320
# A larger one is a mistake, whose position embeddings would fill the memory.
_LARGEST = 2**14
_CLASS_POSITION = 'cls_embed.weight'


def restore_names(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Bring the weights of one of these ViTs into the form of all others, but for the position embeddings.

    Args:
        weights: of one backbone, of whatever program, without a prefix.

    Returns:
        The weights, as they were if they are of another program; and whether the position embeddings are sines.
    """
    biases = [key for key in weights if key.endswith('.attn.q_bias')]
    relative = any(part in key for key in weights for part in ('relative_position', 'rel_pos', 'rope'))
    if relative or not (biases or _CLASS_POSITION in weights):
        return dict(weights), False
    for key, value in weights.items():  # what is computed of them would have all the elements
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f'{key} has {value.numel()} elements, but the file not so many numbers: it repeats some')
    restored: dict[str, Tensor] = {}
    for key, value in weights.items():
        block, _, name = key.rpartition('.')
        if name == 'q_bias' and f'{block}.v_bias' in weights:
            restored[f'{block}.qkv.bias'] = torch.cat([value, torch.zeros_like(value), weights[f'{block}.v_bias']])
        elif name != 'v_bias' or f'{block}.q_bias' not in weights:
            restored[key] = value
    return restored, 'pos_embed' not in weights


def add_positions(weights: Mapping[str, Tensor], patches: int) -> dict[str, Tensor]:
    """Compute the position embeddings that the program computes: 1-D sines, and the class token's own before them.

    Element i of patch p is sin(p / 10000^(i / C)) where i is even, cos(p / 10000^((i - 1) / C)) where it is odd; C is
    the width. In double precision, as the program does.

    Args:
        weights: from :func:`restore_names`.
        patches: how many there are.

    Returns:
        The weights with ``pos_embed`` (1, patches + class token, C), without ``cls_embed``.
    """
    weights = dict(weights)
    class_position = weights.pop(_CLASS_POSITION, None)
    width = next(value for key, value in weights.items() if key.endswith('attn.qkv.weight')).shape[1]
    even = torch.arange(width, dtype=torch.float64) // 2 * 2
    angles = torch.arange(patches, dtype=torch.float64)[:, None] / 10000 ** (even / width)
    angles[:, 0::2] = angles[:, 0::2].sin()
    angles[:, 1::2] = angles[:, 1::2].cos()
    table = angles.float()
    if 'cls_token' in weights:
        first = torch.zeros(1, width) if class_position is None else class_position.reshape(1, width).float()
        table = torch.cat([first, table])
    return {**weights, 'pos_embed': table[None]}


def patches_at(weights: Mapping[str, Tensor], size: int) -> int:
    """Count the patches of square images of this size."""
    names = ('patch_embed.proj.weight', 'patch_embed.projection.weight')
    patch = next(weights[name] for name in names if name in weights)
    return int((size // patch.shape[-2]) * (size // patch.shape[-1]))


def size_said(content: Any) -> int | None:
    """Find the size of the images of the pre-training in the options of a command line, where a file has them."""
    args = content.get('args') if isinstance(content, dict) else None
    if isinstance(args, Placeholder) and isinstance(args.state, dict):
        args = args.state
    options = args if isinstance(args, dict) else getattr(args, '__dict__', None)
    size: Any = options.get('input_size') if isinstance(options, dict) else None
    sides = {_side(side) for side in size} if type(size) in (list, tuple) and len(size) <= 2 else {_side(size)}
    return sides.pop() if len(sides) == 1 else None


def _side(value: Any) -> int | None:
    """Read a side of an image, in pixels; None if it is none."""
    if isinstance(value, str) and re.fullmatch(r'[0-9]{1,5}', value.strip()):
        value = int(value)
    return value if type(value) is int and 0 < value <= _LARGEST else None
