"""Choose where exported weights go: a class of an OpenMMLab library, or another library's names."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpretrain.models.backbones import SwinTransformer, VisionTransformer
from torch import Tensor

from mmrs_ssl.transfer import key_maps
from mmrs_ssl.transfer.layouts import KeyLayout, find_backbones

LIBRARIES = ('mmpretrain', 'mmseg', 'mmdet', 'opencd')
# Whose classes a library builds by itself; open-cd's configs name mmsegmentation's.
_OWNER = dict(mmseg='mmseg', mmdet='mmdet', opencd='mmseg')
_OWN = dict(mmseg=('ResNet', 'SwinTransformer', 'VisionTransformer'), mmdet=('ResNet', 'SwinTransformer'))
# Arguments of mmpretrain's classes that mean the same in mmsegmentation's and mmdetection's own.
_SAME = dict(
    ResNet=(
        'depth', 'stem_channels', 'base_channels', 'num_stages', 'strides', 'dilations', 'style', 'deep_stem',
        'avg_down', 'conv_cfg', 'norm_cfg', 'norm_eval', 'with_cp', 'zero_init_residual',
    ),
    SwinTransformer=('patch_size', 'window_size', 'drop_rate', 'drop_path_rate', 'norm_cfg', 'with_cp'),
    VisionTransformer=(
        'img_size', 'patch_size', 'drop_rate', 'drop_path_rate', 'qkv_bias', 'norm_cfg', 'final_norm',
        'interpolate_mode',
    ),
)  # fmt: skip
# Arguments that are translated, or that the own class does not need: its Swin pads maps of any size by itself.
_TRANSLATED = dict(
    ResNet=(),
    SwinTransformer=('arch', 'img_size', 'pad_small_map'),
    VisionTransformer=('arch', 'patch_cfg', 'out_type'),
)
# A downstream task wants a feature map, or one of each stage, whatever pre-training used.
_MAPS: dict[str, dict[str, Any]] = dict(
    ResNet=dict(out_indices=(0, 1, 2, 3)),
    SwinTransformer=dict(out_indices=(0, 1, 2, 3)),
    ConvNeXt=dict(out_indices=(0, 1, 2, 3), gap_before_final_norm=False),
    VisionTransformer=dict(out_type='featmap'),
)

# Classes that mmpretrain has for pre-training alone -> the class with the same weights, arguments and weights that this
# one does not have.
_PRETRAINING: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = dict(
    MAEViT=('VisionTransformer', ('mask_ratio',), ()),
    SimMIMSwinTransformer=('SwinTransformer', (), ('mask_token',)),
    PaddedSimMIMSwinTransformer=('PaddedSwinTransformer', (), ('mask_token',)),
)
# This project's classes -> mmpretrain's with the same weights, and arguments that mean nothing to ours.
_PLAIN = dict(PaddedSwinTransformer=('SwinTransformer', ('pad_small_map',)))
_JOINT = 'ModalityVisionTransformer'  # ours alone

# Of mmpretrain's names, by family, those that belong to a backbone.
PARTS = dict(
    resnet=r'(conv1|bn1|stem|layer\d)\.',
    swin=r'(patch_embed|stages|norm\d)\.|absolute_pos_embed',
    vit=r'(patch_embed|layers|ln1|ln2|pre_norm)\.|cls_token|pos_embed',
    convnext=r'(downsample_layers|stages|norm\d)\.',
)
# mmpretrain's names -> the library's.
NAMES: dict[str, dict[str, KeyLayout]] = dict(
    timm={
        key_maps.RESNET.name: key_maps.RESNET,
        key_maps.SWIN.name: key_maps.SWIN_TIMM,
        key_maps.VIT.name: key_maps.VIT_TIMM,
        key_maps.CONVNEXT.name: key_maps.CONVNEXT_TIMM,
    },
    torchvision={
        key_maps.RESNET.name: key_maps.RESNET,
        key_maps.SWIN.name: key_maps.SWIN_TORCHVISION,
        key_maps.VIT.name: key_maps.VIT_TORCHVISION,
        key_maps.CONVNEXT.name: key_maps.CONVNEXT_TORCHVISION,
    },
)
# Names that no rule of these layouts changes and that the library has all the same.
_KEPT = {
    key_maps.RESNET.name: r'.*',
    key_maps.SWIN_TIMM.name: r'patch_embed\.norm\..*',
    key_maps.VIT_TIMM.name: r'cls_token|pos_embed',
}
# mmpretrain's names of weights that every network of the library has.
_ALWAYS = {
    key_maps.VIT_TORCHVISION.name: ('cls_token', 'patch_embed.projection.bias', 'layers.0.attn.qkv.bias', 'ln1.weight'),
    key_maps.CONVNEXT_TORCHVISION.name: ('stages.0.0.gamma',),
}
# Settings of ResNet that its weights do not show; torchvision and timm have nothing like other values.
_FIXED: dict[str, Any] = dict(style='pytorch', strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
_INDEX = 'relative_position_index'


@dataclass(frozen=True)
class Target:
    """A class of an OpenMMLab library that takes exported weights.

    Args:
        settings: ``type`` and arguments, for a config.
        prefix: what has to stand before the names in the file.
        layouts: names of mmpretrain's layouts, and whose names the class has instead.
        note: why it is mmpretrain's class in another library; ``''`` where it is not.
    """

    settings: dict[str, Any]
    prefix: str
    layouts: Mapping[str, KeyLayout]
    note: str = ''

    @property
    def own(self) -> bool:
        """Tell whether the class is the library's own, not mmpretrain's."""
        return not self.settings['type'].startswith('mmpretrain.')

    def init_cfg(self, checkpoint: str) -> dict[str, str]:
        """Make the setting that loads the file with nothing of this package."""
        prefix = {} if self.own else dict(prefix=self.prefix)
        return dict(type='Pretrained', **prefix, checkpoint=checkpoint)


def as_plain_backbone(settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Find the ordinary class behind one that masks images in pre-training (MAE, SimMIM).

    Args:
        settings: config of mmpretrain's backbone.

    Returns:
        The config of the ordinary class, without its number of bands, and the weights that it does not have; both as
        they are of any other class.
    """
    scope, _, kind = str(settings['type']).rpartition('.')
    if kind not in _PRETRAINING:
        return dict(settings), ()
    plain, arguments, weights = _PRETRAINING[kind]
    kept = {key: value for key, value in settings.items() if key not in arguments}
    patch = {key: value for key, value in kept.pop('patch_cfg', {}).items() if key != 'in_channels'}
    return {**kept, 'type': f'{scope}.{plain}' if scope else plain, **({'patch_cfg': patch} if patch else {})}, weights


