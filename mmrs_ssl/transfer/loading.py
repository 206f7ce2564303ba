"""Load a pre-trained backbone, and say loudly what became of every weight."""

from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmrs_ssl.transfer.adapt import Bands
from mmrs_ssl.transfer.comparing import fit_weights
from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.layouts import DERIVED, KeyLayout, find_backbones
from mmrs_ssl.transfer.modalities import joint_modalities
from mmrs_ssl.transfer.report import LoadReport
from mmrs_ssl.transfer.sources import read_backbone

ADVICE = (
    'Give the checkpoint of the same architecture (depth, width, patch size, settings), or build the model like the '
    'one in the file.'
)


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
        modality: whose patch embedding to take where a model has several; by default the first one's. A
            :class:`mmrs_ssl.ModalityVisionTransformer` takes those of all its modalities, by their names.
        bands: where the numbers of bands differ: ``'mean'``, or for each band of the model the index of the file's
            band whose kernel it gets (None: the mean). See :func:`mmrs_ssl.transfer.adapt.adapt_bands`.

    Returns:
        What was matched, adapted, ignored, left fresh.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: with the table, if a weight of the model would stay uninitialized, has another shape or would get
            NaN or inf; if the model has no place for a weight that changes what the backbone computes, or computes
            something else with the same weights, as far as the file tells; or if the file is refused, has no such
            branch or modality, or ``bands`` does not fit. The model is then unchanged.
    """
    own = {key: value for key, value in module.state_dict().items() if key.rsplit('.', 1)[-1] not in DERIVED}
    if not own:
        raise ValueError(f'{type(module).__name__} has no weights to load; give the backbone, e.g. model.backbone')
    layout = layout_of(own)
    joint = joint_modalities(module)
    if joint is not None and (modality is not None or bands != 'mean'):
        raise ValueError(
            f'modality={modality!r}, bands={bands!r}: {type(module).__name__} takes {", ".join(joint.bands)}, by their '
            'names and with the bands that they had in pre-training; leave both out'
        )
    source = read_backbone(checkpoint, layout, branch, joint or modality)
    if 'pos_embed' in own:  # sines of as many patches, where the file's program computes them
        source = source.with_positions(own['pos_embed'].shape[1] - ('cls_token' in own))
    kind = type(module)
    report = LoadReport(
        source=f'{checkpoint} ({source.origin})',
        target=f'{kind.__name__} of {kind.__module__.split(".")[0]}',
        record=source.record,
    )
    weights = fit_weights(module, layout, own, source, bands, report)
    refused = report.problems(len(own))
    if refused:
        raise ValueError(f'{refused}; nothing was loaded.\n{report.table()}\n{ADVICE}')
    with torch.no_grad():
        for key, weight in weights.items():
            own[key].copy_(weight)
    print_log(report.table(), logger='current')
    return report


def layout_of(own: dict[str, Tensor]) -> KeyLayout:
    """Find whose names a model's weights have; names that no map knows make a layout of their own."""
    known = find_backbones(own, LAYOUTS).get('')
    return known or KeyLayout('names of no known library', '', (next(iter(own)),))
