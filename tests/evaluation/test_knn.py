"""Pooled features and their nearest neighbors, against a loop written here."""

import pytest
import torch
from torch import nn

from mmrs_ssl.evaluation.knn import knn_accuracy, pooled_features


def majority(train, labels, row, k):
    """The commonest label of the k nearest by cosine; the smallest of equally common ones."""
    similarity = [float(torch.dot(row, other) / row.norm() / other.norm()) for other in train]
    nearest = sorted(range(len(train)), key=lambda i: -similarity[i])[:k]
    votes = [int(labels[i]) for i in nearest]
    return min(set(votes), key=lambda label: (-votes.count(label), label))


@pytest.mark.parametrize('k', [1, 5, 20])
def test_knn_by_hand(k):
    generator = torch.Generator().manual_seed(k)
    centers = torch.randn(4, 6, generator=generator)
    labels, test_labels = torch.arange(60) % 4, torch.arange(30) % 4
    train = centers[labels] + torch.randn(60, 6, generator=generator)
    test = centers[test_labels] + torch.randn(30, 6, generator=generator)
    train = train * torch.linspace(0.1, 9, 60)[:, None]  # the length must not matter
    right = [majority(train, labels, row, k) == int(label) for row, label in zip(test, test_labels, strict=True)]
    expected = sum(right) / 30
    assert 0.3 < expected < 1
    assert knn_accuracy(train, labels, test, test_labels, neighbors=k) == pytest.approx(expected)


def test_knn_uses_twenty_neighbors():
    angles = torch.linspace(0, 1, 40)
    train = torch.stack([angles.cos(), angles.sin()], 1)
    labels = torch.tensor([0] * 9 + [1] * 31)  # of the twenty nearest to the first, nine are 0 and eleven 1
    assert knn_accuracy(train, labels, train[:1], torch.tensor([1])) == 1
    assert knn_accuracy(train, labels, train[:1], torch.tensor([0]), neighbors=17) == 1


@pytest.mark.parametrize('training', [True, False])
def test_pooled_features(training):
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x):
            return x, self.norm(x)[:, :, ::2]

    backbone = Backbone().train(training)
    backbone.norm.running_mean.fill_(2.0)
    images = torch.randn(7, 3, 8, 6, requires_grad=True)
    pooled = pooled_features(backbone, images, batch_size=3)
    expected = (images[:, :, ::2].mean((2, 3)) - 2) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(pooled, expected.detach())  # the running statistics, not the batch's
    assert not pooled.requires_grad
    assert backbone.training is training
    assert backbone.norm.training is training
    assert torch.equal(backbone.norm.running_mean, torch.full((3,), 2.0))


def test_features_of_vectors_and_tokens():
    """A backbone that gives vectors is taken as it is; one that gives tokens is refused."""
    images = torch.randn(5, 3, 4, 4)
    vectors = nn.Sequential(nn.Flatten(), nn.Linear(48, 6))
    wrapped = Wrapped(vectors)
    torch.testing.assert_close(pooled_features(wrapped, images, batch_size=2), vectors(images).detach())
    with pytest.raises(ValueError, match=r'returns \(5, 16, 3\)'):
        pooled_features(Wrapped(nn.Flatten(2), transpose=True), images)


class Wrapped(nn.Module):
    """Gives a tuple, as backbones do."""

    def __init__(self, module, transpose=False):
        super().__init__()
        self.module = module
        self.transpose = transpose

    def forward(self, images):
        out = self.module(images)
        return (out.mT if self.transpose else out,)
