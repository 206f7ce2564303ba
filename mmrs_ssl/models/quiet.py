"""Keep mmengine from reporting how every single parameter was initialized."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(level: int = logging.INFO) -> Iterator[None]:
    """Let nothing of this level or below be logged."""
    before = logging.root.manager.disable
    logging.disable(max(level, before))
    try:
        yield
    finally:
        logging.disable(before)
