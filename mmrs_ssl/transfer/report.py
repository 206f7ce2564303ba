"""The table of what became of every weight."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mmrs_ssl.transfer.records import Record


@dataclass
class LoadReport:
    """What became of the weights of a checkpoint and of a model; names are the model's, ignored ones the file's.

    Args:
        source: the file, the branch and whose names it uses.
        target: the model's class.
        matched: weights taken as they are.
        adapted: weights that were changed to fit, and how.
        ignored: weights of the file that the model has no place for: heads, mask tokens, other networks.
        fresh: output norms that pre-training does not have; they stay as they were initialized.
        missing: weights of the model that the file does not have.
        mismatch: weights whose shape cannot be brought to the model's, and why; also those of the file's blocks that
            the model has not, of stages that it has.
        unplaced: those of ``ignored`` that belong to a part that the model has, or change what its parts compute.
        differs: what the model computes otherwise with the same weights, so that all its features are others.
        reasons: what ``unplaced`` and ``missing`` ones are for.
        notes: what the model computes otherwise than pre-training, on purpose or of some images.
        record: what the file says of its pre-training.
    """

    source: str
    target: str
    matched: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatch: dict[str, str] = field(default_factory=dict)
    unplaced: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    record: Record = field(default_factory=Record)

    def table(self) -> str:
        """Write a line for each kind of weight: how many, and the first names."""
        rows: dict[str, list[str]] = dict(
            matched=shorten(self.matched, 2),
            adapted=shorten([f'{name} ({note})' for name, note in self.adapted.items()], 3),
            ignored=shorten(self.ignored, 4),
            fresh=shorten(self.fresh, 6),
            missing=shorten(self.missing, 8),
            mismatch=shorten([f'{name} ({note})' for name, note in self.mismatch.items()], 4),
        )
        if self.unplaced:
            rows['unplaced'] = shorten(self.unplaced, 4)
        counts = {name: len(getattr(self, name)) for name in rows}
        lines = [f'  {name:8} {counts[name]:5}  {", ".join(names)}'.rstrip() for name, names in rows.items()]
        for kind, texts in (('differs', self.differs), ('why', self.reasons), ('note', self.notes)):
            lines += [f'  {kind}: {text}' for text in texts]
        return '\n'.join([f'{self.source} -> {self.target}', *lines])

    def problems(self, total: int) -> str:
        """Say what forbids to load, of a model with so many weights; ``''`` if nothing does."""
        found = []
        if self.missing or self.mismatch:
            found.append(
                f'{len(self.missing)} of {total} weights of the model are not in the file, and '
                f'{len(self.mismatch)} do not fit'
            )
        if self.unplaced:
            found.append(
                f'the model has no place for {len(self.unplaced)} weights of the backbone, without which it computes '
                'something else'
            )
        if self.differs:
            found.append('the model computes something else with these weights than pre-training did')
        return '; '.join(found)


def shorten(names: Iterable[str], count: int) -> list[str]:
    """Return the first few names, and how many more there are."""
    names = list(names)
    return names if len(names) <= count else [*names[:count], f'and {len(names) - count} more']
