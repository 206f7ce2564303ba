"""Let parts of a model follow the parts they are fed by: find out what these give, fill it in where it is not given."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmrs_ssl.models.data_preprocessor import with_bands
from mmrs_ssl.registry import MODELS

Found = tuple[int, str] | None  # a size and how a sentence about it begins, ``'its width is'``; None: not found out
LARGE = 2048  # pixels: so many that what a map's size is rounded by does not show in the stride


class OutputSize(NamedTuple):
    """What a network gives for images, in its last output."""

    channels: int
    stride: int | None  # pixels of the image per cell of a map; None where it gives no map
    shape: tuple[int, ...]


_sizes: dict[str, OutputSize | None] = {}  # of this process's backbones, which are often built again (runs, tests)


def build_backbone(config: dict, bands: int) -> tuple[nn.Module, OutputSize | None]:
    """Build a backbone for images of so many bands, and find the size of its last output, :func:`output_size_of`."""
    backbone = MODELS.build(with_bands(config, 'in_channels', bands))
    key = f'{type(backbone)} {bands} {config}'
    if key not in _sizes:
        _sizes[key] = output_size_of(backbone, bands)
    return backbone, _sizes[key]


def output_size_of(backbone: nn.Module, bands: int) -> OutputSize | None:
    """Find the size of a backbone's last output without computing anything, on torch's device of shapes alone.

    Weights, buffers and random numbers stay as they are.

    Args:
        backbone: gives a tuple of maps (B, D, h, w), vectors (B, D) or tokens (B, L, D) for images (B, bands, H, W).
        bands: of the images.

    Returns:
        The size; None for a network that takes images of no size tried here (a large one, that of its own settings).
    """
    embedding = getattr(backbone, 'patch_embed', None)
    own = getattr(backbone, 'img_size', None) or getattr(embedding, 'init_input_size', None) or 224
    for height, width in ((LARGE, LARGE), (own, own) if isinstance(own, int) else own):
        shape = shape_given(backbone, (2, bands, height, width))
        if shape is not None:
            is_map = len(shape) == 4
            return OutputSize(shape[1 if is_map else -1], round(height / shape[2]) if is_map else None, shape)
    return None


def shape_given(module: nn.Module, *shapes: tuple[int, ...], in_tuple: bool = False) -> tuple[int, ...] | None:
    """Find the shape of a module's last output for inputs of some shapes, in a tuple if asked; None if it takes none.

    Args:
        module: a network of mmpretrain, which gives a tuple, or a layer, which gives a tensor.
        shapes: of its inputs.
        in_tuple: give the inputs as one tuple, as necks want.
    """
    tensors = tuple(torch.empty(shape, device='meta') for shape in shapes)
    state = dict([*module.named_parameters(), *module.named_buffers()])
    try:
        with torch.no_grad():
            output: Any = torch.func.functional_call(
                module, {name: value.to('meta') for name, value in state.items()}, (tensors,) if in_tuple else tensors
            )
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError):
        return None
    last = output[-1] if isinstance(output, tuple | list) else output
    return tuple(last.shape) if isinstance(last, Tensor) else None


def following(config: dict, part: str, given: Mapping[str, Found]) -> dict:
    """Fill in the sizes that a part of a model takes from another, and refuse others.

    Args:
        config: of the part, with its ``type``.
        part: what it is called in the model's config, e.g. ``'neck'``.
        given: option -> its value; options that the class does not have are left out.

    Returns:
        The config with all of these options.

    Raises:
        ValueError: if the config says otherwise, or leaves out what could not be found out.
    """
    options = options_of(config)
    filled = dict(config)
    for option, found in given.items():
        if option not in options and option not in config:
            continue
        if found is None:
            if option not in config and options[option].default is inspect.Parameter.empty:
                raise ValueError(f'model.{part}.{option} cannot be found out by itself for this model: give it')
            continue
        value, source = found
        if config.get(option, value) != value:
            raise ValueError(
                f'model.{part}.{option}={config[option]}, but {source} {value}: give that, or leave it out'
            )
        filled[option] = value
    return filled


def options_of(config: dict) -> Mapping[str, inspect.Parameter]:
    """Return the options of the class that a config builds; none of an unknown one, which building it will refuse."""
    kind = config['type']
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return inspect.signature(kind).parameters if kind is not None else {}
