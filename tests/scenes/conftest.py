"""What tests of scenes share."""

import pytest


@pytest.fixture
def log(monkeypatch):
    """What is told when the scenes of an archive are made."""
    told: list[str] = []
    monkeypatch.setattr('mmrs_ssl.scenes.catalog.print_log', lambda text, *_: told.append(text))
    return told
