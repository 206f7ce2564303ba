"""Formats that are not read here: tell them, and say which command converts them.

Files of some of them name others, and several hold many variables: each has to be converted deliberately.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import NamedTuple

_MARKS_OF_ZARR = ('.zarray', '.zgroup', 'zarr.json')
_ENVI_DATA = ('', '.dat', '.img', '.bsq', '.bil', '.bip', '.raw', '.bin')
_SHARED = ('.hdr', '.hdf', '.img', '.dat')  # suffixes of several formats
_SUBDATASET = re.compile(
    r'(?:.*/)?((?:NETCDF|HDF4\w*|HDF5|BAG|ZARR|GRIB|SENTINEL2_\w+|GTIFF_DIR|GPKG|NITF_IM):.*)', re.I
)
RIO = 'without the programs of GDAL: `rio convert`, which comes with rasterio, takes the same two names'


class Foreign(NamedTuple):
    """A format that is not read here.

    Attributes:
        name: what to call it.
        suffixes: of its files, in lower case.
        signatures: what its files begin with.
        source: what GDAL calls what is converted; PATH stands for the file.
        advice: what to do in place of a conversion by GDAL; STEM stands for the file's name without its suffix.
        note: what to know about it.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...] = ()
    source: str = 'PATH'
    advice: str = ''
    note: str = ''

    def mend(self, path: str | Path) -> str:
        """Say how to convert a file."""
        name = str(path)
        stem = os.path.basename(os.path.splitext(name.rstrip('/'))[0])
        if self.advice:
            return self.advice.replace('PATH', name).replace('STEM', stem)
        command = f'gdal_translate {quote(self.source.replace("PATH", name))} {quote(stem + ".tif")}'
        return f'convert it: {command}{self.note.replace("PATH", quote(name))}'


_LISTED = ' (gdalinfo PATH lists the names)'
_PYTHON = (
    "convert it in Python, bands first: import numpy, rasterio; a = LOADED; rasterio.open('STEM.tif', 'w', "
    "driver='GTiff', count=a.shape[0], height=a.shape[1], width=a.shape[2], dtype=a.dtype).write(a)"
)
_HDF4 = Foreign('HDF4', ('.hdf', '.hdf4'), (b'\x0e\x03\x13\1',), 'HDF4_EOS:EOS_GRID:"PATH":GRID:FIELD', note=_LISTED)
_ZARR = Foreign('Zarr', ('.zarr',), source='ZARR:"PATH":/ARRAY', note=_LISTED)
_ENVI = Foreign('ENVI', ('.hdr', '.bsq', '.bil', '.bip'), (b'ENVI',))
_SAFE = Foreign(
    'SAFE description',
    ('.safe',),
    advice='name the folder of the product: its rasters are the .jp2 below GRANULE/*/IMG_DATA (Sentinel-2) or the '
    '.tiff of measurement (Sentinel-1)',
)
_KINDS = (
    Foreign('NetCDF', ('.nc', '.nc4', '.cdf'), (b'CDF\1', b'CDF\2', b'CDF\5'), 'NETCDF:"PATH":VARIABLE', note=_LISTED),
    Foreign('HDF5', ('.h5', '.hdf5', '.he5'), (b'\x89HDF\r\n\x1a\n',), 'HDF5:"PATH"://DATASET', note=_LISTED),
    _HDF4,
    _ZARR,
    _ENVI,
    Foreign('NumPy', ('.npy',), (b'\x93NUMPY',), advice=_PYTHON.replace('LOADED', "numpy.load('PATH')")),
    Foreign('NumPy (zipped)', ('.npz',), advice=_PYTHON.replace('LOADED', "numpy.load('PATH')['NAME']")),
    Foreign('MATLAB', ('.mat',), (b'MATLAB',), advice=_PYTHON.replace('LOADED', "scipy.io.loadmat('PATH')['NAME']")),
    Foreign('ERDAS Imagine', ('.img',), (b'EHFA_HEADER_TAG',)),
    Foreign('GRIB', ('.grib', '.grib2', '.grb', '.grb2'), (b'GRIB',)),
    Foreign('ECW', ('.ecw',), note=', by a GDAL that has the driver ECW'),
    Foreign('MrSID', ('.sid',), (b'msid',), note=', by a GDAL that has the driver MrSID'),
    Foreign('ASCII grid', ('.asc', '.grd')),
    Foreign('DTED', ('.dt0', '.dt1', '.dt2')),
    Foreign('SRTM heights', ('.hgt',)),
    Foreign('NITF', ('.ntf', '.nitf'), (b'NITF',)),
    Foreign('PCIDSK', ('.pix',), (b'PCIDSK',)),
    Foreign('GIF', ('.gif',), (b'GIF8',)),
    Foreign('AVIF or HEIF', ('.avif', '.heic', '.heif')),
    Foreign('JPEG XL', ('.jxl',)),
    Foreign('OpenEXR', ('.exr',), (b'\x76\x2f\x31\1',)),
    Foreign('GeoPackage', ('.gpkg',)),
    Foreign('MBTiles', ('.mbtiles',)),
    Foreign(
        'archive',
        ('.zip', '.tar', '.gz', '.tgz', '.7z', '.rar'),
        (b'PK\3\4', b'\x1f\x8b', b'7z\xbc\xaf'),
        advice='unpack it and name the folder',
    ),
    _SAFE,
)


