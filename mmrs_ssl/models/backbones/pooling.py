"""Pool what a backbone returns to one vector per image."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def averaged(outputs: Iterable[Tensor]) -> Tensor:
    """Average maps (B, D, h, w) and tokens (B, L, D) over their places, one result below the other: (N, D).

    Vectors (B, D) stay as they are. The result is float32 and detached.
    """
    rows = [each.detach() for each in outputs]
    means = [row.mean(dim=(2, 3)) if row.ndim == 4 else row.mean(dim=1) if row.ndim == 3 else row for row in rows]
    return torch.cat(means).float()


def pooled(features: Tensor) -> Tensor:
    """Return vectors (B, D) as they are, of a map (B, D, h, w) the mean over its places.

    Raises:
        ValueError: for anything else, e.g. tokens (B, L, D).
    """
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    if features.ndim != 2:
        raise ValueError(
            f'the backbone returns {tuple(features.shape)}, expected vectors (B, D) or a map (B, D, h, w); set '
            "out_type='cls_token' or 'featmap' of a ViT"
        )
    return features


def vector_of(last: Tensor, extra: int = 0, cls_token: bool = False) -> Tensor:
    """Pool a backbone's last output to vectors (B, D).

    Args:
        last: a map (B, D, h, w), vectors (B, D), or tokens (B, extra + L, D).
        extra: number of tokens before those of the patches, the class token first.
        cls_token: take that one instead of the patches' mean.
    """
    if last.ndim == 3:
        return last[:, 0] if cls_token else last[:, extra:].mean(dim=1)
    return pooled(last)


def summaries(branch: str, classes: Mapping[str, Tensor], tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name what may collapse: class tokens (B, D) and averaged patch tokens (B, D) of every modality."""
    made = {f'{branch}_{name}_class': averaged([each]) for name, each in classes.items()}
    return made | {f'{branch}_{name}_map': averaged([each]) for name, each in tokens.items()}
