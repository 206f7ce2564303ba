"""Floors of the comparison, against counting pixel by pixel."""

import numpy as np
import pytest
import torch

from mmrs_ssl.evaluation.floors import color_histograms, histograms_of, standardized, statistics_of_bands


def test_color_histograms_by_counting():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    images[0, 0, 0], images[0, 0, 1] = (0, 0, 0), (255, 255, 255)
    found = color_histograms(images, bins=4)
    assert found.shape == (3, 64)
    for image, histogram in zip(images, found, strict=True):
        expected = np.zeros((4, 4, 4))
        for red, green, blue in image.reshape(-1, 3).tolist():
            expected[red // 64, green // 64, blue // 64] += 1 / 20
        np.testing.assert_allclose(histogram.numpy(), np.sqrt(expected).ravel(), rtol=1e-6)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert color_histograms(images).shape == (3, 512)


def test_histograms_of_pixels_are_those_of_pictures():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    torch.testing.assert_close(histograms_of((pixels + 0.2).clamp(max=255)), color_histograms(images))
    for other in (pixels[:, :2], pixels + 1.0, pixels - 1.0):
        with pytest.raises(ValueError, match=r'three bands between 0 and 255, these images have \d between'):
            histograms_of(other.float())


def test_statistics_of_bands_by_numpy():
    pixels = np.random.default_rng(0).normal(size=(3, 4, 7, 7)).astype(np.float32)
    found = statistics_of_bands(torch.from_numpy(pixels)).numpy()
    flat = pixels.reshape(3, 4, -1)
    expected = [flat.mean(axis=2), flat.std(axis=2, ddof=1), *np.quantile(flat, [0.05, 0.5, 0.95], axis=2)]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_standardized_by_the_first():
    train, test = np.array([[1.0, 5], [3, 5]]), np.array([[2.0, 7]])
    own, other = standardized(train, test)
    np.testing.assert_allclose(own, [[-1, 0], [1, 0]])
    np.testing.assert_allclose(other, [[0, 0]])  # of a constant nothing can be told
