"""Collapse measures and nearest neighbors against independent formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from mmrs_ssl.evaluation.collapse import choice_information, effective_rank, normalized_std
from mmrs_ssl.evaluation.knn import knn_accuracy, pooled_features


def features(count=50, width=12, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, width + 1) + 2


def test_measures_by_formula():
    rows = features()
    unit = rows.double().numpy()
    unit = unit / np.sqrt((unit**2).sum(1, keepdims=True))
    deviations = [np.sqrt(((column - column.mean()) ** 2).sum() / 49) for column in unit.T]
    assert normalized_std(rows) == pytest.approx(np.mean(deviations) * np.sqrt(12), rel=1e-5)
    singular = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    share = singular / singular.sum()
    assert effective_rank(rows) == pytest.approx(np.exp(-np.sum(share * np.log(share))), rel=1e-5)


@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e3])
def test_equal_features_have_collapsed(scale):
    rows = features(1).repeat(40, 1) * scale
    assert normalized_std(rows) < 1e-6
    assert effective_rank(rows) == 1
    lengths = torch.linspace(0.5, 3, 40)[:, None]
    assert normalized_std(rows * lengths) < 1e-5  # length alone is not information
    assert effective_rank(rows * lengths) == pytest.approx(1, abs=0.05)


def test_information_of_choices_by_formula():
    """Entropy of the mean minus mean entropy, in double loops."""
    choices = torch.softmax(3 * torch.randn(9, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    rows = choices.double().tolist()
    mean = [sum(row[k] for row in rows) / 9 for k in range(5)]
    entropy = -sum(p * np.log(p) for p in mean)
    conditional = -sum(p * np.log(p) for row in rows for p in row) / 9
    assert choice_information(choices) == pytest.approx((entropy - conditional) / np.log(5), rel=1e-6)


@pytest.mark.parametrize('prototypes', [4, 64])
def test_information_of_extreme_choices(prototypes):
    own = torch.eye(64)[:, :prototypes] if prototypes == 64 else torch.eye(4).repeat(16, 1)
    assert choice_information(own) == pytest.approx(1)
    assert choice_information(torch.full((64, prototypes), 1 / prototypes)) == pytest.approx(0, abs=1e-9)
    assert choice_information(torch.eye(prototypes)[:1].repeat(64, 1)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('width', [16, 256])
def test_features_all_over_the_sphere(width):
    rows = torch.randn(4000, width, generator=torch.Generator().manual_seed(0))
    assert normalized_std(rows) == pytest.approx(1, abs=0.01)
    assert effective_rank(rows) > 0.95 * width
    assert normalized_std(rows * 7) == pytest.approx(normalized_std(rows), rel=1e-5)


@pytest.mark.parametrize('k', [2, 5, 20])
def test_rank_of_features_in_k_dimensions(k):
    generator = torch.Generator().manual_seed(k)
    basis = torch.linalg.qr(torch.randn(64, k, generator=generator)).Q
    rank = effective_rank(torch.randn(500, k, generator=generator) @ basis.T)
    assert 0.95 * k < rank <= k + 1e-3
    assert effective_rank(torch.randn(6, 64, generator=generator)) <= 5 + 1e-3  # N - 1 at most


def test_two_clusters_are_one_direction():
    rows = torch.cat([features(1, seed=1).repeat(20, 1), features(1, seed=2).repeat(20, 1)])
    assert effective_rank(rows) == pytest.approx(1, abs=0.01)
    assert normalized_std(rows) > 0.1


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
