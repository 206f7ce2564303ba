"""Open rasters and pictures, and declare anew what their bands mean."""

from __future__ import annotations

import os
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.guard import open_guarded

_RGBA = ('Red', 'Green', 'Blue', 'Alpha')


def open_raster(path: str | Path, access: Access | None = None, overview: int | None = None) -> rasterio.DatasetReader:
    """Open a raster or picture; one without a position is as good as any.

    Args:
        path: a file, or an address that GDAL reads.
        access: where the file, and what it names, may lie; the file's folder by default.
        overview: which of its overviews to open in its place, from 0.

    Raises:
        UnreadableImageError: if it is none, names what lies elsewhere, has several pages, or is a truncated PNG, which
            GDAL would fill up without a word.
    """
    path = str(path)
    try:
        raster = open_guarded(path, access, overview)
    except rasterio.errors.RasterioError as error:
        raise UnreadableImageError(f'{path}: not readable as a raster ({error})') from error
    fault = 'holds no band' if raster.count == 0 else ''
    if raster.driver == 'GTiff' and (pages := raster.subdatasets):
        fault = (
            f'has {len(pages)} pages, of which only the first would be read; write each to a file of its own: '
            f'gdal_translate {pages[-1]} page{len(pages)}.tif'
        )
    if raster.driver == 'PNG' and os.path.isfile(path):
        with open(path, 'rb') as file:
            file.seek(max(0, os.path.getsize(path) - 1024))
            if b'IEND' not in file.read():
                fault = 'truncated'
    if fault:
        raster.close()
        raise UnreadableImageError(f'{path}: {fault}')
    return raster


def open_image(path: str | Path, access: Access | None = None, overview: int | None = None) -> rasterio.DatasetReader:
    """Open a raster as :func:`open_raster` does; colors of a palette become bands red, green, blue, perhaps alpha.

    Entries of the palette that stand for no data, or are transparent, have alpha 0.
    """
    raster = open_raster(path, access, overview)
    if raster.colorinterp != (ColorInterp.palette,):
        return raster
    try:
        colors = raster.colormap(1)
    except ValueError:  # declared, but not there
        return raster
    channels = 4 if any(color[3] < 255 for color in colors.values()) else 3
    tables = [','.join(f'{index}:{color[i]}' for index, color in colors.items()) for i in range(channels)]

    def expand(dataset: ET.Element) -> None:
        band = dataset.find('VRTRasterBand')
        assert band is not None
        source = band.find('SimpleSource')
        source = band.find('ComplexSource') if source is None else source
        assert source is not None
        dataset.remove(band)
        for number, (meaning, table) in enumerate(zip(_RGBA, tables, strict=False), 1):
            one = ET.SubElement(dataset, 'VRTRasterBand', dataType='Byte', band=str(number))
            ET.SubElement(one, 'ColorInterp').text = meaning
            lookup = ET.SubElement(one, 'ComplexSource')
            lookup.extend(list(source))
            ET.SubElement(lookup, 'LUT').text = table

    return changed(raster, expand)


def described_anew(raster: rasterio.DatasetReader, alpha: bool, nodata: bool) -> rasterio.DatasetReader:
    """Open a raster again, without what it declares but does not mean: GDAL heeds it whenever it resamples.

    Args:
        raster: an open one; it stays open.
        alpha: whether its alpha channel is a mask; else it becomes an ordinary band.
        nodata: whether the declared values of no data hold.
    """

    def change(dataset: ET.Element) -> None:
        for band in dataset.findall('VRTRasterBand'):
            meaning, value = band.find('ColorInterp'), band.find('NoDataValue')
            if meaning is not None and meaning.text == 'Alpha' and not alpha:
                meaning.text = 'Undefined'
            if value is not None and not nodata:
                band.remove(value)

    return changed(raster, change)


def changed(raster: rasterio.DatasetReader, change: Callable[[ET.Element], None]) -> rasterio.DatasetReader:
    """Open a raster through a description of it, a VRT, that is changed before."""
    with tempfile.TemporaryDirectory() as folder:
        description = f'{folder}/raster.vrt'
        rasterio.shutil.copy(raster, description, driver='VRT')
        dataset = ET.parse(description).getroot()
        for source in dataset.iter('SourceFilename'):
            if source.get('relativeToVRT') == '1':
                source.text = os.path.normpath(os.path.join(folder, source.text or ''))
                source.set('relativeToVRT', '0')
    change(dataset)
    return rasterio.open(ET.tostring(dataset, encoding='unicode'), driver='VRT')
