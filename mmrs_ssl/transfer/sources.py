"""Read a checkpoint of whatever program, and find the backbone in it."""

import argparse
import json
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from safetensors import safe_open
from torch import Tensor

from mmrs_ssl.transfer.foreign_names import RefusedError
from mmrs_ssl.transfer.foreign_pickles import read_foreign
from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.layouts import KeyLayout, find_backbones
from mmrs_ssl.transfer.modalities import JointModalities, joint_embeddings, joint_record
from mmrs_ssl.transfer.networks import choose_network, choose_prefix, meta_of, tensors_of
from mmrs_ssl.transfer.own_checkpoints import choose_modality, modalities_in, patch_embedding_of, read_model
from mmrs_ssl.transfer.published_vits import PUBLISHED_SIZE, add_positions, patches_at, restore_names, size_said
from mmrs_ssl.transfer.records import Record, read_record


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
        entry: of the file, that the weights are in; ``''`` for the file itself.
        beside: where other backbones of the file are.
        size: of the images of the pre-training, in pixels (0 if the file does not say it), if the position embeddings
            are sines that the file does not hold.
        computed: what was added to the file's weights.
    """

    weights: dict[str, Tensor]
    layout: KeyLayout
    prefix: str
    branch: str | None
    others: list[str]
    record: Record
    entry: str = ''
    beside: str = ''
    size: int | None = None
    computed: str = ''

    @property
    def origin(self) -> str:
        """Say which of the networks of the file it is, and what lies beside it."""
        parts = [self.branch or '', self.layout.name, f'names after {self.prefix!r}']
        parts[2] += f' in {self.entry!r}' if self.entry not in ('', 'state_dict', self.branch) else ''
        parts += [f'not the backbone in {self.beside}'] if self.beside else []
        return ', '.join(part for part in (*parts, self.computed) if part)

    def with_positions(self, count: int | None = None) -> 'BackboneWeights':
        """Add the position embeddings that the file's program computes by itself; nothing to any other program's.

        They are those of the images of the pre-training, where the file says their size.

        Args:
            count: of the model's patches, where it does not; by default of images of 320 pixels, MSSDF's.
        """
        if self.size is None:
            return self
        patches = patches_at(self.weights, self.size or PUBLISHED_SIZE) if self.size or not count else count
        weights = add_positions(self.weights, patches)
        return replace(
            self, weights=weights, size=None, computed=f'position embeddings: 1-D sines of {patches} patches'
        )


def read_backbone(
    checkpoint: str | Path,
    other: KeyLayout,
    branch: str | None = None,
    modality: str | JointModalities | None = None,
) -> BackboneWeights:
    """Read a checkpoint and find the backbone in it.

    It may be one of this project's (training or exported), of the published CMID, DINO-MC and MSSDF programs, of an
    OpenMMLab library, or a plain state dict of timm or torchvision; ``.pth`` or ``.safetensors``.

    Args:
        checkpoint: the file.
        other: the layout to try where the names are of none of the known libraries.
        branch: ``'student'`` or ``'teacher'``; by default the one that the method's authors evaluate.
        modality: whose patch embedding to take where a model has several; by default the first one's. For a backbone
            that takes several together, those.

    Returns:
        The backbone; all weights of the file, with the layout ``other``, if there is none to be found.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not plain data, has no such branch or modality, no weights, or several backbones of
            which none is the obvious one.
    """
    path = Path(checkpoint)
    return backbone_in(read_file(path), path, other, branch, modality)


def backbone_in(
    content: Any,
    path: Path,
    other: KeyLayout,
    branch: str | None = None,
    modality: str | JointModalities | None = None,
) -> BackboneWeights:
    """Find the backbone in what a file holds, see :func:`read_backbone`."""
    if branch not in (None, 'student', 'teacher'):
        raise ValueError(f"branch={branch!r}, expected 'student', 'teacher' or None")
    layouts = (*LAYOUTS, other)
    network = choose_network(content, path, branch, layouts)
    weights = network.weights
    if isinstance(modality, str):
        weights = weights | modality_of(content, path, network.branch, modality)
    found = find_backbones(weights, layouts)
    prefix = choose_prefix(found, path) if network.prefix is None else network.prefix
    beside = network.beside or ', '.join(repr(each) for each in found if each != prefix)
    layout = other if prefix is None else found[prefix]
    prefix = prefix or ''
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    others = [key for key in weights if not key.startswith(prefix)]
    own, sines = restore_names(own) if layout.family == 'vit' else (own, False)
    if isinstance(modality, JointModalities):
        own |= joint_embeddings(content, weights, path, modality)
        taken = tuple(f'patch_embeds.{name}.' for name in modality.bands)
        others = [key for key in others if not key.startswith(taken)]
        record = joint_record(content, modality)
    else:
        record = read_record(content, modality)
    return BackboneWeights(
        own,
        layout,
        prefix,
        network.branch,
        others,
        record,
        network.entry,
        beside,
        (size_said(content) or 0) if sines else None,
    )


class NotPlainError(ValueError):
    """Raised for a file that asks for more than plain data and the types of known programs."""


def read_file(path: Path) -> Any:
    """Read what a checkpoint of whatever program holds, without running anything in it.

    Objects of classes that are not known here are placeholders, which is said.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or asks for something that is neither data nor the class of another program.
    """
    try:
        return read_strictly(path)
    except NotPlainError:
        if not zipfile.is_zipfile(path):
            raise
    try:
        content, replaced = read_foreign(path)
    except RefusedError as error:
        raise ValueError(f'{path} is refused, nothing in it was run: {error}') from None
    except Exception as error:  # what a damaged or crafted file raises depends on its bytes
        raise ValueError(f'{path} is refused, nothing in it was run: {why_refused(error)}') from None
    if replaced:
        names = ', '.join(replaced[:8]) + (f' and {len(replaced) - 8} more' if len(replaced) > 8 else '')
        print_log(f'{path}: placeholders stand for objects of {names}; nothing of them was run', logger='current')
    return content


def read_strictly(path: Path, mmap: bool = False) -> Any:
    """Read what a checkpoint holds, if it is plain data and types of this project and the libraries it is made with.

    Args:
        path: the file.
        mmap: leave weights on the disk until they are used; for files that torch wrote since 1.6.

    Raises:
        FileNotFoundError: if there is no such file.
        NotPlainError: if it asks for anything else.
        ValueError: if it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint {str(path)!r}')
    try:
        if path.suffix == '.safetensors':
            return read_safetensors(path)
        # DINO's and DINO-MC's options; torch's hint at torch.jit.load, which would run what the file holds
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*looks like a TorchScript archive')
            warnings.filterwarnings('ignore', message='Detected pickle protocol')
            if is_compressed(path):  # a small file would be a thousand times as large in memory
                raise pickle.UnpicklingError("its entries are compressed, which torch's never are: it may be harmful")
            return torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except OSError as error:
        if error.filename is not None:
            raise
        # a damaged table of contents that leads to before the file's begin, or a disk that fails
        raise ValueError(f'{path} cannot be read ({error}): it is damaged or no checkpoint') from None
    except Exception as error:  # what a damaged or crafted file raises depends on its bytes
        # torch's own message advises to read the file without the check: it is not passed on
        kind = NotPlainError if isinstance(error, pickle.UnpicklingError) else ValueError
        raise kind(f'{path} is refused, nothing in it was run: {why_refused(error)}') from None


def is_compressed(path: Path) -> bool:
    """Tell whether this is an archive with an entry that is compressed."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())


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
    if asked := re.search(r'\bGLOBAL (\S+)', text):
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


def modality_of(content: Any, path: Path, branch: str | None, modality: str) -> dict[str, Tensor]:
    """Read the patch embedding of a modality, in the backbone's names; nothing where it is the backbone's own."""
    meta = meta_of(content)
    text = meta.get('cfg')
    if isinstance(text, str):
        known = {name: part for name, part in modalities_in(read_model(text)).items() if name}
        bands = len(choose_modality(known, modality)[1].get('mean') or ())
        return patch_embedding_of(tensors_of(content, str(path)), branch or 'student', modality, bands)
    if meta.get('modality') != modality:
        raise ValueError(
            f'{path} does not say that it holds modality {modality!r} (but {meta.get("modality")!r}): leave modality '
            'out, or give the checkpoint of the training run'
        )
    return {}
