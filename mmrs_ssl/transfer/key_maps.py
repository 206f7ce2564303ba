"""Map mmpretrain's names of backbone weights to other libraries', and back.

Sources: the state dicts of mmpretrain 1.2, mmsegmentation 1.2, mmdetection 3.3, torchvision 0.28 and timm 1.0; the
published programs of Swin (microsoft/Swin-Transformer), DINO, DINOv2, DINOv3 and CMID. mmsegmentation's and
mmdetection's ResNet and Swin have mmpretrain's names; their ConvNeXt, and mmdetection's ViT, are mmpretrain's classes.

timm's ResNets with a deep stem or with pooled shortcuts (C, D) and its ConvNeXt with the norm before pooling have other
names, and no map: they are refused. So are registers, QK-norm and rotary positions, which have no place in OpenMMLab's
ViTs; that timm's Perception Encoders turn queries and keys cannot be seen in their files. What weights do not show is
said elsewhere: of files in :mod:`mmrs_ssl.transfer.behavior`, of exports in :func:`mmrs_ssl.transfer.targets.remarks`.
"""

from collections.abc import Callable

from torch import Tensor

from mmrs_ssl.transfer.layouts import KeyLayout, Rule, Template, unchanged


def rule(
    own: str,
    common: str,
    to_mmpretrain: Callable[[Tensor], Tensor] = unchanged,
    from_mmpretrain: Callable[[Tensor], Tensor] = unchanged,
) -> Rule:
    """Make a line of a map from the patterns of the library's name and of mmpretrain's."""
    return Rule(Template(own), Template(common), to_mmpretrain, from_mmpretrain)


# ResNet, Wide-ResNet: one set of names in all libraries, but for the stem of three convolutions.

RESNET = KeyLayout('ResNet', 'resnet', ('layer1.0.conv1.weight', 'conv1.weight'))
RESNET_DEEP_STEM = KeyLayout(
    'ResNet of mmpretrain, deep stem', 'resnet', ('layer1.0.conv1.weight', 'stem.0.conv.weight')
)
RESNET_FLAT_STEM = KeyLayout(
    'ResNet of mmseg and mmdet, deep stem',
    'resnet',
    ('layer1.0.conv1.weight', 'stem.0.weight'),
    (rule('stem.{3n}.*', 'stem.{n}.conv.*'), rule('stem.{3n+1}.*', 'stem.{n}.bn.*')),
)
# A torchvision ResNet's children in a row, as SeCo has them, and whoever cuts off the classifier so.
RESNET_SEQUENTIAL = KeyLayout(
    'ResNet, children by number',
    'resnet',
    ('4.0.conv1.weight', '0.weight', '1.running_mean'),
    (rule('0.*', 'conv1.*'), rule('1.*', 'bn1.*'), rule('{n+3}.*', 'layer{n}.*')),
)


# Swin


def to_unfold(weight: Tensor) -> Tensor:
    """Bring patch merging's weights (..., 4C) into OpenMMLab's order.

    The published program, timm and torchvision concatenate the four neighbors column by column, (column, row,
    channel); OpenMMLab uses ``nn.Unfold``, whose order is (channel, row, column).
    """
    return weight.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)


def from_unfold(weight: Tensor) -> Tensor:
    """Undo :func:`to_unfold`."""
    return weight.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)


def swin_rules(block: str, linear: tuple[str, str], merging: str) -> tuple[Rule, ...]:
    """Map Swin's blocks (``linear`` names their two linear layers), patch merging after stage n, and the last norm."""
    common = 'stages.{n}.blocks.{m}'
    return (
        rule(f'{block}.norm{{k}}.*', f'{common}.norm{{k}}.*'),
        rule(f'{block}.attn.*', f'{common}.attn.w_msa.*'),
        rule(f'{block}.{linear[0]}.*', f'{common}.ffn.layers.0.0.*'),
        rule(f'{block}.{linear[1]}.*', f'{common}.ffn.layers.1.*'),
        rule(f'{merging}.*', 'stages.{n}.downsample.*', to_unfold, from_unfold),
        rule('norm.*', 'norm3.*'),  # all published Swins have four stages
    )


def timm_swin(name: str, merging: str, marker: str) -> KeyLayout:
    """Lay out Swin with timm's names; only where patch merging stands differs between its versions."""
    return KeyLayout(
        name,
        'swin',
        ('layers.0.blocks.0.attn.relative_position_bias_table', marker),
        (
            *swin_rules('layers.{n}.blocks.{m}', ('mlp.fc1', 'mlp.fc2'), merging),
            rule('patch_embed.proj.*', 'patch_embed.projection.*'),
        ),
    )


