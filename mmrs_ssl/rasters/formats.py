"""Which formats GDAL reads here, told from a file's first bytes; no driver outside of this list opens anything.

Importing this module takes all other drivers for rasters out of GDAL, as far as nothing was opened before, and lets it
ask no server. Files are opened with the one driver that belongs to their first bytes in any case.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from rasterio.env import get_gdal_config, set_gdal_config

from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.foreign import foreign_kind, subdataset_hint

_SIGNATURES = {
    b'II*\0': 'GTiff',
    b'MM\0*': 'GTiff',
    b'II+\0': 'GTiff',  # BigTIFF
    b'MM\0+': 'GTiff',
    b'\x89PNG\r\n\x1a\n': 'PNG',
    b'\xff\xd8\xff': 'JPEG',
    b'\0\0\0\x0cjP  ': 'JP2OpenJPEG',
    b'\xff\x4f\xff\x51': 'JP2OpenJPEG',
    b'BM': 'BMP',
    b'P5': 'PNM',
    b'P6': 'PNM',
}
_SUFFIXES = {
    '.tif': 'GTiff',
    '.tiff': 'GTiff',
    '.jp2': 'JP2OpenJPEG',
    '.png': 'PNG',
    '.jpg': 'JPEG',
    '.jpeg': 'JPEG',
    '.bmp': 'BMP',
    '.webp': 'WEBP',
    '.ppm': 'PNM',
    '.pgm': 'PNM',
}
SUFFIXES = tuple(_SUFFIXES)
_HEAD = 1024  # bytes; as many as GDAL looks at
# GDAL knows no list of what to use, but one of what to leave out: its drivers for rasters (3.10, and those that other
# builds and releases have) but GTiff, COG, VRT, MEM, JP2OpenJPEG, PNG, JPEG, BMP, WEBP and PNM.
_OTHERS = """
    AAIGrid ACE2 ADRG AIG AirSAR AVIF BAG BASISU BIGGIF BLX BSB BT BYN CAD CALS CEOS COASP COSAR CPG CTable2 CTG
    DAAS DDS DERIVED DIMAP DIPEx DOQ1 DOQ2 DTED ECRGTOC ECW EEDAI EHdr EIR ELAS ENVI ERS ESAT ESRIC EXR FAST FIT
    FITS GDALG GenBin GeoRaster GFF GIF GPKG GRASSASCIIGrid GRIB GS7BG GSAG GSBG GSC GTI GTX GXF HDF4 HDF4Image HDF5
    HDF5Image HEIF HF2 HFA HTTP ILWIS IRIS ISCE ISG ISIS2 ISIS3 JAXAPALSAR JDEM JP2ECW JP2KAK JP2Lura JP2MrSID
    JPEGLS JPEGXL JPIPKAK KEA KMLSUPEROVERLAY KRO KTX2 L1B LAN LCP Leveller LIBERTIFF LOSLAS MAP MBTiles MFF MFF2
    MiraMonRaster MRF MrSID MSGN NDF netCDF NGSGEOID NGW NITF NOAA_B NSIDCbin NTv2 NUMPY NWT_GRC NWT_GRD OGCAPI OZI
    PAux PCIDSK PCRaster PDF PDS PDS4 PLMOSAIC PLSCENES PostGISRaster PRF R Rasterlite RCM RDA RIK RMF ROI_PAC
    RPFTOC RRASTER RS2 RST S102 S104 S111 SAFE SAGA SAR_CEOS SDTS SENTINEL2 SGI SIGDEM SNAP_TIFF SNODAS SRP SRTMHGT
    STACIT STACTA Terragen TGA TIL TileDB TSX USGSDEM VICAR WCS WMS WMTS XPM XYZ Zarr ZMap
