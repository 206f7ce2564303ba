"""Rename weights between other libraries' names and mmpretrain's, both ways.

mmpretrain's names are the common ones: a file's weights are renamed to them, compared with the model's, and renamed to
what the model's class calls them. The maps themselves are in :mod:`mmrs_ssl.transfer.key_maps`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

# Buffers that follow from the architecture; every class makes its own.
DERIVED = ('relative_position_index', 'relative_coords_table', 'attn_mask')
_FIELD = re.compile(r'\{(?P<factor>\d*)(?P<name>[a-z_])(?:\+(?P<offset>\d+))?\}|(?P<rest>\*)')


def unchanged(weight: Tensor) -> Tensor:
    """Return the weight as it is: most rules rename alone."""
    return weight


@dataclass(frozen=True)
class Template:
    """A pattern of names, e.g. ``'features.{2n+1}.{m}.mlp.0.*'``.

    ``{n}`` stands for an index, ``{2n+1}`` for an index that is 1, 3, 5, ... for n = 0, 1, 2, ..., ``{_}`` for one that
    says nothing (0 in names that are made), and a ``*`` at the end for whatever is left.
    """

    text: str

    @cached_property
    def _fields(self) -> list[tuple[str, int, int]]:
        return [
            (field['name'] or '*', int(field['factor'] or 1), int(field['offset'] or 0))
            for field in _FIELD.finditer(self.text)
        ]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        literals = [re.escape(part) for part in _FIELD.sub('\0', self.text).split('\0')]
        groups = ['(.+)' if name == '*' else r'(0|[1-9]\d*)' for name, _, _ in self._fields]
        return re.compile(''.join(part + group for part, group in zip(literals, [*groups, ''], strict=True)))

    def match(self, key: str) -> dict[str, int | str] | None:
        """Return the values of the fields in this name; None if the name is another one."""
        found = self._pattern.fullmatch(key)
        if found is None:
            return None
        values: dict[str, int | str] = {}
        for (name, factor, offset), text in zip(self._fields, found.groups(), strict=True):
            if name == '*':
                values[name] = text
                continue
            index, remainder = divmod(int(text) - offset, factor)
            if index < 0 or remainder:
                return None
            values[name] = index
        return values

    def fill(self, values: Mapping[str, int | str]) -> str:
        """Make the name with these values of its fields."""
        numbers = iter(self._fields)

        def value(_: re.Match[str]) -> str:
            name, factor, offset = next(numbers)
            found = values.get(name, 0) if name == '_' else values[name]
            return found if isinstance(found, str) else str(factor * found + offset)

        return _FIELD.sub(value, self.text)


class Rule(NamedTuple):
    """One line of a map: the library's name, mmpretrain's name, and what has to be done to the tensor, both ways."""

    own: Template
    common: Template
    to_mmpretrain: Callable[[Tensor], Tensor] = unchanged
    from_mmpretrain: Callable[[Tensor], Tensor] = unchanged


@dataclass(frozen=True)
class KeyLayout:
    """The names that a library gives to the weights of one family of backbones.

    Args:
        name: for people, e.g. ``'Swin of torchvision'``.
        family: ``'resnet'``, ``'swin'``, ``'vit'``, ``'convnext'``, or ``''`` for any other.
        markers: names that together tell this layout from all others.
        rules: the first that matches counts; a name that none matches stays as it is.
    """

    name: str
    family: str
    markers: tuple[str, ...]
    rules: tuple[Rule, ...] = ()

    def mmpretrain_name(self, key: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        """Return what mmpretrain calls this weight, and how its tensor has to be changed."""
        for rule in self.rules:
            if (values := rule.own.match(key)) is not None:
                return rule.common.fill(values), rule.to_mmpretrain
        return key, unchanged

    def own_name(self, key: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        """Return what this layout calls a weight of mmpretrain's name, and how its tensor has to be changed."""
        for rule in self.rules:
            if (values := rule.common.match(key)) is not None:
                return rule.own.fill(values), rule.from_mmpretrain
        return key, unchanged

    def to_mmpretrain(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename weights of this layout to mmpretrain's names, without the derived buffers.

        Raises:
            ValueError: if two weights would get one name.
        """
        return _rename(weights, self.mmpretrain_name)

    def from_mmpretrain(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename weights of mmpretrain's names to this layout; this undoes :meth:`to_mmpretrain`."""
        return _rename(weights, self.own_name)

    def prefixes(self, keys: Iterable[str]) -> list[str]:
        """Find what stands before this layout's names in keys, e.g. ``['backbone.']``; empty for another layout."""
        keys = set(keys)
        first = self.markers[0]
        ends = [key.removesuffix(first) for key in keys if key == first or key.endswith(f'.{first}')]
        return sorted(head for head in ends if all(head + marker in keys for marker in self.markers))


def _rename(
    weights: Mapping[str, Tensor], new_name: Callable[[str], tuple[str, Callable[[Tensor], Tensor]]]
) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for key, weight in weights.items():
        if key.rsplit('.', 1)[-1] in DERIVED:
            continue
        name, change = new_name(key)
        if name in renamed:
            raise ValueError(
                f'{origin[name]!r} and {key!r} are both {name!r} in another layout: the file mixes the names of two '
                'libraries, give one that holds a single backbone'
            )
        renamed[name] = change(weight)
        origin[name] = key
    return renamed


def find_backbones(keys: Iterable[str], layouts: Iterable[KeyLayout]) -> dict[str, KeyLayout]:
    """Find the backbones among these keys: what stands before their names, and their layout (the first that fits)."""
    keys = set(keys)
    found: dict[str, KeyLayout] = {}
    for layout in layouts:
        for prefix in layout.prefixes(keys):
            found.setdefault(prefix, layout)
    return found
