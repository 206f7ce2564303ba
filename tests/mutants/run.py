"""Plant mistakes one at a time and see whether the tests notice: ``make mutants``.

``mutants.toml`` lists them: a file, a text that occurs in it once, what replaces it, and the tests that should then
fail. Every mistake is made in a copy of the repository, never in the repository itself. The result is a Markdown table;
the exit status is 1 if a mistake survived, 2 if tests could not be run or fail without one.
"""

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path

from planted import Mutant, copy_of, mutate, read_list

ROOT = Path(__file__).resolve().parents[2]
# Imported once, then every run of tests is a fork. Never mmrs_ssl: each run imports that of its own copy.
LIBRARIES = (
    *('pytest', 'torch._subclasses.fake_tensor', 'torchvision.models', 'mmpretrain.models', 'mmpretrain.datasets'),
    *('mmpretrain.engine', 'mmpretrain.evaluation', 'mmseg.models', 'mmdet.models', 'timm.models', 'rasterio.shutil'),
    *('rasterio.warp', 'sklearn.decomposition', 'sklearn.neighbors', 'safetensors.torch', 'datasketches'),
)
# A plugin of pytest is among what libraries import.
IMPORTED = 'ignore:Module already imported:pytest.PytestAssertRewriteWarning'
OPTIONS = ('-x', '-q', '-m', 'not slow', '-p', 'no:cacheprovider', '-W', IMPORTED)
NOTICED, WRONG_COPY, TIMEOUT = 1, 90, 91  # exit statuses beside pytest's


class Run(ExitStack):
    """Tests that run in a copy of their own, in a process group of their own; both go at the end of the context."""

    def __init__(self, root: Path, tests: tuple[str, ...], mutant: Mutant | None = None) -> None:
        super().__init__()
        self.begin = time.monotonic()
        self.folder = self.enter_context(copy_of(root, mutant))
        self.pid = os.fork()
        if self.pid == 0:
            status = WRONG_COPY
            try:
                status = self.in_child(tests)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        with suppress(PermissionError, ProcessLookupError):  # whichever of both comes first
            os.setpgid(self.pid, self.pid)
        self.callback(self.end)

    def in_child(self, tests: tuple[str, ...]) -> int:
        """Run pytest; its exit status, or ``WRONG_COPY`` if it imported another package than the copy's."""
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open(self.folder / 'output.txt', os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(self.folder)
        os.environ.update(PYTHONPATH=str(self.folder), TMPDIR=str(self.folder))
        tempfile.tempdir = None
        sys.path.insert(0, str(self.folder))
        status = sys.modules['pytest'].main([*OPTIONS, *tests])
        imported = getattr(sys.modules.get('mmrs_ssl'), '__file__', None) or ''
        return int(status) if imported.startswith(str(self.folder)) else WRONG_COPY

    def status(self, timeout: float) -> int | None:
        """The exit status; None while the tests run, for ``timeout`` seconds at most."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        return TIMEOUT if time.monotonic() - self.begin > timeout else None

    def end(self) -> None:
        """End the tests and all that they started, as far as they have not ended by themselves."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def output(self, lines: int = 15) -> str:
        """The last lines they printed."""
        return '\n'.join((self.folder / 'output.txt').read_text(errors='replace').splitlines()[-lines:])


def run_all(mutants: list[Mutant], base: Path, jobs: int, timeout: float) -> list[int]:
    """Try all of them out in copies of ``base``, print the table; the exit statuses of their tests."""
    print('| file | mistake | tests | | s |\n|---|---|---|---|---|', flush=True)
    waiting, statuses, wrong = mutants[::-1], [], ['']
    running: dict[Mutant, Run] = {}
    with ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < jobs:
                mutant = waiting.pop()
                running[mutant] = stack.enter_context(Run(base, mutant.tests, mutant))
            time.sleep(0.05)
            for mutant, run in list(running.items()):
                if (status := run.status(timeout)) is None:
                    continue
                verdict = {0: '**SURVIVED**', NOTICED: 'noticed'}.get(status, f'**exit status {status}**')
                print(mutant.row(verdict, time.monotonic() - run.begin), flush=True)
                wrong += [f'\n{mutant.what}:\n{run.output()}'] if status not in (0, NOTICED) else []
                statuses.append(status)
                running.pop(mutant).close()
    print(*wrong, sep='\n')
    return statuses


def main() -> int:
    """Run the chosen mutants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', metavar='TEXT', help='those whose file, description or tests have this')
    parser.add_argument('--jobs', type=int, default=2, help='how many at the same time (default: 2)')
    parser.add_argument('--timeout', type=float, default=300, help='seconds for the tests of one (default: 300)')
    args = parser.parse_args()
    begin = time.monotonic()
    mutants = [m for m in read_list() if args.only in ' '.join((m.file, m.what, *m.tests))]
    for mutant in mutants:  # before anything runs
        mutate((ROOT / mutant.file).read_text(), mutant)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    for library in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)
    # one copy for all, so that nobody's edits get in between
    with Run(ROOT, tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))) as unharmed:
        while (status := unharmed.status(args.timeout * 10)) is None:
            time.sleep(0.1)
        print(f'{len(mutants)} mistakes; without one their tests end with {status}: {unharmed.output(1)}\n')
        if status != 0 or not mutants:
            print(unharmed.output())
            return 2
        statuses = run_all(mutants, unharmed.folder, args.jobs, args.timeout)
    survived, noticed = statuses.count(0), statuses.count(NOTICED)
    print(f'\n{noticed} of {len(mutants)} noticed, {survived} survived, {time.monotonic() - begin:.0f} s')
    return 1 if survived else 2 if noticed < len(mutants) else 0


if __name__ == '__main__':
    sys.exit(main())