def target_of(library: str, backbone: Mapping[str, Any], bands: int) -> Target:
    """Choose the class that takes a backbone's weights: the library's own where it has the same, else mmpretrain's.

    Args:
        library: one of ``LIBRARIES``.
        backbone: config of mmpretrain's backbone.
        bands: of its images.

    Raises:
        ValueError: for another library.
    """
    if library not in LIBRARIES:
        raise ValueError(f'--for {library}: expected one of {", ".join(LIBRARIES)}')
    kind, given = librarys_class(backbone)
    channels = {} if bands == 3 else dict(in_channels=bands)
    if library == 'mmpretrain':
        return Target(dict(type=f'mmpretrain.{kind}', **given, **channels), 'backbone.', {})
    owner = _OWNER[library]
    note = f'{owner} has no {kind} of its own'
    if kind in _OWN[owner]:
        lacking = without_counterpart(kind, given)
        if not lacking:
            # mmdetection's Swin drops every name that does not begin so; mmsegmentation's ViT takes names as they are
            prefix = 'backbone.' if (owner, kind) == ('mmdet', 'SwinTransformer') else ''
            layouts = {key_maps.RESNET_DEEP_STEM.name: key_maps.RESNET_FLAT_STEM, key_maps.VIT.name: key_maps.VIT_MMSEG}
            return Target(dict(type=f'{owner}.{kind}', **arguments(kind, given), **channels), prefix, layouts)
        note = f'{owner}.{kind} has nothing like {", ".join(lacking)}'
    settings = dict(type=f'mmpretrain.{kind}', **{**given, **_MAPS.get(kind, {})}, **channels)
    return Target(settings, 'backbone.', {}, note)


