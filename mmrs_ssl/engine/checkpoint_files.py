"""Write files that cannot be half, read checkpoints whole, and find the newest of a folder."""

import errno
import fcntl
import os
import socket
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmrs_ssl.transfer.sources import read_strictly

INTERIM = 'interim.pth'  # saved by the minute and when a run is interrupted; one is kept
MARKER = 'interrupted'  # stands in the work dir of a run that was interrupted, and names what was saved
# Without them a training does not go on; exported backbones and the best weights have no optimizer.
PARTS = ('state_dict', 'optimizer', 'message_hub', 'meta')


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` write a file beside ``path`` and put it in its place when all of it is on the disk.

    Whenever the process or the machine ends, there is the old file, or the new one.
    """
    part = part_of(path)
    try:
        write(part)
        with open(part, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def part_of(path: Path) -> Path:
    """Name the file that becomes ``path`` once it is whole; no pattern for checkpoints finds it."""
    return path.with_name(f'.{path.name}.part')


def sync_folder(folder: Path) -> None:
    """Put a folder's own entries on the disk, where the file system has such a thing."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def read_checkpoint(path: str | Path) -> Any:
    """Read a checkpoint whole, onto the CPU; nothing in it is run.

    torch itself does not look at the checksums that its files have.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is cut, changed, no checkpoint or no plain data.
    """
    path = Path(path)
    check_bytes(path)
    return read_strictly(path)


def check_bytes(path: Path) -> None:
    """Compare a file with the checksums in it.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_checkpoint`.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint {str(path)!r}')
    if path.stat().st_size == 0:
        raise ValueError(f'{path} is empty: its writing was cut off')
    if not zipfile.is_zipfile(path):
        return  # torch's format before 1.6, safetensors, or none
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # what a damaged archive raises depends on its bytes
        raise ValueError(f'{path} is damaged ({type(error).__name__}: {error})') from None
    if damaged is not None:
        raise ValueError(f'{path} is damaged: {damaged} in it does not have its checksum')


def position_of(checkpoint: Any) -> tuple[int, int]:
    """Return the iteration and the epoch at which a training goes on from a checkpoint.

    Raises:
        ValueError: if it is no checkpoint of a training, saying what is missing, or what is not of its kind.
    """
    missing = [part for part in PARTS if not isinstance(checkpoint, dict) or part not in checkpoint]
    if missing:
        raise ValueError(f'it has no {", ".join(missing)}: a training cannot go on from it')
    for part in PARTS:
        if not isinstance(checkpoint[part], dict):
            kind = type(checkpoint[part]).__name__
            raise ValueError(f'its {part} is of type {kind}, expected a dict: a training cannot go on from it')
    meta = checkpoint['meta']
    if not all(type(meta.get(key)) is int for key in ('iter', 'epoch')):
        raise ValueError('it has no meta.iter and meta.epoch: a training cannot go on from it')
    for key, fits, expected in _META:
        if key in meta and not fits(meta[key]):
            raise ValueError(f'its meta.{key} is {meta[key]!r:.60}, expected {expected}: it was changed')
    return meta['iter'], meta['epoch']


# Of the meta data, what a training that goes on takes over.
_META: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ('iter', lambda value: value >= 0, 'a whole number of at least 0'),
    ('epoch', lambda value: value >= 0, 'a whole number of at least 0'),
    ('epoch_length', lambda value: type(value) is int and value > 0, 'a whole number above 0'),
    ('world_size', lambda value: type(value) is int and value > 0, 'a whole number above 0'),
    ('optimizer_states', lambda value: type(value) is int and value >= 0, 'a whole number of at least 0'),
    ('seed', lambda value: value is None or type(value) is int, 'a whole number'),
    ('cfg', lambda value: isinstance(value, str), 'the text of a config'),
)


def progress_of(checkpoint: Any) -> tuple[Fraction, int]:
    """Return how far a training has come, for comparing: epochs, then iterations where nothing says how many make one.

    A share of an epoch counts as such: iterations are others after a change of the batch or of the processes.

    Raises:
        ValueError: as :func:`position_of`.
    """
    iteration, epoch = position_of(checkpoint)
    length = checkpoint['meta'].get('epoch_length')
    return (Fraction(epoch), iteration) if length is None else (Fraction(iteration, length), 0)


@dataclass(frozen=True)
class Found:
    """A checkpoint of a folder: where its training stood, or what is wrong with it."""

    path: Path
    progress: tuple[Fraction, int] | None
    fault: str = ''


