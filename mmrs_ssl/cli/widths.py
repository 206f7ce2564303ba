"""Say which part of a model was given features of another width than it takes."""

import re
import traceback
from typing import Any

from torch import nn

_PRODUCT = re.compile(r'mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)')
_CONVOLUTION = re.compile(r'expected input\[.*\] to have (\d+) channels, but got (\d+) channels')
_NORM = re.compile(r'running_mean should contain (\d+) elements not (\d+)')


def explain_width(error: BaseException) -> str | None:
    """Explain torch's errors about the width of features by the part of the model that it happened in; else None."""
    text = str(error)
    if found := _PRODUCT.search(text):
        given, taken = found.groups()
    elif found := _CONVOLUTION.search(text):
        taken, given = found.groups()
    elif found := _NORM.search(text):
        given, taken = found.groups()
    else:
        return None
    called = [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules: list[nn.Module] = [each for each in called if isinstance(each, nn.Module)]
    if not modules:
        return None
    name = next((name for name, part in modules[0].named_modules() if part is modules[-1]), '')
    part = name.split('.', 1)[0]
    where = f'model.{name}' if name else type(modules[0]).__name__
    return (
        f'{where} takes features of width {taken} and was given {given}: the parts of the model do not fit each other. '
        f'Set in_channels (of some classes input_dim or embed_dims) of model.{part or "..."} to {given}, or the width '
        f'of what feeds it to {taken}{_bands(modules[-1], taken, given)}'
    )


def _bands(module: Any, taken: str, given: str) -> str:
    """Think of the bands of the images, where the numbers are as small."""
    if not isinstance(module, nn.Conv2d) or max(int(taken), int(given)) > 20:
        return ''
    return '; where these are bands of images: load as many as the backbone takes, with mean and std of as many'
