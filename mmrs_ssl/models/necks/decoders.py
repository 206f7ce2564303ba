"""Decoders of mmpretrain's masked image models, told what a config says anyway: the image's size and its bands."""

from typing import Any

from mmpretrain.models import MAEPretrainDecoder, SimMIMLinearDecoder
from torch import nn

from mmrs_ssl.options import COUNT, check_numbers
from mmrs_ssl.registry import MODELS


@MODELS.register_module()
class SimMIMBandDecoder(SimMIMLinearDecoder):
    """Maps features (B, D, h, w) to images (B, bands, h * stride, w * stride) by one linear layer; of 3 bands the same.

    Args:
        in_channels: D.
        encoder_stride: pixels of the image per cell of the map.
        bands: of the image.
    """

    def __init__(self, in_channels: int, encoder_stride: int, bands: int) -> None:
        check_numbers(self, COUNT, in_channels=in_channels, encoder_stride=encoder_stride, bands=bands)
        super().__init__(in_channels, encoder_stride)
        if bands != 3:
            self.decoder[0] = nn.Conv2d(in_channels, encoder_stride**2 * bands, kernel_size=1)


@MODELS.register_module()
class MAEBandDecoder(MAEPretrainDecoder):
    """Decodes the patches of MAE, whose number follows from the size of the image.

    Args:
        img_size: side of the images in pixels, a multiple of ``patch_size``.
        patch_size: side of a patch in pixels.
        **kwargs: of mmpretrain's ``MAEPretrainDecoder`` (``in_chans`` is the number of bands).

    Raises:
        ValueError: for an image that is no whole number of patches.
    """

    def __init__(self, img_size: int = 224, patch_size: int = 16, **kwargs: Any) -> None:
        check_numbers(self, COUNT, img_size=img_size, patch_size=patch_size)
        if img_size % patch_size:
            near = max(round(img_size / patch_size), 1) * patch_size
            raise ValueError(
                f'MAE: images of {img_size} pixels are no whole number of patches of {patch_size}: take {near}'
            )
        super().__init__(num_patches=(img_size // patch_size) ** 2, patch_size=patch_size, **kwargs)
