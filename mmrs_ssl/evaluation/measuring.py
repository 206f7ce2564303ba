"""Measure features by all probes of the protocol."""

from collections.abc import Sequence

import numpy as np

from mmrs_ssl.evaluation.intervals import BOOTSTRAP_DRAWS, LEVEL, Figure, figure_of
from mmrs_ssl.evaluation.labelled import Labelled
from mmrs_ssl.evaluation.probes import by_linear_probe, by_neighbors, few_labels, mean_average_precision

NEIGHBORS = (5, 20)
FEW = (5, 10, 50)  # labelled images a class
DRAWS = 5  # of few labels


def names_of_measures(labels: np.ndarray, few: Sequence[int] = FEW) -> list[str]:
    """List the measures of labels (N,) or (N, K), in the order of the table.

    Neighbors are as many as there are images at most, and few labels are measured where all classes have them.
    """
    neighbors = [count for count in NEIGHBORS if count <= len(labels)]
    names = [f'{count}-NN{kind}' for kind in ('', ' weighted') for count in neighbors] + ['linear']
    if labels.ndim == 1:
        least = np.bincount(labels).min()
        names += [f'linear, {count} a class' for count in few if count <= least]
    return names


def predict(name: str, train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Predict the test images' labels by the measure of this name; of few labels once for each draw."""
    if name == 'linear':
        return [by_linear_probe(train, labels, test, seed)]
    if name.startswith('linear, '):
        count = int(name.split()[1])
        draws = [few_labels(labels, count, seed * DRAWS + draw) for draw in range(DRAWS)]
        return [by_linear_probe(train[chosen], labels[chosen], test, seed) for chosen in draws]
    neighbors, _, weighted = name.partition('-NN')
    return [by_neighbors(train, labels, test, int(neighbors), weighted=bool(weighted))]


def measure_features(
    train: np.ndarray, test: np.ndarray, labelled: Labelled, held_out: Labelled, names: Sequence[str], seed: int = 0
) -> dict[str, Figure]:
    """Measure features, in percent: accuracies, or mean average precisions where images have several labels.

    The interval is over the test images; of few labels it is that of the mean over the draws.

    Args:
        train, test: (N, D) and (M, D), of the labelled and the test images.
        labelled, held_out: those images.
        names: of the measures.
        seed: of what is drawn.
    """
    truth = held_out.labels
    found = {}
    for name in names:
        predicted = predict(name, train, labelled.labels, test, seed)
        if truth.ndim == 2:
            found[name] = precision_with_interval(truth, predicted[0], seed)
        else:
            right = np.mean([each == truth for each in predicted], axis=0)
            found[name] = figure_of(right, seed=seed)
    return {name: Figure(*(100 * value for value in figure)) for name, figure in found.items()}


def precision_with_interval(labels: np.ndarray, scores: np.ndarray, seed: int = 0) -> Figure:
    """Compute a mean average precision (M, K) and its interval; draws count images, so scores are sorted but once."""
    value = mean_average_precision(labels, scores)
    rng = np.random.default_rng(seed)
    shares = np.full(len(labels), 1 / len(labels))
    parts = [rng.multinomial(len(labels), shares, size=100).astype(np.float64) for _ in range(BOOTSTRAP_DRAWS // 100)]
    drawn = np.concatenate([mean_average_precision(labels, scores, weights) for weights in parts])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, min(float(low), value), max(float(high), value))
