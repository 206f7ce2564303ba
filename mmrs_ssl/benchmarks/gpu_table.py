"""Write a Markdown table row by row, and keep the time that its rows may take, for ``tools/gpu_check.py``."""

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COLUMNS = ('part', 'what', 'figures', 'seconds', 'state')
RING_AGAIN = 2.0  # seconds


class OutOfTime(BaseException):
    """Raised when a row's time is over; no ``Exception``, so nothing on the way up takes it for an error of its own."""


class NotRun(Exception):
    """Raised for a row that this machine cannot measure; the message says why."""


class Differs(Exception):
    """Raised when what was measured is not as it should be; the figures go into the row all the same."""

    def __init__(self, problem: str, figures: dict[str, Any]) -> None:
        super().__init__(problem)
        self.figures = figures


class Deadline:
    """Say how long everything together may take, and by which share of it a part has to end.

    Args:
        seconds: for everything, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = max(seconds, 0.0)
        self.started = time.time()

    def left(self, share: float = 1.0) -> float:
        """Return the seconds until this share of the time is used up; negative afterwards."""
        return self.started + share * self.seconds - time.time()

    @contextmanager
    def interrupting(self, share: float = 1.0) -> Iterator[None]:
        """Raise :class:`OutOfTime` within this context when the share is used up (main thread only)."""
        left = self.left(share)
        if left <= 0:
            raise OutOfTime

        def ring(*_: Any) -> None:
            raise OutOfTime

        before = signal.signal(signal.SIGALRM, ring)
        # again and again: Python drops what is raised while it clears an object away
        signal.setitimer(signal.ITIMER_REAL, left, RING_AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class Table:
    """One table, in a file and on standard output, complete after every row.

    Args:
        path: the file.
        go_on: keep the rows of an earlier process, which ended before its last row; ``begun`` then says which row it
            was at.

    Attributes:
        states: (part, what) -> the state of every row.
        begun: the row that an earlier process was at when it ended, or None.
    """

    def __init__(self, path: Path, go_on: bool = False) -> None:
        self.path = path
        self._mark = path.with_name(f'{path.name}.begun')
        self.states: dict[tuple[str, str], str] = {}
        self.begun: tuple[str, str] | None = None
        if go_on and path.is_file():
            if not path.read_text().endswith('\n'):  # it was ended while it wrote
                path.write_text(path.read_text() + '\n')
            self.states = {(row['part'], row['what']): row['state'] for row in read_rows(path.read_text())}
            if self._mark.is_file():
                part, what = self._mark.read_text().split('\n')
                self.begun = (part, what) if (part, what) not in self.states else None
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('')
            self._write(COLUMNS)
            self._write(['---'] * len(COLUMNS))

    def begin(self, part: str, what: str) -> None:
        """Note that a row is being measured, for a process that goes on where this one breaks off."""
        self._mark.write_text(f'{part}\n{what}')

    def add(self, part: str, what: str, figures: Mapping[str, Any], seconds: float, state: str) -> None:
        """Add a row to the table and print it; figures by name, seconds, and what became of it."""
        shown = ' '.join(f'{name}={format_figure(value)}' for name, value in figures.items())
        self._write((part, what, shown, f'{seconds:.1f}', state))
        self.states[part, what] = one_line(state)
        self._mark.unlink(missing_ok=True)

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Return the rows that did not hold."""
        return [key for key, state in self.states.items() if state.startswith('failed')]

    def _write(self, cells: Any) -> None:
        line = '| ' + ' | '.join(one_line(cell) for cell in cells) + ' |'
        with self.path.open('a') as file:
            file.write(f'{line}\n')
        print(line, flush=True)


def one_line(text: str) -> str:
    """Make text stay within its cell: no line breaks, no bars, at most 300 characters."""
    text = ' '.join(text.split()).replace('|', '/')
    return text if len(text) <= 300 else f'{text[:297]}...'


def format_figure(value: Any) -> str:
    """Write a number with as many digits as it deserves; anything else as it is, without blanks."""
    if isinstance(value, float):
        plain = math.isfinite(value) and 1e-3 <= abs(value) < 1e7
        return f'{value:.0f}' if plain and abs(value) >= 1000 else f'{value:.4g}'
    return str(value).replace(' ', '_')


def read_rows(text: str) -> list[dict[str, str]]:
    """Read the rows of a table, as column -> text; a last line that was cut off is left out."""
    lines = [line for line in text.splitlines() if line.startswith('| ') and line.endswith(' |')]
    cells = [line[2:-2].split(' | ') for line in lines]
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[2:] if len(row) == len(COLUMNS)]


def read_figures(row: Mapping[str, str]) -> dict[str, str]:
    """Read the figures of a row: name -> text."""
    return dict(figure.split('=', 1) for figure in row['figures'].split())
