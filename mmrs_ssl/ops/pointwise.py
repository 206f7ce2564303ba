"""Linear layers and 1x1 convolutions computed as the convolution of one tall image."""

import torch.nn.functional as F
from torch import Tensor, nn

MANY_ROWS = 128


class PointwiseLinear(nn.Linear):
    """A linear layer computed, on the CPU and for many rows, as the 1x1 convolution that the published head uses.

    oneDNN's convolution of one tall image takes about two thirds of the time of the matrix product; for a few rows and
    many prototypes its gradient takes twice that time.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """Map (N, C) to (N, D)."""
        if rows.device.type != 'cpu' or len(rows) < MANY_ROWS:
            return super().forward(rows)
        tall = rows[None, :, None, :].permute(0, 3, 1, 2)  # (1, C, N, 1), channels-last without a copy
        return F.conv2d(tall, self.weight[:, :, None, None], self.bias)[0, :, :, 0].mT


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution of many small maps, computed as that of one tall image.

    On the CPU the convolution of many small maps costs half as much again.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, N, M) to (B, D, N, M), channels-last in memory."""
        batch, _, rows, columns = maps.shape
        tall = maps.permute(0, 2, 3, 1).reshape(1, batch * rows * columns, 1, -1).permute(0, 3, 1, 2)
        return super().forward(tall).permute(0, 2, 3, 1).reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)
