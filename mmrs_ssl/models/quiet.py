"""Keep libraries from reporting what nobody asks for, such as how every single parameter was initialized."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def quiet(level: int = logging.INFO) -> Iterator[None]:
    """Let nothing of this level or below be logged; afterwards all is as before."""
    before = logging.root.manager.disable
    disable(max(level, before))
    try:
        yield
    finally:
        disable(before)


def disable(level: int) -> None:
    """Disable this level and those below; mmengine's loggers remember what was enabled until a level is set."""
    logging.disable(level)
    logger = MMLogger.get_current_instance()
    logger.setLevel(logger.level)
