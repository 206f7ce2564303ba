"""Nearest-neighbour accuracy of frozen features: what pre-training taught, without training anything more."""

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn


@torch.no_grad()
def pooled_features(backbone: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """Average-pooled last feature map of normalised images.

    Args:
        backbone: returns a tuple whose last element is a map (B, D, N, M).
        images: (N, C, H, W), float32, normalised.

    Returns:
        (N, D) on the CPU; computed in evaluation mode, which is undone afterwards.
    """
    training = backbone.training
    backbone.eval()
    features = [backbone(part)[-1].mean(dim=(2, 3)).float().cpu() for part in images.split(batch_size)]
    backbone.train(training)
    return torch.cat(features)


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, neighbours: int = 20) -> float:
    """Share of test features whose class is the majority of their nearest training features, by cosine.

    Args:
        train, test: (N, D) and (M, D).
        train_labels, test_labels: (N,) and (M,) integers.

    Returns:
        Accuracy in [0, 1].
    """
    classifier = KNeighborsClassifier(n_neighbors=neighbours, metric='cosine')
    classifier.fit(train.numpy(), train_labels.numpy())
    return float(classifier.score(test.numpy(), test_labels.numpy()))
