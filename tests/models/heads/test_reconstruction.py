"""The head that reconstructs pixels: where cells go, and a stride that does not fit."""

import pytest
import torch
from torch import nn

from mmrs_ssl.models import PixelReconstructionHead


def test_pixel_shuffle_puts_cells_where_they_belong():
    head = PixelReconstructionHead(in_channels=2, bands=5, stride=4)
    nn.init.zeros_(head.decoder.weight)
    nn.init.zeros_(head.decoder.bias)
    with torch.no_grad():
        head.decoder.weight[:, 0] = 1
    feature_map = torch.zeros(1, 2, 3, 3)
    feature_map[0, 0, 1, 2] = 1
    image = head(feature_map)
    assert image.shape == (1, 5, 12, 12)
    assert (image[0, :, 4:8, 8:12] == 1).all()
    assert image.sum() == 5 * 16


def test_decoder_of_another_stride():
    head = PixelReconstructionHead(in_channels=2, stride=32)
    view, mask = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    words = r'is \(1, 3, 128, 128\), the view \(1, 3, 64, 64\): .*reconstruction_head\.stride=32 pixels .*e\.g\. 64'
    with pytest.raises(ValueError, match=words):
        head.loss(head(torch.randn(1, 2, 4, 4)), view, mask)
