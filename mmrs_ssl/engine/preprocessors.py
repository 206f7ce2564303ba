"""Read and set how models of any OpenMMLab library normalize images, built or in a config."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from torch import Tensor, nn

# Whether three bands are swapped, under the libraries' names for it, and in their configs.
_SWAPS = ('to_rgb', 'channel_conversion', '_channel_conversion')
_OPTIONS = ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr')
# Whether a class of the libraries normalizes at all; those of this project always do.
_SWITCH = '_enable_normalize'


@dataclass(frozen=True)
class Normalization:
    """How a data preprocessor treats the bands of an image.

    Args:
        mean, std: per band, in the order in which the backbone sees them; of pairs of images the second's follow.
        swaps: whether it swaps the first and the third of three bands; None where it cannot.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    swaps: bool | None


def preprocessors_of(model: nn.Module) -> list[Any]:
    """Find the data preprocessors that normalize, or could; a model that wraps others may have several."""
    found = (part for part in model.modules() if isinstance(part, BaseDataPreprocessor))
    return [part for part in found if isinstance(getattr(part, 'mean', None), Tensor) or hasattr(part, _SWITCH)]


def alike(preprocessors: Sequence[Any]) -> bool:
    """Tell whether all of them normalize in the same way; those of several modalities do not."""
    found = [[getattr(each, name, None) for name in ('mean', 'std')] for each in preprocessors]
    values = [[None if part is None else part.flatten().tolist() for part in each] for each in found]
    return all(each == values[0] for each in values)


def read_normalization(preprocessor: Any, bands: int, replaced: bool = False) -> Normalization:
    """Read what a data preprocessor does to images of so many bands; without statistics it leaves pixels as they are.

    Args:
        preprocessor: of any library.
        bands: of the backbone.
        replaced: whether all its statistics are going to be replaced: then they may be of another number of bands.

    Raises:
        ValueError: if it has statistics of another number of bands, or of images.
    """
    attribute = _swap_attribute(preprocessor)
    swaps = None if attribute is None else bool(getattr(preprocessor, attribute))
    if not isinstance(getattr(preprocessor, 'mean', None), Tensor):
        return Normalization((0.0,) * bands, (1.0,) * bands, swaps)
    mean, std = (tuple(getattr(preprocessor, name).flatten().tolist()) for name in ('mean', 'std'))
    if len(mean) == 1:  # for all bands
        mean, std = mean * bands, std * bands
    if len(mean) % bands or len(mean) != len(std):
        if replaced:
            count = bands * (2 if 'Dual' in type(preprocessor).__name__ else 1)  # open-cd's, of pairs of images
            return Normalization((0.0,) * count, (1.0,) * count, swaps)
        raise ValueError(
            f'model.data_preprocessor ({type(preprocessor).__name__}) has mean={list(mean)} and std={list(std)}, '
            f'expected values for the {bands} bands of the backbone (or twice that, for pairs of images)'
        )
    return Normalization(mean, std, swaps)


def set_normalization(preprocessor: Any, wanted: Normalization) -> None:
    """Make a data preprocessor normalize as wanted; padding and augmentations stay as they are.

    Raises:
        ValueError: if bands have to be swapped, or there are so many, and it cannot do that.
    """
    if isinstance(preprocessor, ImgDataPreprocessor) and len(wanted.mean) not in (1, 3):
        raise ValueError(
            f'{type(preprocessor).__name__} normalizes 1 or 3 bands, not the {len(wanted.mean)} of pre-training: '
            "normalize in the pipeline (mmcv's Normalize), and set normalization='ignore'"
        )
    attribute = _swap_attribute(preprocessor)
    if attribute is not None and wanted.swaps is not None:
        setattr(preprocessor, attribute, wanted.swaps)
    elif wanted.swaps:
        raise ValueError(f'{type(preprocessor).__name__} does not swap bands: load them in the order of pre-training')
    old = getattr(preprocessor, 'mean', None)
    leading, device = (old.ndim - 3, old.device) if isinstance(old, Tensor) else (0, preprocessor.device)
    for name in ('mean', 'std'):
        values = torch.tensor(getattr(wanted, name), dtype=torch.float32, device=device)
        values = values.view(*[1] * leading, -1, 1, 1)
        if isinstance(old, Tensor):
            setattr(preprocessor, name, values)
        else:
            preprocessor.register_buffer(name, values, persistent=False)  # as the libraries have it
    if hasattr(preprocessor, _SWITCH):
        setattr(preprocessor, _SWITCH, True)


def write_to_config(cfg: Any, wanted: Normalization, preprocessor: Any) -> None:
    """Write it into a config, wherever that sets up data preprocessors: a model that is built from it has the same.

    Args:
        cfg: of a training.
        wanted: the normalization.
        preprocessor: of the model that was built from it; its class says what its options are called.
    """
    model = cfg.get('model')
    found = list(_settings(model)) if isinstance(model, dict) else []
    if isinstance(beside := cfg.get('data_preprocessor'), dict):
        found.append(beside)
    if not found and isinstance(model, dict):
        model['data_preprocessor'] = dict(type=type(preprocessor).__name__)
        found = list(_settings(model))
    for settings in found:
        settings['mean'], settings['std'] = list(map(float, wanted.mean)), list(map(float, wanted.std))
        if _swap_attribute(preprocessor) is not None and wanted.swaps is not None:
            for option in _OPTIONS:
                settings.pop(option, None)
            settings['to_rgb' if hasattr(preprocessor, 'to_rgb') else 'bgr_to_rgb'] = wanted.swaps


def _settings(node: dict) -> Iterator[Any]:
    """Find the configs of data preprocessors in a model's, the innermost where one wraps another."""
    for key, value in node.items():
        if isinstance(value, dict):
            inner = list(_settings(value))
            yield from inner
            if key == 'data_preprocessor' and not inner:
                yield value


def _swap_attribute(preprocessor: Any) -> str | None:
    return next((name for name in _SWAPS if hasattr(preprocessor, name)), None)
