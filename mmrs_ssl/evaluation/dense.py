"""Measure what a frozen backbone's maps say about every place: land cover and heights, by one linear layer.

A linear layer and bilinear resizing can be exchanged. So the layer is fitted to pixels, each with the maps' features
interpolated at its center, which is the same as training on logits that are resized to the labels. Majority labels of
cells, the other way, would leave out whatever is smaller than a cell: of 32 pixels, as ResNets have them, all cars.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor, nn

from mmrs_ssl.evaluation.intervals import Figure, figure_of

IGNORED = 255  # label of pixels that count nowhere
PIXELS = 50_000  # at most, that a layer is fitted to
STRENGTHS = tuple(10.0**power for power in range(-5, 1))  # C, the inverse of the weight decay beside so many pixels
DECAYS = tuple(10.0**power for power in range(7))  # alpha, of heights
HELD = 0.2  # share of the training images by which one of these is chosen
STEPS = 5000  # of L-BFGS at most
_PART = 64  # images whose logits are in memory at a time
# Attributes of mmpretrain's classes that say what they return, and the value for maps.
_MAPS = dict(out_type='featmap', gap_before_final_norm=False)

Layer = tuple[Tensor, Tensor]  # weights (K, D) and biases (K,)


class DenseScore(NamedTuple):
    """What a probe makes of the test images.

    Args:
        predicted: (M, H, W), classes or heights, of the labels' size.
        figure: mIoU in [0, 1] or RMSE in metres, with its 95 % interval over the images.
    """

    predicted: Tensor
    figure: Figure


class _Pixels(NamedTuple):
    vectors: np.ndarray  # (n, D) float32
    targets: np.ndarray  # (n,)
    held: np.ndarray  # (n,) bool: of the images by which the weight decay is chosen


@torch.no_grad()
def dense_maps(backbone: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """Compute the last feature map of normalized images; of a ViT whatever it returns the map of its patch tokens.

    Args:
        backbone: returns a tuple whose last element is a map (B, D, h, w), or is one of mmpretrain's that can.
        images: (N, C, H, W), float32, normalized.

    Returns:
        (N, D, h, w) float32 on the CPU; computed in evaluation mode, which is undone afterwards.

    Raises:
        ValueError: if the backbone returns no map.
    """
    training = backbone.training
    found = []
    with _returning_maps(backbone):
        backbone.eval()
        try:
            for part in images.split(batch_size):
                maps = backbone(part)[-1]
                if maps.ndim != 4 or not maps.is_floating_point():
                    raise ValueError(
                        f'{type(backbone).__name__} returns {tuple(maps.shape)} of {maps.dtype}, expected a map '
                        '(B, D, h, w): give a network without a head; for MAE and SimMIM the class that does not mask'
                    )
                found.append(maps.float().cpu())
        finally:
            backbone.train(training)
    return torch.cat(found)


@contextmanager
def _returning_maps(backbone: nn.Module) -> Iterator[None]:
    """Let a network of mmpretrain return maps in place of class tokens or averages, for a while."""
    before = {name: getattr(backbone, name) for name in _MAPS if hasattr(backbone, name)}
    try:
        for name in before:
            setattr(backbone, name, _MAPS[name])
        yield
    finally:
        for name, value in before.items():
            setattr(backbone, name, value)


def segmentation_probe(
    train_maps: Tensor, train_labels: Tensor, test_maps: Tensor, test_labels: Tensor, classes: int, seed: int = 0
) -> DenseScore:
    """Predict classes by logistic regression on standardized features of single pixels, fitted by L-BFGS.

    Its C is the one of :data:`STRENGTHS` with the best mIoU on a fifth of the training images.

    Args:
        train_maps, test_maps: (N, D, h, w) and (M, D, h, w), float32.
        train_labels, test_labels: (N, H, W) and (M, H, W) integers below ``classes``, or 255 where they count nowhere;
            H and W are multiples of h and w.
        classes: their number K.
        seed: of the draw of at most 50,000 pixels, the same number from every image.

    Returns:
        Classes (M, H, W), and the mean over classes of intersection over union, summed over the test images; a class
        that is neither labelled nor predicted there does not count.

    Raises:
        ValueError: for maps with NaN or of sizes that do not fit the labels, and a class without training pixels.
    """
    train_labels, test_labels = train_labels.long(), test_labels.long()
    for name, labels in (('training', train_labels), ('test', test_labels)):
        wrong = labels[(labels != IGNORED) & ((labels < 0) | (labels >= classes))]
        if len(wrong):
            raise ValueError(f'a {name} label is {int(wrong[0])}, expected 0 to {classes - 1}, or {IGNORED} for none')
    _check_maps(train_maps, train_labels, test_maps, test_labels)
    if not bool((test_labels != IGNORED).any()):
        raise ValueError(f'all test pixels have the label {IGNORED}, which counts nowhere; expected classes')
    drawn = _draw(train_maps, train_labels, train_labels != IGNORED, seed)
    counts = torch.bincount(train_labels[train_labels != IGNORED], minlength=classes).tolist()
    for label in sorted(set(range(classes)) - set(drawn.targets.tolist())):
        raise ValueError(
            f'class {label} has {counts[label]} training pixels, of {len(drawn.targets)} drawn none is of it: give '
            f'more images of it, or label it {IGNORED} in all'
        )
    mean, std = _statistics(drawn.vectors)
    vectors, held = (drawn.vectors - mean) / std, drawn.held
    model, scores = LogisticRegression(max_iter=STEPS, warm_start=True), []  # each goes on from the last
    for strength in STRENGTHS:
        weight, bias = _fit_classes(model.set_params(C=strength), vectors[~held], drawn.targets[~held], classes)
        logits = vectors[held] @ weight.numpy().T + bias.numpy()
        scores.append(miou(_confusion(drawn.targets[held], logits.argmax(axis=1), classes)[None]))
    strength = STRENGTHS[int(np.argmax(scores))]  # the smallest of equally good ones
    layer = _fit_classes(LogisticRegression(C=strength, max_iter=STEPS), vectors, drawn.targets, classes)
    predicted = _predict(test_maps, layer, mean, std, test_labels, lambda logits: logits.argmax(dim=1))
    pairs = zip(test_labels.numpy(), predicted.numpy(), strict=True)
    confusions = [_confusion(labels[labels != IGNORED], found[labels != IGNORED], classes) for labels, found in pairs]
    return DenseScore(predicted, figure_of(np.stack(confusions), miou))


def height_probe(
    train_maps: Tensor, train_heights: Tensor, test_maps: Tensor, test_heights: Tensor, seed: int = 0
) -> DenseScore:
    """Predict heights by ridge regression on standardized features of single pixels.

    Its alpha is the one of :data:`DECAYS` with the lowest error on a fifth of the training images.

    Args:
        train_maps, test_maps: (N, D, h, w) and (M, D, h, w), float32.
        train_heights, test_heights: (N, H, W) and (M, H, W) in metres, NaN where they count nowhere.
        seed: of the draw of pixels, as of :func:`segmentation_probe`.

    Returns:
        Heights (M, H, W), and the root of the mean squared error over all test pixels.

    Raises:
        ValueError: for maps with NaN or of sizes that do not fit the heights, and images without any height.
    """
    _check_maps(train_maps, train_heights, test_maps, test_heights)
    if not bool(test_heights.isfinite().any()):
        raise ValueError('no test pixel has a height (all are NaN or inf), expected metres')
    drawn = _draw(train_maps, train_heights, train_heights.isfinite(), seed)
    mean, std = _statistics(drawn.vectors)
    vectors, held = (drawn.vectors - mean) / std, drawn.held
    errors = []
    for decay in DECAYS:
        weight, bias = _fit_heights(vectors[~held], drawn.targets[~held], decay)
        errors.append(np.mean((vectors[held] @ weight.numpy()[0] + bias.numpy() - drawn.targets[held]) ** 2))
    layer = _fit_heights(vectors, drawn.targets, DECAYS[int(np.argmin(errors))])
    predicted = _predict(test_maps, layer, mean, std, test_heights, lambda heights: heights[:, 0])
    squares = (predicted.double() - test_heights) ** 2
    valid = test_heights.isfinite()
    sums = torch.stack((squares.where(valid, 0).sum(dim=(1, 2)), valid.sum(dim=(1, 2)).double()), dim=1)
    return DenseScore(predicted, figure_of(sums.numpy(), lambda rows: float(np.sqrt(np.divide(*rows.sum(axis=0))))))


def miou(confusions: np.ndarray) -> float:
    """Compute the mean IoU of images' counts of pixels (N, K, K), by label and prediction, summed over the images."""
    total = confusions.sum(axis=0)
    hits = total.diagonal()
    unions = total.sum(axis=0) + total.sum(axis=1) - hits
    return float(np.mean(hits[unions > 0] / unions[unions > 0]))


