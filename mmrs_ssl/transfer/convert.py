"""Convert checkpoints of the published CMID, DINO-MC, DINO-TP and MSSDF programs to this project's, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrs_ssl.transfer import key_maps
from mmrs_ssl.transfer.adapt import FIRST_CONVOLUTIONS, check_finite_weights
from mmrs_ssl.transfer.layouts import KeyLayout
from mmrs_ssl.transfer.networks import STUDENTS, TEACHERS, is_dino_network, meta_of, names_in
from mmrs_ssl.transfer.own_checkpoints import BRANCHES, PREFIX, check_out, evaluated_by, read_model
from mmrs_ssl.transfer.placeless import check_placeless
from mmrs_ssl.transfer.sources import BackboneWeights, backbone_in, read_file
from mmrs_ssl.transfer.targets import is_part, translate

# What fits none of the maps.
UNKNOWN = KeyLayout('no known library', '', ('\0',))
MMPRETRAIN = {layout.family: layout for layout in (key_maps.RESNET, key_maps.SWIN, key_maps.VIT, key_maps.CONVNEXT)}


@dataclass(frozen=True)
class Program:
    """A published program, and how its files are laid out.

    Args:
        name: for people.
        method: the class of this project that does the same.
        prefixes: what stands before the names of a branch's backbone.
        layouts: whose names they are, by family.
        several: whether the file has a dictionary for each branch; else one has all weights.
    """

    name: str
    method: str
    prefixes: Mapping[str, str]
    layouts: Mapping[str, KeyLayout]
    several: bool = False


_CMID = Program(
    'CMID',
    'mmrs_ssl.CMID',
    dict(student='online_encoder.model.', teacher='branch_encoder.'),
    dict(resnet=key_maps.RESNET, swin=key_maps.SWIN),
)
_CMID_PREFIXES = tuple(_CMID.prefixes.values())
_DINO = Program(
    'DINO-MC or DINO-TP',
    'mmrs_ssl.DINOMC',
    dict(student='module.backbone.', teacher='backbone.'),  # only the student is in a data-parallel wrapper
    dict(resnet=key_maps.RESNET, swin=key_maps.SWIN_TORCHVISION, vit=key_maps.VIT_TIMM),
    several=True,
)
_DINO_LAYOUTS = (key_maps.SWIN_TORCHVISION, key_maps.VIT_TIMM)
_MSSDF_TEACHER = 'ema_teacher.'
_MSSDF = Program('MSSDF', 'mmrs_ssl.MSSDF', dict(student=''), dict(vit=key_maps.VIT))
PROGRAMS = {'cmid': _CMID, 'dino-mc': _DINO, 'dino-tp': _DINO, 'mssdf': _MSSDF}
DESTINATIONS = ('mmrs', *PROGRAMS)


@dataclass(frozen=True)
class Conversion:
    """What became of a file that was converted.

    Args:
        source: whose file it was.
        branches: the branches that were converted, and whose names they had.
        count: how many weights were written.
        left_out: names of all else: heads, projectors, queues, the optimizer, ...
        computed: what the file does not hold because its program computes it.
    """

    source: str
    branches: dict[str, KeyLayout]
    count: int
    left_out: list[str]
    computed: str = ''


def convert_checkpoint(checkpoint: str | Path, out: str | Path, to: str) -> Conversion:
    """Write the backbones of a published program's checkpoint as this project names them, or the other way round.

    This project's file has ``state_dict``, with the student under ``backbone.*`` and the teacher under
    ``teacher.module.backbone.*``, both in mmpretrain's names, and ``meta``. Published ones: CMID's has ``model``, with
    ``online_encoder.model.*`` and ``branch_encoder.*``, in timm's names of ResNet and OpenMMLab's of Swin; DINO-MC's
    and DINO-TP's have ``student`` and ``teacher``, with ``module.backbone.*`` and ``backbone.*``, in torchvision's
    names of ResNet and Swin and DINO's of ViT (a teacher alone is read, too); MSSDF's has ``model`` with ``encoder.*``
    and ``ema_teacher.*`` in BEiT's names, or is the encoder alone, or the state dict of mmpretrain's VisionTransformer,
    which is what is written. Heads, queues and optimizers are not converted.

    Args:
        checkpoint: the file; which program wrote it is seen from what is in it.
        out: the new file.
        to: ``'mmrs'``, ``'cmid'``, ``'dino-mc'``, ``'dino-tp'`` or ``'mssdf'``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is refused, is not of a program that can be converted to this one, has a backbone that the
            program does not have, weights that change what it computes and have no place there, NaN or inf; or if
            ``out`` is the checkpoint or a folder.
    """
    if to not in DESTINATIONS:
        raise ValueError(f'--to {to}: expected one of {", ".join(DESTINATIONS)}')
    path, out = Path(checkpoint), Path(out)
    if out.suffix == '.safetensors':
        raise ValueError(f'{out}: converted files are written as torch.save does, give it the ending .pth')
    check_out(path, out)
    content = read_file(path)
    program = program_of(content, path)
    own = method_of(content) is not None
    if own == (to == 'mmrs'):
        raise ValueError(
            f'{path} is {"a file of this project" if own else "of another program"} already: to {to} means '
            f'{"from a published program to this project" if own else "from this project to that program"}'
        )
    found = {
        branch: backbone_in(content, path, UNKNOWN, branch).with_positions() for branch in branches_of(content, path)
    }
    if to == 'mmrs':
        if program is None:
            raise ValueError(
                f'{path} is not of a program that is known here ({", ".join(PROGRAMS)}); files of any OpenMMLab '
                'library, timm and torchvision go into a model with mmrs_ssl.transfer.load_backbone'
            )
        written, parts = to_this_project(found, program, content, path)
    else:
        written, parts = to_published(found, PROGRAMS[to], path)
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(written, out)
    return Conversion(
        source=f'this project ({method_of(content)})' if program is None else known_as(program, content),
        branches={branch: source.layout for branch, source in found.items() if branch in parts},
        count=sum(len(weights) for weights in parts.values()),
        left_out=left_out(content, found, parts),
        computed=next(iter(found.values())).computed,
    )


def to_this_project(
    found: Mapping[str, BackboneWeights], program: Program, content: Any, path: Path
) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Make the content of this project's file, and the weights of each branch."""
    parts = {}
    for branch, source in found.items():
        check_family(source, program, path)
        parts[branch] = translate(checked_backbone(source, path), source.layout, MMPRETRAIN[source.layout.family])
    first = next(iter(parts.values()))
    meta = dict(
        method=program.method,
        program=known_as(program, content),
        source=path.name,
        bands=next((first[key].shape[1] for key in FIRST_CONVOLUTIONS if key in first), None),
        evaluated=evaluated_by(program.method),
        # other tools see from it that the bands' statistics are not known
        cfg=f'model = dict(type={program.method!r}, data_preprocessor=dict())\n',
    )
    if isinstance(content.get('epoch'), int):
        meta['epoch'] = content['epoch']
    return dict(
        state_dict={BRANCHES[branch] + key: value for branch, part in parts.items() for key, value in part.items()},
        meta=meta,
    ), parts


