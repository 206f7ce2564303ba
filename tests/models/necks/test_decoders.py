"""Decoders for any number of bands and any size: what mmpretrain's do where those can be asked."""

import pytest
import torch
from mmpretrain.models import MAEPretrainDecoder, SimMIMLinearDecoder

from mmrs_ssl.models import MAEBandDecoder, SimMIMBandDecoder


def test_three_bands_are_mmpretrains():
    own, other = SimMIMBandDecoder(8, 4, bands=3), SimMIMLinearDecoder(8, 4)
    other.load_state_dict(own.state_dict())
    features = torch.randn(2, 8, 3, 3)
    assert torch.equal(own(features), other(features))


def test_each_pixel_of_each_band_is_a_linear_function_of_its_cell():
    decoder, features = SimMIMBandDecoder(8, 4, bands=5), torch.randn(2, 8, 3, 2)
    image = decoder(features)
    assert image.shape == (2, 5, 12, 8)
    weight, bias = decoder.decoder[0].weight[:, :, 0, 0], decoder.decoder[0].bias
    for band, row, column in ((0, 0, 0), (3, 5, 6), (4, 11, 7)):
        which = band * 16 + row % 4 * 4 + column % 4
        expected = features[:, :, row // 4, column // 4] @ weight[which] + bias[which]
        torch.testing.assert_close(image[:, band, row, column], expected)


def test_patches_follow_from_the_size():
    sizes = dict(embed_dim=8, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2, in_chans=5)
    own = MAEBandDecoder(img_size=48, patch_size=16, **sizes)
    other = MAEPretrainDecoder(num_patches=9, patch_size=16, **sizes)
    own.init_weights()
    other.load_state_dict(own.state_dict())
    tokens, places = torch.randn(2, 4, 8), torch.stack([torch.randperm(9), torch.randperm(9)])
    assert torch.equal(own(tokens, places), other(tokens, places))
    assert own(tokens, places).shape == (2, 9, 16 * 16 * 5)
    with pytest.raises(ValueError, match=r'images of 50 pixels are no whole number of patches of 16: take 48'):
        MAEBandDecoder(img_size=50, patch_size=16, **sizes)
