"""Project to scores over prototypes, by an MLP with a bottleneck: the head of self-distillation."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mmrs_ssl.models.batch_norms import is_batch_norm
from mmrs_ssl.ops.pointwise import PointwiseLinear
from mmrs_ssl.options import COUNT, Number, check_numbers, check_switches
from mmrs_ssl.registry import MODELS


@MODELS.register_module()
class PrototypeHead(BaseModule):
    """Three-layer MLP (GELU), L2 norm, weight-normalized linear layer of prototypes.

    On a feature map its layers are 1x1 convolutions; cells are passed as rows here, which computes the same.

    Args:
        in_channels: width C of the input.
        hidden_channels: width of the two hidden layers.
        bottleneck_channels: width before the prototypes.
        num_prototypes: K, width of the output, 2 at least.
        batch_norm: normalize after the hidden layers (over all rows of a call).
        learn_gain: let the prototypes' gain train; otherwise every prototype is a unit vector.

    Source: DINO (arXiv 2104.14294), section 3.1 and appendix C.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        num_prototypes: int = 2048,
        batch_norm: bool = False,
        learn_gain: bool = False,
    ) -> None:
        super().__init__()
        widths = dict(hidden_channels=hidden_channels, bottleneck_channels=bottleneck_channels)
        check_numbers(self, COUNT, in_channels=in_channels, **widths)
        check_numbers(self, Number(2, whole=True), num_prototypes=num_prototypes)  # of one the softmax is always 1
        check_switches(self, batch_norm=batch_norm, learn_gain=learn_gain)
        self.num_prototypes = num_prototypes
        layers: list[nn.Module] = []
        for width_in, width_out in ((in_channels, hidden_channels), (hidden_channels, hidden_channels)):
            layers.append(PointwiseLinear(width_in, width_out))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width_out))
            layers.append(nn.GELU())
        layers.append(PointwiseLinear(hidden_channels, bottleneck_channels))
        self.mlp = nn.Sequential(*layers)
        last = PointwiseLinear(bottleneck_channels, num_prototypes, bias=False)
        for module in (*self.mlp, last):
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.last_layer = weight_norm(last)
        gain = self.last_layer.parametrizations.weight.original0
        gain.data.fill_(1)
        gain.requires_grad_(learn_gain)

    def forward(self, rows: Tensor, groups: int = 1) -> Tensor:
        """Compute scores of rows (N, C) over the prototypes: (N, K).

        With ``groups`` above 1 the rows are that many equal sets, and BatchNorm normalizes each by itself, as if the
        head were called once for each.
        """
        for layer in self.mlp:
            apart = groups > 1 and is_batch_norm(layer)
            rows = torch.cat([layer(group) for group in rows.chunk(groups)]) if apart else layer(rows)
        return self.last_layer(F.normalize(rows, dim=-1))