def to_published(
    found: Mapping[str, BackboneWeights], program: Program, path: Path
) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Make the content of a published program's file, and the weights of each branch that it has."""
    parts: dict[str, dict[str, Tensor]] = {}
    for branch in [branch for branch in program.prefixes if branch in found]:
        check_family(found[branch], program, path)
        own = checked_backbone(found[branch], path)
        parts[branch] = translate(own, found[branch].layout, program.layouts[found[branch].layout.family])
    if not parts:
        raise ValueError(
            f'{path} holds the {" and ".join(found)} alone, files of {program.name} have the '
            f'{" and ".join(program.prefixes)}: give a file that has it'
        )
    named = {}
    for branch, part in parts.items():
        # DINO's teacher is in a data-parallel wrapper, too, where it has BatchNorm
        wrapped = program is _DINO and any(key.endswith('running_mean') for key in part)
        prefix = program.prefixes['student' if wrapped else branch]
        named[branch] = {prefix + key: value for key, value in part.items()}
    if program.several:
        return named, parts
    together = {key: value for part in named.values() for key, value in part.items()}
    return dict(model=together) if program is _CMID else together, parts


def check_family(source: BackboneWeights, program: Program, path: Path) -> None:
    """Refuse a backbone that a program does not have.

    Raises:
        ValueError: saying which ones it has.
    """
    if source.layout.family not in program.layouts or source.layout in (
        key_maps.RESNET_DEEP_STEM,
        key_maps.RESNET_FLAT_STEM,
    ):
        raise ValueError(
            f'{path}: the {source.branch or "model"} is {source.layout.name}; {program.name} has '
            f'{", ".join(layout.name for layout in program.layouts.values())}'
        )


def backbone_of(source: BackboneWeights) -> dict[str, Tensor]:
    """Return the weights that belong to the backbone, without a head or mask token beside it."""
    family = source.layout.family
    return {
        key: value for key, value in source.weights.items() if is_part(family, source.layout.mmpretrain_name(key)[0])
    }


