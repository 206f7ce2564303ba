"""Check options, and say in one way what is wrong with them."""

from collections.abc import Mapping, Sequence


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
        ValueError: for a name that has no default.
    """
    for name in given or {}:
        check_choice(what, name, tuple(defaults))
    return {**defaults, **(given or {})}
