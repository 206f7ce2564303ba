"""Resolve short names of what people change in a config: ``--cfg-options size=128`` goes to every place it means.

A config declares them in ``short_names``, a dict of name -> dotted path or list of paths. An element of a list goes by
its type without the scope (``pipeline.RandomCropResize.size``) or by its number; ``*`` is every one that has the last
key.
"""

import json
from numbers import Number
from pathlib import Path
from typing import Any

from mmengine.config import Config

STATISTICS = ('mean', 'std')


def list_short_names(cfg: Config) -> str:
    """Write one line that says what each short name of a config sets; empty for a config without."""
    names = cfg.get('short_names') or {}
    return ', '.join(f'{name} ({" and ".join(_paths(paths))})' for name, paths in names.items())


def set_short_names(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Apply those of the options that are short names, in place; returns the others.

    ``statistics`` is mean and std: two lists, or a file that ``tools/band_stats.py --out`` writes; of several
    modalities ``statistics.rgb`` is one's, and ``statistics`` a dict or file with an entry for each. Where numbers of
    bands are written in the config (``bands``) and none is given, they become as many as there are statistics of.

    Raises:
        KeyError: if a name leads nowhere in this config, or to a modality that it does not have.
        TypeError: for a number where the config has a list, or the other way round.
        FileNotFoundError, ValueError: for statistics that are no file, or none.
    """
    names = cfg.get('short_names') or {}
    others = {}
    for option, value in options.items():
        name, _, modality = option.partition('.')
        if name not in names or (modality and name != 'statistics'):
            others[option] = value
            continue
        places = [place for path in _paths(names[name]) for place in _places(cfg, name, path)]
        if name == 'statistics':
            for node, key in places:
                _set_statistics(node[key], option, modality, value)
        else:
            for node, key in places:
                # a network takes as many bands as are chosen
                counted = name == 'bands' and isinstance(value, list) and not _is_a(node, ['LoadRaster'])
                wanted = len(value) if counted else value
                _check_kind(option, node.get(key) if isinstance(node, dict) else node[key], wanted)
                node[key] = wanted
    if 'statistics' in options and 'statistics' in names and 'bands' in names and 'bands' not in options:
        _count_bands(cfg, names)
    return others


def _count_bands(cfg: Config, names: dict[str, Any]) -> None:
    """Write how many bands there are statistics of wherever the config has a number of them."""
    statistics, key = _places(cfg, 'statistics', _paths(names['statistics'])[-1])[0]
    if (mean := statistics[key].get('mean')) is None:  # of several modalities
        return
    for node, last in (place for path in _paths(names['bands']) for place in _places(cfg, 'bands', path)):
        if isinstance(node, dict) and isinstance(node.get(last), int):
            node[last] = len(mean)


def find_value(cfg: Config, name: str) -> Any:
    """Return the value of the first place that a short name of a config means."""
    node, key = _places(cfg, name, _paths(cfg.short_names[name])[0])[0]
    return node[key]


def _paths(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths)


def _places(cfg: Config, name: str, path: str) -> list[tuple[Any, Any]]:
    """List containers and keys that a path leads to; an option of a part found by its type may be at its default."""
    *parts, last = path.split('.')
    parents: list[Any] = [cfg._cfg_dict]
    for part in parts:
        parents = [node[key] for node in parents for key in _keys(node, part)]
    found = [(node, key) for node in parents for key in _keys(node, last) or _unwritten(node, parts[-1:], last)]
    if not found:
        raise KeyError(
            f'--cfg-options {name}: this config has no {path}, which the short name is for; override the place that '
            f'this config has instead, or mend its short_names: {list_short_names(cfg)}'
        )
    return found


def _unwritten(node: Any, kinds: list[str], option: str) -> list[str]:
    return [option] if _is_a(node, kinds) else []


def _is_a(node: Any, kinds: list[str]) -> bool:
    """Tell whether a container is the config of one of these types, named without a scope."""
    kind = node.get('type') if isinstance(node, dict) else None
    return isinstance(kind, str) and kind.rsplit('.', 1)[-1] in kinds


def _keys(node: Any, part: str) -> list[Any]:
    """Find the keys of a container that a part of a path means."""
    if isinstance(node, dict):
        return [part] if part in node else []
    if not isinstance(node, list):
        return []
    return [i for i, item in enumerate(node) if part in (str(i), '*') or _is_a(item, [part])]


def _check_kind(option: str, old: Any, new: Any) -> None:
    """Refuse a list for a number and a number for a list."""
    if isinstance(old, list | tuple) and not isinstance(new, list | tuple):
        raise TypeError(f'--cfg-options {option}={new}: expected a list as {list(old)}, e.g. {option}=[{new}]')
    if isinstance(old, Number) and not isinstance(new, Number):
        raise TypeError(f'--cfg-options {option}={new}: expected a number as {old}')


def _set_statistics(node: Any, option: str, modality: str, value: Any) -> None:
    """Write mean and std into a data preprocessor's config."""
    value = _read(option, value)
    modalities = node.get('modalities')
    if modalities is None:
        if modality:
            raise KeyError(f'--cfg-options {option}: this config has no modalities, write statistics=...')
        parts = [(node, value)]
    else:
        each = {modality: value} if modality else value
        if not isinstance(each, dict) or not each.keys() <= modalities.keys():
            raise KeyError(
                f'--cfg-options {option}: expected statistics of {", ".join(modalities)} by name, e.g. '
                f'statistics.{next(iter(modalities))}=stats.json'
            )
        parts = [(modalities[key], entry) for key, entry in each.items()]
    for target, entry in parts:
        entry = _read(option, entry)
        if isinstance(entry, dict) and set(STATISTICS) <= entry.keys():
            entry = [entry[key] for key in STATISTICS]
        _check(option, entry)
        target.update({key: list(numbers) for key, numbers in zip(STATISTICS, entry, strict=True)})


def _read(option: str, value: Any) -> Any:
    """Read a file of statistics; return other values as they are."""
    if not isinstance(value, str):
        return value
    if not Path(value).is_file():
        raise FileNotFoundError(
            f'--cfg-options {option}={value}: no such file; tools/band_stats.py SCENES --out {value} writes it'
        )
    return json.loads(Path(value).read_text())


def _check(option: str, entry: Any) -> None:
    """Refuse what is not two equally long lists of numbers."""
    lists = isinstance(entry, list | tuple) and len(entry) == 2 and all(isinstance(e, list | tuple) for e in entry)
    if not lists or len(entry[0]) != len(entry[1]) or not all(isinstance(n, Number) for e in entry for n in e):
        raise ValueError(
            f'--cfg-options {option}: expected mean and std, a number for each band: [[...],[...]] or a file that '
            f'tools/band_stats.py --out writes; got {entry!r}'
        )
