"""Decide what a run does with the checkpoints of its work dir, before anything is written there."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from mmrs_ssl.engine.checkpoint_files import (
    INTERIM,
    WorkDirLock,
    find_newest,
    list_checkpoints,
    position_of,
    read_checkpoint,
)

# What a new training writes in the place of, beside *.pth from which one can go on.
_BEST = 'best_*.pth'
# launcher -> where it says which process this is
_RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


@contextmanager
def held_work_dir(cfg: Config, resume: str | None, overwrite: bool) -> Iterator[None]:
    """Hold the work dir for a run, and find the checkpoint to go on from or see that none is written over.

    Args:
        cfg: whose ``resume`` and ``load_from`` are set.
        resume: ``'auto'`` for the work dir's newest checkpoint that is whole, a file, or None to start anew.
        overwrite: remove the checkpoints of an earlier run; with a file those that have come further than it.

    Raises:
        FileNotFoundError, ValueError: if there is no such checkpoint, or none from which a training can go on.
        FileExistsError: if checkpoints are there and nothing says what is to become of them.
        RuntimeError: if another run trains there.
    """
    if resume is None and cfg.get('resume'):  # the config itself says so
        resume = cfg.get('load_from') or 'auto'
    if resume == 'auto' and overwrite:
        raise ValueError('--resume goes on from checkpoints that --overwrite removes: give one of both')
    folder = Path(cfg.work_dir)
    first = int(os.environ.get(_RANKS.get(cfg.get('launcher', 'none'), ''), 0)) == 0
    lock = _lock(folder) if first else None
    try:
        if resume is not None:
            _go_on(cfg, folder, resume)
        if first and resume != 'auto':
            _make_room(folder, overwrite, None if resume is None else Path(resume))
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
        try:
            position_of(read_checkpoint(resume))
        except ValueError as error:
            raise ValueError(f'--resume {resume}: {error}') from None
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


def _make_room(folder: Path, overwrite: bool, origin: Path | None) -> None:
    """Remove checkpoints that are in the way, or refuse: all, or those that have come further than ``origin``.

    Such would be taken for this run's newest, and its own be written over them.
    """
    found = list_checkpoints(folder)
    if origin is not None:
        begin = position_of(read_checkpoint(origin))
        found = [each for each in found if each.position is not None and each.position > begin]
    if not found:
        return
    names = ', '.join(each.path.name for each in found[:4]) + (' ...' if len(found) > 4 else '')
    further = '' if origin is None else f' further than {origin.name}'
    if not overwrite:
        raise FileExistsError(
            f'{folder} holds {len(found)} checkpoints of an earlier run{further} ({names}): go on from them with '
            '--resume, remove them with --overwrite, or give another folder with --work-dir'
        )
    rest = [*folder.glob(_BEST), folder / INTERIM, folder / 'last_checkpoint'] if origin is None else []
    for path in [*(each.path for each in found), *rest]:
        path.unlink(missing_ok=True)
    print(f'--overwrite: removed {len(found)} checkpoints of an earlier run{further} from {folder}', file=sys.stderr)


def check_load_from(cfg: Config) -> None:
    """Read the file whole that weights are loaded from, so that what is wrong with it is said in plain words."""
    file = str(cfg.get('load_from') or '')
    if file and not cfg.get('resume') and '://' not in file:
        read_checkpoint(file)
