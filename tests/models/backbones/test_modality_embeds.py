"""Embedding of a modality's patches, all or some, against the backbone's own convolution."""

import pytest
import torch

from mmrs_ssl.models.backbones.modality_embeds import embed_modality
from mmrs_ssl.models.backbones.packed_vit import embed
from tests.conftest import build_mssdf


@pytest.mark.parametrize('size', [(64, 64), (48, 96)])
@pytest.mark.parametrize(('share', 'bands'), [(True, 1), (True, 3), (False, 1)])
def test_patches_are_embedded_as_by_the_convolution(share, bands, size):
    """A single band repeated, some of the places alone, images of another size than usual."""
    model = build_mssdf(dict(rgb=3, dsm=1), share_patch_embed=share)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    backbone, name = model.backbone, 'rgb' if bands == 3 else 'dsm'
    image = torch.randn(2, bands, *size)
    if not share:
        backbone.patch_embed = model.patch_embeds['dsm']
    expected = embed(backbone, image.expand(-1, backbone.patch_embed.projection.in_channels, -1, -1))
    found = embed_modality(backbone, model.patch_embeds, name, image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    places = torch.tensor([[0, 5, 7], [3, 4, 11]])
    some = embed_modality(backbone, model.patch_embeds, name, image, places)
    rows = torch.arange(2)[:, None]
    torch.testing.assert_close(some[:, 1:], expected[:, 1:][rows, places], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some[:, 0], expected[:, 0], rtol=0, atol=0)
