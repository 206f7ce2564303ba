"""Floors of the comparison, against counting pixel by pixel."""

import numpy as np
import torch

from mmrs_ssl.evaluation.floors import color_histograms


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