def without_counterpart(kind: str, given: Mapping[str, Any]) -> list[str]:
    """List arguments of mmpretrain's class that mmsegmentation's and mmdetection's own have nothing like."""
    known = {*_SAME[kind], *_TRANSLATED[kind], 'out_indices'}
    lacking = [f'{key}={value!r}' for key, value in given.items() if key not in known]
    if kind == 'ResNet' and given.get('avg_down', False):  # the library pools in stages of stride 1 too: names shift
        lacking.append("mmpretrain's avg_down=True")
    if kind == 'VisionTransformer':
        sizes = sizes_of(VisionTransformer, given.get('arch', 'base'))
        if sizes['feedforward_channels'] % sizes['embed_dims']:
            lacking.append(f'feedforward_channels={sizes["feedforward_channels"]}')
        if not given.get('qkv_bias', True):  # its attention would have no bias at all, behind it neither
            lacking.append('qkv_bias=False')
        if not isinstance(given.get('patch_size', 16), int):
            lacking.append(f'patch_size={given["patch_size"]!r}')
        if set(given.get('patch_cfg', {})) - {'padding'}:
            lacking.append(f'patch_cfg={given["patch_cfg"]!r}')
        if given.get('out_type') == 'avg_featmap':
            lacking.append("out_type='avg_featmap'")
    return lacking


