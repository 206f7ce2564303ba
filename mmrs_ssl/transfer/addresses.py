"""Read checkpoints behind addresses as data: mmengine lets torch run what such files ask for."""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import is_main_process
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoints

from mmrs_ssl.transfer.sources import read_file


def read_addresses_as_data() -> None:
    """Put :func:`read_address` in the place of what mmengine reads addresses with (idempotent).

    That is for ``https://...`` and what leads there (``open-mmlab://``, ``torchvision://``, ``mmcls://``), in
    ``load_from``, ``init_cfg`` and wherever else a name of a checkpoint is given to mmengine.
    """
    CheckpointLoader.register_scheme(('http://', 'https://'), load_from_address, force=True)
    mmengine_checkpoints.load_url = read_address


def load_from_address(filename: str, map_location: Any = None) -> Any:
    """Read an address for mmengine's loader, which says the end of this function's name."""
    return read_address(filename)


def read_address(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """Fetch a checkpoint and read it onto the CPU; nothing in it is run.

    A file that torch or mmengine has fetched before is not fetched again.

    Args:
        url: ``http://`` or ``https://``.
        model_dir: where the file is kept; by default where torch keeps such.
        map_location: not used: weights are copied to where the model is.
        progress: show how far it has come.

    Raises:
        OSError: if it cannot be fetched.
        ValueError: if it is refused, naming the address and the file that was fetched.
    """
    file = fetch(url, Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints')), progress)
    try:
        return read_file(file)
    except ValueError as error:
        raise ValueError(f'{url}: {error}. If its transfer was cut off, remove {file} and try again') from None


def fetch(url: str, folder: Path, progress: bool) -> Path:
    """Fetch a file, once for all processes of this machine, unless the folder has it; returns where it is."""
    name = Path(urlparse(url).path).name
    if name in ('', '..'):
        raise ValueError(f'{url} names no file')
    if (folder / name).is_file():
        return folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f'.{name}.lock', 'w') as lock:
        with suppress(OSError):  # without locks each process fetches its own, and the last one's stays
            fcntl.lockf(lock, fcntl.LOCK_EX)
        if not (folder / name).is_file():
            try:
                torch.hub.download_url_to_file(url, str(folder / name), progress=progress and is_main_process())
            except OSError as error:
                raise OSError(
                    f'{url} cannot be fetched ({error}): see whether the address is right and the network is there, or '
                    f'put the file into {folder} yourself'
                ) from error
    return folder / name
