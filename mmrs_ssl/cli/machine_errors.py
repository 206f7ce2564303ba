"""Say what is to be done where the machine, and not the program, is at fault."""

import errno
import os
import re
import resource
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmrs_ssl.engine.checkpoint_files import list_checkpoints
from mmrs_ssl.installation import explain_missing

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR)
TORCH_CANNOT_WRITE = 'unexpected pos|PytorchStreamWriter failed|file write failed'
PEER_GONE = 'Connection closed by peer|Connection reset by peer|Broken pipe|Socket closed|remote process exited'
SHARED_MEMORY = 'unable to (mmap|write to file|allocate shared memory|open shared memory)'


def explain_machine(error: BaseException) -> str | None:
    """Explain a full disk, a place that cannot be written, or a process that was killed; None for other errors.

    So are a library that is not installed, and the two ways in which the libraries' own recomputing of blocks fails.
    """
    if missing := explain_missing(error):
        return missing
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number in FULL or re.search(TORCH_CANNOT_WRITE, text):
        return _full(error)
    if isinstance(error, OSError) and number in FORBIDDEN + IN_THE_WAY:
        return _not_writable(error)
    if killed := re.search(r'DataLoader worker \(pid\(?s?\)?:? ?([\d, ]+)\) (is killed by signal: \w+|exited)', text):
        return _killed_worker(error, killed)
    if re.search(SHARED_MEMORY, text):
        return (
            '/dev/shm, through which data workers hand over their batches, is too small: make it larger (docker run '
            f'--shm-size=8g), or lower train_dataloader.num_workers. {_go_on(error)}'
        )
    if isinstance(error, RuntimeError) and re.search(PEER_GONE, text):
        return (
            'another process of this training has ended, or cannot be reached: its own message stands above, or in '
            'the log of its machine; without one it was killed (out of memory?). ' + _go_on(error)
        )
    if 'mark a variable ready only once' in text or 'marked as ready twice' in text:
        return (
            "several processes can't train by the libraries' own with_cp=True or activation_checkpointing: set "
            "it to False and add custom_hooks=[dict(type='mmrs_ssl.RecomputeHook')], which does the same"
        )
    if 'torch.utils.checkpoint is incompatible with .grad()' in text:
        return (
            "GradientShareHook can't measure through the libraries' own with_cp=True or activation_checkpointing: set "
            "it to False and add custom_hooks=[dict(type='mmrs_ssl.RecomputeHook')], which does the same, or leave "
            'GradientShareHook out'
        )
    return None


def _full(error: BaseException) -> str:
    path = _written(error)
    where = f'{path} could not be written' if path else 'a file of this run could not be written'
    folder = next((str(each) for each in (path, *path.parents) if each.is_dir()), None) if path else None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY:
        why = f'this process may write files of {limit / 1e6:.3g} MB at most (ulimit -f)'
    elif folder:
        why = f'{shutil.disk_usage(folder).free / 1e6:.3g} MB are free on its disk (or the quota is used up)'
    else:
        why = 'its disk is full, or the quota is used up'
    wanted = _wanted(error)
    size = f', and it needs about {wanted / 1e6:.3g} MB' if wanted else ''
    return f'{where}: {why}{size}. Free space, or set default_hooks.checkpoint.max_keep_ckpts. {_go_on(error)}'


def _not_writable(error: OSError) -> str | None:
    number = error.errno
    if error.strerror and error.strerror != os.strerror(number or 0):
        return error.strerror  # raised here, with a message of its own
    path = _written(error)
    if path is None:
        return None
    if number == errno.EACCES and path.is_file() and not os.access(path, os.R_OK):
        return f'{path} cannot be read: permission denied'
    if number in IN_THE_WAY:
        files = [each for each in (path, *path.parents) if each.is_file()]
        if not files:
            return None
        return f'{path} cannot be made: {files[0]} is a file, no folder; move it, or give another --work-dir'
    why = 'the file system is read-only' if number == errno.EROFS else 'permission denied'
    return f'{path} cannot be written: {why}; make its folder writable, or give another --work-dir. {_go_on(error)}'


def _killed_worker(error: BaseException, killed: re.Match[str]) -> str:
    return (
        f'data worker {killed[1].strip()} was killed from outside ({killed[2]}), most often because memory ran out '
        '(see dmesg): lower train_dataloader.num_workers or prefetch_factor, or the size of images; where it was a bus '
        f'error, /dev/shm is too small. {_go_on(error)}'
    )


def _go_on(error: BaseException) -> str:
    """Say from where the training can go on."""
    runner = next((value for value in _locals(error, 'self', 'runner') if isinstance(value, Runner)), None)
    if runner is None:
        return 'Then start again, with --resume if there is a checkpoint.'
    try:
        newest = next((each.path for each in list_checkpoints(Path(runner.work_dir)) if each.progress), None)
    except OSError:
        newest = None
    if newest is None:
        return f'{runner.work_dir} has no checkpoint yet: start again.'
    return f'Earlier checkpoints stand: --resume goes on from {newest}.'


def _written(error: BaseException) -> Path | None:
    """Find which file it was about."""
    if isinstance(error, OSError) and error.filename:
        return Path(os.fsdecode(error.filename))
    named = [
        value
        for value in _locals(error, 'path', 'filepath', 'file_path', 'filename', 'self')
        if isinstance(value, str | Path)
    ]
    return next((Path(value) for value in named if os.sep in str(value) and Path(value).parent.is_dir()), None)


def _wanted(error: BaseException) -> int:
    """Count the bytes of the tensors that were to be saved; 0 if it was none of that."""
    for content in _locals(error, 'checkpoint', 'obj'):
        if isinstance(content, dict):
            return sum(leaf.nbytes for leaf in tree_leaves(content) if isinstance(leaf, Tensor))
    return 0


def _locals(error: BaseException, *names: str) -> Iterator[Any]:
    """Yield variables of these names from where the error was caught to where it was raised, then of its causes."""
    cause: BaseException | None = error
    while cause is not None:
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            yield from (frame.f_locals[name] for name in names if name in frame.f_locals)
        cause = cause.__cause__ or cause.__context__
