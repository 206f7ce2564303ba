"""One vector per image from what a backbone returns."""

from torch import Tensor


def pooled(features: Tensor) -> Tensor:
    """Vectors (B, D) as they are, or the mean over the places of a map (B, D, h, w).

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
