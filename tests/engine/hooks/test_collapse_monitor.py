"""The warning of a collapse: every measure has a limit of its own."""

import logging
from types import SimpleNamespace

import pytest

from mmrs_ssl.engine.hooks import CollapseMonitorHook


@pytest.mark.parametrize('changes', [{}, dict(min_std=0.2), dict(min_rank=7.0), dict(min_information=0.3)])
def test_every_measure_has_its_own_limit(changes, caplog):
    limits = {**dict(min_std=0.05, min_rank=2.0, min_information=0.01), **changes}
    for name in ('student_std', 'teacher_std', 'student_rank', 'teacher_rank', 'teacher_information'):
        limit = limits[f'min_{name.split("_")[1]}']
        for value in (0.99 * limit, 1.01 * limit):
            caplog.clear()
            runner = SimpleNamespace(iter=200, logger=logging.getLogger('limits'))
            CollapseMonitorHook(**changes)._warn(runner, {name: value})
            assert [f'{name}=' in text for text in caplog.messages] == [True] * (value < limit)
