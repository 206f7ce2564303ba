"""What images tell without a trained network: features must do better to be worth anything."""

import numpy as np
import torch
from torch import Tensor

QUANTILES = (0.05, 0.5, 0.95)


def color_histograms(images: np.ndarray, bins: int = 8) -> Tensor:
    """Compute the square roots of joint color histograms, whose cosine compares distributions of colors.

    Args:
        images: (N, H, W, 3) uint8.
        bins: of each color.

    Returns:
        (N, bins ** 3) float32, of unit length.
    """
    cells = images.astype(np.int64) * bins // 256
    cells = (cells[..., 0] * bins + cells[..., 1]) * bins + cells[..., 2]
    pixels = cells[0].size
    counts = np.stack([np.bincount(each.ravel(), minlength=bins**3) for each in cells])
    return torch.from_numpy(np.sqrt(counts / pixels)).float()


def histograms_of(pixels: Tensor) -> Tensor:
    """Compute :func:`color_histograms` of pixels (B, 3, H, W) between 0 and 255 of any type; (B, 512).

    Raises:
        ValueError: for other bands, or other values.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.shape[1] != 3 or low < 0 or high > 255:
        raise ValueError(
            f'a color histogram is of three bands between 0 and 255, these images have {pixels.shape[1]} between '
            f'{low:g} and {high:g}: take the band statistics alone'
        )
    return color_histograms(pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy())


def statistics_of_bands(pixels: Tensor) -> Tensor:
    """Compute mean, deviation and three quantiles of every band of pixels (B, C, H, W); (B, 5 C), in the bands' units.

    They are to be standardized over the labelled images before they are compared.
    """
    flat = pixels.float().flatten(2)
    quantiles = torch.quantile(flat, torch.tensor(QUANTILES, device=flat.device), dim=2)
    return torch.cat([flat.mean(dim=2), flat.std(dim=2), *quantiles], dim=1)


def standardized(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring features (N, D) and (M, D) to zero mean and unit variance of the first; a constant one becomes 0."""
    mean, std = train.mean(axis=0), train.std(axis=0)
    std = np.where(std > 0, std, np.inf)
    return (train - mean) / std, (test - mean) / std