def checked_backbone(source: BackboneWeights, path: Path) -> dict[str, Tensor]:
    """Copy the weights of a backbone, if it computes the same without all others.

    A view would be written with all that it is a view of.

    Raises:
        ValueError: if it does not, or if there are NaN or inf in it.
    """
    own, place = backbone_of(source), f'{path} ({source.branch or "model"})'
    check_finite_weights(own, place)
    beside = {key: value for key, value in source.weights.items() if key not in own}
    check_placeless({source.layout.mmpretrain_name(key)[0]: value for key, value in beside.items()}, place)
    return {key: value.clone() for key, value in own.items()}


def method_of(content: Any) -> str | None:
    """Return the name of this project's method that wrote a checkpoint; None for another program's.

    Raises:
        ValueError: if its config is not plain data.
    """
    meta = meta_of(content)
    method = meta.get('method')
    if method is None and isinstance(meta.get('cfg'), str):
        method = read_model(meta['cfg']).get('type')
    return method if isinstance(method, str) and method.startswith('mmrs_ssl.') else None


def program_of(content: Any, path: Path) -> Program | None:
    """Find the published program whose layout a file has, or None.

    A backbone alone is CMID's or MSSDF's if it has the names that their authors' files have, and no classifier.
    """
    if method_of(content) is not None:
        return None
    if isinstance(content, dict) and {'student', 'teacher'} & set(content):
        return _DINO
    names = names_in(content)
    if any(key.startswith(_CMID_PREFIXES) for key in names):
        return _CMID
    if any(key.startswith(TEACHERS) for key in names):
        return None
    alone = backbone_in(content, path, UNKNOWN)
    if alone.size is not None:
        return _MSSDF
    # torchvision's Swin and DINO's ViT under this name are of no other program
    in_wrapper = alone.prefix in (PREFIX, f'module.{PREFIX}') and alone.layout in _DINO_LAYOUTS and not alone.others
    if is_dino_network(names) or in_wrapper:
        return _DINO if alone.layout in (key_maps.RESNET, *_DINO_LAYOUTS) else None
    if alone.prefix or set(alone.weights) - set(backbone_of(alone)) - {'mask_token'}:
        return None
    if alone.layout is key_maps.VIT:
        return _MSSDF
    return _CMID if alone.layout in (key_maps.RESNET, key_maps.SWIN) else None


def known_as(program: Program, content: Any) -> str:
    """Name a program; a backbone alone shows only that its weights are named as that program's."""
    names = names_in(content)
    shown = {'student', 'teacher'} & set(content) or any(
        key.startswith((*_CMID_PREFIXES, _MSSDF_TEACHER)) for key in names
    )
    return program.name if shown else f'{program.name}, by its names alone'


def branches_of(content: Any, path: Path) -> list[str]:
    """List the branches that a file has; one that says nothing of them has a student.

    Raises:
        ValueError: if it holds no weights.
    """
    if isinstance(content, dict) and 'student' in content:
        found = [branch for branch in ('student', 'teacher') if isinstance(content.get(branch), dict)]
        if not found:
            raise ValueError(f'{path} holds no weights of a student or teacher, though it has entries of these names')
        return found
    exported = meta_of(content).get('branch')
    if exported is not None:
        return [exported]
    names = names_in(content)
    if any(key.startswith(TEACHERS) for key in names):
        student = any(key.startswith(tuple(STUDENTS.values())) for key in names)
        return ['student', 'teacher'] if student else ['teacher']
    alone = backbone_in(content, path, UNKNOWN)
    if alone.branch is not None and alone.beside:
        return ['student', 'teacher']
    return [alone.branch or 'student']


def left_out(content: Any, found: Mapping[str, BackboneWeights], parts: Mapping[str, Any]) -> list[str]:
    """List the weights of a file that were not converted, and its other entries."""
    names = []
    heads = tuple(found[branch].prefix for branch in parts)
    for branch, source in found.items():
        head = f'{branch}: '
        kept = backbone_of(source) if branch in parts else {}
        names += [head + source.prefix + key for key in source.weights if key not in kept]
        # of two networks in one dictionary, each is among the others' weights
        together = [each for each in heads if each and each != source.prefix]
        names += [head + key for key in source.others if not key.startswith(tuple(together))]
    converted = {source.entry for source in found.values()}
    outer = {entry.partition('.')[0] for entry in converted if entry not in content}  # it may be an entry of an entry
    weights = ('student', 'teacher', 'state_dict', 'model', 'meta', *converted, *outer)
    names += [str(key) for key, value in content.items() if key not in weights and not isinstance(value, Tensor)]
    inner = [f'{key}.{name}' for key in outer for name in content.get(key) or ()]
    return names + [name for name in inner if name not in converted]
