"""Fit weights to another number of bands, patches or window positions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

# Which band of the file each band of the model takes its kernel from; None: from the mean of all.
Bands = Sequence[int | None] | Literal['mean']
# The convolution that sees the bands, in mmpretrain's names.
FIRST_CONVOLUTIONS = (
    'conv1.weight',
    'stem.0.conv.weight',
    'patch_embed.projection.weight',
    'downsample_layers.0.0.weight',
)
POSITIONS = ('pos_embed', 'absolute_pos_embed')


class DoesNotFitError(ValueError):
    """Raised where a weight has another shape than the model's, and no rule would change it."""


def check_kind(weight: Tensor) -> None:
    """Refuse a tensor whose values do not simply lie in memory.

    Raises:
        DoesNotFitError: saying what it is, and what to save instead.
    """
    if weight.is_meta:
        raise DoesNotFitError('a meta tensor, which has no values: save the weights themselves')
    if weight.is_quantized:
        raise DoesNotFitError(f'quantized ({weight.dtype}): save it dequantized, or the weights before quantization')
    if weight.is_nested:
        raise DoesNotFitError('a nested tensor: save it as a plain one')
    if weight.layout is not torch.strided:
        raise DoesNotFitError(f'of the layout {weight.layout}: save it dense, by to_dense()')


def check_dtype(weight: Tensor, like: Tensor) -> None:
    """Refuse integers, truth values and complex numbers where the model has real ones: they are codes of something.

    Raises:
        DoesNotFitError: naming both types.
    """
    if weight.is_complex() != like.is_complex() or (like.is_floating_point() and not weight.is_floating_point()):
        raise DoesNotFitError(
            f'{weight.dtype} in the file, {like.dtype} in the model: save it as floating-point numbers'
        )


def check_finite_weights(weights: Mapping[str, Tensor], place: str) -> None:
    """Refuse weights that would be written though nobody could use them.

    Args:
        weights: by their names.
        place: where they are, for the message.

    Raises:
        ValueError: naming the first one with NaN, inf or no plain values.
    """
    for name, weight in weights.items():
        try:
            check_kind(weight)
            check_finite(weight, weight)
        except DoesNotFitError as error:
            raise ValueError(f'{place}: {name}: {error}') from None


def check_finite(weight: Tensor, like: Tensor) -> None:
    """Refuse values that the model would get as NaN or inf.

    Raises:
        DoesNotFitError: if there is one.
    """
    if not (like.is_floating_point() and weight.is_floating_point()):
        return
    broken = int((~torch.isfinite(weight.to(like.dtype))).sum())
    if broken:
        raise DoesNotFitError(
            f'{broken} of {weight.numel()} values are NaN or inf: pre-training had diverged, or the file is damaged; '
            'take an earlier checkpoint'
        )


def adapt_bands(weight: Tensor, count: int, bands: Bands = 'mean') -> Tensor:
    """Make the kernels of a first convolution for another number of bands, or another order of them.

    With ``'mean'`` every band of the model gets the mean kernel of the file, times the number of bands of the file over
    that of the model: this assumes nothing of what a band shows. A sequence names, for each band of the model, the
    band of the file whose kernel it gets (``None``: the mean kernel), e.g. ``(0, 1, 2, None)`` for RGB to RGB and
    near infrared; then one kernel, the same for all bands, is added. Both ways the kernels' sum over the bands stays
    what it was, so an image that is the same in every band gives the same response as before.

    Args:
        weight: (O, I, kH, kW), of a file with I bands.
        count: bands of the model.
        bands: see above.

    Returns:
        (O, count, kH, kW).

    Raises:
        ValueError: if ``bands`` has not ``count`` entries, or names a band that the file does not have.
    """
    known = weight.shape[1]
    chosen: list[Any] = list(bands) if isinstance(bands, Sequence) else []
    if bands == 'mean':
        chosen = [None] * count
    if len(chosen) != count or any(b is not None and not (isinstance(b, int) and 0 <= b < known) for b in chosen):
        raise ValueError(
            f'bands={bands!r}, expected one entry for each of the {count} bands of the model, each between 0 and '
            f"{known - 1} (the file has {known} bands) or None; or 'mean'"
        )
    exact = weight.double()
    mean = exact.mean(1)
    kernels = torch.stack([mean if band is None else exact[:, band] for band in chosen], 1)
    kernels += (exact.sum(1, keepdim=True) - kernels.sum(1, keepdim=True)) / count
    return kernels.to(weight.dtype)


def resize_relative_positions(table: Tensor, count: int) -> Tensor:
    """Resize a table of relative position biases (L, heads) to (count, heads), for windows of another size; bicubic.

    As mmsegmentation and mmdetection do it; mmpretrain's own needs a SciPy older than 1.14.

    Raises:
        DoesNotFitError: if one of the two is not of square windows.
    """
    old, new = side(len(table)), side(count)
    grid = table.T.reshape(1, -1, old, old).float()
    resized = F.interpolate(grid, size=(new, new), mode='bicubic', align_corners=False)
    return resized.flatten(2)[0].T.to(table.dtype)


