"""Choose one of the networks that a checkpoint holds: of its entries, of its branches, of what stands before its names.

Programs keep a network and its average beside each other. Which of them is meant follows from fixed rules:

- of entries for a student and a teacher (DINO), and of this project's and CMID's one dictionary, the branch that the
  authors evaluate;
- of an entry and its average (``model`` and ``model_ema``, ``state_dict`` and ``state_dict_ema``), the average, for
  who keeps one evaluates it (timm's loader takes it, too); mmengine's ``EMAHook`` puts it into ``state_dict``;
- of the networks of a known pair (:data:`PAIRS`), the one that its authors evaluate.

A branch that the user names takes the other. Whatever lies beside what was taken is said.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from mmrs_ssl.transfer.foreign_names import Placeholder
from mmrs_ssl.transfer.layouts import KeyLayout, find_backbones
from mmrs_ssl.transfer.own_checkpoints import BRANCHES, PREFIX, UnsaidBranchError, evaluated_branch, evaluated_by

# Where a teacher's weights are when they are in one dictionary with the student's: this project's, the published CMID.
CMID_TEACHER = 'branch_encoder.'
STUDENTS = {'teacher.module.': PREFIX, CMID_TEACHER: 'online_encoder.model.'}
TEACHERS = tuple(STUDENTS)
# Which backbone is meant where a file has several: OpenMMLab's and this project's, DINO's, the published CMID's, a bare
# one.
PREFIXES = (PREFIX, f'module.{PREFIX}', 'online_encoder.model.', '', 'module.')
# What the student and the teacher are called where they stand in one dictionary, and which of them is evaluated.
PAIRS = (
    ('encoder_q', 'encoder_k', 'student'),  # MoCo, SeCo and what is made of them
    ('base_encoder', 'momentum_encoder', 'student'),  # MoCo v3
    ('encoder', 'momentum_encoder', 'student'),
    ('online_encoder', 'target_encoder', 'student'),  # BYOL
    ('online_network', 'target_network', 'student'),
    ('encoder', 'target_encoder', 'teacher'),  # I-JEPA
    ('encoder', 'ema_teacher', 'student'),  # MSSDF
    ('backbone', 'momentum_backbone', 'student'),  # solo-learn
    ('backbone', 'backbone_momentum', 'student'),  # lightly
    ('backbone', 'target_backbone', 'student'),
    ('student_backbone', 'teacher_backbone', 'teacher'),
    ('student_encoder', 'teacher_encoder', 'teacher'),
    ('model', 'model_ema', 'teacher'),
    ('model', 'ema_model', 'teacher'),
    ('student', 'teacher', 'teacher'),  # DINOv2
)
# Entries that hold an average of the weights of another one.
_AVERAGE = re.compile(r'(?:.*[_.])?(?:ema|swa|shadow|teacher|target|momentum)(?:[_.].*)?')
# What wraps a whole network: for several devices, compiled.
_WRAPPERS = re.compile(r'(?:module\.|_orig_mod\.)*')
_WRAPPED = ('', 'module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.')
# The head of DINO, whose published files may be one network alone, a teacher.
_DINO_HEAD = re.compile(r'head\.(?:mlp\.|last_layer\.)')


@dataclass(frozen=True)
class Network:
    """A network of a checkpoint.

    Args:
        weights: all of its branch, and under their names there what else the dictionary has.
        branch: ``'student'`` or ``'teacher'`` where the file has, or had, both.
        entry: of the file, that it was found in; ``''`` for the file itself.
        beside: where the file has the other branch; ``''`` if it has not.
        prefix: what stands before the names; None where that is still to be found.
    """

    weights: dict[str, Tensor]
    branch: str | None
    entry: str = ''
    beside: str = ''
    prefix: str | None = None


def choose_network(content: Any, path: Path, branch: str | None, layouts: Iterable[KeyLayout]) -> Network:
    """Find the network that is meant, see the rules above.

    Args:
        content: of the file.
        path: of it, for messages.
        branch: ``'student'`` or ``'teacher'``; by default what the rules say.
        layouts: names of backbones.

    Raises:
        ValueError: if there is no such branch, no weights, or several networks of which none is the obvious one.
    """
    layouts = tuple(layouts)
    if isinstance(content, dict) and 'student' in content:  # DINO, DINO-MC
        branch, other = _choose_half(content, path, branch)
        beside = f'the entry {other!r}' if isinstance(content.get(other), dict) else ''
        return Network(tensors_of(content.get(branch), f'{path} ({branch})'), branch, str(branch), beside)
    found, settled = _choose_entry(content, path, branch, layouts)
    if settled:  # and the branch is that of the entry, whatever networks are in it
        pair = _choose_pair(find_backbones(found.weights, layouts), None)
        return found if pair is None else replace(found, prefix=pair[1], beside=f'{found.beside} and in {pair[2]}')
    weights = found.weights
    if (exported := meta_of(content).get('branch')) is not None:
        if branch not in (None, exported):
            raise ValueError(f'{path} holds the {exported} alone, not the {branch}: leave branch out')
        return Network(weights, exported, found.entry)
    wrapper = wrapper_of(weights)
    head = next((head for head in TEACHERS if any(key.startswith(wrapper + head) for key in weights)), None)
    if head is not None:
        return _of_one_dictionary(content, path, branch, found, wrapper, head)
    if (pair := _choose_pair(find_backbones(weights, layouts), branch)) is not None:
        branch, prefix, beside = pair
        return Network(weights, branch, found.entry, beside, prefix)
    if branch is None and is_dino_network(weights):
        return Network(weights, 'teacher', found.entry)
    if branch == 'teacher' and not is_dino_network(weights):
        raise ValueError(
            f'{path} holds no teacher, whose names begin with {" or ".join(TEACHERS)} or as the second of '
            f'{", ".join("/".join(pair[:2]) for pair in PAIRS)}: leave branch out'
        )
    return Network(weights, branch, found.entry, found.beside)


def is_dino_network(weights: Iterable[str]) -> bool:
    """Tell whether these are names of one network of DINO's, a backbone with its head."""
    names = [_WRAPPERS.sub('', key, count=1) for key in weights]
    return any(map(_DINO_HEAD.match, names)) and any(name.startswith(PREFIX) for name in names)


