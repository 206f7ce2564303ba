"""Compare the weights of a file with a model's, one by one, and fit them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmrs_ssl.transfer import key_maps
from mmrs_ssl.transfer.adapt import (
    FIRST_CONVOLUTIONS,
    Bands,
    DoesNotFitError,
    Fitter,
    check_dtype,
    check_finite,
    check_kind,
)
from mmrs_ssl.transfer.behavior import compare_behavior
from mmrs_ssl.transfer.layouts import KeyLayout
from mmrs_ssl.transfer.placeless import CLASSIFIERS, INSIDE, has_no_effect, of_later_stage, reasons_of
from mmrs_ssl.transfer.report import LoadReport
from mmrs_ssl.transfer.sources import BackboneWeights

# What pre-training does not have: norms of other stages than the last, ViT's behind pooling, what fuses the tokens of
# several modalities, and what SimMIM puts in the place of masked patches.
FRESH = dict(swin=r'norm[0-2]\.|mask_token$', convnext=r'norm[0-2]\.', vit=r'(ln2|fusions\.\d+)\.')
# A block, after the stage that it is in.
IN_A_BLOCK = re.compile(r'(layers|layer\d|stages\.\d)\.(?:blocks\.)?\d+\.')
# BatchNorm's count of batches, which published files leave out and which nothing needs.
OPTIONAL = 'num_batches_tracked'
ROTARY_NOTE = (
    'the file has names of BEiT or EVA: if its program turned queries and keys by rotary positions, which the file '
    'does not tell, the features are others'
)
PATCH_BIAS = 'patch_embed.projection.bias'
_TIMM_VITS = (key_maps.VIT_TIMM, key_maps.VIT_GATED, key_maps.VIT_CHUNKED)
_LINEAR = re.compile(r'(layers\.\d+\.ffn)\.layers\.(0\.0|1)\.(weight|bias)')


def fit_weights(
    module: nn.Module,
    layout: KeyLayout,
    own: dict[str, Tensor],
    source: BackboneWeights,
    bands: Bands,
    report: LoadReport,
) -> dict[str, Tensor]:
    """Fit the file's weights to the model's, under the model's names; what became of each goes into the report.

    Raises:
        ValueError: if ``bands`` does not fit.
    """
    wanted = layout.to_mmpretrain(own)
    names = {layout.mmpretrain_name(key)[0]: key for key in own}
    source = usable(source, names, report)
    given, file_names = weights_in(source)
    if bands != 'mean' and not any(name in FIRST_CONVOLUTIONS for name in wanted):
        raise ValueError(
            f'bands={bands!r}: the first convolution of {type(module).__name__} is not known, leave it out'
        )
    fit = Fitter(module, bands, ('cls_token' in given, 'cls_token' in wanted))
    fresh = re.compile(FRESH.get(layout.family, r'(?!)'))
    fitted: dict[str, Tensor] = {}
    missing = []
    for name, like in wanted.items():
        key = names[name]
        if key in report.mismatch:
            continue
        if name in given:
            try:
                check_dtype(given[name], like)
                fitted[name], note = fit(name, given[name], like)
                check_finite(fitted[name], like)
            except DoesNotFitError as error:
                report.mismatch[key] = str(error)
                continue
            if note:
                report.adapted[key] = note
            else:
                report.matched.append(key)
        elif fresh.match(name):
            report.fresh.append(key)
        elif not name.endswith(OPTIONAL):
            missing.append(name)
    report.missing = [names[name] for name in missing]
    if bias_in_positions(fitted, given, wanted):
        key = names['pos_embed']
        report.matched = [each for each in report.matched if each != key]
        notes = [report.adapted[key]] if key in report.adapted else []
        report.adapted[key] = ', '.join([*notes, "with the patch embedding's bias, which the model has not"])
        given.pop(PATCH_BIAS)
    unplaced = without_place(given, wanted, file_names, source, report)
    if source.layout.family == layout.family:
        report.reasons = reasons_of(unplaced, missing)
        if layout.family:
            report.differs, report.notes = compare_behavior(module, source.layout, given, source.record.backbone)
            if 'ln1.weight' in given and 'ln1.weight' not in wanted:
                report.notes.append('the file has a last norm, the model has none')
            if may_be_rotary(source):
                report.notes.append(ROTARY_NOTE)
    return layout.from_mmpretrain(fitted)


def bias_in_positions(fitted: dict[str, Tensor], given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Add the bias of the patches to their positions in a model without one, as mmsegmentation's ViT is by default.

    Nothing stands between the two, so the sum is the same; returns whether that was done.
    """
    names = {*given, *wanted}
    between = any(name.startswith('patch_embed.norm') for name in names)
    if PATCH_BIAS not in given or PATCH_BIAS in wanted or 'pos_embed' not in fitted or between:
        return False
    bias = given[PATCH_BIAS]
    if has_no_effect(PATCH_BIAS, bias) or not torch.isfinite(bias).all():
        return False
    positions = fitted['pos_embed'].clone()
    positions[:, int('cls_token' in wanted) :] += bias.to(positions.dtype)
    fitted['pos_embed'] = positions
    return True


