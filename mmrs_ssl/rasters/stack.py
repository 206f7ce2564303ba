"""Open an image with a file per band as one raster, on the finest of their grids."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from mmrs_ssl.rasters.access import Access
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.opening import open_raster

_TYPES = dict(uint8='Byte', int8='Int8', uint16='UInt16', int16='Int16', uint32='UInt32', int32='Int32')
_TYPES |= dict(float32='Float32', float64='Float64')


def open_stack(
    paths: Sequence[str], names: Sequence[str] = (), access: Access | None = None, resampling: str = 'bilinear'
) -> rasterio.DatasetReader:
    """Open files of one band each as the bands of one raster, of the first file's extent and the smallest pixels.

    Args:
        paths: in the order of the bands.
        names: of the bands.
        access: where the files may lie; every file's own folder by default.
        resampling: for bands with larger pixels.

    Raises:
        UnreadableImageError: if a file cannot be opened, has several bands, or lies on a grid that is turned or of
            another CRS than the first one's.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open_raster(path, access)) for path in paths]
        first = min(files, key=lambda file: abs(file.transform.a * file.transform.e))
        crs = CRS.from_user_input(first.crs) if first.crs else None
        root = ET.Element('VRTDataset', rasterXSize=str(first.width), rasterYSize=str(first.height))
        if crs:
            ET.SubElement(root, 'SRS').text = crs.to_wkt()
        if first.transform != Affine.identity():
            ET.SubElement(root, 'GeoTransform').text = ', '.join(map(repr, first.transform.to_gdal()))
        for number, (path, file) in enumerate(zip(paths, files, strict=True), 1):
            to_pixels = ~first.transform @ file.transform
            if file.count != 1 or file.crs != first.crs or abs(to_pixels.b) + abs(to_pixels.d) > 1e-6:
                raise UnreadableImageError(
                    f'{path} has {file.count} bands in {file.crs} and cannot be stacked on {first.name} in '
                    f'{first.crs}; expected one band on an upright grid of the same CRS: gdalwarp -t_srs ...'
                )
            band = ET.SubElement(
                root, 'VRTRasterBand', dataType=_TYPES[np.dtype(file.dtypes[0]).name], band=str(number)
            )
            ET.SubElement(band, 'Description').text = names[number - 1] if names else file.descriptions[0]
            if file.nodata is not None:
                ET.SubElement(band, 'NoDataValue').text = repr(file.nodata)
            source = ET.SubElement(band, 'SimpleSource', resampling=resampling)
            ET.SubElement(source, 'SourceFilename', relativeToVRT='0').text = file.name
            ET.SubElement(source, 'SourceBand').text = '1'
            ET.SubElement(source, 'SrcRect', _box(0, 0, file.width, file.height))
            left, top = to_pixels @ (0, 0)
            ET.SubElement(source, 'DstRect', _box(left, top, file.width * to_pixels.a, file.height * to_pixels.e))
        return rasterio.open(ET.tostring(root, encoding='unicode'), driver='VRT')


def _box(left: float, top: float, width: float, height: float) -> dict[str, str]:
    return dict(xOff=repr(left), yOff=repr(top), xSize=repr(width), ySize=repr(height))