def resize_positions(
    embedding: Tensor, grid: tuple[int, int], class_tokens: tuple[int, int], mode: str = 'bicubic'
) -> Tensor:
    """Resize position embeddings (1, class tokens + patches, C) for another grid of patches.

    Args:
        embedding: of a file, whose patches form a square.
        grid: height and width of the model's.
        class_tokens: how many positions of class tokens come first, in the file and in the model; they are kept as
            they are, or left out where the model has none.
        mode: of the interpolation.

    Raises:
        DoesNotFitError: if the file's grid is no square, or lacks the class token's position.
    """
    known, wanted = class_tokens
    if wanted > known:
        raise DoesNotFitError('the file has no position of a class token')
    tokens, patches = embedding[:, :wanted], embedding[:, known:]
    size = side(patches.shape[1])
    patches = resize_pos_embed(patches, (size, size), grid, mode, num_extra_tokens=0)
    return torch.cat([tokens, patches], 1)


def side(count: int) -> int:
    """Compute the side of a square of so many cells."""
    root = math.isqrt(count)
    if root * root != count:
        raise DoesNotFitError(f'{count} positions are no square')
    return root


def patch_grid(module: Any, count: int) -> tuple[int, int]:
    """Return height and width of a model's grid of ``count`` patches."""
    if hasattr(module, 'patch_resolution'):  # mmpretrain
        height, width = module.patch_resolution
    elif hasattr(module, 'img_size') and hasattr(module, 'patch_size'):  # mmsegmentation's ViT
        height, width = (size // module.patch_size for size in module.img_size)
    else:
        height = width = side(count)
    return height, width


class Fitter:
    """Fits one weight after the other, under mmpretrain's names, to a model.

    Args:
        module: the model.
        bands: see :func:`adapt_bands`.
        class_tokens: how many class tokens the file and the model have.
    """

    def __init__(self, module: nn.Module, bands: Bands, class_tokens: tuple[int, int]) -> None:
        self.module = module
        self.bands = bands
        self.class_tokens = class_tokens

    def __call__(self, name: str, weight: Tensor, like: Tensor) -> tuple[Tensor, str]:
        """Bring a weight to the shape of the model's, and say what was done to it ('' for nothing).

        Raises:
            DoesNotFitError: if it cannot be brought into this shape.
            ValueError: if ``bands`` does not fit.
        """
        if name in FIRST_CONVOLUTIONS and weight.ndim == 4 and weight.shape[2:] == like.shape[2:]:
            return self.fit_bands(weight, like)
        if weight.shape == like.shape:
            return weight, ''
        if name.endswith('relative_position_bias_table') and weight.shape[1:] == like.shape[1:]:
            resized = resize_relative_positions(weight, len(like))
            return resized, f'{side(len(weight))} -> {side(len(like))} relative positions a side'
        if name in POSITIONS and weight.shape[2:] == like.shape[2:]:
            return self.fit_positions(name, weight, like)
        if weight.squeeze().shape == like.squeeze().shape:  # a linear layer as a convolution of one pixel
            return weight.reshape(like.shape), f'{list(weight.shape)} -> {list(like.shape)}'
        raise DoesNotFitError(f'{list(weight.shape)} in the file, {list(like.shape)} in the model')

    def fit_bands(self, weight: Tensor, like: Tensor) -> tuple[Tensor, str]:
        """Bring the first convolution's weight (O, I, kH, kW) to the model's bands, or another order of as many."""
        known, count = weight.shape[1], like.shape[1]
        if weight.shape[0] != like.shape[0]:
            raise DoesNotFitError(f'{list(weight.shape)} in the file, {list(like.shape)} in the model')
        if known == count and (self.bands == 'mean' or list(self.bands) == list(range(known))):
            return weight, ''
        adapted = adapt_bands(weight, count, self.bands)
        rule = 'the mean kernel in each' if self.bands == 'mean' else f'kernels of bands {list(self.bands)}'
        return adapted, f'{known} -> {count} bands, {rule}'

    def fit_positions(self, name: str, weight: Tensor, like: Tensor) -> tuple[Tensor, str]:
        """Bring position embeddings to the model's grid of patches; ``absolute_pos_embed`` has no class token."""
        known, wanted = self.class_tokens if name == 'pos_embed' else (0, 0)
        grid = patch_grid(self.module, like.shape[1] - wanted)
        note = ", without the class token's position" if wanted < known else ''
        if known and has_no_token(weight.shape[1], grid):  # timm's no_embed_class: nothing is added to the token
            known, note = wanted, "zeros as the class token's position" if wanted else ''
            weight = F.pad(weight, (0, 0, wanted, 0))
            if weight.shape == like.shape:
                return weight, note
            note = f', {note}' if note else ''
        resized = resize_positions(weight, grid, (known, wanted), getattr(self.module, 'interpolate_mode', 'bicubic'))
        if resized.shape != like.shape:
            raise DoesNotFitError(f'{list(weight.shape)} in the file, {list(like.shape)} in the model')
        size = side(weight.shape[1] - known)
        return resized, f'{size}x{size} -> {grid[0]}x{grid[1]} patches{note}'


def has_no_token(count: int, grid: tuple[int, int]) -> bool:
    """Tell whether so many positions are those of patches alone, of a square or of a model's grid."""
    return math.isqrt(count - 1) ** 2 != count - 1 and count in (math.isqrt(count) ** 2, grid[0] * grid[1])
