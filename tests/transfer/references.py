"""Tiny networks of timm and torchvision, what they compute, and mmpretrain's of the same architecture."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models import convnext as timm_convnext
from timm.models import resnet as timm_resnet
from timm.models import swin_transformer as timm_swin
from timm.models import vision_transformer as timm_vit
from torch import nn
from torchvision.models import convnext, resnet, swin_transformer, vision_transformer

from tests.transfer.backbones import last_map, mine, scramble

# All that a library's network may have and an exported backbone has not.
HEADS = re.compile(r'(fc|head|head\.fc|heads\.head|classifier\.2)\.(weight|bias)')
WIDTHS = (8, 16, 32, 64)


@dataclass(frozen=True)
class Pair:
    """A network of a library and mmpretrain's backbone that computes the same of an image.

    Args:
        reference: makes the library's network for so many bands.
        family: of the tests' backbones.
        changes: of mmpretrain's backbone of this family.
        size: height and width of the image.
        bands: of the image.
    """

    reference: Callable[[int], nn.Module]
    family: str
    changes: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (97, 131)
    bands: int = 3

    def network(self, seed: int = 0) -> nn.Module:
        """The library's, with weights that are all different."""
        return scramble(self.reference(self.bands), seed)

    def backbone(self, seed: int = 1, **changes: Any) -> nn.Module:
        """mmpretrain's, with weights that are all different."""
        return mine(self.family, seed, **{**self.changes, 'in_channels': self.bands, **changes})

    def image(self) -> torch.Tensor:
        """Two images."""
        return images(self.bands, self.size)


def timm_resnet_of(block: str, depths: tuple[int, ...], **options: Any) -> Callable[[int], nn.Module]:
    """timm's ResNet with stages an eighth as wide; its stem has 64 channels."""
    kind = getattr(timm_resnet, block)
    return lambda bands: timm_resnet.ResNet(kind, depths, 5, bands, channels=WIDTHS, **options)


def timm_vit_of(**options: Any) -> Callable[[int], nn.Module]:
    """timm's ViT."""
    sizes = dict(img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=5)
    return lambda bands: timm_vit.VisionTransformer(in_chans=bands, **{**sizes, **options})


def timm_swin_of(size: tuple[int, int], **options: Any) -> Callable[[int], nn.Module]:
    """timm's Swin for images of this size."""
    sizes = dict(embed_dim=8, depths=DEPTHS, num_heads=(1, 2, 4, 8), num_classes=5)
    return lambda bands: timm_swin.SwinTransformer(size, in_chans=bands, **{**sizes, **options})


def timm_convnext_of(**options: Any) -> Callable[[int], nn.Module]:
    """timm's ConvNeXt."""
    return lambda bands: timm_convnext.ConvNeXt(bands, 5, depths=(1, 1, 2, 1), dims=WIDTHS, **options)


def torchvisions_of(make: Callable[[], nn.Module], first: str) -> Callable[[int], nn.Module]:
    """A network of torchvision, whose first convolution is replaced where the image is not one of three bands."""

    def network(bands: int) -> nn.Module:
        found = make()
        old = found.get_submodule(first)
        if bands != old.in_channels:
            new = nn.Conv2d(
                bands, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
            )
            found.set_submodule(first, new)
        return found

    return network


def torchvision_swin(window: int, depths: tuple[int, ...]) -> Callable[[int], nn.Module]:
    """torchvision's Swin."""
    return torchvisions_of(
        lambda: swin_transformer.SwinTransformer(
            [4, 4], 8, list(depths), [1, 2, 4, 8], [window, window], num_classes=5
        ),
        'features.0.0',
    )


def torchvision_vit(size: int, patch: int) -> Callable[[int], nn.Module]:
    """torchvision's ViT."""
    return torchvisions_of(
        lambda: vision_transformer.VisionTransformer(size, patch, 2, 2, 32, 64, num_classes=5), 'conv_proj'
    )


