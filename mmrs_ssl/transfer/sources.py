"""Read a checkpoint of whatever program, and find the backbone in it."""

import argparse
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.layouts import KeyLayout, find_backbones
from mmrs_ssl.transfer.own_checkpoints import (
    PREFIX,
    UnsaidBranchError,
    choose_modality,
    evaluated_branch,
    evaluated_by,
    patch_embedding_of,
    read_model,
)
from mmrs_ssl.transfer.records import Record, read_record

# Where a teacher's weights are when they are in one dictionary with the student's: this project's, the published CMID.
CMID_TEACHER = 'branch_encoder.'
TEACHERS = ('teacher.module.', CMID_TEACHER)
# Which backbone is meant where a file has several: OpenMMLab's and this project's, DINO's, the published CMID's, a bare
# one.
PREFIXES = (PREFIX, f'module.{PREFIX}', 'online_encoder.model.', '', 'module.')


@dataclass(frozen=True)
class BackboneWeights:
    """The backbone that was found in a checkpoint.

    Args:
        weights: under the file's own names, without what stood before them.
        layout: whose names they are.
        prefix: what stood before them.
        branch: ``'student'`` or ``'teacher'`` where the file has, or had, both.
        others: names of all other weights of this branch, e.g. of heads.
        record: what the file says of its pre-training.
    """

    weights: dict[str, Tensor]
    layout: KeyLayout
    prefix: str
    branch: str | None
    others: list[str]
    record: Record


def read_backbone(
    checkpoint: str | Path, other: KeyLayout, branch: str | None = None, modality: str | None = None
) -> BackboneWeights:
    """Read a checkpoint and find the backbone in it.

    It may be one of this project's (training or exported), of the published CMID, DINO-MC and MSSDF programs, of an
    OpenMMLab library, or a plain state dict of timm or torchvision; ``.pth`` or ``.safetensors``.

    Args:
        checkpoint: the file.
        other: the layout to try where the names are of none of the known libraries.
        branch: ``'student'`` or ``'teacher'``; by default the one that the method's authors evaluate.
        modality: whose patch embedding to take where a model has several; by default the first one's.

    Returns:
        The backbone; all weights of the file, with the layout ``other``, if there is none to be found.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not plain data, has no such branch or modality, no weights, or several backbones of
            which none is the obvious one.
    """
    path = Path(checkpoint)
    if branch not in (None, 'student', 'teacher'):
        raise ValueError(f"branch={branch!r}, expected 'student', 'teacher' or None")
    content = read_file(path)
    weights, branch = weights_of_branch(content, path, branch)
    if modality is not None:
        weights = weights | modality_of(content, path, branch, modality)
    found = find_backbones(weights, (*LAYOUTS, other))
    prefix = next((prefix for prefix in PREFIXES if prefix in found), None)
    if prefix is None and len(found) > 1:
        raise ValueError(
            f'{path} holds several backbones, under {", ".join(map(repr, found))}: save one to a file of its own'
        )
    if prefix is None:
        prefix = next(iter(found), '')
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    others = [key for key in weights if not key.startswith(prefix)]
    return BackboneWeights(own, found.get(prefix, other), prefix, branch, others, read_record(content, modality))


def read_file(path: Path, mmap: bool = False) -> Any:
    """Read what a checkpoint holds, without running anything in it.

    Args:
        path: the file.
        mmap: leave weights on the disk until they are used; for files that torch wrote since 1.6.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or asks for anything but plain data and the types of known programs.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint {str(path)!r}')
    try:
        if path.suffix == '.safetensors':
            return read_safetensors(path)
        # DINO's and DINO-MC's options; torch's hint at torch.jit.load, which would run what the file holds
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*looks like a TorchScript archive')
            return torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except OSError as error:
        if error.filename is not None:
            raise
        # a damaged table of contents that leads to before the file's begin, or a disk that fails
        raise ValueError(f'{path} cannot be read ({error}): it is damaged or no checkpoint') from None
    except Exception as error:  # what a damaged or crafted file raises depends on its bytes
        # torch's own message advises to read the file without the check: it is not passed on
        raise ValueError(f'{path} is refused, nothing in it was run: {why_refused(error)}') from None


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read the weights; an exported file of this project gives what its ``.pth`` would, with ``meta`` beside them."""
    with safe_open(path, framework='pt') as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it cannot be iterated over
        metadata = file.metadata() or {}
    if 'config_sha256' not in metadata:
        return weights
    return dict(state_dict=weights, meta={key: json.loads(value) for key, value in metadata.items()})


