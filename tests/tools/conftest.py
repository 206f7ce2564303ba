"""What the tests of tools share."""

import pytest

from tests.conftest import TestProbe


@pytest.fixture(autouse=True)
def no_calls(monkeypatch):
    monkeypatch.setattr(TestProbe, 'calls', {})
