"""Show on a terminal, in one line that changes, how a training goes."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mmrs_ssl.cli.console import console_handlers

_PAUSE = 0.25  # seconds between two updates; a step may take less
_SMOOTHED = 10  # steps that values are averaged over, as in mmengine's lines
_MEASURES = ('std', 'rank', 'information')  # of CollapseMonitorHook
_TRAINING = ('Epoch(train)', 'Iter(train)', 'Exp name')  # how the lines begin in whose place this one is


@contextmanager
def live_line(runner: Runner, console: Console | None = None) -> Iterator[None]:
    """Show the line while the runner trains, on a terminal; elsewhere its plain lines stay as they are.

    On the terminal they are in the log file alone, and all other messages stand above the line.

    Args:
        runner: to train inside of this context.
        console: a terminal; by default the standard output, if that is one whose cursor can be moved.
    """
    terminal = console is not None or sys.stdout.isatty()
    console = console or Console(file=sys.stdout)
    if not terminal or console.is_dumb_terminal or not is_main_process():
        yield
        return
    handlers = console_handlers(runner.logger)
    # it is drawn when a step ends, by no thread of its own: workers are forked meanwhile
    with Live(console=console, auto_refresh=False) as live:
        runner.register_hook(LiveLineHook(live))
        streams = [handler.setStream(sys.stdout) for handler in handlers]  # which puts lines above the live one
        for handler in handlers:
            handler.addFilter(_is_no_step)
        try:
            yield
        finally:
            for handler, stream in zip(handlers, streams, strict=True):
                handler.removeFilter(_is_no_step)
                if stream is not None:
                    handler.setStream(stream)


def _is_no_step(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_TRAINING)


class LiveLineHook(Hook):
    """Draw the line after a step, from what was logged: nothing waits for the device.

    Args:
        live: where to draw it.
    """

    priority = 'LOWEST'  # after those that log

    def __init__(self, live: Live) -> None:
        self.live = live
        self._drawn = -_PAUSE

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw the line, unless that was just done."""
        now = time.monotonic()
        if now - self._drawn >= _PAUSE or self.is_last_train_iter(runner):
            self._drawn = now
            self.live.update(Text(describe_step(runner, batch_idx), no_wrap=True, overflow='ellipsis'), refresh=True)


def describe_step(runner: Runner, batch_idx: int) -> str:
    """Say where a training is: epoch, step, time left, loss, share of time without data, and what shows a collapse."""
    hub = runner.message_hub
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        parts = [f'step {runner.iter + 1}/{runner.max_iters}']
    else:
        steps = len(runner.train_dataloader)
        parts = [f'epoch {runner.epoch + 1}/{runner.max_epochs}', f'step {batch_idx + 1}/{steps}']
    values = {
        key.removeprefix('train/'): scalar.mean(_SMOOTHED)
        for key, scalar in hub.log_scalars.items()
        if key.startswith('train/') and len(scalar.data[0])
    }
    parts.append(f'ETA {timedelta(seconds=round(hub.get_info("eta", 0)))}')
    if 'loss' in values:
        parts.append(f'loss {values["loss"]:.4g}')
    if values.get('time'):
        parts.append(f'waiting for data {values["data_time"] / values["time"]:.0%}')
    measures = (name for name in values if name.rpartition('_')[2] in _MEASURES)
    parts += [f'{name} {values[name]:.3g}' for name in measures]
    return '  '.join(parts)