def why_refused(error: Exception) -> str:
    """Say in plain words why ``torch.load`` refused a file."""
    text = str(error)
    if asked := re.search(r'GLOBAL (\S+)', text):
        return (
            f'it asks for {asked[1]}, which is no plain data; give a file of weights alone (a backbone-only file, or '
            'one that the program that wrote it saved with its state_dict)'
        )
    if 'may be harmful' in text:
        return text
    return (
        f'it is damaged or no checkpoint ({type(error).__name__}); expected what torch.save wrote, or safetensors '
        'where the name ends with .safetensors'
    )


def weights_of_branch(content: Any, path: Path, branch: str | None) -> tuple[dict[str, Tensor], str | None]:
    """Return the weights of one branch, without what marks it in their names, and which branch it is."""
    if isinstance(content, dict) and {'student', 'teacher'} & set(content):  # DINO, DINO-MC
        branch = branch or evaluated_by('mmrs_ssl.DINOMC')
        return tensors_of(content.get(branch), f'{path} ({branch})'), branch
    weights = tensors_of(content, str(path))
    if (exported := meta_of(content).get('branch')) is not None:
        if branch not in (None, exported):
            raise ValueError(f'{path} holds the {exported} alone, not the {branch}: leave branch out')
        return weights, exported
    head = next((head for head in TEACHERS if any(key.startswith(head) for key in weights)), None)
    if head is None:
        if branch == 'teacher':
            raise ValueError(
                f'{path} holds no teacher, whose names begin with {" or ".join(TEACHERS)}: leave branch out'
            )
        return weights, branch
    branch = branch or (evaluated_by('mmrs_ssl.CMID') if head == CMID_TEACHER else evaluated_branch(meta_of(content)))
    if branch is None:
        raise UnsaidBranchError(path)
    if branch == 'student':
        return {key: value for key, value in weights.items() if not key.startswith(head)}, branch
    return {key.removeprefix(head): value for key, value in weights.items() if key.startswith(head)}, branch


def tensors_of(content: Any, name: str) -> dict[str, Tensor]:
    """Find the weights of a checkpoint, whether or not they lie in ``state_dict`` or ``model``."""
    if isinstance(content, dict):
        for part in ('state_dict', 'model'):
            if isinstance(content.get(part), dict):
                content = content[part]
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if tensors:
            return tensors
    held = ', '.join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
    raise ValueError(f'{name} holds no weights but {held or "nothing"}; expected a state dict, or one in state_dict')


def meta_of(content: Any) -> dict[str, Any]:
    """Return the meta data of a checkpoint; empty where it has none."""
    meta = content.get('meta') if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}


def modality_of(content: Any, path: Path, branch: str | None, modality: str) -> dict[str, Tensor]:
    """Read the patch embedding of a modality, in the backbone's names; nothing where it is the backbone's own."""
    meta = meta_of(content)
    text = meta.get('cfg')
    if isinstance(text, str):
        choose_modality((read_model(text).get('data_preprocessor') or {}).get('modalities') or {}, modality)
        return patch_embedding_of(tensors_of(content, str(path)), branch or 'student', modality)
    if meta.get('modality') != modality:
        raise ValueError(
            f'{path} does not say that it holds modality {modality!r} (but {meta.get("modality")!r}): leave modality '
            'out, or give the checkpoint of the training run'
        )
    return {}
