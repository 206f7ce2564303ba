"""Measure what frozen features say about labels: by their nearest neighbors, by a linear classifier, from few labels.

The protocol is that of torchgeo-bench: the labelled half is given, the other half is predicted. Labels are classes (N,)
or, where images have several, (N, K) booleans; then all figures are mean average precisions.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TEMPERATURE = 0.07  # of the weights of neighbors, as DINO has it
STRENGTHS = tuple(10.0**power for power in range(-5, 3))  # C of the linear classifier, the inverse of its weight decay
HELD = 0.25  # share of the labelled images by which C is chosen
STEPS = 2000  # of L-BFGS at most

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def by_neighbors(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, neighbors: int = 20, weighted: bool = False
) -> np.ndarray:
    """Predict the labels of test features from their nearest training features, by cosine.

    Args:
        train, test: (N, D) and (M, D).
        labels: (N,) integers, or (N, K) booleans.
        neighbors: how many of them.
        weighted: give each the weight exp(s / 0.07) of its similarity s instead of one vote (DINO, arXiv 2104.14294).

    Returns:
        Classes (M,), or the share of the neighbors' weights for each label (M, K).

    Raises:
        ValueError: for fewer training features than neighbors, or features with NaN.
    """
    check_features(train, test)
    if len(train) < neighbors:
        raise ValueError(
            f'{neighbors} nearest neighbors of {len(train)} labelled images: label at least as many, or ask for fewer'
        )
    kind = KNeighborsRegressor if labels.ndim == 2 else KNeighborsClassifier
    model = kind(neighbors, metric='cosine', weights=by_similarity if weighted else 'uniform')
    return np.asarray(model.fit(train, labels.astype(np.float64 if labels.ndim == 2 else np.int64)).predict(test))


def by_similarity(distances: np.ndarray) -> np.ndarray:
    """Weigh neighbors by exp(s / 0.07), from cosine distances 1 - s; relative to the nearest, which is exact."""
    nearest = distances.min(axis=1, keepdims=True)
    return np.exp((nearest - distances) / TEMPERATURE)


def by_linear_probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int = 0) -> np.ndarray:
    """Predict labels by a logistic regression on standardized features, fitted by L-BFGS.

    Its C is the one of :data:`STRENGTHS` that is best on a quarter of the labelled images, see
    :func:`choose_strength`; then all of them are fitted.

    Args:
        train, test: (N, D) and (M, D).
        labels: (N,) integers, or (N, K) booleans.
        seed: chooses the quarter.

    Returns:
        Classes (M,), or a score for each label (M, K).

    Raises:
        ValueError: for features with NaN, or a label that no labelled image has, or all have.
    """
    check_features(train, test)
    several = labels.ndim == 2
    if several and (alike := np.flatnonzero(labels.all(axis=0) | ~labels.any(axis=0))).size:
        raise ValueError(f'label {alike[0]} is that of all labelled images, or of none: nothing can be learned of it')
    return fit_linear(train, labels, choose_strength(train, labels, seed), test)


def choose_strength(train: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Choose C on a quarter of the labelled images, the smallest of equally good ones.

    Classes of fewer than four images are fitted and not held back; of several labels those count that some, not all of
    the fitted images have. Where too little is left, C is 1: see :func:`holds_back`.
    """
    if not holds_back(labels):
        return 1.0
    several = labels.ndim == 2
    large = np.arange(len(train)) if several else np.flatnonzero(held_back(labels))
    kept, held = train_test_split(large, test_size=HELD, random_state=seed, stratify=None if several else labels[large])
    kept = np.setdiff1d(np.arange(len(train)), held)
    if several:
        labels = labels[:, labels[kept].any(axis=0) & ~labels[kept].all(axis=0) & labels[held].any(axis=0)]
        if not labels.shape[1]:
            return 1.0
    measured = [score(labels[held], fit_linear(train[kept], labels[kept], each, train[held])) for each in STRENGTHS]
    return STRENGTHS[int(np.argmax(measured))]


def held_back(labels: np.ndarray) -> np.ndarray:
    """Tell of each image (N,) whether its class has enough of them that some are held back."""
    return np.bincount(labels)[labels] * HELD >= 1


def holds_back(labels: np.ndarray) -> bool:
    """Tell whether C is chosen: images of two classes can be held back, or there are four with several labels each."""
    return len(labels) * HELD >= 1 if labels.ndim == 2 else len(np.unique(labels[held_back(labels)])) > 1


def fit_linear(train: np.ndarray, labels: np.ndarray, strength: float, test: np.ndarray) -> np.ndarray:
    """Fit the classifier at one C; returns classes (M,), or a score for each label (M, K)."""
    model: Any = LogisticRegression(C=strength, max_iter=STEPS)
    if labels.ndim == 2:
        model = OneVsRestClassifier(model)
    probe = make_pipeline(StandardScaler(), model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', ConvergenceWarning)
        probe.fit(train, labels)
    if any(issubclass(each.category, ConvergenceWarning) for each in caught):
        print_log(f'a linear probe had not converged after {STEPS} steps (C={strength:g})', 'current', logging.WARNING)
    return np.asarray(probe.decision_function(test) if labels.ndim == 2 else probe.predict(test))


def few_labels(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose ``count`` images of each class (N,); returns their numbers.

    Raises:
        ValueError: for a class with fewer images.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for each in np.unique(labels):
        own = np.flatnonzero(labels == each)
        if len(own) < count:
            raise ValueError(f'class {each} has {len(own)} labelled images, fewer than the {count} asked for')
        chosen.append(rng.choice(own, count, replace=False))
    return np.concatenate(chosen)


def score(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of classes that are right, or of several labels the mean average precision."""
    return float(mean_average_precision(labels, predicted) if labels.ndim == 2 else np.mean(labels == predicted))


def mean_average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """Average the precisions of the labels that some image has (M, K), as scikit-learn computes them.

    Args:
        labels, scores: (M, K).
        weights: (R, M), how often each image counts, for R draws of a bootstrap at once; a draw may lack a label.

    Returns:
        The figure, or those of the draws (R,).
    """
    counted = np.ones((1, len(labels))) if weights is None else weights
    precisions = [precision_of_label(own, row, counted) for own, row in zip(labels.T, scores.T, strict=True)]
    found = np.nanmean(precisions, axis=0)
    return float(found[0]) if weights is None else found


def precision_of_label(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the average precision of one label (M,) under each of several weightings (R, M); NaN if none has it."""
    order = np.argsort(-scores, kind='stable')
    scores, weights = scores[order], weights[:, order]
    # of equal scores the last one counts: a threshold lets all of them in
    last = np.searchsorted(-scores, -scores, side='right') - 1
    hits = weights * labels[order]
    precision = hits.cumsum(axis=1)[:, last] / np.maximum(weights.cumsum(axis=1)[:, last], 1e-12)
    whole = hits.sum(axis=1)
    return (hits * precision).sum(axis=1) / np.where(whole > 0, whole, np.nan)


def check_features(*sets: np.ndarray, of: str = '', paths: Sequence[str] = ()) -> None:
    """Refuse features with NaN or inf, of which every figure would mean nothing; say whose, and of which image."""
    for features in sets:
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if bad.size:
            first = f'that of {paths[bad[0]]}' if paths else f'number {bad[0]}'
            raise ValueError(
                f'{f"{of}: " if of else ""}{bad.size} of {len(features)} feature vectors hold NaN or inf, the first is '
                f'{first}: the backbone is broken, or pixels are not normalized as in pre-training'
            )
