"""Load a pre-trained backbone, and say loudly what became of every weight."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmrs_ssl.transfer import key_maps
from mmrs_ssl.transfer.adapt import FIRST_CONVOLUTIONS, Bands, DoesNotFitError, Fitter
from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.layouts import DERIVED, KeyLayout, find_backbones
from mmrs_ssl.transfer.records import Record
from mmrs_ssl.transfer.sources import BackboneWeights, read_backbone

# Norms of outputs that pre-training does not have: it uses the last stage alone, and ViT's before pooling.
FRESH = dict(swin=r'norm[0-2]\.', convnext=r'norm[0-2]\.', vit=r'ln2\.')
# A block, after the stage that it is in.
IN_A_BLOCK = re.compile(r'(layers|layer\d|stages\.\d)\.(?:blocks\.)?\d+\.')
# What stands in no part of a model and yet takes part in what its blocks compute.
INSIDE = re.compile(r'(cls|reg|dist)_token|(absolute_)?pos_embed|pre_norm\..*')
# The eps of LayerNorms wherever weights come from, but for mmseg's ViT, which is trained with several.
EPS = dict(swin=1e-5, vit=1e-6, convnext=1e-6)
# BatchNorm's count of batches, which published files leave out and which nothing needs.
OPTIONAL = 'num_batches_tracked'


@dataclass
class LoadReport:
    """What became of the weights of a checkpoint and of a model; names are the model's, ignored ones the file's.

    Args:
        source: the file, the branch and whose names it uses.
        target: the model's class.
        matched: weights taken as they are.
        adapted: weights that were changed to fit, and how.
        ignored: weights of the file that the model has no place for: heads, mask tokens, other networks.
        fresh: output norms that pre-training does not have; they stay as they were initialized.
        missing: weights of the model that the file does not have.
        mismatch: weights whose shape cannot be brought to the model's, and why; also those of the file's blocks that
            the model has not, of stages that it has.
        unplaced: those of ``ignored`` that belong to a part that the model has, or change what its parts compute.
        notes: what the model's class computes otherwise than the file's program does.
        record: what the file says of its pre-training.
    """

    source: str
    target: str
    matched: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatch: dict[str, str] = field(default_factory=dict)
    unplaced: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    record: Record = field(default_factory=Record)

    def table(self) -> str:
        """Write a line for each kind of weight: how many, and the first names."""
        rows: dict[str, list[str]] = dict(
            matched=shorten(self.matched, 2),
            adapted=shorten([f'{name} ({note})' for name, note in self.adapted.items()], 3),
            ignored=shorten(self.ignored, 4),
            fresh=shorten(self.fresh, 6),
            missing=shorten(self.missing, 8),
            mismatch=shorten([f'{name} ({note})' for name, note in self.mismatch.items()], 4),
        )
        counts = {name: len(getattr(self, name)) for name in rows}
        lines = [f'  {name:8} {counts[name]:5}  {", ".join(names)}'.rstrip() for name, names in rows.items()]
        lines += [f'  note: {note}' for note in self.notes]
        return '\n'.join([f'{self.source} -> {self.target}', *lines])


def load_backbone(
    module: nn.Module,
    checkpoint: str | Path,
    branch: str | None = None,
    modality: str | None = None,
    bands: Bands = 'mean',
) -> LoadReport:
    """Load the backbone of a checkpoint into a backbone of mmpretrain, mmsegmentation or mmdetection.

    It finds the backbone in the file (see :func:`mmrs_ssl.transfer.sources.read_backbone`), renames its weights to the
    names of the model's class, resizes position embeddings and relative-position tables, and fits the first
    convolution to the model's bands. What became of the weights is printed as one table.

    Args:
        module: the backbone, e.g. ``model.backbone``.
        checkpoint: the file.
        branch: ``'student'`` or ``'teacher'``; by default the one that the method's authors evaluate.
        modality: whose patch embedding to take where a model has several; by default the first one's.
        bands: where the numbers of bands differ: ``'mean'``, or for each band of the model the index of the file's
            band whose kernel it gets (None: the mean). See :func:`mmrs_ssl.transfer.adapt.adapt_bands`.

    Returns:
        What was matched, adapted, ignored, left fresh.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: with the table, if a weight of the model would stay uninitialized or has another shape, or the
            file's backbone is deeper; or if the file is refused, has no such branch or modality, or ``bands`` does not
            fit. The model is then unchanged.
    """
    own = {key: value for key, value in module.state_dict().items() if key.rsplit('.', 1)[-1] not in DERIVED}
    if not own:
        raise ValueError(f'{type(module).__name__} has no weights to load; give the backbone, e.g. model.backbone')
    layout = layout_of(own)
    source = read_backbone(checkpoint, layout, branch, modality)
    kind = type(module)
    of_branch = f'{source.branch}, ' if source.branch else ''
    report = LoadReport(
        source=f'{checkpoint} ({of_branch}{source.layout.name}, names after {source.prefix!r})',
        target=f'{kind.__name__} of {kind.__module__.split(".")[0]}',
        notes=differences(module, source.layout),
        record=source.record,
    )
    weights = compare(module, layout, own, source, bands, report)
    if report.missing or report.mismatch:
        raise ValueError(
            f'{len(report.missing)} of {len(own)} weights of the model are not in the file, and '
            f'{len(report.mismatch)} do not fit; nothing was loaded.\n{report.table()}\nGive the checkpoint of '
            'the same architecture (depth, width, patch size), or build the model like the one in the file.'
        )
    with torch.no_grad():
        for key, weight in weights.items():
            own[key].copy_(weight)
    print_log(report.table(), logger='current')
    if report.unplaced:
        print_log(
            f'the model has no place for {len(report.unplaced)} weights of the backbone '
            f'({", ".join(shorten(report.unplaced, 4))}): what it computes differs from pre-training',
            logger='current',
            level=logging.WARNING,
        )
    return report


def layout_of(own: dict[str, Tensor]) -> KeyLayout:
    """Find whose names a model's weights have; names that no map knows make a layout of their own."""
    known = find_backbones(own, LAYOUTS).get('')
    return known or KeyLayout('names of no known library', '', (next(iter(own)),))