def list_checkpoints(folder: Path) -> list[Found]:
    """List a folder's ``*.pth`` from which a training can go on, the furthest first, then those that are damaged.

    Weights are not read. Files without an optimizer, such as exported backbones, are left out.
    """
    found = []
    for path in sorted(folder.glob('*.pth')):
        if not path.is_file() or path.name.startswith('.'):
            continue
        try:
            content = read_strictly(path, mmap=True) if zipfile.is_zipfile(path) else read_checkpoint(path)
        except (OSError, ValueError) as error:
            found.append(Found(path, None, str(error)))
            continue
        if not isinstance(content, dict) or 'optimizer' in content or 'state_dict' not in content:
            try:
                found.append(Found(path, progress_of(content)))
            except ValueError as error:
                found.append(Found(path, None, f'{path}: {error}'))
    return furthest_first(found)


def furthest_first(found: list[Found]) -> list[Found]:
    """Sort checkpoints by where their training stood; those that are damaged come last."""
    return sorted(found, key=lambda each: each.progress or (-1, -1), reverse=True)


def find_newest(*folders: Path) -> tuple[Path | None, list[str]]:
    """Find the checkpoint with which the training of a work dir has come furthest, of those that are whole.

    Args:
        folders: where they are, the work dir first.

    Returns:
        The file, None if there is none, and what is wrong with those that were passed over.
    """
    places = dict.fromkeys(place.resolve() for place in (*_folders(folders[0]), *folders[1:]) if place.is_dir())
    listed = furthest_first([each for place in places for each in list_checkpoints(place)])
    faults = [each.fault for each in listed if each.progress is None]
    for each in listed:
        if each.progress is None:
            continue
        try:
            check_bytes(each.path)
        except ValueError as error:
            faults.append(str(error))
            continue
        return each.path, faults
    return None, faults


def _folders(work_dir: Path) -> list[Path]:
    """List where checkpoints of a work dir are: there, or where ``last_checkpoint`` says (``out_dir`` of the hook).

    An absolute path, which mmengine's own hook writes, may be of before the folder was moved or copied.
    """
    said = _pointed(work_dir)
    other = (work_dir / said).parent if '://' not in said else work_dir
    return [work_dir] if os.path.isabs(said) or not other.is_dir() or other.samefile(work_dir) else [work_dir, other]


def _pointed(work_dir: Path) -> str:
    pointer = work_dir / 'last_checkpoint'
    return pointer.read_text(errors='replace').strip() if pointer.is_file() else ''


def address_said(work_dir: Path, out_dir: Any) -> str | None:
    """Return the address that ``last_checkpoint`` names, of a training that saves to an object store; else None.

    Args:
        work_dir: that may be anyone's copy.
        out_dir: of the checkpoint hook, as the config has it.

    Raises:
        ValueError: if the address does not lie there.
    """
    said = _pointed(work_dir)
    if '://' not in said:
        return None
    root = f'{str(out_dir or "").rstrip("/")}/'
    if '://' not in root or not said.startswith(root) or '..' in said:
        raise ValueError(
            f'{work_dir / "last_checkpoint"} names {said!r:.300}, which does not lie in '
            f'default_hooks.checkpoint.out_dir ({out_dir}) and is not asked for: name it with --resume ADDRESS if that '
            'is meant, or remove last_checkpoint'
        )
    return said


def asked_marker() -> Path | None:
    """Return where a launcher wants the marker, besides the work dir, which it may not know: ``MMRS_SSL_MARKER``.

    A file beside it whose name has ``.started`` added says that a training has done its first step.
    """
    place = os.environ.get('MMRS_SSL_MARKER')
    return Path(place) if place else None


class WorkDirLock:
    """Hold a work dir for one run; the lock ends with its process, however that ends.

    Raises:
        RuntimeError: if another run has it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # A record lock: unlike that of flock it is not inherited by data workers, which outlive a killed run a while.
        self.file = open(folder / '.lock', 'a+')  # noqa: SIM115  # held until the process ends
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):  # a file system without locks
                print(
                    f'{folder} cannot be locked ({error.strerror}): see that one run alone trains there',
                    file=sys.stderr,
                )
                return
            self.file.seek(0)
            owner = self.file.read().strip() or 'unknown'
            self.file.close()
            raise RuntimeError(
                f'another run ({owner}) is training in {folder}: wait for it, end it, or give this one a '
                'folder of its own with --work-dir'
            ) from None
        self.file.truncate(0)
        self.file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        self.file.flush()

    def release(self) -> None:
        """Give the work dir up before the process ends."""
        self.file.close()
