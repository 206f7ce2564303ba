"""Keep figures in a file that survives, and show them as a table."""

import csv
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrs_ssl.evaluation.intervals import Figure
from mmrs_ssl.evaluation.labelled import Labelled


def distinct_names(paths: Sequence[str], least: int) -> dict[str, str]:
    """Name files by the last parts of their paths: as many as tell all of them apart, and at least so many."""
    parts = {path: Path(path).absolute().with_suffix('').parts[1:] for path in paths}
    longest = max(map(len, parts.values()), default=0)
    for count in range(min(least, longest), longest + 1):
        names = {path: '_'.join(each[-count:]) for path, each in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {path: '_'.join(Path(path).absolute().parts[1:]) for path in paths}  # they differ in the suffix alone


class ResultFile:
    """Rows of figures, a JSON object a line; beside it the same as CSV.

    Several programs may add to it at once. A line that was cut off when one of them was ended is left out.

    Args:
        path: of the lines, ``.jsonl``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix != '.jsonl':
            raise ValueError(f'{path}: expected a name that ends in .jsonl; the .csv is written beside it')

    def rows(self) -> list[dict[str, Any]]:
        """Read all whole rows."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(errors='replace').splitlines(keepends=True)
        return [self._row(n, line) for n, line in enumerate(lines, 1) if line.endswith('\n') and line.strip()]

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict) or not {'measure', 'value', 'low', 'high'} <= row.keys():
            raise ValueError(f'{self.path}, line {number}: {line[:60]!r}; expected a row of figures: name another file')
        return row

    def known(self, key: Mapping[str, Any]) -> dict[str, Figure]:
        """Return the figures of rows that agree with ``key``, by measure."""
        agreeing = [row for row in self.rows() if all(row.get(name) == value for name, value in key.items())]
        return {row['measure']: Figure(row['value'], row['low'], row['high']) for row in agreeing}

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, and write the CSV anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('a+b') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            whole = file.read()
            file.truncate(whole.rfind(b'\n') + 1)  # without what a program was writing when it was ended
            file.write(b''.join(json.dumps(dict(row)).encode() + b'\n' for row in rows))
            file.flush()
            os.fsync(file.fileno())
            self._write_csv(self.rows())

    def _write_csv(self, rows: list[dict[str, Any]]) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        temporary = self.path.with_suffix('.csv.tmp')
        with temporary.open('w', newline='') as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path.with_suffix('.csv'))


def digest_of_file(path: str | Path) -> str:
    """Return the first 16 digits of a file's SHA-256, by which it is known whatever it is called."""
    with Path(path).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()[:16]


def digest_of_data(*parts: Labelled) -> str:
    """Return 16 digits that stand for what is in these images, in their order, and their labels."""
    said = [(Path(path).suffix, digest_of_file(path)) for part in parts for path in part.paths]
    labels = [part.labels.tolist() for part in parts]
    return hashlib.sha256(json.dumps([said, labels]).encode()).hexdigest()[:16]


def table_of(subjects: Mapping[str, Mapping[str, Figure]], names: Sequence[str]) -> str:
    """Write figures as a Markdown table: a row for each subject, a column for each measure."""
    head = ['features', *names]
    rows = [
        [subject, *(format_interval(figures[name]) if name in figures else '' for name in names)]
        for subject, figures in subjects.items()
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def format_interval(figure: Figure) -> str:
    """Write a figure in percent with its interval."""
    return f'{figure.value:.1f} ({figure.low:.1f}-{figure.high:.1f})'
