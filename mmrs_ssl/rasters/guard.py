"""Look at a raster before and after GDAL opens it: what it names, and the files beside it, must not lead elsewhere."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import rasterio

from mmrs_ssl.rasters.access import Access, access_beside, check_address, check_path, is_address
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.formats import SUFFIXES, driver_of, driver_of_name, network
from mmrs_ssl.rasters.gdal_log import listen
from mmrs_ssl.rasters.vrt import path_of, vrt_sources

# GDAL looks for both, and takes them for whatever format they are in.
_BESIDE = ('.ovr', '.OVR', '.msk', '.MSK')
_DRIVER = re.compile(r'[A-Za-z_]\w*:')  # NAME:..., which GDAL hands to the driver of that name
_MAX_CHECKED = 1000

_checked: dict[tuple, Access] = {}  # VRTs of this process that were found in order, by path, size and time of change


def reaching(access: Access | None) -> AbstractContextManager[None]:
    """Let GDAL ask servers as long as this lasts, if that is allowed."""
    return network() if access is not None and access.remote else nullcontext()


class Opening(NamedTuple):
    """What to give to GDAL: a path or address, the only driver to open it with, and whether it may ask the network."""

    path: str
    driver: str
    network: bool = False

    def open(self) -> rasterio.DatasetReader:
        """Open it with this driver and no other.

        Raises:
            UnreadableImageError: if its metadata name another file.
            RasterioError: if it cannot be opened.
        """
        listen(self.path)
        if is_address(self.path):  # what lies beside it cannot be looked at: nothing beside it is read
            with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR'), network() if self.network else nullcontext():
                raster = rasterio.open(self.path, driver=self.driver)
        elif self.network:
            with network():
                raster = rasterio.open(self.path, driver=self.driver)
        else:
            raster = rasterio.open(self.path, driver=self.driver)
        if any(key.upper() == 'OVERVIEW_FILE' for key in raster.tags(ns='OVERVIEWS')):  # of any case, as GDAL takes it
            raster.close()
            raise UnreadableImageError(f'{self.path}: its metadata name a file of overviews, which is not read')
        return raster


def open_guarded(path: str, access: Access | None = None) -> rasterio.DatasetReader:
    """Open a raster with the one driver that reads what it holds, after a look at all that it names.

    Args:
        path: a file, or an address that GDAL reads.
        access: where the file, and what it names, may lie; the file's folder by default.

    Raises:
        UnreadableImageError: if it is missing, of no known format or names what lies elsewhere.
        RasterioError: if it cannot be opened.
    """
    if is_address(path):
        access = access or access_beside(path)
        check_address(path, access, path)
        return Opening(path, driver_of_name(path), access.remote).open()
    if not path.startswith('/'):
        path = os.path.abspath(path)  # else a folder called https: would make an address
    _check_beside(path)
    guess = driver_of_name(path) if path.lower().endswith(SUFFIXES) else driver_of(path)
    try:
        return _opening(path, guess, access).open()
    except rasterio.errors.RasterioError:
        if (driver := driver_of(path)) == guess:  # or it says what the file holds
            raise
        return _opening(path, driver, access).open()


def _opening(path: str, driver: str, access: Access | None) -> Opening:
    if driver != 'VRT':
        return Opening(path, driver)
    access = access or access_beside(path)
    real = os.path.realpath(path)  # from where GDAL counts
    if real != path:
        _check_beside(real)  # where it looks, too
    _check_vrt(real, access, path in access.named, ())
    return Opening(real, driver, access.remote)


def _check_beside(path: str) -> None:
    for suffix in _BESIDE:
        if os.access(beside := path + suffix, os.F_OK):  # half as long as os.path.exists where there is none
            if (driver := driver_of(beside)) == 'VRT':
                raise UnreadableImageError(f'{beside} is a VRT, which is not read for masks and overviews')
            _check_beside(beside)
            Opening(beside, driver).open().close()


def _check_vrt(path: str, access: Access, free: bool, around: tuple[str, ...]) -> None:
    """Refuse a VRT that names what may not be read; ``free`` ones may name any file of this machine."""
    if path in around:
        raise UnreadableImageError(f'{path} is a source of itself')
    status = os.stat(path)
    key = (path, status.st_size, status.st_mtime_ns, free)
    if _checked.get(key) == access:
        return
    for source in dict.fromkeys(vrt_sources(path)):
        where = f'{path}: its source {source.name}'
        if is_address(source.name) or source.name.lstrip().startswith('<'):
            check_address(source.name, access, where)
            if source.name.split('?')[0].lower().endswith('.vrt'):
                raise UnreadableImageError(f'{where} is a VRT that is no local file, which is not read')
            continue
        name = path_of(source, path)
        if _DRIVER.match(source.name):
            raise UnreadableImageError(f'{where} names a driver of GDAL; expected the path of a file')
        if not free:
            check_path(name, access, where)
        if not os.path.isfile(name):
            if os.path.exists(name):
                raise UnreadableImageError(f'{where} is no file')
            continue  # GDAL says so when the place is read
        if not source.raw:
            _check_source(name, access, (*around, path))
    if len(_checked) >= _MAX_CHECKED:
        _checked.clear()
    _checked[key] = access


def _check_source(path: str, access: Access, around: tuple[str, ...]) -> None:
    driver = driver_of(path)
    _check_beside(path)
    if driver == 'VRT':
        real = os.path.realpath(path)
        if real != path:
            _check_beside(real)
        _check_vrt(real, access, False, around)
    else:
        Opening(path, driver).open().close()
