"""What a check says: how bad it is, what was seen, what was expected, and the line of the config to change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

Level = Literal['error', 'warning', 'note']
_COLORS = dict(error='bold red', warning='yellow', note='dim')
_WIDTH = 140  # columns, where the output goes to no terminal


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        level: an error spoils the training, a warning may, a note is only said.
        about: what was looked at.
        seen, expected: with the values.
        change: of the config, as ``key = value``, or what else is to be done; empty for a note that asks for nothing.
    """

    level: Level
    about: str
    seen: str
    expected: str = ''
    change: str = ''

    def __str__(self) -> str:
        """Write it in a sentence, for a log."""
        expected = f'; expected {self.expected}' if self.expected else ''
        return f'{self.about}: {self.seen}{expected}' + (f'. Change: {self.change}' if self.change else '')


def setting(cfg: Config, short: str, value: Any, path: str) -> str:
    """Write the line that changes a setting: by the short name that a config declares for it, else by its path."""
    places = (cfg.get('short_names') or {}).get(short)
    if not places:
        return f'{path} = {value}'
    places = [places] if isinstance(places, str) else places
    return f'{short} = {value} (that is {", ".join(places)})'


def print_findings(findings: Sequence[Finding]) -> None:
    """Print all findings as one table, the worst first, and how many there are of each level."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    table = Table(show_lines=True)
    for title in ('', 'about', 'seen', 'expected', 'change'):
        table.add_column(title, overflow='fold')
    levels = list(_COLORS)
    for each in sorted(findings, key=lambda finding: levels.index(finding.level)):
        cells = (each.level, each.about, each.seen, each.expected, each.change)
        table.add_row(*(cell.replace('[', r'\[') for cell in cells), style=_COLORS[each.level])
    console.print(table)
    counts = [sum(each.level == level for each in findings) for level in levels]
    console.print(', '.join(f'{count} {level}s' for count, level in zip(counts, levels, strict=True)))
