"""Start a backbone otherwise than mmpretrain does."""

from typing import Any

from mmengine.model import PretrainedInit
from mmengine.model.weight_init import trunc_normal_
from torch import nn

TOKENS = ('cls_token', 'pos_embed')


def start_truncated(backbone: nn.Module, std: float) -> None:
    """Draw weights of linear and convolution layers, class token and positions anew; set biases of layers to 0.

    An ``init_cfg`` cannot ask for it: mmengine initializes a network before its layers, and those of mmpretrain's ViT
    then draw their feed-forward weights as they like.

    Args:
        backbone: whose other weights (norms) stay.
        std: of the normal distribution, truncated at -2 and 2.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name in TOKENS:
        if isinstance(token := getattr(backbone, name, None), nn.Parameter):
            trunc_normal_(token, std=std)


def from_file(init_cfg: Any) -> bool:
    """Tell whether an ``init_cfg``, one or a list, takes weights from a file."""
    each = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    return any(cfg and cfg['type'] in ('Pretrained', PretrainedInit) for cfg in each)
