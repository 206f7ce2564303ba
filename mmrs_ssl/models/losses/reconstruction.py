"""Compare a reconstruction with its image: focal L1 in space, focal frequency loss in the spectrum."""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_l1(pred: Tensor, target: Tensor, alpha: float = 0.2, gamma: float = 1.0) -> Tensor:
    """Compute focal L1, element by element: ``|d| * (2 sigmoid(alpha |d|) - 1) ** gamma``.

    Args:
        pred, target: any equal shapes.
        alpha: steepness of the focal weight.
        gamma: exponent of the focal weight.

    Returns:
        The loss of every element, same shape, >= 0.

    Source: CMID, section III-B.
    """
    distance = (pred - target).abs()
    weight = torch.tanh(alpha / 2 * distance)  # 2 sigmoid(x) - 1 = tanh(x / 2), in one pass
    return distance * (weight if gamma == 1 else weight**gamma)


def masked_focal_l1(pred: Tensor, target: Tensor, mask: Tensor, alpha: float = 0.2, gamma: float = 1.0) -> Tensor:
    """Average focal L1 over the masked pixels, per pixel and channel.

    Args:
        pred, target: (B, C, H, W).
        mask: (B, 1, H, W), 1 = masked (counts).

    Returns:
        Scalar: sum over masked pixels / (number of masked pixels + 1e-5) / C.
    """
    weight = mask.to(pred.dtype)
    total = (focal_l1(pred, target, alpha, gamma) * weight).sum()
    return total / (weight.sum() + 1e-5) / pred.shape[1]


def focal_frequency(pred: Tensor, target: Tensor) -> Tensor:
    """Compute the focal frequency loss between batch-averaged spectra.

    The squared distance of the two mean spectra, weighted by ``log(1 + distance)`` relative to its maximum (detached).
    The Fourier transform is linear, so the distance of mean spectra is the spectrum of the mean difference: one small
    transform, whatever the batch.

    Args:
        pred, target: (B, C, H, W).

    Returns:
        Scalar, >= 0.

    Source: focal frequency loss (arXiv 2012.12821) with averaged spectrum, logarithmic and batch-wise weight matrix.
    """
    difference = (pred - target).float().mean(dim=0)
    spectrum = torch.fft.fft2(difference, norm='ortho')
    distance = spectrum.real**2 + spectrum.imag**2
    weight = torch.log1p(distance.detach().sqrt())
    # A perfect prediction has weight 0 / 0; its loss is 0, so any finite divisor will do.
    weight = (weight / weight.max().clamp(min=torch.finfo(weight.dtype).tiny)).clamp(0, 1)
    return (weight * distance).mean()


def spectral_reconstruction(pred: Tensor, target: Tensor, mask: Tensor, unmasked_weight: float = 0.001) -> Tensor:
    """Compute the focal frequency loss such that unmasked pixels of the prediction barely count.

    There the prediction is blended into a constant r, half its own (detached) value and half the target:
    ``p * m' + r * (1 - m')`` with ``m' = m + unmasked_weight * (1 - m)``.

    Args:
        pred, target: (B, C, H, W).
        mask: (B, 1, H, W), 1 = masked.

    Source: CMID, section III-B.
    """
    weight = mask.to(pred.dtype)
    weight = weight + unmasked_weight * (1 - weight)
    replacement = 0.5 * pred.detach() + 0.5 * target
    return focal_frequency(torch.lerp(replacement, pred, weight), target)


def masked_token_error(
    predictions: dict[str, Tensor], targets: dict[str, Tensor], masks: dict[str, Tensor], weights: dict[str, float]
) -> Tensor:
    """Add up, weighted, each modality's mean squared error of predicted tokens (B, L, D) where masked (B, L)."""
    losses = []
    for name, mask in masks.items():
        error = F.mse_loss(predictions[name].float(), targets[name], reduction='none').mean(dim=-1)
        losses.append(weights[name] * (error * mask).sum() / mask.sum())
    return torch.stack(losses).sum()
