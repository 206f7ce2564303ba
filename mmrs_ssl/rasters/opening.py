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
from mmrs_ssl.rasters.errors import GDAL_ERRORS, UnreadableImageError
from mmrs_ssl.rasters.formats import is_animated
from mmrs_ssl.rasters.grid import Grid, lies_elsewhere
from mmrs_ssl.rasters.guard import open_guarded
from mmrs_ssl.rasters.png import png_meaning

ANIMATED = 'is animated: only its first picture would be read; write each to a file of its own'
_RGBA = ('Red', 'Green', 'Blue', 'Alpha')


def open_raster(path: str | Path, access: Access | None = None) -> rasterio.DatasetReader:
    """Open a raster or picture; one without a position is as good as any.

    Args:
        path: a file, or an address that GDAL reads.
        access: where the file, and what it names, may lie; the file's folder by default.

    Raises:
        UnreadableImageError: if it is none, names what lies elsewhere, has several pages, or is a truncated PNG, which
            GDAL would fill up without a word.
    """
    path = str(path)
    try:
        raster = open_guarded(path, access)
    except GDAL_ERRORS as error:
        raise UnreadableImageError(f'{path}: not readable as a raster ({error})') from error
    fault = 'holds no band' if raster.count == 0 else ''
    if raster.driver == 'GTiff' and (pages := raster.subdatasets):
        fault = (
            f'has {len(pages)} pages, of which only the first would be read; write each to a file of its own: '
            f'gdal_translate {pages[-1]} page{len(pages)}.tif'
        )
    if raster.driver in ('PNG', 'WEBP') and os.path.isfile(path):
        with open(path, 'rb') as file:
            animated = is_animated(file)
            file.seek(max(0, os.path.getsize(path) - 1024))
            if raster.driver == 'PNG' and b'IEND' not in file.read():
                fault = 'truncated'
        fault = ANIMATED if animated else fault
    if fault:
        raster.close()
        raise UnreadableImageError(f'{path}: {fault}')
    return raster


def open_image(path: str | Path, access: Access | None = None) -> rasterio.DatasetReader:
    """Open a raster as :func:`open_raster` does, but with the bands that a picture means, as read whole.

    Colors of a palette become bands red, green, blue (one band if all are gray), and alpha if one of them stands for no
    data or is transparent. Of a PNG, 1 to 4 bits become 0 to 255, and a color that is transparent has alpha 0.
    """
    raster = open_raster(path, access)
    if raster.colorinterp != (ColorInterp.palette,):
        return _png_as_meant(raster, str(path)) if raster.driver == 'PNG' else raster
    try:
        colors = raster.colormap(1)
    except ValueError:  # declared, but not there
        return raster
    channels = [0] if all(red == green == blue for red, green, blue, _ in colors.values()) else [0, 1, 2]
    meanings = ['Gray'] if len(channels) == 1 else list(_RGBA[:3])
    if any(color[3] < 255 for color in colors.values()):
        channels, meanings = [*channels, 3], [*meanings, _RGBA[3]]
    tables = [','.join(f'{index}:{color[i]}' for index, color in colors.items()) for i in channels]

    def expand(dataset: ET.Element) -> None:
        band = dataset.find('VRTRasterBand')
        assert band is not None
        source = band.find('SimpleSource')
        source = band.find('ComplexSource') if source is None else source
        assert source is not None
        dataset.remove(band)
        for number, (meaning, table) in enumerate(zip(meanings, tables, strict=True), 1):
            one = ET.SubElement(dataset, 'VRTRasterBand', dataType='Byte', band=str(number))
            ET.SubElement(one, 'ColorInterp').text = meaning
            lookup = ET.SubElement(one, 'ComplexSource')
            lookup.extend(list(source))
            ET.SubElement(lookup, 'LUT').text = table

    return changed(raster, expand)


def check_sizes(*paths: str) -> None:
    """Refuse files of several sizes, such as a label, the first, and its images: they are read pixel by pixel.

    Raises:
        ValueError: naming all of them, or an image that lies elsewhere than the label.
    """
    sizes, grids = {}, []
    for path in paths:
        with open_raster(path) as file:
            sizes[path] = f'{file.width} x {file.height}'
            grids.append(own_grid(file))
            refuse_elsewhere(paths[0], grids[0], path, grids[-1])
    if len(set(sizes.values())) > 1:
        listed = ', '.join(f'{path}: {size}' for path, size in sizes.items())
        raise ValueError(f'images and label differ in size: {listed}')


def own_grid(raster: rasterio.DatasetReader) -> Grid:
    """Return where the pixels of an open raster lie by its transform."""
    return Grid(raster.crs.to_wkt() if raster.crs else '', tuple(raster.transform)[:6])


def refuse_elsewhere(label: str | Path, grid: Grid, image: str | Path, place: Grid) -> None:
    """Refuse a label that does not lie on the pixels of its image, such as one whose rows go from south to north.

    Raises:
        ValueError: saying where both lie.
    """
    if where := lies_elsewhere(grid, place):
        raise ValueError(
            f'{label} lies {where}, but its image {image} {lies_elsewhere(place, grid)}: pixels of one place are '
            'expected at one row and column of both; bring the label to the grid of the image: gdalwarp -r near '
            '-t_srs CRS -te LEFT BOTTOM RIGHT TOP -ts WIDTH HEIGHT'
        )


def _png_as_meant(raster: rasterio.DatasetReader, path: str) -> rasterio.DatasetReader:
    """Bring few bits to all of 0 to 255, and make alpha of a color that is transparent, which GDAL calls no data."""
    if not os.path.isfile(path):
        return raster
    with open(path, 'rb') as file:
        meaning = png_meaning(file)
    if meaning is None or raster.count > 3 or (meaning.bits >= 8 and not (meaning.alpha and raster.count in (1, 3))):
        return raster

    def change(dataset: ET.Element) -> None:
        for described in dataset.findall('Metadata'):  # among others, of as many values as there were bands
            dataset.remove(described)
        bands = dataset.findall('VRTRasterBand')
        clear = ET.fromstring(ET.tostring(bands[0])) if meaning.alpha else None
        for band in bands:
            for described in band.findall('Metadata'):  # of few bits
                band.remove(described)
            if meaning.bits < 8:
                _scale(band, 255 // (2**meaning.bits - 1))
            if clear is not None and (value := band.find('NoDataValue')) is not None:
                band.remove(value)
        if clear is not None:
            for name in ('NoDataValue', 'ColorInterp', 'Metadata'):
                for each in clear.findall(name):
                    clear.remove(each)
            clear.set('band', str(len(bands) + 1))
            ET.SubElement(clear, 'ColorInterp').text = _RGBA[3]
            for source in clear.iter('SourceBand'):
                source.text = 'mask,1'
            _scale(clear, 1 if meaning.bits <= 8 else 257)
            dataset.append(clear)

    return changed(raster, change)


def _scale(band: ET.Element, factor: int) -> None:
    """Multiply what a band of a VRT takes from its sources."""
    for source in [*band.findall('SimpleSource'), *band.findall('ComplexSource')]:
        source.tag = 'ComplexSource'
        for value in source.findall('NODATA'):
            source.remove(value)
        ET.SubElement(source, 'ScaleOffset').text = '0'
        ET.SubElement(source, 'ScaleRatio').text = str(factor)


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
