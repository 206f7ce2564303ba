"""Options are checked in one way."""

import math

import numpy as np
import pytest

from mmrs_ssl.options import (
    AREA,
    COUNT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    PROPER_SHARE,
    SHARE,
    WHOLE,
    Number,
    OptionError,
    check_fill,
    check_lists,
    check_names,
    check_numbers,
    check_parts,
    check_ranges,
    check_switches,
    merged_weights,
    or_none,
    refuse,
)

NOWHERE = (math.nan, math.inf, -math.inf, 'x', '1', None, True, [1], (), {}, 1j)


@pytest.mark.parametrize(
    ('kind', 'inside', 'outside', 'text'),
    [
        (FINITE, (-3, 0, 2.5, np.float32(1)), (), 'a number'),
        (POSITIVE, (1e-9, 3), (0, -1), 'a number above 0'),
        (NOT_NEGATIVE, (0, 3.5), (-1e-9,), 'a number of at least 0'),
        (SHARE, (0, 0.5, 1), (-0.1, 1.1), 'a number of at least 0 and at most 1'),
        (PROPER_SHARE, (0.01, 0.99), (0, 1), 'a number above 0 and below 1'),
        (AREA, (0.01, 1), (0, 1.01), 'a number above 0 and at most 1'),
        (COUNT, (1, 5, np.int64(2)), (0, -1, 1.0, 2.5), 'a whole number of at least 1'),
        (WHOLE, (0, 7), (-1, 0.0), 'a whole number of at least 0'),
        (Number(2, 4, whole=True), (2, 4), (1, 5), 'a whole number of at least 2 and at most 4'),
    ],
)
def test_kinds_of_numbers(kind, inside, outside, text):
    assert str(kind) == text
    assert str(or_none(kind)) == f'{text}, or None'
    assert or_none(kind).fits(None)
    for value in inside:
        assert kind.fits(value), value
        check_numbers('Part', kind, option=value)
    for value in (*outside, *NOWHERE):
        assert not kind.fits(value), value
        with pytest.raises(OptionError) as caught:
            check_numbers('Part', kind, option=value)
        assert str(caught.value) == f'Part: option={value!r}, expected {text}'


def test_the_error_says_whose_option_it_is():
    with pytest.raises(OptionError) as caught:
        refuse(Number(), 'low', 3, 'less')
    error = caught.value
    assert (str(error), error.owner, error.option, error.value) == ('Number: low=3, expected less', 'Number', 'low', 3)
    with pytest.raises(ValueError, match=r'^low=3, expected less$'):
        refuse('', 'low', 3, 'less')


@pytest.mark.parametrize(
    ('check', 'good', 'bad', 'words'),
    [
        (
            lambda **v: check_lists('', COUNT, **v),
            ([1], (2, 3)),
            ([], [0], 3, '12', [1, 'a']),
            'a list of numbers, each',
        ),
        (lambda **v: check_lists('', SHARE, 2, **v), ([0, 1],), ([0], [0, 1, 1], [0, 2]), 'a list of 2 numbers, each'),
        (lambda **v: check_ranges('', AREA, **v), ([0.2, 1], (1, 1)), ([1, 0.2], [0, 1], [1], 1, '12'), 'largest'),
        (lambda **v: check_switches('', **v), (True, False), (0, 1, 'True', None), 'True or False'),
        (lambda **v: check_names('', **v), ([], ['a'], ('a', 'b')), ('a', [1], 3, None), 'a list of names'),
        (lambda **v: check_parts('', 'E', **v), (dict(a={}),), ({}, dict(a=1), 'a', None), 'by name, e.g. E'),
        (lambda x: check_fill('', x), ('mean', 0, -9.5), ('median', None, math.nan), "'mean' or a number"),
        (
            lambda x: check_fill('', x, nan=True),
            ('mean', 0, math.nan),
            ('median', None, math.inf),
            "'mean' or a number",
        ),
    ],
)
def test_lists_switches_and_names(check, good, bad, words):
    for value in good:
        check(x=value)
    for value in bad:
        with pytest.raises(OptionError, match=words):
            check(x=value)


def test_weights_by_name():
    assert merged_weights('a term', dict(a=1.0, b=2.0), dict(b=0.5)) == dict(a=1.0, b=0.5)
    assert merged_weights('a term', dict(a=1.0), None) == dict(a=1.0)
    for given, words in (
        (dict(c=1), "a term='c' is not one of a"),
        (dict(a=-1), 'a term: a=-1, expected a number of at least 0'),
        (0.5, r'a term: 0\.5, expected factors by name, e\.g\. dict\(a=0\.5\)'),
    ):
        with pytest.raises(ValueError, match=words):
            merged_weights('a term', dict(a=1.0), given)
