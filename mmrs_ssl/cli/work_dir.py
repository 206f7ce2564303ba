"""Decide what a run does with the checkpoints of its work dir, before anything is written there."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmrs_ssl.cli.making_room import MakesRoom
from mmrs_ssl.cli.starting import take_over_start
from mmrs_ssl.engine.checkpoint_files import (
    INTERIM,
    MARKER,
    WorkDirLock,
    address_said,
    find_newest,
    list_checkpoints,
    position_of,
    progress_of,
    read_checkpoint,
)
from mmrs_ssl.engine.resuming.parts import check_content

# What a new training writes in the place of, beside *.pth from which one can go on.
_BEST = 'best_*.pth'
_NAMED = re.compile(r'(epoch_\d+|iter_\d+|interim)\.pth')  # damaged, but a checkpoint by its name
# launcher -> where it says which process this is
_RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


@contextmanager
def held_work_dir(cfg: Config, resume: str | None, overwrite: bool) -> Iterator[MakesRoom]:
    """Hold the work dir for a run, and find the checkpoint to go on from or see that none is written over.

    Yields:
        The hook that removes the checkpoints that ``overwrite`` gives up, once the new run has started.

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
    first = int(os.environ.get(_RANKS.get(cfg.get('launcher', 'none'), ''), 0)) == 0
    lock = _lock(Path(cfg.work_dir)) if first else None
    room = MakesRoom()
    try:
        if resume is not None:
            _go_on(cfg, resume)
        if first:
            room = MakesRoom(_in_the_way(cfg, overwrite, resume) if resume != 'auto' else [], _folders(cfg))
        yield room
    finally:
        room.restore()
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


def _folders(cfg: Config) -> list[Path]:
    """List where checkpoints of a run are: in its work dir, and below ``out_dir`` of the checkpoint hook."""
    work_dir, out_dir = Path(cfg.work_dir), _out_dir(cfg)
    return [work_dir, *([Path(out_dir, work_dir.name)] if out_dir and '://' not in str(out_dir) else [])]


def _out_dir(cfg: Config) -> Any:
    return ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('out_dir')


def _read(file: str) -> Any:
    return CheckpointLoader.load_checkpoint(file, 'cpu') if '://' in file else read_checkpoint(file)


def _go_on(cfg: Config, resume: str) -> None:
    file = _newest(cfg) if resume == 'auto' else resume
    if file is None:
        left = ', '.join(each.name for each in MakesRoom(folders=_folders(cfg)).left)
        left = left and f' (a run with --overwrite that did not start left {left})'
        print(
            f'--resume: no checkpoint in {cfg.work_dir} yet{left}, training starts from the beginning', file=sys.stderr
        )
        cfg.resume = False  # else mmengine would follow last_checkpoint, wherever that leads
        return
    cfg.resume, cfg.load_from = True, file
    checkpoint = _read(file)
    try:
        position_of(checkpoint)
        take_over_start(cfg, checkpoint['meta'])
    except ValueError as error:
        raise ValueError(f'--resume {file}: {error}') from None
    randomness = cfg.get('randomness') or {}
    if randomness.get('seed') is None:  # else samplers are built with another than the run goes on with
        cfg.randomness = {**randomness, 'seed': checkpoint['meta'].get('seed')}


def _newest(cfg: Config) -> str | None:
    newest, faults = find_newest(*_folders(cfg))
    for fault in faults:
        print(f'--resume: passed over: {fault}', file=sys.stderr)
    if newest is None and faults:
        raise ValueError(
            f'--resume: none of the {len(faults)} checkpoints in {cfg.work_dir} can be gone on from: '
            f'{"; ".join(faults)}. Give another with --resume FILE, or start again with --overwrite'
        )
    file = str(newest) if newest is not None else address_said(Path(cfg.work_dir), _out_dir(cfg))
    if file is not None:
        print(f'--resume: going on from {file}', file=sys.stderr)
    return file


def _in_the_way(cfg: Config, overwrite: bool, origin: str | None) -> list[Path]:
    """List checkpoints that are in the way of a new run: all, or those that have come further than ``origin``.

    Such would be taken for this run's newest, and its own be written over them.
    """
    found = [each for folder in _folders(cfg) for each in list_checkpoints(folder)]
    found = [each for each in found if each.progress is not None or _NAMED.fullmatch(each.path.name)]
    if origin is not None:
        begin = progress_of(_read(origin))
        found = [each for each in found if each.progress is not None and each.progress > begin]
    if not found:
        return []
    names = ', '.join(each.path.name for each in found[:4]) + (' ...' if len(found) > 4 else '')
    further = '' if origin is None else f' further than {origin.rsplit("/", 1)[-1]}'
    if not overwrite:
        raise FileExistsError(
            f'{cfg.work_dir} holds {len(found)} checkpoints of an earlier run{further} ({names}): go on from them with '
            '--resume, remove them with --overwrite, or give another folder with --work-dir'
        )
    paths = [each.path for each in found]
    if origin is None:
        paths += [path for folder in _folders(cfg) for path in folder.glob(_BEST)]
        paths += [Path(cfg.work_dir, name) for name in (INTERIM, MARKER, 'last_checkpoint')]
    return paths


def check_load_from(cfg: Config) -> None:
    """Read the file whole that weights are loaded from, so that what is wrong with it is said in plain words."""
    file = str(cfg.get('load_from') or '')
    if file and not cfg.get('resume') and '://' not in file:
        check_content(read_checkpoint(file), file)