"""
_FLAGS_OF_WEBP = 20  # where they stand
_ALLOWED_ENDINGS = 'CPL_VSIL_CURL_ALLOWED_EXTENSIONS'
# GDAL asks for addresses only that end in one of these: in nothing, or in any letter.
_NO_ADDRESS, _ANY_ADDRESS = '.no-address-is-read', ','.join(map(chr, range(33, 127))).replace(',,,', ',')


def _settle() -> None:
    """Set what GDAL reads, before its first use in this process. What the user has set himself stays."""
    others = {*_OTHERS.split(), *os.environ.get('GDAL_SKIP', '').replace(',', ' ').split()}
    set_gdal_config('GDAL_SKIP', ' '.join(sorted(others)))
    set_gdal_config(_ALLOWED_ENDINGS, _NO_ADDRESS)
    set_gdal_config('GDAL_VRT_ENABLE_PYTHON', 'NO')
    # A listing would find what lies beside a file whatever the case of its name.
    if 'GDAL_DISABLE_READDIR_ON_OPEN' not in os.environ:
        set_gdal_config('GDAL_DISABLE_READDIR_ON_OPEN', 'YES')


_settle()


@contextmanager
def network() -> Iterator[None]:
    """Let GDAL ask servers in this thread."""
    before = get_gdal_config(_ALLOWED_ENDINGS, normalize=False)
    set_gdal_config(_ALLOWED_ENDINGS, os.environ.get(_ALLOWED_ENDINGS, _ANY_ADDRESS))
    try:
        yield
    finally:
        set_gdal_config(_ALLOWED_ENDINGS, before)


def driver_of(path: str) -> str:
    """Return the name of the GDAL driver that reads a local file, told from its content.

    A text that GDAL would take for a VRT is one only in a file that is named so.

    Raises:
        UnreadableImageError: if the file cannot be read or is of no format of the list.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(_HEAD)
    except OSError as error:
        hint = subdataset_hint(path)
        fault = f'{error.strerror or error}{hint and "; it "}{hint}'
        raise UnreadableImageError(f'{path}: not readable as a raster ({fault})') from error
    if b'<VRTDataset' in head:
        if path.lower().endswith('.vrt'):
            return 'VRT'
        raise UnreadableImageError(f'{path} holds the text of a VRT under the name of another format; name it .vrt')
    if driver := _driver_of_head(head):
        return driver
    raise UnreadableImageError(f'{path}: not readable as a raster ({_described(path, head)})')


def driver_at(file: BinaryIO) -> str | None:
    """Return the name of the GDAL driver that reads an open file; None if it is of no format of the list."""
    return _driver_of_head(file.read(_HEAD))


def is_animated(file: BinaryIO) -> bool:
    """Tell whether an open PNG or WebP holds several pictures one after the other."""
    file.seek(0)
    head = file.read(4 * _HEAD)
    if _driver_of_head(head) == 'PNG':
        return b'acTL' in head.partition(b'IDAT')[0]
    return head[8:16] == b'WEBPVP8X' and len(head) > _FLAGS_OF_WEBP and bool(head[_FLAGS_OF_WEBP] & 2)


def _driver_of_head(head: bytes) -> str | None:
    if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
        return 'WEBP'
    return next((driver for signature, driver in _SIGNATURES.items() if head.startswith(signature)), None)


def _described(path: str, head: bytes) -> str:
    if kind := foreign_kind(path, head):
        return f'it is {kind.name}; {kind.mend(path)}'
    if not head.strip(b'\0 \t\r\n'):
        return 'it is empty' if not head else f'its first {len(head)} bytes are empty'
    if tag := re.match(rb'\s*<\??([\w:.-]+)', head.removeprefix(b'\xef\xbb\xbf')):
        return f'it holds the text of {tag[1].decode()}'
    return f'it begins with {head[:8]!r}; expected {", ".join((*SUFFIXES, ".vrt"))}'


def driver_of_name(address: str) -> str:
    """Return the driver for what cannot be looked at before, by its name's suffix.

    Raises:
        UnreadableImageError: if it has none of the list; a VRT has to be a local file.
    """
    name = address.split('?')[0].lower()
    for suffix, driver in _SUFFIXES.items():
        if name.endswith(suffix):
            return driver
    raise UnreadableImageError(f'{address}: expected a name that ends in {", ".join(SUFFIXES)}')
