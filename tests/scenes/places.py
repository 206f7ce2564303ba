"""Places of several dates whose pixels say where they are."""

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from tests.rasters.rasters import CRS, ORIGIN, coordinates, dataset, write_raster


def write_date(root, name, top, left, height, width, gsd=1.0, **options):
    """Write metres east and south at every pixel of a rectangle of the place, counted in its pixels."""
    shift = left * gsd, top * gsd
    return write_raster(root / f'{name}.tif', coordinates(height, width, gsd, shift), gsd, shift, **options)


def write_with_points(path, pixels, transform, crs=CRS, count_of_points=5):
    """Write a raster that says by control points alone where it lies: at its corners and in the middle."""
    count, height, width = pixels.shape
    ends = [(0, 0), (0, width), (height, 0), (height, width), (height / 2, width / 2)]
    points = [GroundControlPoint(row, column, *(Affine(*transform) @ (column, row))) for row, column in ends]
    profile = dict(driver='GTiff', count=count, height=height, width=width, dtype=pixels.dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, 'w', photometric='minisblack', **profile) as raster:
        raster.gcps = points[:count_of_points], rasterio.crs.CRS.from_user_input(crs)
        raster.write(pixels)
    return path


def truth(sample):
    """What the pixels of a sample's window must be: (H, W, 2), metres east and south of the place's origin."""
    rows, columns = np.mgrid[: sample['window'].height, : sample['window'].width] + 0.5
    if sample['grid'] is None:
        with rasterio.open(sample['img_path']) as file:
            affine = file.transform
    else:
        affine = Affine(*sample['grid'].transform)
    x, y = affine @ (columns + sample['window'].left, rows + sample['window'].top)
    return np.stack([x - ORIGIN[0], ORIGIN[1] - y], axis=-1)


def places(root, **options):
    """Windows of places with files that are named after their date, without mmengine's slow packing."""
    return dataset(root, **{'files': '{scene}/{date}', 'max_bad': 0, 'serialize_data': False, **options})
