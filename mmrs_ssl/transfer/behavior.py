"""Compare what a model computes with its weights, and names and shapes do not tell, with what a file says of it.

Of a model it is read off its modules, so that the classes of all libraries are read alike; of a file, off the config
that it carries (:mod:`mmrs_ssl.transfer.records`). A file that says nothing is taken to be as its program makes it by
default, which is worth a note and no more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmpretrain.models.backbones import DeiT3, VisionTransformer
from torch import Tensor, nn

from mmrs_ssl.transfer import key_maps
from mmrs_ssl.transfer.layouts import KeyLayout

# eps of LayerNorms wherever weights come from, but for mmsegmentation's ViT, which is trained with several.
EPS = dict(swin=1e-5, vit=1e-6, convnext=1e-6)
# Heads of the published ViTs, by width; MoCo v3's of 384 has 12.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1536: 24}
# Classes whose config is read: an alias or a subclass may mean something else by an argument.
_READ = dict(
    resnet=('ResNet', 'ResNetV1b', 'ResNetV1c', 'ResNetV1d', 'ResNeXt', 'SEResNet', 'SEResNeXt'),
    swin=('SwinTransformer', 'PaddedSwinTransformer'),
    vit=('VisionTransformer', 'MoCoV3ViT', 'DeiT3', 'DistilledVisionTransformer'),
    convnext=('ConvNeXt',),
)
_MOCOV3 = {name: dict(num_heads=12) for name in ('mocov3-s', 'mocov3-small')}  # not in its zoo
_WHOLE, _SHIFTED = 'the whole map', 'shifted windows of it'
_GELU = ('GELU', 'GELU of tanh')


@dataclass(frozen=True)
class Setting:
    """One thing that weights do not show.

    Args:
        label: what it is called in a table.
        argument: of OpenMMLab's classes, for advice.
        matters: whether another value gives other features of every image, so that no one can mean it; else it is a
            matter of taste, or of images of some sizes.
    """

    label: str
    argument: str
    matters: bool


SETTINGS = dict(
    style=Setting('the style of its bottlenecks', 'style', True),
    heads=Setting('the number of attention heads', 'num_heads', True),
    activation=Setting('the activation', 'act_cfg', True),
    scale=Setting('the scale of attention', 'qk_scale', True),
    class_token=Setting('attention to a class token', 'with_cls_token', True),
    convolution=Setting('the kind of its convolutions', 'conv_cfg', True),
    strides=Setting('the strides of its stages', 'strides', False),
    dilations=Setting('the dilations of its stages', 'dilations', False),
    eps=Setting("the norms' eps", 'norm_cfg', False),
    padding=Setting('the padding of images that are no whole number of patches', 'patch_cfg', False),
    step=Setting('the stride of patches', 'patch_cfg', False),
    small_maps=Setting('attention on maps no larger than a window', 'type', False),
)


def settings_of(module: nn.Module, family: str) -> dict[str, Any]:
    """Read the settings of a model of a family of backbones off its modules; those that it does not show are left out.

    A value that is not the same in all parts is a sorted tuple.
    """
    parts = list(module.modules())
    norms = nn.modules.batchnorm._BatchNorm if family == 'resnet' else nn.LayerNorm
    found: dict[str, Any] = dict(eps=_one(part.eps for part in parts if isinstance(part, norms)))
    if family == 'resnet':
        found['style'] = _one(style for part in parts if (style := _style(part)))
        found['strides'], found['dilations'] = (
            _numbers(getattr(module, key, None)) for key in ('strides', 'dilations')
        )
        if hasattr(module, 'conv_cfg'):
            found['convolution'] = _type_in(module.conv_cfg, 'Conv2d')
    else:
        found['activation'] = _one(name for part in parts if (name := _activation(part)))
    if family == 'swin':
        shifts = _one(getattr(part, 'pad_small_map', True) for part in parts if hasattr(part, 'w_msa'))
        found['small_maps'] = None if shifts is None else _SHIFTED if shifts else _WHOLE
        found['scale'] = _one(scale for part in parts if (scale := _scale(part)))
    if family == 'vit':
        attentions = [part for part in parts if hasattr(part, 'qkv') or hasattr(part, 'in_proj_weight')]
        found['heads'] = _one(part.num_heads for part in attentions if hasattr(part, 'num_heads'))
        if getattr(module, 'cls_token', None) is not None:  # mmsegmentation's keeps it where it does not use it
            found['class_token'] = getattr(module, 'with_cls_token', None)
    projection = getattr(getattr(module, 'patch_embed', None), 'projection', None)
    if family in ('vit', 'swin') and isinstance(projection, nn.Conv2d):
        ways = (getattr(module.patch_embed, name, None) for name in ('adaptive_padding', 'adap_padding'))
        found['padding'] = next((way.padding for way in ways if way), None) or _one(projection.padding)
        found['step'] = _one(projection.stride)
    return {key: value for key, value in found.items() if value is not None}


def settings_said(backbone: Mapping[str, Any], layout: KeyLayout) -> dict[str, Any]:
    """Read the same off the config of a backbone, with its class's defaults; empty for a class that is not known.

    Args:
        backbone: what ``backbone`` of a :class:`mmrs_ssl.transfer.records.Record` holds: plain data of anyone.
        layout: of the file's weights, whose library the class is of.
    """
    kind = str(backbone.get('type')).rpartition('.')[2]
    family = layout.family
    if kind not in _READ.get(family, ()):
        return {}
    norm, found = backbone.get('norm_cfg'), {}
    eps = norm.get('eps') if isinstance(norm, dict) else None
    if family == 'resnet':
        found = dict(
            style=backbone.get('style', 'pytorch'),
            strides=_numbers(backbone.get('strides', (1, 2, 2, 2))),
            dilations=_numbers(backbone.get('dilations', (1, 1, 1, 1))),
            convolution=_type_in(backbone.get('conv_cfg'), 'Conv2d'),
            eps=1e-5 if eps is None else eps,
        )
    elif family == 'vit':
        found = _vit_said(backbone, eps, layout is key_maps.VIT_MMSEG and 'arch' not in backbone)
    elif family == 'swin':
        found = _swin_said(backbone, kind)
    elif family == 'convnext' and not norm:
        found = dict(eps=EPS[family], activation=_type_in(backbone.get('act_cfg'), 'GELU'))
    return {key: value for key, value in found.items() if value is not None}


def _vit_said(backbone: Mapping[str, Any], eps: Any, of_mmseg: bool) -> dict[str, Any]:
    """Read a ViT's config: mmpretrain's class, or mmsegmentation's own."""
    token = bool(backbone.get('with_cls_token', True))
    if of_mmseg:
        return dict(
            heads=backbone.get('num_heads', 12),
            class_token=token,
            activation=_type_in(backbone.get('act_cfg'), 'GELU'),
            eps=1e-5 if eps is None else eps,
            padding=_length(backbone.get('patch_pad', 'corner')),
            step=_length(backbone.get('patch_size', 16)),
        )
    layers, arch, patch = (backbone.get(key) for key in ('layer_cfgs', 'arch', 'patch_cfg'))
    layers, arch = {} if layers is None else layers, 'base' if arch is None else arch
    zoo = DeiT3.arch_zoo if str(backbone.get('type')).endswith('DeiT3') else {**VisionTransformer.arch_zoo, **_MOCOV3}
    sizes = zoo.get(arch.lower(), {}) if isinstance(arch, str) else arch
    patch = patch if isinstance(patch, dict) else {}
    found = dict(
        class_token=token,
        padding=_length(patch.get('padding', 'corner')),
        step=_length(patch.get('stride', backbone.get('patch_size', 16))),
    )
    if isinstance(layers, dict) and isinstance(sizes, dict):  # each layer may have settings of its own
        found['heads'] = layers.get('num_heads', sizes.get('num_heads'))
        if layers.get('ffn_type', 'origin') == 'origin':
            found['activation'] = _type_in(layers.get('act_cfg'), 'GELU')
        found['eps'] = None if 'norm_cfg' in layers else EPS['vit'] if eps is None else eps
    return found


