"""A folder of data, and one beside it."""

import pytest

from tests.rasters.rasters import noise, write_raster


@pytest.fixture
def pixels():
    return noise(1, 32, 32, 'uint8')


@pytest.fixture
def root(tmp_path, pixels):
    """A folder with a raster, beside one that does not belong to it."""
    write_raster(tmp_path / 'root' / 'inside.tif', pixels, crs=None)
    write_raster(tmp_path / 'outside' / 'secret.tif', pixels, crs=None)
    return tmp_path / 'root'
