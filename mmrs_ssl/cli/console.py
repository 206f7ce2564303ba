"""Keep the console to what a person reads while a training starts: the log file has all of it."""

import logging
import re
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

# How messages of mmengine begin that a person looks up, if at all: hundreds of lines before the first epoch.
_LOOKED_UP = re.compile(
    r'\s*-+\nSystem environment:'
    r'|Config:\n'
    r'|Hooks will be executed in the following order'
    r'|Distributed training is not used, all SyncBatchNorm'
    r'|paramwise_options -- '  # a line for each parameter
    r'|\S+ is skipped since its requires_grad=False'  # likewise
    r'|"(FileClient|HardDiskBackend)" '  # the libraries' own use of what they deprecate
)


class BriefConsole(logging.Filter):
    """Lets all pass but what a person looks up in the file."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is shown."""
        return not _LOOKED_UP.match(record.getMessage())


def console_handlers(logger: MMLogger) -> list[logging.StreamHandler]:
    """List a logger's handlers that write to the console."""
    return [
        handler
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]


class BriefRunner(Runner):
    """mmengine's runner, whose environment, config, hooks and parameters are listed in the log file alone."""

    def build_logger(self, *args: Any, **options: Any) -> MMLogger:
        """Build mmengine's logger; its console is brief."""
        logger = super().build_logger(*args, **options)
        for handler in console_handlers(logger):
            if not any(isinstance(each, BriefConsole) for each in handler.filters):
                handler.addFilter(BriefConsole())
        logger.info(f'environment, config, hooks and parameters are listed in {logger.log_file}')
        return logger


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config: a brief one, unless the config names a type of its own."""
    return BriefRunner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
