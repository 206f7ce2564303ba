"""Check options, and say in one way what is wrong with them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NoReturn


class OptionError(ValueError):
    """A value that an option cannot have; :mod:`mmrs_ssl.cli.errors` finds the place in the config by these."""

    owner = ''  # the class that the option is of
    option = ''
    value: object = None


@dataclass(frozen=True)
class Number:
    """What kind of number an option is; never NaN nor infinite.

    Attributes:
        low, high: the smallest and the largest.
        above, below: whether these themselves are not allowed.
        whole: an integer.
        or_none: None will do, too.
    """

    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    whole: bool = False
    or_none: bool = False

    def fits(self, value: object) -> bool:
        """Tell whether a value is of this kind."""
        if value is None:
            return self.or_none
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number = float(value)
        beyond_low = self.low is not None and (number < self.low or (self.above and number == self.low))
        beyond_high = self.high is not None and (number > self.high or (self.below and number == self.high))
        return math.isfinite(number) and not beyond_low and not beyond_high

    def __str__(self) -> str:
        limits = []
        if self.low is not None:
            limits.append(f'{"above" if self.above else "of at least"} {self.low:g}')
        if self.high is not None:
            limits.append(f'{"below" if self.below else "at most"} {self.high:g}')
        text = 'a whole number' if self.whole else 'a number'
        return ' '.join([text, ' and '.join(limits)]).strip() + (', or None' if self.or_none else '')


FINITE = Number()
POSITIVE = Number(0, above=True)
NOT_NEGATIVE = Number(0)
SHARE = Number(0, 1)
PROPER_SHARE = Number(0, 1, above=True, below=True)
AREA = Number(0, 1, above=True)
BELOW_ONE = Number(0, 1, below=True)
COUNT = Number(1, whole=True)
WHOLE = Number(0, whole=True)


def or_none(kind: Number) -> Number:
    """Return the same kind of number, or None."""
    return replace(kind, or_none=True)


def refuse(owner: object, option: str, value: object, expected: object) -> NoReturn:
    """Raise :class:`OptionError`: ``OWNER: OPTION=VALUE, expected EXPECTED``.

    Args:
        owner: the object that has the option, or a name.
        option: its name.
        value: what was given.
        expected: what would do.
    """
    name = owner if isinstance(owner, str) else type(owner).__name__
    error = OptionError(f'{f"{name}: " if name else ""}{option}={value!r}, expected {expected}')
    error.owner, error.option, error.value = name, option, value
    raise error


def check_numbers(owner: object, kind: Number, **values: Any) -> None:
    """Refuse options that are not such a number: :func:`refuse`."""
    for option, value in values.items():
        if not kind.fits(value):
            refuse(owner, option, value, kind)


def check_lists(owner: object, kind: Number, length: int | None = None, **values: Any) -> None:
    """Refuse options that are not a list of such numbers, one at least, or just so many."""
    for option, value in values.items():
        listed = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        if not listed or len(value) != (length or len(value)) or not all(map(kind.fits, value)):
            refuse(owner, option, value, f'a list of {f"{length} numbers" if length else "numbers"}, each {kind}')


def check_ranges(owner: object, kind: Number, **values: Any) -> None:
    """Refuse options that are not the smallest and the largest of such numbers."""
    for option, value in values.items():
        pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
        if not pair or not all(map(kind.fits, value)) or value[0] > value[1]:
            refuse(owner, option, value, f'(smallest, largest), each {kind}')


def check_switches(owner: object, **values: Any) -> None:
    """Refuse options that are neither True nor False."""
    for option, value in values.items():
        if not isinstance(value, bool):
            refuse(owner, option, value, 'True or False')


def check_names(owner: object, **values: Any) -> None:
    """Refuse options that are not a list of names; a word alone would be a list of its letters."""
    for option, value in values.items():
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if not listed or not all(isinstance(name, str) for name in value):
            refuse(owner, option, value, f'a list of names, e.g. [{value if isinstance(value, str) else "..."!r}]')


def check_parts(owner: object, example: str, **values: Any) -> None:
    """Refuse options that are not a dict, one entry at least, of the options of each part; an example shows one."""
    for option, value in values.items():
        if not isinstance(value, Mapping) or not value or not all(isinstance(each, Mapping) for each in value.values()):
            refuse(owner, option, value, f'a dict for each by name, e.g. {example}')


def check_fill(owner: object, fill: object, nan: bool = False) -> None:
    """Refuse what no pixel can be filled with; ``nan`` says that NaN marks those without data."""
    if fill != 'mean' and not FINITE.fits(fill) and not (nan and isinstance(fill, float) and math.isnan(fill)):
        refuse(owner, 'fill', fill, "'mean' or a number")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        ValueError: naming the option, the value and all choices.
    """
    if value not in choices:
        raise ValueError(f'{name}={value!r} is not one of {", ".join(map(str, choices))}')


def merged_weights(what: str, defaults: Mapping[str, float], given: Mapping[str, float] | None) -> dict[str, float]:
    """Return factors by name: the defaults, and what is given instead of some of them.

    Raises:
        ValueError: for a name that has no default, or a factor that is no number of at least 0.
    """
    if not isinstance(given, Mapping | None):
        raise ValueError(f'{what}: {given!r}, expected factors by name, e.g. dict({next(iter(defaults))}=0.5)')
    for name, factor in (given or {}).items():
        check_choice(what, name, tuple(defaults))
        check_numbers(what, NOT_NEGATIVE, **{name: factor})
    return {**defaults, **(given or {})}