def wrapper_of(names: Iterable[str]) -> str:
    """Find what wraps a whole network, before each of its names."""
    names = tuple(names)
    wrapper = names[0][: len(names[0]) - len(_WRAPPERS.sub('', names[0], count=1))] if names else ''
    return wrapper if all(name.startswith(wrapper) for name in names) else ''


def _choose_half(content: Mapping[str, Any], path: Path, branch: str | None) -> tuple[str, str]:
    """Choose the entry of the student or that of the teacher; say it if the file has not the one that is meant."""
    chosen = branch or str(evaluated_by('mmrs_ssl.DINOMC'))
    other = next(name for name in ('teacher', 'student') if name != chosen)
    if branch or isinstance(content.get(chosen), dict) or not isinstance(content.get(other), dict):
        return chosen, other
    print_log(
        f'{path} holds no {chosen}, which its authors evaluate: the {other} is taken',
        logger='current',
        level=logging.WARNING,
    )
    return other, chosen


def _of_one_dictionary(
    content: Any, path: Path, branch: str | None, found: Network, wrapper: str, head: str
) -> Network:
    branch = branch or (evaluated_by('mmrs_ssl.CMID') if head == CMID_TEACHER else evaluated_branch(meta_of(content)))
    if branch is None:
        raise UnsaidBranchError(path)
    student = branch == 'student'
    other = wrapper + (head if student else STUDENTS[head])
    head = wrapper + head
    weights = {
        key.removeprefix('' if student else head): value
        for key, value in found.weights.items()
        if key.startswith(head) != student
    }
    beside = [repr(other)] if any(key.startswith(other) for key in found.weights) else []
    beside += [found.beside] if found.beside else []
    return Network(weights, branch, found.entry, ' and in '.join(beside))


