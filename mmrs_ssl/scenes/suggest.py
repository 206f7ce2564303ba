"""Guess the rule that fits the names of files, for the message that the one given does not."""

import re
from collections.abc import Callable, Mapping, Sequence, Set

_SHOWN, _ENOUGH = 3, 1000
_DATE = re.compile(r'(19|20)\d{2}([-_.]?\d{2}([-_.]?\d{2})?)?(T\d{4,6}Z?)?')
_WITH_DATE = (*('{scene}' + gap + '{date}' for gap in '/_-.'), '{date}/{scene}', '{date}_{scene}')
_BAND_AFTER = ('/{band}', '_{band}', '-{band}', '.{band}')

# Returns the scene, date and band that a rule finds in a path, or None if it does not fit.
Match = Callable[[str, str], Mapping[str, str | None] | None]


def describe_misfit(names: Sequence[str], rules: Mapping[str, str], match: Match) -> str:
    """Show some of the paths that were found, and a rule that fits all of them if there is one like those given.

    Args:
        names: paths of the files, relative to where the rules begin.
        rules: by modality, none of which fits a path.
        match: fits a rule to a path.
    """
    examples = ', '.join(names[:_SHOWN]) + (f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else '')
    text = f'found {examples}'
    wanted = {name for rule in rules.values() for name in ('date', 'band') if name in rule}
    if len(rules) == 1 and (rule := suggest_rule(names, wanted, match)):
        return f"{text}; files='{rule}' would fit them"
    return f'{text}; a rule is a path like these with {{scene}}, {{date}} and {{band}} in place of what varies'


def suggest_rule(names: Sequence[str], wanted: Set[str], match: Match) -> str | None:
    """Guess the rule that tells dates, bands or both of all names; None where none does.

    Args:
        names: paths of the files, relative to where the rules begin.
        wanted: which of ``'date'`` and ``'band'`` the names ought to tell.
        match: fits a rule to a path.
    """
    rules = (rule for rule in _candidates(wanted) if _fits(rule, names[:_ENOUGH], match))
    return next(rules, None)


def _candidates(wanted: Set[str]) -> list[str]:
    with_band = 'band' in wanted
    dated = [rule + band for rule in _WITH_DATE for band in _BAND_AFTER]
    return [
        *(dated if with_band else []),
        *_WITH_DATE,
        *([] if with_band else dated),
        *('{scene}' + band for band in _BAND_AFTER if with_band),
    ]


def _fits(rule: str, names: Sequence[str], match: Match) -> bool:
    """Tell whether a rule makes sense of all names: dates look like dates, and no two files are the same."""
    found = [match(rule, name) for name in names]
    groups = [groups for groups in found if groups is not None]
    if len(groups) < len(names) or len({tuple(one.items()) for one in groups}) < len(groups):
        return False
    if 'date' in rule and not all(_DATE.fullmatch(one['date'] or '') for one in groups):
        return False
    # What is taken for bands comes again and again, unless there is one scene and one date.
    bands = {one.get('band') for one in groups}
    images = {(one.get('scene'), one.get('date')) for one in groups}
    return 'band' not in rule or len(bands) * len(images) <= 2 * len(groups)
