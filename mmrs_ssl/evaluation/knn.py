"""Classify frozen features by their nearest neighbors: what pre-training taught, without training anything more."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from mmrs_ssl.models.backbones.pooling import pooled


@torch.no_grad()
def pooled_features(backbone: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """Compute a vector of each normalized image: the class token, or the average of the last feature map.

    Args:
        backbone: returns a tuple whose last element is a map (B, D, N, M) or vectors (B, D).
        images: (N, C, H, W), float32, normalized.

    Returns:
        (N, D) on the CPU; computed in evaluation mode, which is undone afterwards.
    """
    with evaluating(backbone):
        features = [pooled(backbone(part)[-1]).float().cpu() for part in images.split(batch_size)]
    return torch.cat(features)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and each of its parts back into its own mode at the end; some may be frozen."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, neighbors: int = 20) -> float:
    """Compute the share of test features whose class is the majority of their nearest training features, by cosine.

    Args:
        train, test: (N, D) and (M, D).
        train_labels, test_labels: (N,) and (M,) integers.

    Returns:
        Accuracy in [0, 1].
    """
    classifier = KNeighborsClassifier(n_neighbors=neighbors, metric='cosine')
    classifier.fit(train.numpy(), train_labels.numpy())
    return float(classifier.score(test.numpy(), test_labels.numpy()))


def most_alike(train: np.ndarray, test: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of features (N, D) to features (M, D): cosines and places (M, count), the nearest first."""
    unit = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (train, test)]
    cosines = unit[1] @ unit[0].T
    places = np.argsort(-cosines, axis=1)[:, :count]
    return np.take_along_axis(cosines, places, axis=1), places
