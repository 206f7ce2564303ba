"""The list of planted mistakes, ``mutants.toml``, and copies of the repository to make them in."""

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# All that tests read; not what else may lie in a clone (data, work_dirs, an environment).
PARTS = (
    *('mmrs_ssl', 'mmrs_ssl_commands', 'tests', 'configs', 'tools', 'requirements', 'docs', 'pyproject.toml'),
    *('setup.py', 'MANIFEST.in', 'Makefile', 'model-index.yml', 'LICENSE', 'README.md', 'CHANGELOG.md'),
    *('CONTRIBUTING.md', 'CITATION.cff', 'PROVENANCE.md', 'SECURITY.md'),
)


@dataclass(frozen=True)
class Mutant:
    """A mistake: in ``file``, ``old`` becomes ``new``, which ``tests`` (files or node ids) should notice."""

    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]

    def row(self, status: str, seconds: float) -> str:
        """Its line in the table."""
        names = '<br>'.join(test.removeprefix('tests/') for test in self.tests)
        return f'| {self.file.removeprefix("mmrs_ssl/")} | {self.what} | {names} | {status} | {seconds:.0f} |'


def read_list() -> list[Mutant]:
    """The mutants of the list."""
    with Path(__file__).with_name('mutants.toml').open('rb') as file:
        return [Mutant(**{**entry, 'tests': tuple(entry['tests'])}) for entry in tomllib.load(file)['mutant']]


def mutate(source: str, mutant: Mutant) -> str:
    """The text of a file with the mistake in it.

    Raises:
        ValueError: if the place is not found, or found more than once.
    """
    if source.count(mutant.old) != 1:
        raise ValueError(f'{mutant.file} has {source.count(mutant.old)} times {mutant.old!r}, expected 1')
    return source.replace(mutant.old, mutant.new)


@contextmanager
def copy_of(root: Path, mutant: Mutant | None = None) -> Iterator[Path]:
    """A copy of the repository, bytecode included, perhaps with a mistake, in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix='mutant_', ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        for part in PARTS:
            if (root / part).is_dir():
                shutil.copytree(root / part, folder / part)
            elif (root / part).is_file():
                shutil.copy2(root / part, folder)
        if mutant:
            (folder / mutant.file).write_text(mutate((folder / mutant.file).read_text(), mutant))
        yield folder