def differences(module: nn.Module, layout: KeyLayout) -> list[str]:
    """List what a model computes otherwise than the program whose names a file has, though all weights fit."""
    notes = []
    found = {norm.eps for norm in module.modules() if isinstance(norm, nn.LayerNorm)}
    if layout.family in EPS and layout is not key_maps.VIT_MMSEG and found - {EPS[layout.family]}:
        values = ', '.join(map(str, sorted(found)))
        notes.append(f"the LayerNorms' eps: {values}; of {layout.name} it is {EPS[layout.family]} by default")
    if layout in (key_maps.SWIN_PUBLISHED, key_maps.SWIN_TIMM, key_maps.SWIN_TORCHVISION):
        # an option of mmpretrain's attention, the only way of mmsegmentation's and mmdetection's
        shifts = [getattr(part, 'pad_small_map', True) for part in module.modules() if hasattr(part, 'w_msa')]
        if any(shifts):
            notes.append(
                f'on maps no larger than a window {layout.name} attends to the whole map, this model to shifted windows'
                ' of it: there the features are others'
            )
    return notes


def compare(
    module: nn.Module,
    layout: KeyLayout,
    own: dict[str, Tensor],
    source: BackboneWeights,
    bands: Bands,
    report: LoadReport,
) -> dict[str, Tensor]:
    """Fit the file's weights to the model's, under the model's names; what became of each goes into the report."""
    wanted = layout.to_mmpretrain(own)
    names = {layout.mmpretrain_name(key)[0]: key for key in own}
    given = source.layout.to_mmpretrain(source.weights)
    if bands != 'mean' and not any(name in FIRST_CONVOLUTIONS for name in wanted):
        raise ValueError(
            f'bands={bands!r}: the first convolution of {type(module).__name__} is not known, leave it out'
        )
    fit = Fitter(module, bands, ('cls_token' in given, 'cls_token' in wanted))
    fresh = re.compile(FRESH.get(layout.family, r'(?!)'))
    fitted: dict[str, Tensor] = {}
    for name, like in wanted.items():
        key = names[name]
        if name in given:
            try:
                fitted[name], note = fit(name, given[name], like)
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
            report.missing.append(key)
    file_names = {source.layout.mmpretrain_name(key)[0]: key for key in source.weights}
    parts = {name.split('.')[0] for name in wanted}
    cut = cut_off(given, wanted)
    for name in [name for name in given if name not in wanted]:
        key = source.prefix + file_names[name]
        if name in cut:
            report.mismatch[key] = 'of a block that the model has not'
            continue
        report.ignored.append(key)
        if name.split('.')[0] in parts or INSIDE.fullmatch(name):
            report.unplaced.append(key)
    report.ignored += source.others
    return layout.from_mmpretrain(fitted)


def cut_off(given: Iterable[str], wanted: Iterable[str]) -> set[str]:
    """Find weights of blocks that a model lacks in stages that it has: it is not as deep as the file's backbone."""
    stages = {block[0]: block[1] for block in map(IN_A_BLOCK.match, wanted) if block}
    found = ((name, IN_A_BLOCK.match(name)) for name in given)
    return {name for name, block in found if block and block[0] not in stages and block[1] in stages.values()}


def shorten(names: Iterable[str], count: int) -> list[str]:
    """Return the first few names, and how many more there are."""
    names = list(names)
    return names if len(names) <= count else [*names[:count], f'and {len(names) - count} more']