SWIN = KeyLayout('Swin of OpenMMLab', 'swin', ('stages.0.blocks.0.attn.w_msa.relative_position_bias_table',))
# A stage ends with its patch merging; since timm 0.9 the next one begins with it. The old names come first in LAYOUTS:
# both have a layers.1.downsample.
SWIN_PUBLISHED = timm_swin(
    'Swin of Microsoft and timm < 0.9', 'layers.{n}.downsample', 'layers.0.downsample.reduction.weight'
)
SWIN_TIMM = timm_swin('Swin of timm', 'layers.{n+1}.downsample', 'layers.1.downsample.reduction.weight')
SWIN_TORCHVISION = KeyLayout(
    'Swin of torchvision',
    'swin',
    ('features.1.0.attn.relative_position_bias_table',),
    (
        rule('features.0.0.*', 'patch_embed.projection.*'),
        rule('features.0.2.*', 'patch_embed.norm.*'),
        *swin_rules('features.{2n+1}.{m}', ('mlp.0', 'mlp.3'), 'features.{2n+2}'),
    ),
)


# ViT. The rows of qkv are those of query, key and value, one after the other, in all of them.

VIT = KeyLayout('ViT of mmpretrain', 'vit', ('layers.0.attn.qkv.weight', 'patch_embed.projection.weight'))
VIT_MMSEG = KeyLayout(
    'ViT of mmseg',
    'vit',
    ('layers.0.attn.attn.in_proj_weight', 'patch_embed.projection.weight'),
    (
        rule('layers.{n}.attn.attn.in_proj_weight', 'layers.{n}.attn.qkv.weight'),
        rule('layers.{n}.attn.attn.in_proj_bias', 'layers.{n}.attn.qkv.bias'),
        rule('layers.{n}.attn.attn.out_proj.*', 'layers.{n}.attn.proj.*'),
        rule('ln_pre.*', 'pre_norm.*'),
    ),
)


def timm_vit(name: str, markers: tuple[str, ...], block: str, *others: Rule) -> KeyLayout:
    """Lay out ViT with timm's names, in blocks of a name; rules of others come first."""
    common = 'layers.{n}'
    return KeyLayout(
        name,
        'vit',
        (*markers, 'patch_embed.proj.weight'),
        (
            *others,
            rule('patch_embed.proj.*', 'patch_embed.projection.*'),
            rule(f'{block}.norm{{k}}.*', f'{common}.ln{{k}}.*'),
            rule(f'{block}.ls1.gamma', f'{common}.attn.gamma1.weight'),  # before attn.*, which would match it
            rule(f'{block}.ls2.gamma', f'{common}.ffn.gamma2.weight'),
            rule(f'{block}.gamma_1', f'{common}.attn.gamma1.weight'),  # of BEiT and of those with rotary positions
            rule(f'{block}.gamma_2', f'{common}.ffn.gamma2.weight'),
            rule(f'{block}.attn.*', f'{common}.attn.*'),
            rule(f'{block}.mlp.fc1.*', f'{common}.ffn.layers.0.0.*'),
            rule(f'{block}.mlp.fc2.*', f'{common}.ffn.layers.1.*'),
            rule('norm_pre.*', 'pre_norm.*'),
            rule('norm.*', 'ln1.*'),
            rule('fc_norm.*', 'ln2.*'),
        ),
    )


def gates(block: str) -> tuple[Rule, ...]:
    """Map DINOv2's SwiGLU; timm's has the names of an MLP, see :func:`mmrs_ssl.transfer.comparing.gated_name`."""
    return tuple(rule(f'{block}.mlp.{part}.*', f'layers.{{n}}.ffn.{part}.*') for part in ('w12', 'w3'))


VIT_TIMM = timm_vit('ViT of timm and DINO', ('blocks.0.attn.qkv.weight',), 'blocks.{n}')
VIT_GATED = timm_vit('ViT of DINOv2, SwiGLU', ('blocks.0.mlp.w12.weight',), 'blocks.{n}', *gates('blocks.{n}'))
# DINOv2's training puts blocks in chunks; a block's number is the same in all of them
VIT_CHUNKED = timm_vit(
    'ViT of DINOv2, in chunks', ('blocks.0.0.attn.qkv.weight',), 'blocks.{_}.{n}', *gates('blocks.{_}.{n}')
)
_TORCHVISION_LAYER = 'encoder.layers.encoder_layer_{n}'
VIT_TORCHVISION = KeyLayout(
    'ViT of torchvision',
    'vit',
    ('encoder.layers.encoder_layer_0.self_attention.in_proj_weight',),
    (
        rule('class_token', 'cls_token'),
        rule('encoder.pos_embedding', 'pos_embed'),
        rule('conv_proj.*', 'patch_embed.projection.*'),
        rule(f'{_TORCHVISION_LAYER}.ln_{{k}}.*', 'layers.{n}.ln{k}.*'),
        rule(f'{_TORCHVISION_LAYER}.self_attention.in_proj_weight', 'layers.{n}.attn.qkv.weight'),
        rule(f'{_TORCHVISION_LAYER}.self_attention.in_proj_bias', 'layers.{n}.attn.qkv.bias'),
        rule(f'{_TORCHVISION_LAYER}.self_attention.out_proj.*', 'layers.{n}.attn.proj.*'),
        rule(f'{_TORCHVISION_LAYER}.mlp.0.*', 'layers.{n}.ffn.layers.0.0.*'),
        rule(f'{_TORCHVISION_LAYER}.mlp.3.*', 'layers.{n}.ffn.layers.1.*'),
        # the files that torchvision downloads still have the names it used before 0.14
        rule(f'{_TORCHVISION_LAYER}.mlp.linear_1.*', 'layers.{n}.ffn.layers.0.0.*'),
        rule(f'{_TORCHVISION_LAYER}.mlp.linear_2.*', 'layers.{n}.ffn.layers.1.*'),
        rule('encoder.ln.*', 'ln1.*'),
    ),
)


