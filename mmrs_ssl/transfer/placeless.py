"""Say what weights of a file are for that a model has no place for, and what to do."""

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

# Of pre-training alone: what stands for masked patches, and parts that decode or predict.
_ELSEWHERE = r'(?!\w*mask|decoder|predictor)'
_REGISTERS = rf'{_ELSEWHERE}\w*(reg(ister)?s?|storage)_?tokens?|registers?'
_FURTHER_TOKENS = rf'{_ELSEWHERE}\w*(global|prompt|mem(ory)?)_?tokens?'
_ROPE = r'(rope|freqs|rotary)\w*(\..*)?'
_APART = r'pos_embed_\w+|cls_pos'
# What stands in no part of a model and yet takes part in what its blocks compute, in mmpretrain's names.
INSIDE = re.compile(
    rf'(cls|dist)_token|{_REGISTERS}|{_FURTHER_TOKENS}|{_ROPE}|rel_pos_bias\..*|{_APART}|pre_norm\..*'
    rf'|{_ELSEWHERE}\w+_embed'
)
# First parts of the names that programs give to classifiers.
CLASSIFIERS = ('head', 'heads', 'fc', 'classifier')
# A block, and a stage, of names that go on with what it consists of.
_STAGE = re.compile(r'(stages|downsample_layers)\.(\d+)\.(.*)')
NO_CLASS = 'no class of OpenMMLab does that'
_ROTARY = (
    'its program may add fixed positions or turn queries and keys by rotary ones, which no class of OpenMMLab does'
)

# mmpretrain's names -> what it is, and what a model needs to have it (or not to have it).
REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r'layers\.\d+\.(attn\.gamma1|ffn\.gamma2)\.weight',
        'LayerScale',
        "mmpretrain.VisionTransformer has it with layer_scale_init_value above 0, mmsegmentation's own ViT never",
    ),
    (r'stages\.\d+\.\d+\.gamma', 'LayerScale', 'mmpretrain.ConvNeXt has it with layer_scale_init_value above 0'),
    (r'stages\.\d+\.\d+\.grn\..*', 'global response normalization', 'mmpretrain.ConvNeXt has it with use_grn=True'),
    (r'.*\.(q_norm|k_norm)\..*', 'QK-norm (norms of queries and keys)', NO_CLASS),
    (_REGISTERS, 'register tokens, which all others attend to', NO_CLASS),
    (_FURTHER_TOKENS, 'further tokens, which all others attend to', NO_CLASS),
    (r'dist_token', "DeiT's second token", NO_CLASS),
    (rf'(.*\.)?({_ROPE})', 'rotary positions', NO_CLASS),
    (r'(.*\.)?rel_pos.*|layers\..*relative_position_bias_table', 'relative positions', NO_CLASS),
    (r'cls_token', 'a class token, which all others attend to', 'ViTs have it with with_cls_token=True'),
    (r'pre_norm\..*', 'a norm before the layers', 'ViTs have it with pre_norm=True'),
    (r'.*\.(qkv\.bias|q_bias|v_bias)', 'biases of queries, keys and values', 'models have them with qkv_bias=True'),
    (
        r'patch_embed\.projection\.bias',
        'the bias of the patch embedding',
        "mmpretrain's ViT has it with patch_cfg=dict(bias=True), mmsegmentation's with patch_bias=True",
    ),
    (
        r'layers\.\d+\.ffn\.w(12|3)\..*',
        'SwiGLU',
        "mmpretrain.VisionTransformer has it with layer_cfgs=dict(ffn_type='swiglu_fused')",
    ),
    (r'pos_embed', 'learned positions', NO_CLASS),
    (_APART, 'positions beside those in pos_embed', NO_CLASS),
    (
        rf'(?!(absolute_)?pos_embed){_ELSEWHERE}\w+_embed',
        'embeddings of more than places (bands, times, ...)',
        NO_CLASS,
    ),
    (r'absolute_pos_embed', 'absolute positions', 'mmpretrain.SwinTransformer has them with use_abs_pos_embed=True'),
)


def has_no_effect(name: str, weight: Tensor) -> bool:
    """Tell whether a weight does nothing where it is: it is a bias, all of zeros."""
    return re.fullmatch(r'.*(\.|_)bias', name) is not None and not weight.any()


def check_placeless(weights: Mapping[str, Tensor], place: str) -> None:
    """Refuse weights, by their mmpretrain names, that are left out of a backbone and change what it computes.

    Args:
        weights: those that are left out.
        place: the file, for the message.

    Raises:
        ValueError: naming them, and saying what they are.
    """
    found = [name for name, weight in weights.items() if INSIDE.fullmatch(name) and not has_no_effect(name, weight)]
    if found:
        what = [what for pattern, what, _ in REASONS if any(re.fullmatch(pattern, name) for name in found)]
        raise ValueError(
            f'{place} has {", ".join(what)} ({", ".join(found)}), which no file of the other kind has a place for: '
            'without them the backbone computes something else'
        )


def of_later_stage(name: str, wanted: Iterable[str]) -> bool:
    """Tell whether a weight belongs to a stage that a model does not have, or leads to it."""
    found = _STAGE.fullmatch(name)
    if found is None:
        return False
    last = max((int(stage[2]) for stage in map(_STAGE.fullmatch, wanted) if stage and stage[1] == found[1]), default=-1)
    index = int(found[2])
    return index > last or (index == last and found[3].startswith('downsample.'))


def reasons_of(without_place: Collection[str], without_weight: Collection[str]) -> list[str]:
    """Explain weights by their mmpretrain names, a line for each kind: of the file alone, and of the model alone."""
    lines = []
    for names, has, lacks in ((without_place, 'the file', 'the model'), (without_weight, 'the model', 'the file')):
        for pattern, what, how in REASONS:
            if any(re.fullmatch(pattern, name) for name in names):
                advice = _ROTARY if (has, pattern) == ('the model', 'pos_embed') else how
                lines.append(f'{has} has {what}, {lacks} has not: {advice}')
    return lines
