"""Block masks: their share, their spread, their size, and what fills them."""

import math

import pytest
import torch

from mmrs_ssl.models.masks.blocks import block_grid, block_mask, fill_with_mean, upsample_mask


@pytest.mark.parametrize('ratio', [0.3, 0.6, 0.75])
def test_block_mask_masks_exactly_the_share_in_every_image(ratio):
    mask = block_mask(16, (7, 7), ratio)
    assert mask.dtype == torch.bool
    assert mask.flatten(1).sum(1).tolist() == [math.ceil(ratio * 49)] * 16
    assert not (mask[0] == mask[1]).all()


def test_block_mask_is_uniform():
    torch.manual_seed(0)
    draws = 20000
    share = block_mask(draws, (3, 3), 0.6).float().mean(0).flatten()  # 6 of 9
    deviation = (6 / 9 * 3 / 9 / draws) ** 0.5
    assert (share - 6 / 9).abs().max() < 4 * deviation


def test_block_mask_refuses_to_mask_everything():
    with pytest.raises(ValueError, match=r'mask_ratio=0\.9 masks 1 of 1 blocks'):
        block_mask(2, (1, 1), 0.9)


def test_crop_smaller_than_a_block():
    with pytest.raises(ValueError, match='view of 16 x 16 pixels cannot be cut into mask blocks of 32 x 32'):
        block_grid(16, 16, 32)
    assert block_grid(224, 96, 32) == (7, 3)


def test_upsample_and_fill():
    mask = torch.tensor([[[True, False], [False, False]]])
    pixels = upsample_mask(mask, (8, 8))
    assert pixels.shape == (1, 1, 8, 8)
    assert pixels[0, 0, :4, :4].all()
    assert pixels.sum() == 16
    view = torch.randn(1, 3, 8, 8)
    filled = fill_with_mean(view, pixels)
    torch.testing.assert_close(filled[0, :, 0, 0], view.mean((2, 3))[0])
    torch.testing.assert_close(filled[0, :, 4:, 4:], view[0, :, 4:, 4:])