# ConvNeXt


def one_column(weight: Tensor) -> Tensor:
    """Reshape a scale per channel from (C,) to (C, 1, 1)."""
    return weight[:, None, None]


def as_linear(weight: Tensor) -> Tensor:
    """Turn a convolution of one pixel (O, I, 1, 1), which mmpretrain may have, into a linear layer (O, I)."""
    return weight.flatten(1)


CONVNEXT = KeyLayout('ConvNeXt of mmpretrain', 'convnext', ('stages.0.0.depthwise_conv.weight',))
CONVNEXT_TIMM = KeyLayout(
    'ConvNeXt of timm',
    'convnext',
    ('stages.0.blocks.0.conv_dw.weight', 'stem.0.weight'),
    (
        rule('stem.{k}.*', 'downsample_layers.0.{k}.*'),
        rule('stages.{n}.downsample.{k}.*', 'downsample_layers.{n}.{k}.*'),
        rule('stages.{n}.blocks.{m}.conv_dw.*', 'stages.{n}.{m}.depthwise_conv.*'),
        rule('stages.{n}.blocks.{m}.norm.*', 'stages.{n}.{m}.norm.*'),
        rule('stages.{n}.blocks.{m}.mlp.fc{k}.*', 'stages.{n}.{m}.pointwise_conv{k}.*'),
        rule('stages.{n}.blocks.{m}.mlp.grn.weight', 'stages.{n}.{m}.grn.gamma'),
        rule('stages.{n}.blocks.{m}.mlp.grn.bias', 'stages.{n}.{m}.grn.beta'),
        rule('stages.{n}.blocks.{m}.gamma', 'stages.{n}.{m}.gamma'),
        rule('head.norm.*', 'norm3.*'),
    ),
)
CONVNEXT_TORCHVISION = KeyLayout(
    'ConvNeXt of torchvision',
    'convnext',
    ('features.1.0.block.0.weight', 'features.1.0.layer_scale'),
    (
        rule('features.0.{k}.*', 'downsample_layers.0.{k}.*'),
        rule('features.{2n+2}.{k}.*', 'downsample_layers.{n+1}.{k}.*'),
        rule('features.{2n+1}.{m}.block.0.*', 'stages.{n}.{m}.depthwise_conv.*'),
        rule('features.{2n+1}.{m}.block.2.*', 'stages.{n}.{m}.norm.*'),
        rule('features.{2n+1}.{m}.block.3.weight', 'stages.{n}.{m}.pointwise_conv1.weight', unchanged, as_linear),
        rule('features.{2n+1}.{m}.block.5.weight', 'stages.{n}.{m}.pointwise_conv2.weight', unchanged, as_linear),
        rule('features.{2n+1}.{m}.block.3.bias', 'stages.{n}.{m}.pointwise_conv1.bias'),
        rule('features.{2n+1}.{m}.block.5.bias', 'stages.{n}.{m}.pointwise_conv2.bias'),
        rule('features.{2n+1}.{m}.layer_scale', 'stages.{n}.{m}.gamma', Tensor.flatten, one_column),
        rule('classifier.0.*', 'norm3.*'),
    ),
)

# The first whose markers are all there counts.
LAYOUTS = (
    RESNET_FLAT_STEM,
    RESNET_DEEP_STEM,
    RESNET,
    RESNET_SEQUENTIAL,
    SWIN,
    SWIN_PUBLISHED,
    SWIN_TIMM,
    SWIN_TORCHVISION,
    VIT,
    VIT_MMSEG,
    VIT_GATED,
    VIT_CHUNKED,
    VIT_TIMM,
    VIT_TORCHVISION,
    CONVNEXT,
    CONVNEXT_TIMM,
    CONVNEXT_TORCHVISION,
)
