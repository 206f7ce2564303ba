"""Data preprocessors leave what they are given as it is."""

import copy

import pytest
import torch

from mmrs_ssl.models.data_preprocessor import BandPreprocessor, ModalityPreprocessor

STATISTICS = dict(mean=[3.0, 5.0], std=[2.0, 4.0])


@pytest.mark.parametrize('memory_format', [torch.channels_last, torch.contiguous_format])
def test_a_batch_that_needs_no_conversion_is_not_written_into(memory_format):
    image = torch.randn(2, 2, 6, 4).contiguous(memory_format=memory_format)
    before = image.clone()
    expected = (image - torch.tensor([3.0, 5.0]).view(2, 1, 1)) / torch.tensor([2.0, 4.0]).view(2, 1, 1)
    one = BandPreprocessor(**STATISTICS)(dict(inputs=[image]))['inputs'][0]
    several = ModalityPreprocessor(dict(a=copy.deepcopy(STATISTICS)))(dict(inputs=dict(a=image)))['inputs']['a']
    for made in (one, several):
        torch.testing.assert_close(made, expected)
    assert torch.equal(image, before)
