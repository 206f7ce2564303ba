"""Find branches, modalities and the config in this project's own checkpoints."""

import ast
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from mmrs_ssl.registry import MODELS, SCOPE

PREFIX = 'backbone.'
_OTHER_EMBEDDING = re.compile(r'(?:teacher\.module\.)?patch_embeds\.(.+?)\.')
_MASK_TOKEN = re.compile(r'decoder\.mask_tokens\.(.+)')
BRANCHES = dict(student=PREFIX, teacher=f'teacher.module.{PREFIX}')
# What parsing a text of anyone raises, and reading what it says: [] as a key, 100,000 signs before a number.
_UNREADABLE = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


class UnsaidBranchError(ValueError):
    """Raised for a file with a student and a teacher of which nothing says which is meant."""

    def __init__(self, name: Path | str) -> None:
        super().__init__(
            f'{name} holds a student and a teacher and does not say which of them its authors evaluate: choose one, '
            '--branch student or --branch teacher (in Python and in configs branch=...)'
        )


def evaluated_branch(meta: dict[str, Any]) -> str | None:
    """Tell which branch a method's authors evaluate, ``'student'`` or ``'teacher'``, from meta data; None if unknown.

    The file says it (``meta.evaluated``, which ``TeacherUpdateHook`` writes); of one that does not, which is older, the
    class of its method.
    """
    if (said := meta.get('evaluated')) is not None:
        if not isinstance(said, str) or said not in BRANCHES:
            raise ValueError(f'the checkpoint has meta.evaluated={said!r}, expected {" or ".join(BRANCHES)}')
        return said
    method = meta.get('method')
    if method is None and isinstance(meta.get('cfg'), str):
        method = read_model(meta['cfg']).get('type')
    return evaluated_by(str(method))


def evaluated_by(method: str) -> str | None:
    """Tell which branch the authors of a method evaluate, by its registered name; None if it is not registered here.

    The registry's own ``get`` would import whatever module a file names.
    """
    scope, _, name = method.rpartition('.')
    known = MODELS.module_dict.get(name) if scope in ('', SCOPE) or scope.startswith(f'{SCOPE}.') else None
    return getattr(known, 'evaluated', None)


def check_out(checkpoint: Path, out: Path) -> None:
    """Refuse to write over the checkpoint that is read, whose optimizer and heads would be lost.

    Raises:
        ValueError: if they are the same file, or ``out`` is a folder.
    """
    if out.is_dir():
        raise ValueError(f'{out} is a folder, expected the name of a file to write')
    if out.exists() and checkpoint.exists() and out.samefile(checkpoint):
        raise ValueError(f'{out} is the checkpoint itself, give the new file another name')


def first_modality(modalities: Iterable[str], weights: Iterable[str]) -> str:
    """Find the modality that a model has first, whose patch embedding is the backbone's own.

    The text of a config does not say it: mmengine writes it in the order of the alphabet. The model's mask tokens have
    its own order; without them it is the one whose patch embedding has no name of its own among the weights.
    """
    names, weights = list(modalities), list(weights)
    tokens = (found[1] for found in map(_MASK_TOKEN.fullmatch, weights) if found)
    if (first := next((name for name in tokens if name in names), None)) is not None:
        return first
    others = {found[1] for found in map(_OTHER_EMBEDDING.match, weights) if found}
    return next((name for name in names if others and name not in others), next(iter(names), ''))


def choose_modality(modalities: dict[str, dict], name: str | None, weights: Iterable[str] = ()) -> tuple[str, dict]:
    """Return the modality of this name, by default the first of a model with these weights, and its statistics."""
    name = first_modality(modalities, weights) if name is None else name
    if name not in modalities:
        raise ValueError(f'there is no modality {name!r}, the model has {", ".join(modalities) or "none of its own"}')
    return name, modalities[name]


def patch_embedding_of(weights: dict[str, Tensor], branch: str, modality: str, bands: int) -> dict[str, Tensor]:
    """Copy the patch embedding of a modality, in the backbone's names; nothing where it is the backbone's own.

    Where one embedding is shared, a modality of a single band went through it repeated: its kernel is the sum over the
    bands, which computes the same.
    """
    head = f'{BRANCHES[branch].removesuffix(PREFIX)}patch_embeds.{modality}.'
    own = f'{PREFIX}patch_embed.'
    found = {own + key.removeprefix(head): value.clone() for key, value in weights.items() if key.startswith(head)}
    kernel = weights.get(f'{BRANCHES[branch]}patch_embed.projection.weight')
    if not found and bands == 1 and kernel is not None and kernel.shape[1] > 1:
        found[f'{own}projection.weight'] = kernel.sum(dim=1, keepdim=True)
    return found


def read_model(text: str) -> dict[str, Any]:
    """Read the model's settings in a config's text, without running it, with the ``data_preprocessor`` beside it.

    Raises:
        ValueError: if there are none.
    """
    model = read_setting(text, 'model')
    if not isinstance(model, dict):
        raise ValueError(f'the config in the checkpoint has model={model!r}, expected a dict')
    beside = read_settings(text).get('data_preprocessor')  # which a library's Runner gives to a model without
    return {'data_preprocessor': beside, **model} if isinstance(beside, dict) else model


def modalities_in(model: Mapping[str, Any]) -> dict[str, Any]:
    """Find the statistics of each modality in a model's settings; ``''`` for those of a model without modalities."""
    statistics = model.get('data_preprocessor')
    statistics = statistics if isinstance(statistics, dict) else {}
    modalities = statistics.get('modalities')
    found = modalities if isinstance(modalities, dict) and modalities else {'': statistics}
    return {str(name): part for name, part in found.items() if isinstance(part, dict)}


def read_setting(text: str, name: str) -> Any:
    """Read one variable of a config's text, without running it: a checkpoint may come from anyone.

    Raises:
        ValueError: if it is not there, or made of anything but literals and ``dict(...)``.
    """
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [name]:
                return _literal(statement.value)
    except _UNREADABLE as error:
        raise ValueError(f'the config in the checkpoint is not plain data and is not read: {error}') from error
    raise ValueError(f'the config in the checkpoint has no {name!r}')


def read_settings(text: str) -> dict[str, Any]:
    """Read the variables of a config's text that are plain data, without running it; none where it is no Python."""
    try:
        statements = ast.parse(text).body
    except _UNREADABLE:
        return {}
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with suppress(*_UNREADABLE):
                found[statement.targets[0].id] = _literal(statement.value)
    return found


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict' and not node.args:
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): _literal(value) for key, value in zip(node.keys, node.values, strict=True) if key
        }
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    return ast.literal_eval(node)