def _choose_entry(content: Any, path: Path, branch: str | None, layouts: tuple[KeyLayout, ...]) -> tuple[Network, bool]:
    """Choose an entry of a file; tell, too, whether that settles the branch."""
    if not isinstance(content, dict) or find_backbones(_tensors(content), layouts):
        return Network(tensors_of(content, str(path)), branch), False
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, dict) or name.startswith('optim'):
            continue
        inside = _backbones_in(name, value, layouts)
        if len(inside) == 1 and _is_average(name) == _is_average(*inside):
            inside = {name: next(iter(inside.values()))}
        found |= inside
    if not found:  # names that no map knows
        return Network(tensors_of(content, str(path)), branch), False
    if 'state_dict' in found and 'mmengine_version' in meta_of(content):
        # mmengine's EMAHook puts the averages into it, and what they are averages of beside it
        beside = "'ema_state_dict', which is not averaged" if 'ema_state_dict' in found else ''
        return Network(found['state_dict'], None, 'state_dict', beside), False
    averages = [name for name in found if _is_average(name)]
    plain = [name for name in found if name not in averages]
    if len(plain) > 1 or len(averages) > 1:
        raise ValueError(
            f'{path} holds several backbones, in {", ".join(map(repr, found))}: save one to a file of its own'
        )
    if not averages:
        return Network(found[plain[0]], branch, plain[0]), False
    branch = branch or 'teacher'
    if branch == 'student' and not plain:
        raise ValueError(f'{path} holds the average {averages[0]!r} alone, no student: leave branch out')
    chosen, *others = [*plain, *averages] if branch == 'student' else [*averages, *plain]
    beside = f'the entry {others[0]!r}' if others else ''
    return Network(found[chosen], branch, chosen, beside), True


def _backbones_in(name: str, entry: Mapping[Any, Any], layouts: tuple[KeyLayout, ...]) -> dict[str, dict[str, Tensor]]:
    """Find the weights of an entry: it itself, or those of its own entries that have a backbone."""
    if find_backbones(own := _tensors(entry), layouts):
        return {name: own}
    inner = {key: _tensors(value) for key, value in entry.items() if isinstance(key, str) and isinstance(value, dict)}
    return {
        f'{name}.{key}': weights
        for key, weights in inner.items()
        if not key.startswith('optim') and find_backbones(weights, layouts)
    }


def _is_average(name: str) -> bool:
    return _AVERAGE.fullmatch(name.lower()) is not None


def _choose_pair(found: Mapping[str, KeyLayout], branch: str | None) -> tuple[str, str, str] | None:
    """Find a known pair among what stands before names: the branch, its prefix, and where the other is."""
    parts = {prefix: prefix.split('.') for prefix in found}
    for student, teacher, evaluated in PAIRS:
        for first, own in parts.items():
            for second, others in parts.items():
                if student in own and [teacher if part == student else part for part in own] == others:
                    chosen = branch or evaluated
                    prefixes = (first, second) if chosen == 'student' else (second, first)
                    return chosen, prefixes[0], repr(prefixes[1])
    return None


def choose_prefix(found: Mapping[str, KeyLayout], path: Path) -> str | None:
    """Choose what stands before the names of the backbone that is meant; None if there is no backbone.

    Raises:
        ValueError: if there are several, and none is the obvious one.
    """
    known = (wrapper + prefix for wrapper in _WRAPPED for prefix in PREFIXES)
    prefix = next((prefix for prefix in known if prefix in found), None)
    if prefix is None and len(found) > 1:
        raise ValueError(
            f'{path} holds several backbones, under {", ".join(map(repr, found))}: save one to a file of its own'
        )
    return next(iter(found), None) if prefix is None else prefix


def tensors_of(content: Any, name: str) -> dict[str, Tensor]:
    """Find the weights of a checkpoint, whether or not they lie in ``state_dict`` or ``model``."""
    if isinstance(content, dict):
        for part in ('state_dict', 'model'):
            if isinstance(content.get(part), dict):
                content = content[part]
        if tensors := _tensors(content):
            return tensors
    held = ', '.join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
    held = str(content) if isinstance(content, Placeholder) else held
    raise ValueError(f'{name} holds no weights but {held or "nothing"}; expected a state dict, or one in state_dict')


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def names_in(content: Any) -> list[str]:
    """List the names of all weights of a checkpoint, in whichever of its entries they are."""
    parts = [content, *content.values()] if isinstance(content, dict) else []
    return [name for part in parts if isinstance(part, dict) for name in _tensors(part)]


def meta_of(content: Any) -> dict[str, Any]:
    """Return the meta data of a checkpoint; empty where it has none."""
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return {}
    known = isinstance(meta.get('branch'), str) and meta['branch'] in BRANCHES  # a file of anyone may have another
    return dict(meta) if known else {key: value for key, value in meta.items() if key != 'branch'}
