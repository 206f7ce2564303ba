"""Decide what a run does with the checkpoints of its work dir, before anything is written there."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from mmrs_ssl.engine.checkpoint_files import INTERIM, WorkDirLock, find_newest, list_checkpoints, read_checkpoint

# What a new training writes in the place of, beside *.pth from which one can go on.
_BEST = 'best_*.pth'


@contextmanager
def held_work_dir(cfg: Config, resume: str | None, overwrite: bool) -> Iterator[None]:
    """Hold the work dir for a run, and find the checkpoint to go on from or see that none is written over.

    Args:
        cfg: whose ``resume`` and ``load_from`` are set.
        resume: ``'auto'`` for the work dir's newest checkpoint that is whole, a file, or None to start anew.
        overwrite: remove the checkpoints of an earlier run.

    Raises:
        FileNotFoundError, ValueError: if there is no such checkpoint, or none that can be read.
        FileExistsError: if checkpoints are there and nothing says what is to become of them.
        RuntimeError: if another run trains there.
    """
    if resume is None and cfg.get('resume'):  # the config itself says so
        resume = cfg.get('load_from') or 'auto'
    if resume is not None and overwrite:
        raise ValueError('--resume goes on from checkpoints that --overwrite removes: give one of both')
    folder = Path(cfg.work_dir)
    first = int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0
    lock = _lock(folder) if first else None
    try:
        if resume is not None:
            _go_on(cfg, folder, resume)
        elif first:
            _make_room(folder, overwrite)
        yield
    finally:
        if lock is not None:
            lock.release()


def _lock(folder: Path) -> WorkDirLock:
    try:
        return WorkDirLock(folder)
    except OSError as error:
        raise OSError(
            error.errno,
            f'the work dir {folder} cannot be written to ({error.strerror or error}): give another with --work-dir, or '
            'change its permissions',
        ) from error


def _go_on(cfg: Config, folder: Path, resume: str) -> None:
    file: str | Path | None = resume
    if resume == 'auto':
        file = _newest(folder)
    else:
        read_checkpoint(resume)
    if file is None:
        print(f'--resume: no checkpoint in {folder} yet, training starts from the beginning', file=sys.stderr)
        return
    cfg.resume, cfg.load_from = True, str(file)


def _newest(folder: Path) -> Path | None:
    newest, faults = find_newest(folder)
    for fault in faults:
        print(f'--resume: passed over: {fault}', file=sys.stderr)
    if newest is None and faults:
        raise ValueError(
            f'--resume: none of the {len(faults)} checkpoints in {folder} can be gone on from: {"; ".join(faults)}. '
            'Give another with --resume FILE, or start again with --overwrite'
        )
    if newest is not None:
        print(f'--resume: going on from {newest}', file=sys.stderr)
    return newest


def _make_room(folder: Path, overwrite: bool) -> None:
    found = [each.path for each in list_checkpoints(folder)]
    if not found:
        return
    if not overwrite:
        raise FileExistsError(
            f'{folder} holds {len(found)} checkpoints of an earlier run ({", ".join(path.name for path in found[:4])}'
            f'{" ..." if len(found) > 4 else ""}): go on from them with --resume, remove them with --overwrite, or '
            'give another folder with --work-dir'
        )
    for path in [*found, *folder.glob(_BEST), folder / INTERIM, folder / 'last_checkpoint']:
        path.unlink(missing_ok=True)
    print(f'--overwrite: removed {len(found)} checkpoints of an earlier run from {folder}', file=sys.stderr)


def check_load_from(cfg: Config) -> None:
    """Read the file whole that weights are loaded from, so that what is wrong with it is said in plain words."""
    file = str(cfg.get('load_from') or '')
    if file and not cfg.get('resume') and '://' not in file:
        read_checkpoint(file)
