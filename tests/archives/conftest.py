"""A fixture of the tests of archives."""

from __future__ import annotations

import pytest

from mmrs_ssl.archives import counting, window_tasks


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows a file and several tasks."""
    monkeypatch.setattr(counting, '_WINDOW_PIXELS', 64 * 64)
    monkeypatch.setattr(window_tasks, 'TASK_WINDOWS', 3)
