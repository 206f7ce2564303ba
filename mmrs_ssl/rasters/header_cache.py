"""Read the headers of many rasters once, and keep them between runs."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mmengine.logging import print_log

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.grid import ControlPoints, Grid, Header
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.rasters.pool import file_stamp

_FORMAT = 6  # raise it when Header changes: older caches are then ignored
_THREADS = 8  # opening a file waits for the disk or the network


def read_headers(
    paths: Sequence[str], cache_dir: str | None = None, access: Access | None = None
) -> dict[str, Header | UnreadableImageError]:
    """Return the header of every raster by its path, or why it cannot be opened.

    Headers are kept in ``cache_dir`` (default ``~/.cache/mmrs_ssl``, or below ``XDG_CACHE_HOME``), and read anew where
    a file's size or time of change is another one. ``access`` says where files, and what they name, may lie.
    """
    folder = Path(cache_dir or Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmrs_ssl')
    root = os.path.commonpath([os.path.abspath(path) for path in paths])
    cache = folder / f'headers_{hashlib.sha256(root.encode()).hexdigest()[:24]}.json'
    kept = _read_cache(cache)
    stamps = {path: _stamp(path) for path in paths}
    headers: dict[str, Header | UnreadableImageError] = {
        path: _from_json(kept[path]['header'])
        for path in paths
        if path in kept and stamps[path] and kept[path]['stamp'] == stamps[path]
    }
    missing = [path for path in paths if path not in headers]
    with ThreadPoolExecutor(_THREADS) as threads:
        headers.update(zip(missing, threads.map(partial(_header_or_error, access=access), missing), strict=True))
    if missing:
        content = {p: dict(stamp=stamps[p], header=h) for p, h in headers.items() if isinstance(h, Header)}
        _write_cache(cache, {**kept, **content})
    return {path: headers[path] for path in paths}


def _header_or_error(path: str, access: Access | None) -> Header | UnreadableImageError:
    try:
        return read_header(path, access)
    except UnreadableImageError as error:
        return error


def _stamp(path: str) -> list | None:
    """Return sizes and times of change of a file and of what GDAL reads beside it; None if that says too little.

    A VRT is a part of what it names: another one may stand there, or it may no longer be allowed.
    """
    if path.lower().endswith('.vrt') or (own := file_stamp(path)) is None:
        return None
    kind = Path(path).suffix[1:] or 'tif'
    worlds = ('wld', f'{kind}w', f'{kind[0]}{kind[-1]}w', f'{kind[:2]}w')  # as GDAL names them: jpegw, jgw, jpw
    beside = [path + '.aux.xml', path + '.msk', *(str(Path(path).with_suffix(f'.{world}')) for world in worlds)]
    return [list(own), *(list(stamp) if (stamp := file_stamp(name)) else None for name in beside)]


def _from_json(fields: list) -> Header:
    grid, height, width, names, alpha, dtype, colors, nodata, control, rpcs, mask, scales, offsets, inverted = fields
    if control:
        place, rows, columns, points = control
        control = ControlPoints(_grid(place), rows, columns, tuple(map(tuple, points)))
    own = _grid(grid), height, width, tuple(names), alpha, dtype
    rest = control, rpcs, mask, tuple(scales), tuple(offsets), inverted
    return Header(*own, tuple(colors), tuple(nodata), *rest)


def _grid(fields: list) -> Grid:
    return Grid(fields[0], tuple(fields[1]))


def _read_cache(cache: Path) -> dict:
    try:
        content = json.loads(cache.read_text())
    except (OSError, json.JSONDecodeError):  # none yet, or cut off: read the headers again
        return {}
    return content['files'] if content.get('format') == _FORMAT else {}


def _write_cache(cache: Path, files: dict) -> None:
    part = cache.with_suffix(f'.{os.getpid()}.part')  # other processes may write the same
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(dict(format=_FORMAT, files=files)))
        part.replace(cache)
    except OSError as error:
        text = f'headers are not kept: {cache.parent} cannot be written ({error}); set cache_dir to a folder that can'
        print_log(text, 'current', logging.WARNING)
