"""Probes of frozen features, against loops written here and scikit-learn's own parts."""

import math
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from mmrs_ssl.evaluation import probes
from mmrs_ssl.evaluation.labelled import Labelled
from mmrs_ssl.evaluation.measuring import measure_features, names_of_measures
from mmrs_ssl.evaluation.probes import (
    by_linear_probe,
    by_neighbors,
    check_features,
    few_labels,
    mean_average_precision,
    precision_of_label,
    score,
)

CLASSES, WIDTH = 4, 6


def features(count, seed=0, spread=1.0):
    """Features around the centers of classes that take turns, and these classes."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    labels = np.arange(count) % CLASSES
    return centers[labels] + spread * rng.normal(size=(count, WIDTH)), labels


def several_labels(labels):
    """The class, and a label for the even and one for the first half of the classes."""
    return np.stack([labels == each for each in range(CLASSES)] + [labels % 2 == 0, labels < 2], axis=1)


def votes(train, labels, row, neighbors, weighted):
    """What the nearest by cosine vote for: label -> sum of weights."""
    alike = [float(row @ other / np.linalg.norm(row) / np.linalg.norm(other)) for other in train]
    found = dict.fromkeys(range(CLASSES), 0.0)
    for index in sorted(range(len(train)), key=lambda index: -alike[index])[:neighbors]:
        found[int(labels[index])] += math.exp(alike[index] / 0.07) if weighted else 1.0
    return found


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('neighbors', [5, 20])
def test_neighbors_by_hand(neighbors, weighted):
    (train, labels), (test, _) = features(60), features(30, seed=1)
    train = train * np.linspace(0.1, 9, 60)[:, None]  # the length must not matter
    found = by_neighbors(train, labels, test, neighbors, weighted)
    several = by_neighbors(train, several_labels(labels), test, neighbors, weighted)
    differ = 0
    for row, predicted, shares in zip(test, found, several, strict=True):
        voted = votes(train, labels, row, neighbors, weighted)
        assert predicted == max(voted, key=voted.get)
        whole = sum(voted.values())
        expected = [voted[each] / whole for each in range(CLASSES)]
        np.testing.assert_allclose(shares, [*expected, expected[0] + expected[2], expected[0] + expected[1]], rtol=1e-9)
        other = votes(train, labels, row, neighbors, not weighted)
        differ += max(other, key=other.get) != predicted
    assert differ > (neighbors == 20)


def standard(train, test):
    mean, std = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / std, (test - mean) / std


def test_linear_probe_is_scikit_learns_at_the_best_strength(monkeypatch):
    """Of a strong and a weak C the one is taken that is better on a quarter of the labelled images."""
    (train, labels), (test, truth) = features(200, spread=2.0), features(300, seed=1, spread=2.0)
    train, test = 7 + 100 * train, 7 + 100 * test
    chosen = []
    original = probes.fit_linear

    def note(kept, own, strength, held):
        chosen.append((len(kept), strength, len(held)))
        return original(kept, own, strength, held)

    monkeypatch.setattr(probes, 'fit_linear', note)
    predicted = by_linear_probe(train, labels, test)
    strength = chosen[-1][1]
    assert chosen == [(150, each, 50) for each in probes.STRENGTHS] + [(200, strength, 300)]
    own, other = standard(train, test)
    expected = LogisticRegression(C=strength, max_iter=5000).fit(own, labels).predict(other)
    assert abs(score(truth, predicted) - score(truth, expected)) <= 0.001
    assert score(truth, predicted) > 0.4


def test_linear_probe_chooses_what_generalizes():
    """Many useless features and few images: a weak C is right, and is what is chosen."""
    rng = np.random.default_rng(0)
    (train, labels), (test, truth) = features(80, spread=1.0), features(400, seed=1, spread=1.0)
    train, test = (np.concatenate([each, 3 * rng.normal(size=(len(each), 300))], axis=1) for each in (train, test))
    own, other = standard(train, test)
    at = {c: score(truth, LogisticRegression(C=c, max_iter=5000).fit(own, labels).predict(other)) for c in (1e-5, 100)}
    assert score(truth, by_linear_probe(train, labels, test)) > max(at.values()) - 0.05


def test_one_small_class_does_not_keep_the_strength_from_being_chosen(monkeypatch):
    (train, labels), _ = features(203, spread=2.0), None
    labels = np.where(np.arange(203) >= 200, CLASSES, labels)  # three images of a fifth class
    tried = []

    def note(kept, own, strength, held):
        tried.append((sorted(np.bincount(own)), len(held)))
        return np.zeros(len(held), int)

    monkeypatch.setattr(probes, 'fit_linear', note)
    assert probes.choose_strength(train, labels) == probes.STRENGTHS[0]
    assert len(tried) == len(probes.STRENGTHS)
    assert all(counts[0] == 3 and sum(counts) == 153 and held == 50 for counts, held in tried)
    assert not probes.holds_back(np.array([0] * 50 + [1] * 3))
    assert probes.choose_strength(train[:53], np.array([0] * 50 + [1] * 3)) == 1
    several = np.zeros((20, 2), bool)
    several[:10, 0] = several[3, 1] = True  # of the second label nothing can be learned and tested at once
    monkeypatch.setattr(probes, 'fit_linear', lambda kept, own, strength, held: np.zeros((len(held), own.shape[1])))
    assert probes.choose_strength(train[:20], several) == probes.STRENGTHS[0]


def test_labels_that_say_nothing_give_chance():
    train, _ = features(400)
    test, _ = features(400, seed=1)
    rng = np.random.default_rng(0)
    labels, truth = rng.integers(CLASSES, size=(2, 400))
    for predicted in (by_neighbors(train, labels, test), by_linear_probe(train, labels, test)):
        assert score(truth, predicted) == pytest.approx(1 / CLASSES, abs=0.07)


def precision_by_hand(truth, scores):
    """The mean precision at the rank of each image with the label, averaged over labels."""
    means = []
    for own, row in zip(truth.T, scores.T, strict=True):
        order = np.argsort(-row)
        ranks = [rank for rank, index in enumerate(order, 1) if own[index]]
        means.append(np.mean([(n + 1) / rank for n, rank in enumerate(ranks)]))
    return float(np.mean(means))


def test_several_labels():
    (train, labels), (test, truth) = features(120), features(80, seed=1)
    scores = by_linear_probe(train, several_labels(labels), test)
    assert scores.shape == (80, CLASSES + 2)
    expected = precision_by_hand(several_labels(truth), scores)
    assert mean_average_precision(several_labels(truth), scores) == pytest.approx(expected)
    assert 0.6 < expected < 1
    for own, row in zip(several_labels(truth).T, by_neighbors(train, several_labels(labels), test, 5).T, strict=True):
        weights = np.random.default_rng(0).integers(0, 3, (4, 80)).astype(float)  # neighbors give many equal scores
        expected = [average_precision_score(own, row, sample_weight=each) for each in weights]
        np.testing.assert_allclose(precision_of_label(own, row, weights), expected, rtol=1e-9)
    lacking = several_labels(truth)
    lacking[:, 1] = False  # an average precision without an image of the label means nothing
    rest = [0, 2, 3, 4, 5]
    assert mean_average_precision(lacking, scores) == pytest.approx(
        precision_by_hand(lacking[:, rest], scores[:, rest])
    )


def test_all_measures_of_the_protocol():
    (train, labels), (test, truth) = features(240), features(200, seed=1)
    labelled, held_out = (Labelled(['x'] * len(own), own, list('abcd')) for own in (labels, truth))
    names = names_of_measures(labels)
    assert names == [
        *('5-NN', '20-NN', '5-NN weighted', '20-NN weighted', 'linear'),
        *('linear, 5 a class', 'linear, 10 a class', 'linear, 50 a class'),
    ]
    assert names_of_measures(labels[:18], []) == ['5-NN', '5-NN weighted', 'linear']
    assert names_of_measures(labels[:36]) == names[:-2] + names[-2:-2]  # nine of a class: no ten of each
    found = measure_features(train, test, labelled, held_out, names)
    assert found['20-NN'].value == pytest.approx(100 * score(truth, by_neighbors(train, labels, test, 20)))
    assert found['5-NN weighted'].value == pytest.approx(100 * score(truth, by_neighbors(train, labels, test, 5, True)))
    assert found['linear'].value == pytest.approx(100 * score(truth, by_linear_probe(train, labels, test)))
    draws = [few_labels(labels, 5, draw) for draw in range(5)]
    each = [score(truth, by_linear_probe(train[own], labels[own], test)) for own in draws]
    assert len(set(each)) > 1
    assert found['linear, 5 a class'].value == pytest.approx(100 * np.mean(each))
    for figure in found.values():
        assert figure.low <= figure.value <= figure.high
        assert 2 < figure.high - figure.low < 20
    several = [Labelled(each.paths, several_labels(each.labels), list('abcdef')) for each in (labelled, held_out)]
    precisions = measure_features(train, test, *several, names_of_measures(several[0].labels))
    assert list(precisions) == names[:5]
    scores = by_linear_probe(train, several[0].labels, test)
    assert precisions['linear'].value == pytest.approx(100 * precision_by_hand(several[1].labels, scores))


def test_few_labels_are_as_many_of_each_class():
    labels = np.array([0] * 50 + [1] * 20 + [2] * 5)
    chosen = few_labels(labels, 5, seed=3)
    assert np.bincount(labels[chosen]).tolist() == [5, 5, 5]
    assert len(set(chosen)) == 15
    assert not np.array_equal(chosen, few_labels(labels, 5, seed=4))
    with pytest.raises(ValueError, match='class 2 has 5 labelled images, fewer than the 10'):
        few_labels(labels, 10, seed=0)


def test_figures_that_would_mean_nothing_are_refused():
    train, labels = features(40)
    with pytest.raises(ValueError, match='50 nearest neighbors of 40 labelled images'):
        by_neighbors(train, labels, train, 50)
    broken = train.copy()
    broken[3, 2] = np.nan
    for probe in (by_neighbors, by_linear_probe):
        with pytest.raises(ValueError, match='1 of 40 feature vectors hold NaN or inf, the first is number 3'):
            probe(train, labels, broken)
    paths = [f'{number}.png' for number in range(40)]
    with pytest.raises(ValueError, match=r'run.pth: 1 of 40 .* NaN or inf, the first is that of 3.png: the backbone'):
        check_features(broken, of='run.pth', paths=paths)
    never = several_labels(labels)
    never[:, 1] = False
    with pytest.raises(ValueError, match='label 1 is that of all labelled images, or of none'):
        by_linear_probe(train, never, train)


def test_a_probe_that_does_not_converge_says_so(monkeypatch):
    told = []
    monkeypatch.setattr(probes, 'print_log', lambda text, *_: told.append(text))
    train, labels = features(200, spread=2.0)
    monkeypatch.setattr(probes, 'STEPS', 1)
    monkeypatch.setattr(probes, 'STRENGTHS', (100.0,))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        by_linear_probe(train, labels, train)
    assert told == ['a linear probe had not converged after 1 steps (C=100)'] * 2
