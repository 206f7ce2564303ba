"""Reconstruct pixels of any number of bands from the last feature map."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrs_ssl.models.losses import masked_focal_l1, spectral_reconstruction
from mmrs_ssl.ops.pointwise import PointwiseConv2d
from mmrs_ssl.options import COUNT, NOT_NEGATIVE, check_numbers
from mmrs_ssl.registry import MODELS


@MODELS.register_module()
class PixelReconstructionHead(BaseModule):
    """1x1 convolution to ``stride * stride * bands`` channels, then pixel shuffle to the view's resolution.

    Args:
        in_channels: channels of the last map.
        bands: bands C of the image.
        stride: pixels per cell of the last map (32 for ResNet, Swin and ConvNeXt, 16 for ViT).
        spectral_weight: weight of the focal frequency loss beside the focal L1.

    Source: CMID, section III-B (as SimMIM's decoder, arXiv 2111.09886, for any number of bands).
    """

    def __init__(self, in_channels: int, bands: int = 3, stride: int = 32, spectral_weight: float = 1.0) -> None:
        super().__init__()
        check_numbers(self, COUNT, in_channels=in_channels, bands=bands, stride=stride)
        check_numbers(self, NOT_NEGATIVE, spectral_weight=spectral_weight)
        self.decoder = PointwiseConv2d(in_channels, stride**2 * bands)
        self.shuffle = nn.PixelShuffle(stride)
        self.spectral_weight = spectral_weight

    def forward(self, feature_map: Tensor) -> Tensor:
        """Decode (B, in_channels, N, N) to (B, bands, N * stride, N * stride), in units of the normalized view."""
        return self.shuffle(self.decoder(feature_map))

    def loss(self, pred: Tensor, view: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Compute the spatial and the spectral loss of one view.

        Args:
            pred, view: (B, bands, H, W); the view is the unmasked, normalized one.
            mask: (B, 1, H, W), True = masked.
        """
        if pred.shape != view.shape:
            stride = self.shuffle.upscale_factor
            raise ValueError(
                f'the reconstruction is {tuple(pred.shape)}, the view {tuple(view.shape)}: views have to be whole '
                f'numbers of model.reconstruction_head.stride={stride} pixels high and wide (e.g. '
                f'{max(round(view.shape[-1] / stride), 1) * stride}), and this the stride of the last map'
            )
        pred = pred.float()
        return dict(
            loss_spatial=masked_focal_l1(pred, view, mask),
            loss_spectral=self.spectral_weight * spectral_reconstruction(pred, view, mask),
        )
