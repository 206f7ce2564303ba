"""Checks of options that say in one way what is wrong with them."""

from collections.abc import Sequence


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        ValueError: naming the option, the value and all choices.
    """
    if value not in choices:
        raise ValueError(f'{name}={value!r} is not one of {", ".join(map(str, choices))}')