def _swin_said(backbone: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Read a Swin's config: mmpretrain's class, or mmsegmentation's and mmdetection's own."""
    found: dict[str, Any] = {}
    if 'arch' in backbone:
        whole = kind.startswith('Padded') or not backbone.get('pad_small_map', False)
        found['small_maps'] = _WHOLE if whole else _SHIFTED
        if not backbone.get('stage_cfgs'):
            found |= dict(activation='GELU', scale=1.0)
    elif 'embed_dims' in backbone:
        found = dict(small_maps=_SHIFTED, activation=_type_in(backbone.get('act_cfg'), 'GELU'))
        found |= {} if backbone.get('qk_scale') else dict(scale=1.0)
    return found


def settings_by_default(layout: KeyLayout, given: Mapping[str, Tensor]) -> dict[str, Any]:
    """List what programs compute by default with weights of these names, given under mmpretrain's."""
    found: dict[str, Any] = {}
    if layout.family in EPS:
        found['activation'] = 'GELU'
        if layout is not key_maps.VIT_MMSEG:
            found['eps'] = EPS[layout.family]
    if layout in (key_maps.SWIN_PUBLISHED, key_maps.SWIN_TIMM, key_maps.SWIN_TORCHVISION):
        found['small_maps'] = _WHOLE
    if layout.family == 'vit' and 'layers.0.ln1.weight' in given:
        found['heads'] = HEADS.get(len(given['layers.0.ln1.weight']))
    if layout.family == 'resnet':
        found['style'] = 'caffe' if 'conv1.bias' in given else 'pytorch'
    return {key: value for key, value in found.items() if value is not None}


def compare_behavior(
    module: nn.Module, layout: KeyLayout, given: Mapping[str, Tensor], backbone: Mapping[str, Any] | None
) -> tuple[list[str], list[str]]:
    """Compare a model with what a file says of the backbone that its weights are of.

    Args:
        module: the model, of the file's family.
        layout: of the file.
        given: its weights, under mmpretrain's names.
        backbone: its config, as far as the file has one.

    Returns:
        What makes the model compute other features of any image, with what to do; and what is worth a note.
    """
    said = settings_said(backbone or {}, layout)
    if layout.family == 'resnet' and 'style' not in said and 'fc.weight' in given and 'conv1.bias' not in given:
        said['style'] = 'pytorch'  # a whole network of torchvision or timm, which have no other
    if layout is not key_maps.VIT_MMSEG and 'cls_token' in given:  # which mmsegmentation's has in any case
        said.setdefault('class_token', True)
    usual = settings_by_default(layout, given)
    errors, notes = [], []
    for key, value in settings_of(module, layout.family).items():
        expected = said.get(key, usual.get(key))
        if expected is None or _alike(value, expected):
            continue
        setting = SETTINGS[key]
        if key == 'small_maps':
            program = 'pre-training' if key in said else layout.name
            notes.append(
                f'on maps no larger than a window {program} attends to {expected}, this model to {value}: there the '
                'features are others'
            )
        elif key not in said:
            notes.append(f'{setting.label}: {_shown(value)}; of {layout.name} it is {_shown(expected)} by default')
        elif setting.matters and not (value in _GELU and expected in _GELU):
            errors.append(
                f'{setting.label}: {_shown(value)} in the model, {_shown(expected)} in pre-training; build the model '
                f'with that ({setting.argument})'
            )
        else:
            notes.append(f'{setting.label}: {_shown(value)}; in pre-training it was {_shown(expected)}')
    return errors, notes


def _alike(value: Any, expected: Any) -> bool:
    if isinstance(value, tuple) and isinstance(expected, tuple):  # of fewer stages
        return all(first == second for first, second in zip(value, expected, strict=False))
    return bool(value == expected)


def _shown(value: Any) -> str:
    return ', '.join(map(str, value)) if isinstance(value, tuple) else str(value)


def _one(values: Iterable[Any]) -> Any:
    """Return the only value, None without one, all of them in order where they differ."""
    found = sorted(set(values))
    return tuple(found) if len(found) > 1 else next(iter(found), None)


def _numbers(value: Any) -> tuple[int, ...] | None:
    plain = isinstance(value, list | tuple) and all(isinstance(number, int) for number in value)
    return tuple(value) if plain else None


def _length(value: Any) -> Any:
    """Return a length of both directions as one where they are alike."""
    return value if (numbers := _numbers(value)) is None else _one(numbers)


def _type_in(config: Any, default: str) -> str:
    """Name the layer that a config asks for; GELU by its formula."""
    if not isinstance(config, dict) or config.get('type') is None:
        return default
    kind = str(config['type'])
    kind = 'Conv2d' if kind == 'Conv' else kind
    return _GELU[1] if kind == 'GELU' and config.get('approximate') == 'tanh' else kind


def _activation(part: nn.Module) -> str | None:
    kind = type(part).__name__
    if isinstance(part, nn.GELU):
        return _GELU[part.approximate == 'tanh']
    known = isinstance(part, nn.ReLU | nn.SiLU | nn.Hardswish | nn.LeakyReLU | nn.ELU | nn.Mish)
    return kind if known or kind.endswith('GELU') else None


def _style(part: nn.Module) -> str | None:
    """Tell which convolution of a bottleneck goes in strides; None for other parts."""
    convolutions = [getattr(part, f'conv{i}', None) for i in (1, 2, 3)]
    if None in convolutions:
        return None
    strides = [getattr(convolution, 'stride', 1) for convolution in convolutions[:2]]
    first, second = (max(stride) > 1 if isinstance(stride, tuple) else stride > 1 for stride in strides)
    return 'caffe' if first else 'pytorch' if second else None


def _scale(part: Any) -> float | None:
    """Return the factor on the scores of a window's attention, in parts of the usual one."""
    if not all(hasattr(part, name) for name in ('scale', 'relative_position_bias_table', 'qkv')):
        return None
    if not isinstance(part.qkv, nn.Linear):
        return None
    channels = part.qkv.out_features // 3 // part.relative_position_bias_table.shape[1]
    return round(float(part.scale) * channels**0.5, 6)
