"""Start a model from a pre-trained backbone, and what stands beside it: momentum encoders, more patch embeddings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseAveragedModel
from torch import Tensor, nn

from mmrs_ssl.engine.normalization import Row
from mmrs_ssl.models.teachers.student_teacher import StudentTeacher
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.adapt import DoesNotFitError, Fitter, check_dtype, check_finite
from mmrs_ssl.transfer.comparing import weights_in
from mmrs_ssl.transfer.layouts import DERIVED
from mmrs_ssl.transfer.loading import layout_of
from mmrs_ssl.transfer.networks import meta_of
from mmrs_ssl.transfer.own_checkpoints import modalities_in, read_settings
from mmrs_ssl.transfer.report import LoadReport
from mmrs_ssl.transfer.sources import backbone_in, read_file


def load_start(
    model: nn.Module, module: nn.Module, checkpoint: str, options: Mapping[str, Any]
) -> tuple[LoadReport, list[Row]]:
    """Load a backbone into a part of a model, and start from the same what the method has beside it.

    Args:
        model: bare.
        module: the part of it, usually its backbone.
        checkpoint, options: see :func:`mmrs_ssl.transfer.load_backbone`.

    Returns:
        What became of the weights, and rows for the hook's table.

    Raises:
        ValueError: if the file does not fit.
    """
    bands = modality_bands(model) if getattr(model, 'backbone', None) is module else {}
    embeds: Any = getattr(model, 'patch_embeds', None)
    apart: dict[str, nn.Module] = dict(embeds.items()) if bands else {}
    options, branch = dict(options), options.get('branch')
    content = read_file(Path(checkpoint)) if apart else None
    said = modalities_said(content)
    if apart and options.get('modality') is None:
        first = next(iter(bands))
        options['modality'] = first if first in said else None
    report = load_backbone(module, checkpoint, **options)
    rows: list[Row] = [
        load_patch_embed(embed, name, content, checkpoint, module, branch) for name, embed in apart.items()
    ]
    if bands and not apart:
        rows.append(('patch embedding', '', f'one for {", ".join(bands)}', 'shared'))
    return report, rows + start_averages(model)


def start_averages(model: nn.Module) -> list[Row]:
    """Make the momentum encoders of a model equal to what they average.

    mmpretrain's own methods would do so in their first step, unseen by who looks at them, or saves them, before.
    """
    if isinstance(model, StudentTeacher):
        model.teacher.copy_from(model.student_parts())
        return [('teacher', '', 'as the student', 'copied')]
    rows = []
    for name, average in model.named_children():
        if not isinstance(average, BaseAveragedModel):
            continue
        copied = [part for part in (average.module, *average.module.children()) if _copy_student(model, part)]
        rows += [(name, '', 'as what it averages', 'copied')] if copied else []
    return rows


def _copy_student(model: nn.Module, part: nn.Module) -> bool:
    """Copy to a part of an average the weights of the model's part that it was made of, known by class and names."""
    names = part.state_dict().keys()
    for student in model.children():
        if type(student) is type(part) and student.state_dict().keys() == names:
            part.load_state_dict(student.state_dict())
            return True
    return False


def load_patch_embed(
    embed: nn.Module, name: str, content: Any, checkpoint: str, backbone: nn.Module, branch: str | None
) -> Row:
    """Load the patch embedding of a modality: the file's of this name, else that of its backbone, fitted to the bands.

    Args:
        embed: of a modality that has one of its own.
        name: of the modality.
        content: of the file.
        checkpoint: its name.
        backbone: of the model, which was loaded from it.
        branch: see :func:`mmrs_ssl.transfer.load_backbone`.

    Returns:
        A row for the hook's table.

    Raises:
        ValueError: if it does not fit.
    """
    named = name if name in modalities_said(content) else None
    layout = layout_of(without_derived(backbone.state_dict()))
    given, _ = weights_in(backbone_in(content, Path(checkpoint), layout, branch, named))
    fit, notes = Fitter(embed, 'mean', (False, False)), []
    fitted: dict[str, Tensor] = {}
    for key, like in embed.state_dict().items():
        try:
            if (weight := given.get(f'patch_embed.{key}')) is None:
                raise DoesNotFitError('not in the file')
            check_dtype(weight, like)
            fitted[key], note = fit(f'patch_embed.{key}', weight, like)
            check_finite(fitted[key], like)
        except DoesNotFitError as error:
            raise ValueError(f'{checkpoint}: patch embedding of {name!r}, {key}: {error}') from None
        notes += [note] if note else []
    with torch.no_grad():
        for key, like in embed.state_dict().items():
            like.copy_(fitted[key])
    source = f"{name}'s" if named else "the backbone's"
    return f'patch embedding of {name}', source, ', '.join(notes) or 'the same', 'adapted' if notes else 'matched'


def modality_bands(model: nn.Module) -> dict[str, int]:
    """Return the bands of each modality of a method that embeds several; empty for others."""
    bands = getattr(getattr(model, 'data_preprocessor', None), 'bands', None)
    several = isinstance(bands, dict) and isinstance(getattr(model, 'patch_embeds', None), nn.ModuleDict)
    return dict(bands) if several and bands and len(bands) > 1 else {}


def modalities_said(content: Any) -> set[str]:
    """Read which modalities a checkpoint's config names; none where there is no such config."""
    text = meta_of(content).get('cfg')
    model = read_settings(text).get('model') if isinstance(text, str) else None
    return {name for name in modalities_in(model) if name} if isinstance(model, dict) else set()


def without_derived(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out of a state dict the buffers that follow from the architecture."""
    return {key: value for key, value in state.items() if key.rsplit('.', 1)[-1] not in DERIVED}
