"""Measures of collapse against independent formulas."""

import numpy as np
import pytest
import torch

from mmrs_ssl.evaluation.collapse import choice_information, effective_rank, normalized_std, stds_and_ranks


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


def test_many_sets_are_measured_as_each_by_itself():
    """Of two shapes, wide and tall, in any order; equal features and a single direction among them."""
    one = features(1).repeat(50, 1)
    line = one + torch.linspace(-1, 1, 50)[:, None] * torch.eye(12)[0]
    sets = [features(), features(7, 30), one, features(seed=1), features(7, 30, seed=1), line]
    found = stds_and_ranks(sets)
    for (std, rank), rows in zip(found, sets, strict=True):
        unit = rows.double().numpy()
        unit = unit / np.sqrt((unit**2).sum(1, keepdims=True))
        assert std == pytest.approx(unit.std(0, ddof=1).mean() * np.sqrt(unit.shape[1]), rel=1e-5, abs=1e-7)
        singular = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
        share = singular[singular > 1e-5] / singular.sum()
        assert rank == pytest.approx(np.exp(-np.sum(share * np.log(share))), rel=1e-5)
    assert found[2] == (0, 1)
    assert found[5][1] == pytest.approx(1, abs=0.1)