def _confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def _check_maps(train_maps: Tensor, train: Tensor, test_maps: Tensor, test: Tensor) -> None:
    if train_maps.shape[1] != test_maps.shape[1]:
        raise ValueError(f'training maps have {train_maps.shape[1]} features, test maps {test_maps.shape[1]}')
    for name, maps, labels in (('training', train_maps, train), ('test', test_maps, test)):
        if maps.ndim != 4 or labels.ndim != 3 or len(maps) != len(labels) or len(maps) < 2:
            raise ValueError(
                f'{name} maps {tuple(maps.shape)} and labels {tuple(labels.shape)}, expected (N, D, h, w) and '
                '(N, H, W) of as many images, two at least'
            )
        if labels.shape[1] % maps.shape[2] or labels.shape[2] % maps.shape[3]:
            raise ValueError(
                f'{name} labels of {labels.shape[1]} x {labels.shape[2]} pixels are not divided evenly by maps of '
                f'{maps.shape[2]} x {maps.shape[3]} cells: crop images and labels to multiples of the stride'
            )
        bad = (~maps.isfinite().flatten(1).all(dim=1)).nonzero()
        if len(bad):
            raise ValueError(
                f'{len(bad)} of {len(maps)} {name} maps hold NaN or inf, the first is number {int(bad[0])}: the '
                'backbone is broken, or pixels are not normalized as in pre-training'
            )


