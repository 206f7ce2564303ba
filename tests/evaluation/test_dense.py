"""Dense probes on planted features, against plain loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import VisionTransformer
from torch import nn

from mmrs_ssl.evaluation import dense
from mmrs_ssl.evaluation.dense import dense_maps, height_probe, segmentation_probe
from tests.transfer.backbones import mine

CLASSES = 4


def iou_by_hand(labels, predicted, classes):
    """Mean over classes of intersection over union, pixel by pixel."""
    scores = []
    for each in range(classes):
        both = either = 0
        for label, found in zip(labels.flatten().tolist(), predicted.flatten().tolist(), strict=True):
            if label == 255:
                continue
            both += label == each and found == each
            either += label == each or found == each
        if either:
            scores.append(both / either)
    return sum(scores) / len(scores)


def scenes(count, seed, size=16, cell=4, noise=0.0):
    """Vertical stripes of classes, as wide as a cell; maps that have the class, mixed into eight features."""
    rng = torch.Generator().manual_seed(seed)
    columns = torch.randint(0, CLASSES, (count, 1, size // cell), generator=rng).expand(-1, size // cell, -1)
    mixed = torch.randn(CLASSES, 8, generator=torch.Generator().manual_seed(99))
    maps = mixed[columns].permute(0, 3, 1, 2) * 30 + 7
    maps = maps + noise * torch.randn(maps.shape, generator=rng)
    labels = columns.repeat_interleave(cell, 1).repeat_interleave(cell, 2).contiguous()
    return maps.contiguous(), labels


def test_planted_classes_are_found():
    train, test = scenes(24, 0), scenes(12, 1)
    score = segmentation_probe(*train, *test, CLASSES)
    assert score.predicted.shape == test[1].shape
    assert score.figure.value == pytest.approx(iou_by_hand(test[1], score.predicted, CLASSES))
    assert score.figure.value > 0.97


def test_one_feature_per_pixel_is_perfect():
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (20, 8, 8), generator=rng)
    maps = F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()
    score = segmentation_probe(maps[:12], labels[:12], maps[12:], labels[12:], CLASSES)
    assert score.figure == (1.0, 1.0, 1.0)
    assert torch.equal(score.predicted, labels[12:])


def test_noisy_features_and_their_interval():
    """The score of an independent loop; the interval is that of drawn images."""
    train, test = scenes(24, 0, noise=60), scenes(16, 1, noise=60)
    test[1][:, :3] = 255
    score = segmentation_probe(*train, *test, CLASSES)
    value, low, high = score.figure
    assert value == pytest.approx(iou_by_hand(test[1], score.predicted, CLASSES))
    assert 0.3 < low < value < high < 1
    rng, drawn = np.random.default_rng(3), []
    for _ in range(300):
        images = rng.integers(0, 16, 16)
        drawn.append(iou_by_hand(test[1][images], score.predicted[images], CLASSES))
    assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([low, high], abs=0.03)
    changed = test[1].clone()
    changed[:, :3] = torch.where(torch.rand(16, 3, 16) < 0.5, 255, changed[:, :3])
    assert torch.equal(score.predicted, segmentation_probe(*train, test[0], changed, CLASSES).predicted)


def test_random_labels_give_chance():
    """Guesses that are right once in K times have an IoU of 1 / (2 K - 1)."""
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(60, 6, 8, 8, generator=rng)
    labels = torch.randint(0, CLASSES, (60, 8, 8), generator=rng)
    score = segmentation_probe(maps[:40], labels[:40], maps[40:], labels[40:], CLASSES)
    assert 0.05 < score.figure.value < 1 / (2 * CLASSES - 1) + 0.03
    assert score.figure.low < score.figure.value < score.figure.high


def test_ignored_pixels_teach_nothing():
    train, test = scenes(24, 0, noise=30), scenes(8, 1, noise=30)
    labels = train[1].clone()
    labels[:, ::2] = 255
    wrong = labels.clone()
    maps = train[0].clone()
    maps[3] += 1000  # an image whose labels are all ignored
    wrong[3] = labels[3] = 255
    first = segmentation_probe(train[0], labels, *test, CLASSES)
    second = segmentation_probe(maps, wrong, *test, CLASSES)
    assert torch.equal(first.predicted, second.predicted)


def test_equal_arguments_give_equal_results(monkeypatch):
    monkeypatch.setattr(dense, 'PIXELS', 500)
    train, test = scenes(24, 0, noise=60), scenes(8, 1, noise=60)
    first, second, other = (segmentation_probe(*train, *test, CLASSES, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.predicted, second.predicted)
    assert first.figure == second.figure
    assert not torch.equal(first.predicted, other.predicted)


def test_as_many_pixels_of_every_image(monkeypatch):
    monkeypatch.setattr(dense, 'PIXELS', 240)
    maps, labels = scenes(24, 0)
    labels[5] = 255
    labels[6, 1:] = 255
    seen = []
    monkeypatch.setattr(
        dense, '_features_at', lambda maps, places, size: seen.append(places) or np.zeros((len(places), 1))
    )
    dense._draw(maps, labels, labels != 255, 0)
    assert [len(places) for places in seen] == [10] * 5 + [0, 10] + [10] * 17
    assert set(seen[6]) <= set(range(16))
    assert all(len(set(places)) == len(places) for places in seen)


def test_two_classes():
    maps, labels = scenes(30, 0)
    score = segmentation_probe(maps[:20], labels[:20] % 2, maps[20:], labels[20:] % 2, 2)
    assert score.figure.value == pytest.approx(iou_by_hand(labels[20:] % 2, score.predicted, 2))
    assert score.figure.value > 0.97


def heights(count, seed, cells=4, size=32, noise=0.0):
    """Maps, and heights that are linear in them and resized to pixels."""
    rng = torch.Generator().manual_seed(seed)
    maps = torch.randn(count, 6, cells, cells, generator=rng)
    weights = torch.tensor([3.0, -2.0, 0.5, 0.0, 1.0, 4.0])
    values = torch.einsum('ndhw,d->nhw', maps, weights)[:, None] + 20
    tall = F.interpolate(values, size=(size, size), mode='bilinear', align_corners=False)[:, 0]
    return maps, tall + noise * torch.randn(tall.shape, generator=rng)


def test_planted_heights_are_found():
    train, test = heights(30, 0), heights(10, 1)
    score = height_probe(*train, *test)
    assert score.figure.value < 0.01 < test[1].std()
    torch.testing.assert_close(score.predicted, test[1], atol=0.05, rtol=0)


def test_errors_of_heights_by_hand():
    train, test = heights(30, 0, noise=2), heights(10, 1, noise=2)
    test[1][2, :, :5] = math.nan
    test[1][3] = math.nan
    train[1][0, 0] = math.nan
    score = height_probe(*train, *test)
    total = number = 0
    for expected, found in zip(test[1].flatten().tolist(), score.predicted.flatten().tolist(), strict=True):
        if not math.isnan(expected):
            total, number = total + (expected - found) ** 2, number + 1
    assert number == 10 * 32 * 32 - 5 * 32 - 32 * 32
    assert score.figure.value == pytest.approx((total / number) ** 0.5, rel=1e-5)
    assert 1.9 < score.figure.low < score.figure.value < score.figure.high < 2.1


def test_heights_of_unrelated_features():
    train, test = heights(40, 0), heights(20, 1)
    rng = torch.Generator().manual_seed(5)
    score = height_probe(torch.randn(train[0].shape, generator=rng), train[1], torch.randn(test[0].shape), test[1])
    assert score.figure.value == pytest.approx(float(test[1].std()), rel=0.1)


def test_maps_of_class_tokens_and_averages():
    """mmpretrain's networks that return vectors are asked for their maps, and left as they were."""
    images = torch.randn(5, 3, 64, 64)
    for family, option in (('vit', dict(out_type='cls_token')), ('convnext', dict(gap_before_final_norm=True))):
        plain, vectors = mine(family), mine(family, **option)
        assert vectors(images)[-1].ndim == 2
        vectors.load_state_dict(plain.state_dict())
        vectors.train()
        found = dense_maps(vectors, images, batch_size=2)
        with torch.no_grad():
            torch.testing.assert_close(found, plain(images)[-1])
        assert vectors.training
        assert vectors(images)[-1].ndim == 2
        assert not found.requires_grad


