"""Tiny backbones of all libraries, of the same architectures, with weights that are all different."""

import copy

import mmdet.models  # noqa: F401
import mmpretrain.models  # noqa: F401
import mmseg.models  # noqa: F401
import torch
from mmdet.registry import MODELS as DETECTION
from mmpretrain.registry import MODELS as CLASSIFICATION
from mmseg.registry import MODELS as SEGMENTATION
from torch import nn
from torchvision.models import convnext, resnet, swin_transformer, vision_transformer

from tests.conftest import BACKBONES

REGISTRIES = dict(mmpretrain=CLASSIFICATION, mmseg=SEGMENTATION, mmdet=DETECTION)
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), window_size=2)
NORM = dict(type='LN', eps=1e-6)
# The counterparts, in mmseg and mmdet, of the families of the tests' conftest.
COUNTERPARTS = dict(
    resnet=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    deep_stem=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, deep_stem=True),
    swin=SWIN,
    vit=dict(
        type='VisionTransformer',
        img_size=64,
        patch_size=16,
        embed_dims=64,
        num_layers=2,
        num_heads=2,
        mlp_ratio=1,
        patch_bias=True,
        norm_cfg=NORM,
        final_norm=True,
    ),
)


def build(library, config, seed=0, **changes):
    """A backbone of an OpenMMLab library, or of the one that its type names, ready for evaluation."""
    config = {**config, **changes}
    kind = config['type']
    return scramble(REGISTRIES[library].build({**config, 'type': kind if '.' in kind else f'{library}.{kind}'}), seed)


def mine(family, seed=0, **changes):
    """mmpretrain's backbone of a family."""
    if family == 'deep_stem':
        family, changes = 'resnet', dict(deep_stem=True, **changes)
    return build('mmpretrain', BACKBONES[family][0], seed, **changes)


def scramble(module, seed):
    """No two weights of a module are equal or trivial, so that a mistaken name or order shows."""
    rng = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 2, generator=rng)
        elif value.is_floating_point():
            value.normal_(std=0.3, generator=rng)
            if value.ndim == 1 and name.endswith('weight'):
                value.add_(1)
    module.eval()
    return module


def torchvisions(family, seed=0):
    """torchvision's network of a family, of the same size as mmpretrain's of :func:`counterpart`."""
    if family == 'resnet':
        network = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=5)
    elif family == 'swin':
        network = swin_transformer.SwinTransformer([4, 4], 8, [1, 1, 2, 1], [1, 2, 4, 8], [2, 2], num_classes=5)
    elif family == 'vit':
        network = vision_transformer.VisionTransformer(64, 16, 2, 2, 64, 64, num_classes=5)
    else:
        sizes = ((8, 16), (16, 32), (32, 64), (64, None))
        network = convnext.ConvNeXt([convnext.CNBlockConfig(*size, 1) for size in sizes], num_classes=5)
    return scramble(network, seed)


def counterpart(family, seed=1, **changes):
    """mmpretrain's backbone that takes the weights of :func:`torchvisions`."""
    if family == 'resnet':
        changes = dict(stem_channels=64, base_channels=64, **changes)
    return mine(family, seed, **changes)


def last_map(network, image):
    """The last output of a backbone; of torchvision's networks what they compute before they pool: (B, C, H, W)."""
    with torch.no_grad():
        if isinstance(network, resnet.ResNet):
            return nn.Sequential(*list(network.children())[:-2])(image)
        if isinstance(network, swin_transformer.SwinTransformer):
            return network.permute(network.norm(network.features(image)))
        if isinstance(network, vision_transformer.VisionTransformer):
            tokens = network._process_input(image)
            tokens = network.encoder(torch.cat([network.class_token.expand(len(image), -1, -1), tokens], 1))
            return tokens[:, 1:].mT.unflatten(2, (4, 4))
        if isinstance(network, convnext.ConvNeXt):
            return network.classifier[0](network.features(image))
        return network(image)[-1]


def agree(first, second, image, exact=1e-5):
    """The last outputs of two networks are equal; in double precision, so that only the weights can differ."""
    found, expected = (last_map(copy.deepcopy(network).double(), image.double()) for network in (first, second))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=exact, atol=exact)


def save(weights, path, **others):
    """Write a state dict as a Runner does."""
    torch.save(dict(state_dict=weights, **others), path)
    return path


def under(prefix, weights):
    """A state dict with something before its names."""
    return {f'{prefix}{key}': value for key, value in weights.items()}


def weights_of(module):
    """A copy of a state dict, without the buffers that follow from the architecture."""
    left_out = ('relative_position_index', 'attn_mask')
    return {key: value.clone() for key, value in module.state_dict().items() if not key.endswith(left_out)}


def same(first, second):
    """Whether two state dicts have the same names and, bit for bit, the same values."""
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())