def _draw(maps: Tensor, targets: Tensor, valid: Tensor, seed: int) -> _Pixels:
    """Draw as many valid pixels from every image, and interpolate the features at each."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(maps))
    held_images = set(order[: max(1, round(HELD * len(maps)))].tolist())
    share = max(1, PIXELS // len(maps))
    vectors, values, held = [], [], []
    for number in sorted(order[:PIXELS].tolist()):
        places = valid[number].flatten().nonzero()[:, 0].numpy()
        places = np.sort(rng.choice(places, share, replace=False)) if len(places) > share else places
        vectors.append(_features_at(maps[number], places, targets.shape[1:]))
        values.append(targets[number].flatten().numpy()[places])
        held.append(np.full(len(places), number in held_images))
    pixels = _Pixels(np.concatenate(vectors), np.concatenate(values), np.concatenate(held))
    if not pixels.held.any() or pixels.held.all():
        raise ValueError(
            f'{len(pixels.held)} training pixels with a label, {int(pixels.held.sum())} of them in the images by which '
            'the weight decay is chosen: label more images'
        )
    return pixels


def _features_at(maps: Tensor, places: np.ndarray, size: torch.Size) -> np.ndarray:
    """Interpolate a map (D, h, w) at pixels of an image of a size, given by number: (n, D), as F.interpolate does."""
    rows, columns = np.divmod(places, size[1])
    centers = np.stack(((2 * columns + 1) / size[1] - 1, (2 * rows + 1) / size[0] - 1), axis=-1)
    grid = torch.from_numpy(centers).to(maps.dtype)[None, None]
    found = F.grid_sample(maps[None], grid, mode='bilinear', padding_mode='border', align_corners=False)
    return np.ascontiguousarray(found[0, :, 0].T.numpy())


def _statistics(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    std = vectors.std(axis=0)
    return vectors.mean(axis=0), np.where(std > 0, std, 1).astype(vectors.dtype)


def _fit_classes(model: LogisticRegression, vectors: np.ndarray, labels: np.ndarray, classes: int) -> Layer:
    """Fit logits; those of classes that none of the vectors has are far below the others."""
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f'all {len(labels)} training pixels (without those held back) are of class {labels[0]}, expected two '
            'classes at least: give more images'
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', ConvergenceWarning)
        model.fit(vectors, labels)
    if any(issubclass(each.category, ConvergenceWarning) for each in caught):
        print_log(f'a dense probe had not converged after {STEPS} steps (C={model.C:g})', 'current', logging.WARNING)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one logit, of the second class
        weight, bias = np.concatenate((0 * weight, weight)), np.concatenate((0 * bias, bias))
    layer = torch.zeros(classes, vectors.shape[1]), torch.full((classes,), -1e9)
    for whole, found in zip(layer, (weight, bias), strict=True):
        whole[torch.from_numpy(model.classes_)] = torch.from_numpy(found).float()
    return layer


def _fit_heights(vectors: np.ndarray, heights: np.ndarray, decay: float) -> Layer:
    model = Ridge(alpha=decay).fit(vectors, heights)
    return torch.from_numpy(model.coef_).float()[None], torch.tensor([float(model.intercept_)])


def _predict(
    maps: Tensor,
    layer: Layer,
    mean: np.ndarray,
    std: np.ndarray,
    like: Tensor,
    finish: Callable[[Tensor], Tensor],
) -> Tensor:
    """Apply a linear layer to standardized maps and resize its results bilinearly to labels (M, H, W)."""
    shift, scale = (torch.from_numpy(each).view(-1, 1, 1) for each in (mean, std))
    found = []
    for part in maps.split(_PART):
        cells = F.conv2d((part - shift) / scale, layer[0][:, :, None, None], layer[1])
        found.append(finish(F.interpolate(cells, size=like.shape[1:], mode='bilinear', align_corners=False)))
    return torch.cat(found)