def test_the_last_of_several_stages():
    backbone = mine('resnet', out_indices=(1, 3))
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(dense_maps(backbone, images), backbone(images)[1])


def test_networks_without_maps_are_refused():
    class Vectors(nn.Module):
        def forward(self, images):
            return (images.flatten(1),)

    backbone = Vectors().train()
    with pytest.raises(ValueError, match=r'Vectors returns \(2, 12\) of torch.float32, expected a map'):
        dense_maps(backbone, torch.zeros(2, 3, 2, 2))
    assert backbone.training
    vit = VisionTransformer(arch='deit-tiny', img_size=32, out_type='cls_token')
    with pytest.raises(RuntimeError, match='expected input'):
        dense_maps(vit, torch.zeros(2, 5, 32, 32))
    assert vit.out_type == 'cls_token'


def refused(message, probe=segmentation_probe, **changes):
    maps, labels = scenes(10, 0)
    given = dict(train_maps=maps, train_labels=labels, test_maps=maps, test_labels=labels)
    given |= dict(classes=CLASSES) if probe is segmentation_probe else {}
    given = {key.replace('labels', 'heights') if probe is height_probe else key: value for key, value in given.items()}
    with pytest.raises(ValueError, match=message):
        probe(**{**given, **changes})


def test_bad_input_is_refused():
    maps, labels = scenes(10, 0)
    absent = labels.masked_fill(labels == 2, 255)
    refused(r'class 2 has 0 training pixels, of \d+ drawn none is of it', train_labels=absent)
    refused('a test label is 4, expected 0 to 3, or 255', test_labels=labels.masked_fill(labels == 2, 4))
    broken = maps.clone()
    broken[3, 2, 1, 1] = math.nan
    refused('1 of 10 test maps hold NaN or inf, the first is number 3', test_maps=broken)
    refused('1 of 10 training maps hold NaN', height_probe, train_maps=broken, train_heights=labels.float())
    refused('labels of 15 x 16 pixels are not divided evenly by maps of 4 x 4', train_labels=labels[:, 1:])
    refused('training maps have 8 features, test maps 7', test_maps=maps[:, 1:])
    refused('expected .* of as many images', test_labels=labels[1:])
    refused('two at least', train_maps=maps[:1], train_labels=labels[:1])
    refused('^0 training pixels with a label', train_labels=torch.full_like(labels, 255))
    refused('all test pixels have the label 255', test_labels=torch.full_like(labels, 255))
    nothing = torch.full(labels.shape, math.nan)
    refused('no test pixel has a height', height_probe, test_heights=nothing, train_heights=labels.float())