def is_zarr(folder: str, files: Iterable[str]) -> bool:
    """Tell whether a folder, in which these files lie, is a store of Zarr: an array in many files."""
    return folder.lower().endswith('.zarr') or not set(_MARKS_OF_ZARR).isdisjoint(files)


def foreign_kind(path: str | Path, head: bytes | None = None) -> Foreign | None:
    """Tell which format that is not read here a file has, by its suffix and by what it begins with.

    Args:
        path: of a file, or of a folder of Zarr.
        head: the file's first bytes, if they are known.
    """
    name = str(path)
    suffix = os.path.splitext(name.lower())[1]
    if os.path.isdir(name):
        return _ZARR if is_zarr(name, os.listdir(name)) else None
    if head is not None and suffix == '.xml' and '.safe' in name.lower():
        return _SAFE
    by_suffix = next((kind for kind in _KINDS if suffix in kind.suffixes), None)
    if by_suffix and suffix not in _SHARED:
        return by_suffix
    if suffix in _ENVI_DATA and _has_envi_header(name):
        return _ENVI
    if head is None:
        head = _head(name) if suffix in _SHARED else b''
    by_head = next((kind for kind in _KINDS if kind.signatures and head.startswith(kind.signatures)), None)
    return by_head or (by_suffix if by_suffix is not _ENVI else None)  # .hdr: of other formats as well


def _head(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read(64)
    except OSError:
        return b''


def _has_envi_header(path: str) -> bool:
    return any(_head(header).startswith(b'ENVI') for header in (os.path.splitext(path)[0] + '.hdr', path + '.hdr'))


def survey(paths: Iterable[str | Path], beside_rasters: bool = False) -> dict[Foreign, list[str]]:
    """Sort out, of all files, those of formats that are not read here; descriptions of rasters are none beside them."""
    found: dict[Foreign, list[str]] = {}
    for path in sorted(map(str, paths)):
        if (kind := foreign_kind(path)) and not (beside_rasters and kind is _SAFE):
            found.setdefault(kind, []).append(path)
    if _ENVI in found:  # what converts are the data and not their header
        data = [path for path in found[_ENVI] if not path.lower().endswith('.hdr')]
        found[_ENVI] = data or found[_ENVI]
    return found


def counted(found: dict[Foreign, list[str]]) -> str:
    """Say how many files there are of each format, with an example."""
    return ', '.join(f'{len(paths)} of {kind.name} (e.g. {paths[0]})' for kind, paths in found.items())


def conversions(found: dict[Foreign, list[str]]) -> str:
    """Say how many files there are of each format, and how to convert one of each."""
    texts = [f'{len(paths)} of {kind.name}, e.g. {paths[0]}: {kind.mend(paths[0])}' for kind, paths in found.items()]
    return f'{"; ".join(texts)} ({RIO})' if texts else ''


def subdataset_hint(name: str) -> str:
    """Say how to convert what has one of GDAL's names of subdatasets, e.g. ``NETCDF:"a.nc":t``; '' for other names.

    A list may have put the name behind a folder.
    """
    if not (found := _SUBDATASET.match(name)):
        return ''
    command = f'gdal_translate {quote(found[1])} NAME.tif'
    return f"is GDAL's name of a subdataset, which is not read here; convert it: {command}"
