"""Decide how much of an archive may be unusable, and say before training starts what is."""

import logging
import math
from collections.abc import Sequence

from mmengine.logging import print_log


def allowance(total: int, share: float) -> int:
    """Compute how many of ``total`` may be bad: ``share`` of them, rounded up, but never all."""
    return min(math.ceil(share * total), total - 1)


def refuse_or_warn(
    problems: Sequence[str], total: int, share: float, noun: str, option: str, error: type[Exception], told: str = ''
) -> None:
    """Warn about problems known before training starts, or raise ``error`` if there are more than allowed.

    Args:
        problems: a text for each thing that cannot be used.
        total: how many things there are.
        share: allowed share of them, in [0, 1].
        noun: what they are, for the messages.
        option: the setting that holds ``share``.
        error: what to raise.
        told: what to say of all, and how to mend it, in place of the first problems.
    """
    if not problems:
        return
    allowed, name = allowance(total, share), option.rsplit('.', 1)[-1]
    more = f'; and {len(problems) - 3} more' if len(problems) > 3 else ''
    if len(problems) > allowed:
        text = told or f'{"; ".join(problems[:3])}{more}. Mend or remove them'
        raise error(
            f'{len(problems)} of {total} {noun} cannot be used, more than the {allowed} that {name}={share} allows: '
            f'{text}, or raise {option}'
        )
    text = told or f'{"; ".join(problems[:3])}{more}'
    print_log(f'skipped {len(problems)} of {total} {noun}: {text}', 'current', logging.WARNING)
