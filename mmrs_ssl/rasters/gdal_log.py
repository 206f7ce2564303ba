"""Bring GDAL's warnings into the log, each kind once for a process; it would print them for every window that it reads.

Only where an environment of rasterio's is active in a thread does GDAL hand its messages to Python at all.
"""

import logging
import os
import re
import threading

import rasterio
from mmengine.logging import print_log
from rasterio.env import get_gdal_config, hasenv

_KEPT = 'GDAL_DISABLE_READDIR_ON_OPEN'  # an environment inside of this one sets it, and would unset it at its end

_NAMED = re.compile(r'([^:/]+\.\w+): ')  # how a driver begins


class _Place(threading.local):
    path = ''


_place = _Place()
_told: set[str] = set()


def listen(path: str) -> None:
    """Take what GDAL says in this thread from now on; it is about this file, as far as it does not say so itself."""
    _place.path = path
    if not hasenv():
        value = get_gdal_config(_KEPT, normalize=False)
        rasterio.Env(**({} if value is None else {_KEPT: value})).__enter__()


def _tell_once(record: logging.LogRecord) -> bool:
    """Tell a warning that is the first of its kind, numbers aside; the record itself goes no further."""
    if record.levelno != logging.WARNING:
        return True
    text = ' '.join(str(record.args[-1] if isinstance(record.args, tuple) and record.args else record.msg).split())
    if 'GDAL_SKIP' in text:  # a driver to leave out that this build of GDAL has not
        return False
    where = _place.path or 'GDAL'
    if named := _NAMED.match(text):  # perhaps a file beside the one that was opened
        where = where if named[1] == os.path.basename(where) else named[1]
        text = text[named.end() :]
    if (kind := re.sub(r'\d+', '#', text)) not in _told:
        _told.add(kind)
        hint = 'further warnings of this kind are not shown'
        print_log(f'{where}: {text} (a warning of GDAL; {hint})', 'current', logging.WARNING)
    return False


logging.getLogger('rasterio._env').addFilter(_tell_once)