def torchvision_convnext() -> nn.Module:
    """torchvision's ConvNeXt."""
    ends = (*WIDTHS[1:], None)
    stages = [convnext.CNBlockConfig(*sizes) for sizes in zip(WIDTHS, ends, (1, 1, 2, 1), strict=True)]
    return convnext.ConvNeXt(stages, num_classes=5)


class NarrowResNet(resnet.ResNet):
    """torchvision's ResNet with stages an eighth as wide, like timm's here."""

    def _make_layer(self, block: Any, planes: int, *args: Any, **options: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *args, **options)


def torchvision_resnet(block: str, depths: tuple[int, ...], width: int = 64) -> Callable[[int], nn.Module]:
    """torchvision's ResNet, whose bottlenecks are ``width / 64`` as wide as usual."""
    kind = getattr(resnet, block)
    return torchvisions_of(lambda: NarrowResNet(kind, list(depths), 5, width_per_group=width), 'conv1')


DEPTHS = (2, 2, 2, 2)
R18, R50 = (2, 2, 2, 2), (3, 4, 6, 3)


def resnet_changes(depth: int, base_channels: int = 8, **changes: Any) -> dict[str, Any]:
    """mmpretrain's ResNet with a stem of 64 channels."""
    return dict(depth=depth, stem_channels=64, base_channels=base_channels, **changes)


def vit_changes(**changes: Any) -> dict[str, Any]:
    """mmpretrain's ViT that gives all tokens."""
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    return dict(arch=arch, out_type='raw', **changes)


def swin_changes(window: int, depths: tuple[int, ...] = DEPTHS, **changes: Any) -> dict[str, Any]:
    """mmpretrain's Swin, with the original's windows on small maps."""
    arch = dict(embed_dims=8, depths=list(depths), num_heads=[1, 2, 4, 8])
    return dict(arch=arch, window_size=window, pad_small_map=False, **changes)


def convnext_changes(**changes: Any) -> dict[str, Any]:
    """mmpretrain's ConvNeXt, whose last norm comes after pooling as in the libraries."""
    return dict(arch=dict(depths=[1, 1, 2, 1], channels=list(WIDTHS)), gap_before_final_norm=True, **changes)


