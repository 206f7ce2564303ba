"""Find the place of a config that an error is about."""

import traceback
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from mmrs_ssl.options import OptionError

Place = tuple[str, dict[str, Any]]  # a dotted path and the dict there


def config_of(error: BaseException) -> Config | None:
    """Find the config among the variables of those who were at work when an error was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, Config):
                return value
    return None


def option_place(error: OptionError) -> str | None:
    """Return the dotted path of a refused option in the config, or None where it has no such option."""
    cfg = config_of(error)
    places = list(walk(cfg._cfg_dict)) if cfg is not None else []
    holding = [(path, node) for path, node in places if error.option in node and same(node[error.option], error.value)]
    typed = [path for path, node in holding if type_name(node) == error.owner]
    found = typed or [path for path, _ in holding]
    return f'{found[0]}.{error.option}'.lstrip('.') if found else None


def built_place(error: BaseException) -> tuple[str, str | None] | None:
    """Return which class was being built of a config when an error was raised, and the place of that config.

    None if that was no class's fault: an error of this package's own code says by itself what it is about.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    built = [frame.f_locals for frame in frames if 'obj_cls' in frame.f_locals and 'args' in frame.f_locals]
    if not built:
        return None
    name, given = str(getattr(built[-1]['obj_cls'], '__name__', built[-1]['obj_cls'])), built[-1]['args']
    cfg = config_of(error)
    places = walk(cfg._cfg_dict) if cfg is not None else ()
    found = [
        path
        for path, node in places
        if type_name(node) == name and all(key in given and same(value, given[key]) for key, value in options(node))
    ]
    return name, found[0] if found else None


def walk(node: Any, path: str = '') -> Iterator[Place]:
    """Yield every dict of a config with its dotted path, outer ones first."""
    if isinstance(node, dict):
        yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, child in children:
        yield from walk(child, f'{path}.{key}'.lstrip('.'))


def type_name(node: Any) -> str:
    """Return the name of the class that a dict builds, without its scope; empty where it builds none."""
    kind = node.get('type') if isinstance(node, dict) else None
    return '' if kind is None else str(getattr(kind, '__name__', kind)).rsplit('.', 1)[-1]


def options(node: dict[str, Any]) -> list[tuple[str, Any]]:
    """List the options of a part that are no parts themselves."""
    return [(key, value) for key, value in node.items() if key != 'type' and not isinstance(value, dict | list | tuple)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two values of configs are equal, NaN and lists like tuples."""
    return repr(list(one) if isinstance(one, tuple) else one) == repr(
        list(other) if isinstance(other, tuple) else other
    )