def arguments(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Translate mmpretrain's arguments to those of mmsegmentation's and mmdetection's own classes."""
    same = {key: value for key, value in given.items() if key in _SAME[kind]}
    if kind == 'SwinTransformer':
        return {**sizes_of(SwinTransformer, given.get('arch', 'tiny')), **same}
    if kind == 'VisionTransformer':
        sizes = dict(sizes_of(VisionTransformer, given.get('arch', 'base')))
        sizes['mlp_ratio'] = sizes.pop('feedforward_channels') // sizes['embed_dims']
        padding = given.get('patch_cfg', {})
        pad = dict(patch_pad=padding['padding']) if padding else {}
        # what mmpretrain's class has by default and mmsegmentation's has not
        return {**sizes, **pad, 'patch_bias': True, 'norm_cfg': dict(type='LN', eps=1e-6), 'final_norm': True, **same}
    return same


def sizes_of(cls: type[SwinTransformer] | type[VisionTransformer], arch: str | Mapping[str, Any]) -> dict[str, Any]:
    """Look up the widths and depths that an ``arch`` of mmpretrain stands for."""
    return dict(cls.arch_zoo[arch.lower()] if isinstance(arch, str) else arch)


def layout_in(weights: Mapping[str, Tensor]) -> KeyLayout | None:
    """Find whose names a backbone's weights have; None for names that no map knows."""
    return find_backbones(weights, key_maps.LAYOUTS).get('')


def named_for(weights: Mapping[str, Tensor], library: str, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename a backbone's weights from mmpretrain's names to timm's or torchvision's.

    Args:
        weights: of mmpretrain's backbone, without a prefix.
        library: ``'timm'`` or ``'torchvision'``.
        settings: the backbone's config.

    Raises:
        ValueError: if the library has no such backbone, or no such weight, or weights that this one has not.
    """
    advice = 'use --format openmmlab or safetensors'
    found = layout_in(weights)
    target = NAMES[library].get(found.name) if found else None
    if found is None or target is None:
        raise ValueError(
            f'--format {library}: there is no map from {found.name if found else "this backbone"} to {library}, only '
            f'from {", ".join(NAMES[library])}; {advice}'
        )
    kept = _KEPT.get(target.name, r'(?!)')
    for key in weights:
        renamed = any(rule.common.match(key) is not None for rule in target.rules)
        if not (renamed or key.endswith(_INDEX) or re.fullmatch(kept, key)):
            raise ValueError(f'--format {library}: {target.name} has no weight like {key}; {advice}')
    lacking = not_in(target, weights, settings)
    if lacking:
        raise ValueError(f'--format {library}: {target.name} {lacking}; {advice}')
    return translate(weights, found, target)


def not_in(target: KeyLayout, weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> str:
    """Say why a library has no such backbone, though it can name all its weights; ``''`` if it has."""
    lacking = [key for key in _ALWAYS.get(target.name, ()) if key not in weights]
    if lacking:
        return f'always has weights like {", ".join(lacking)}, this backbone has not'
    if target is key_maps.VIT_TIMM and {'ln1.weight', 'ln2.weight'} <= set(weights):
        return 'has its last norm before or after it averages, this backbone in both places (ln1, ln2)'
    if target is key_maps.RESNET:
        for key, fixed in _FIXED.items():
            value = settings.get(key, fixed)
            same = value == fixed if isinstance(value, str) else tuple(value) == fixed[: len(value)]
            if not same and not (key == 'style' and settings.get('depth') in (18, 34)):  # no bottlenecks there
                return f'of timm and torchvision has nothing like {key}={value!r}'
    return ''


def remarks(backbone: Mapping[str, Any], library: str) -> list[str]:
    """List what a library's class computes otherwise than the pre-trained backbone, though it has all its weights.

    Args:
        backbone: config of mmpretrain's backbone.
        library: one of ``LIBRARIES``, ``'timm'`` or ``'torchvision'``.
    """
    kind, given = librarys_class(backbone)
    shifts = bool(given.get('pad_small_map', False))
    own = kind in _OWN.get(_OWNER.get(library, ''), ()) and not without_counterpart(kind, given)
    ways = ('the whole map', 'shifted windows of it')
    if kind == 'SwinTransformer' and (shifts if library in NAMES else own and not shifts):
        return [
            f'on maps no larger than a window {library} attends to {ways[library not in NAMES]}, pre-training did to '
            f'{ways[library in NAMES]}: there the features are others'
        ]
    if backbone['type'].endswith('.PaddedSwinTransformer') and library not in NAMES:
        return [
            "on maps no larger than a window pre-training attended to the whole map: mmpretrain's class does so where "
            'a map is as large, and refuses smaller ones; mmrs_ssl.PaddedSwinTransformer takes them'
        ]
    if kind == 'ConvNeXt' and library in NAMES and not backbone.get('gap_before_final_norm', True):
        return [f"{library}'s last norm comes after it averages the map, in pre-training it came before"]
    return []


def librarys_class(backbone: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the class of mmpretrain that takes a backbone's weights, and its arguments.

    Raises:
        ValueError: if there is none.
    """
    kind = backbone['type'].rsplit('.', 1)[-1]
    if kind == _JOINT:
        raise ValueError(
            f'{kind} takes several modalities, which no class of the libraries does: use its checkpoint itself, by '
            'load_from or init_cfg, or export one modality of the pre-training'
        )
    plain, without = _PLAIN.get(kind, (kind, ()))
    return plain, {key: value for key, value in backbone_arguments(backbone).items() if key not in without}


def backbone_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config gives the backbone's class, but for its bands and initialization."""
    return {key: value for key, value in backbone.items() if key not in ('type', 'init_cfg', 'in_channels')}


def translate(weights: Mapping[str, Tensor], source: KeyLayout, target: KeyLayout) -> dict[str, Tensor]:
    """Rename weights to another layout, with the indices of Swin's tables that classes keep as buffers.

    Microsoft's and OpenMMLab's Swin keep them as (N, N), torchvision's as (N * N,), timm's does not keep them.
    """
    if source is target:
        return dict(weights)
    renamed = target.from_mmpretrain(source.to_mmpretrain(weights))
    if target is key_maps.SWIN_TIMM:
        return renamed
    for key, index in weights.items():
        if key.endswith(_INDEX):
            side = math.isqrt(index.numel())
            shape = (-1,) if target is key_maps.SWIN_TORCHVISION else (side, side)
            renamed[target.own_name(source.mmpretrain_name(key)[0])[0]] = index.reshape(shape)
    return renamed


def is_part(family: str, mmpretrain_name: str) -> bool:
    """Tell whether a weight, by its mmpretrain name, belongs to a backbone of a family; any does if that is ``''``."""
    return re.match(PARTS.get(family, ''), mmpretrain_name) is not None