CORNER = dict(patch_cfg=dict(padding=0))  # the libraries cut off what is less than a patch
LONG = (64, 96)
PAIRS = {
    'timm, ResNet of basic blocks': Pair(timm_resnet_of('BasicBlock', R18), 'resnet', resnet_changes(18)),
    'timm, ResNet of bottlenecks': Pair(timm_resnet_of('Bottleneck', R50), 'resnet', resnet_changes(50), bands=13),
    'timm, wide ResNet': Pair(
        timm_resnet_of('Bottleneck', R50, base_width=128), 'resnet', resnet_changes(50, 16, expansion=2), bands=4
    ),
    'timm, ViT': Pair(timm_vit_of(), 'vit', vit_changes(), (64, 64)),
    'timm, ViT of oblong images': Pair(
        timm_vit_of(img_size=LONG, patch_size=8), 'vit', vit_changes(img_size=LONG, patch_size=8), LONG, bands=13
    ),
    'timm, ViT without biases of qkv': Pair(
        timm_vit_of(qkv_bias=False), 'vit', vit_changes(qkv_bias=False), (64, 64), bands=1
    ),
    'timm, ViT with layer scale': Pair(
        timm_vit_of(init_values=0.1), 'vit', vit_changes(layer_scale_init_value=0.1), (64, 64)
    ),
    'timm, ViT with a norm before': Pair(timm_vit_of(pre_norm=True), 'vit', vit_changes(pre_norm=True), (64, 64)),
    'timm, ViT without a class token': Pair(
        timm_vit_of(class_token=False, global_pool='avg', fc_norm=False),
        'vit',
        vit_changes(with_cls_token=False),
        (64, 64),
        bands=4,
    ),
    'timm, ViT that averages': Pair(
        timm_vit_of(global_pool='avg'), 'vit', vit_changes() | dict(out_type='avg_featmap', final_norm=False), (64, 64)
    ),
    'timm, Swin': Pair(timm_swin_of((64, 64), window_size=2), 'swin', swin_changes(2), (64, 64)),
    'timm, Swin of larger windows': Pair(
        timm_swin_of((192, 288), window_size=3), 'swin', swin_changes(3, img_size=(192, 288)), (192, 288), bands=13
    ),
    'timm, Swin of odd maps': Pair(
        timm_swin_of((100, 132), window_size=2, depths=(2, 2, 2, 1)), 'swin', swin_changes(2, (2, 2, 2, 1)), (100, 132)
    ),
    'timm, ConvNeXt': Pair(timm_convnext_of(), 'convnext', convnext_changes()),
    'timm, ConvNeXt of convolutions': Pair(
        timm_convnext_of(conv_mlp=True), 'convnext', convnext_changes(linear_pw_conv=False), bands=13
    ),
    'timm, ConvNeXt of the second kind': Pair(
        timm_convnext_of(use_grn=True, ls_init_value=None),
        'convnext',
        convnext_changes(use_grn=True, layer_scale_init_value=0.0),
    ),
    'torchvision, ResNet of basic blocks': Pair(
        torchvision_resnet('BasicBlock', R18), 'resnet', resnet_changes(18), bands=4
    ),
    'torchvision, wide ResNet': Pair(
        torchvision_resnet('Bottleneck', R50, 128), 'resnet', resnet_changes(50, 16, expansion=2)
    ),
    'torchvision, ViT': Pair(torchvision_vit(64, 16), 'vit', vit_changes(), (64, 64)),
    'torchvision, ViT of smaller patches': Pair(
        torchvision_vit(48, 8), 'vit', vit_changes(img_size=48, patch_size=8), (48, 48), bands=4
    ),
    'torchvision, Swin': Pair(torchvision_swin(2, DEPTHS), 'swin', swin_changes(2), (64, 64)),
    'torchvision, Swin of odd images': Pair(
        torchvision_swin(3, DEPTHS), 'swin', swin_changes(3, **CORNER), (205, 251), bands=13
    ),
    'torchvision, ConvNeXt': Pair(
        torchvisions_of(torchvision_convnext, 'features.0.0'), 'convnext', convnext_changes(), bands=13
    ),
}


def images(bands: int, size: tuple[int, int]) -> torch.Tensor:
    """Two images of noise, always the same."""
    return torch.randn(2, bands, *size, generator=torch.Generator().manual_seed(3))


def features(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """What a network makes of an image in double precision, before its classifier: a map, tokens or a vector."""
    network, image = copy.deepcopy(network).double(), image.double()
    with torch.no_grad():
        if isinstance(network, timm_vit.VisionTransformer) and isinstance(network.fc_norm, nn.Identity):
            return network.forward_features(image)  # all tokens
        if isinstance(network, timm_vit.VisionTransformer | timm_convnext.ConvNeXt):
            return network.forward_head(network.forward_features(image), pre_logits=True)
        if isinstance(network, timm_resnet.ResNet):
            return network.forward_features(image)
        if isinstance(network, timm_swin.SwinTransformer):
            return network.forward_features(image).permute(0, 3, 1, 2)
        if isinstance(network, convnext.ConvNeXt):
            return network.classifier[:2](network.avgpool(network.features(image)))
        if isinstance(network, vision_transformer.VisionTransformer):
            tokens = network._process_input(image)
            return network.encoder(torch.cat([network.class_token.expand(len(image), -1, -1), tokens], 1))
        return last_map(network, image)


def deviation(first: nn.Module, second: nn.Module, image: torch.Tensor) -> float:
    """How far the features of two networks are apart, in parts of their spread."""
    found, expected = features(first, image), features(second, image)
    assert found.shape == expected.shape
    assert expected.std() > 1e-3
    return float((found - expected).abs().max() / expected.std())