def without_place(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    file_names: Mapping[str, str],
    source: BackboneWeights,
    report: LoadReport,
) -> list[str]:
    """Report the file's weights that the model has no place for; return those that change what it computes."""
    inside = {name.split('.')[0] for name in wanted}
    inside |= {file_names[name].split('.')[0] for name in given if name in wanted} - set(CLASSIFIERS)
    cut = cut_off(given, wanted)
    unplaced = []
    for name in [name for name in given if name not in wanted]:
        key = source.prefix + file_names[name]
        if name in cut:
            report.mismatch[key] = 'of a block that the model has not'
            continue
        report.ignored.append(key)
        if not (name.split('.')[0] in inside or INSIDE.fullmatch(name)):
            continue
        if not (has_no_effect(name, given[name]) or of_later_stage(name, wanted)):
            report.unplaced.append(key)
            unplaced.append(name)
    report.ignored += source.others
    return unplaced


def weights_in(source: BackboneWeights) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's weights under mmpretrain's names, and the file's names of them."""
    given = source.layout.to_mmpretrain(source.weights)
    file_names = {source.layout.mmpretrain_name(key)[0]: key for key in source.weights}
    gated = {name: gated_name(name, given) for name in given}
    if len(set(gated.values())) < len(gated):  # names of both kinds: left as they are
        return given, file_names
    return {gated[name]: weight for name, weight in given.items()}, {gated.get(n, n): k for n, k in file_names.items()}


def gated_name(name: str, given: Mapping[str, Tensor]) -> str:
    """Return mmpretrain's name of a weight of SwiGLU, whose two linear layers timm calls as those of an MLP.

    The first one is twice as wide as the second one's input: values after gates.
    """
    found = _LINEAR.fullmatch(name)
    if found is None:
        return name
    first, second = (given.get(f'{found[1]}.layers.{part}.weight') for part in ('0.0', '1'))
    if first is None or second is None or len(first) != 2 * second.shape[1]:
        return name
    return f'{found[1]}.{"w12" if found[2] == "0.0" else "w3"}.{found[3]}'


def usable(source: BackboneWeights, names: Mapping[str, str], report: LoadReport) -> BackboneWeights:
    """Report weights that nothing can be computed with, such as quantized ones, and return the source without them.

    One that is of no part of the model is merely ignored.

    Args:
        source: the file's.
        names: mmpretrain's names of the model's weights, and its own.
        report: where they are told.
    """
    parts = {name.split('.')[0] for name in names}
    kept: dict[str, Tensor] = {}
    for key, weight in source.weights.items():
        try:
            check_kind(weight)
        except DoesNotFitError as error:
            name = source.layout.mmpretrain_name(key)[0]
            if name.split('.')[0] in parts or INSIDE.fullmatch(name):
                report.mismatch[names.get(name, source.prefix + key)] = str(error)
            else:
                report.ignored.append(source.prefix + key)
            continue
        kept[key] = weight
    return source if len(kept) == len(source.weights) else replace(source, weights=kept)


def may_be_rotary(source: BackboneWeights) -> bool:
    """Tell whether a ViT may be one of EVA's: LayerScale of its names, or queries and values alone with a bias.

    Those may turn queries and keys by rotary positions, which their programs compute and no file holds.
    """
    if source.layout not in _TIMM_VITS or 'pos_embed' not in source.weights or source.computed:
        return False
    if any(key.endswith('.gamma_1') for key in source.weights):
        return True
    biases = [bias for key, bias in source.weights.items() if key.endswith('.attn.qkv.bias') and len(bias) % 3 == 0]
    return bool(biases) and all(bias.any() and not bias.chunk(3)[1].any() for bias in biases)


def cut_off(given: Iterable[str], wanted: Iterable[str]) -> set[str]:
    """Find weights of blocks that a model lacks in stages that it has: it is not as deep as the file's backbone."""
    stages = {block[0]: block[1] for block in map(IN_A_BLOCK.match, wanted) if block}
    found = ((name, IN_A_BLOCK.match(name)) for name in given)
    return {name for name, block in found if block and block[0] not in stages and block[1] in stages.values()}
