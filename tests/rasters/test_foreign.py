"""Formats that are not read: their files are named, with the command that converts them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.io import netcdf_file

from mmrs_ssl.datasets import ImageFolder, SceneDataset
from mmrs_ssl.rasters import find
from mmrs_ssl.rasters.access import access_beside, check_address
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import find_all, find_images, find_rasters
from mmrs_ssl.rasters.header import read_header
from tests.rasters.rasters import LOAD, noise, write_raster

FILES = [
    ('a.nc', b'CDF\1', 'NetCDF', 'gdal_translate \'NETCDF:"{}":VARIABLE\' a.tif'),
    ('a.nc', b'\x89HDF\r\n\x1a\n', 'NetCDF', 'gdal_translate \'NETCDF:"{}":VARIABLE\' a.tif'),
    ('a.h5', b'\x89HDF\r\n\x1a\n', 'HDF5', 'gdal_translate \'HDF5:"{}"://DATASET\' a.tif'),
    ('a.hdf', b'\x89HDF\r\n\x1a\n', 'HDF5', 'gdal_translate \'HDF5:"{}"://DATASET\' a.tif'),
    ('MOD09.hdf', b'\x0e\x03\x13\1', 'HDF4', 'gdal_translate \'HDF4_EOS:EOS_GRID:"{}":GRID:FIELD\' MOD09.tif'),
    ('a.img', b'EHFA_HEADER_TAG', 'ERDAS Imagine', 'gdal_translate {} a.tif'),
    ('a.grib2', b'GRIB', 'GRIB', 'gdal_translate {} a.tif'),
    ('a.ecw', b'e', 'ECW', 'gdal_translate {} a.tif, by a GDAL that has the driver ECW'),
    ('a.npy', b'\x93NUMPY', 'NumPy', "numpy.load('{}')"),
    ('a.mat', b'MATLAB', 'MATLAB', "scipy.io.loadmat('{}')"),
    ('S2A.SAFE.zip', b'PK\3\4', 'archive', 'unpack it'),
    ('manifest.safe', b'<?xml', 'SAFE description', 'the .jp2 below GRANULE/*/IMG_DATA'),
]


@pytest.mark.parametrize(('name', 'content', 'kind', 'command'), FILES)
def test_a_folder_of_nothing_else_says_how_to_convert(tmp_path, name, content, kind, command):
    (tmp_path / name).write_bytes(content)
    (tmp_path / 'notes.txt').write_text('no raster')
    path = tmp_path / name
    expected = rf'but 1 of {kind}, e\.g\. {re.escape(str(path))}: .*{re.escape(command.format(path))}'
    for look in (find_rasters, find_images, lambda root: find_all([root])):
        for root in (str(tmp_path), f'{tmp_path}/*'):
            with pytest.raises(FileNotFoundError, match=expected):
                look(root)
    for make in (ImageFolder, SceneDataset):
        with pytest.raises(FileNotFoundError, match=expected):
            make(str(tmp_path), [LOAD])
    if name != 'manifest.safe':
        with pytest.raises(UnreadableImageError, match=rf'{re.escape(name)}: not readable.*{re.escape(kind)}; '):
            read_header(str(path))


def test_a_file_of_another_format_under_the_name_of_a_raster(tmp_path):
    (tmp_path / 'a.tif').write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(100))
    with pytest.raises(ValueError, match=r'a\.tif: not readable as a raster \(it is HDF5; convert it: gdal_translate'):
        SceneDataset(str(tmp_path), [LOAD])


def test_envi_is_told_by_the_header_beside_its_data(tmp_path):
    for name in ('scene', 'cube.dat', 'other.img'):
        (tmp_path / name).write_bytes(bytes(64))
        (tmp_path / name).with_suffix('.hdr').write_text('ENVI\nsamples = 4\n')
    (tmp_path / 'plain.dat').write_bytes(bytes(64))
    (tmp_path / 'light.hdr').write_text('#?RADIANCE\n')
    with pytest.raises(FileNotFoundError, match=r'but 3 of ENVI, e\.g\. .*: .*gdal_translate .*cube\.dat cube\.tif'):
        find_rasters(tmp_path)
    (tmp_path / 'cube.dat').unlink()
    (tmp_path / 'other.img').unlink()
    (tmp_path / 'scene').unlink()
    with pytest.raises(FileNotFoundError, match=r'but 3 of ENVI, e\.g\. .*cube\.hdr'):  # data that are elsewhere
        find_rasters(tmp_path)


def test_zarr_is_one_thing_and_not_a_folder_of_files(tmp_path):
    for store in ('a.zarr', 'unnamed'):
        (tmp_path / store / '0').mkdir(parents=True)
        (tmp_path / store / '0' / 'chunk.npy').write_bytes(b'x')
    (tmp_path / 'unnamed' / '.zgroup').write_text('{}')
    with pytest.raises(FileNotFoundError, match=r'but 2 of Zarr, e\.g\. .*ZARR:"[^"]*a\.zarr":/ARRAY') as caught:
        find_rasters(tmp_path)
    assert 'NumPy' not in str(caught.value)
    with pytest.raises(FileNotFoundError, match='but 1 of Zarr'):
        find_rasters(tmp_path / 'unnamed')


def test_what_lies_beside_rasters_is_told_once(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(find, 'print_log', lambda text, *_: texts.append(text))
    write_raster(tmp_path / 'a.tif', noise(1, 8, 8))
    for i in range(3):
        (tmp_path / f'{i}.nc').write_bytes(b'CDF\1')
    (tmp_path / 'x.npy').write_bytes(b'\x93NUMPY')
    (tmp_path / 'a.tif.aux.xml').write_text('<PAMDataset/>')
    (tmp_path / 'manifest.safe').write_text('<?xml?>')
    for _ in range(3):
        assert find_rasters(tmp_path) == [tmp_path / 'a.tif']
    assert len(texts) == 1
    assert re.search(r'passed over 3 of NetCDF \(e\.g\. .*0\.nc\), 1 of NumPy \(e\.g\. .*x\.npy\)', texts[0])
    assert '\n' not in texts[0]


def test_a_description_of_sentinel_2(tmp_path):
    path = tmp_path / 'S2A.SAFE' / 'MTD_MSIL2A.xml'
    path.parent.mkdir()
    path.write_text('<?xml version="1.0"?><n1:Level-2A_User_Product/>')
    with pytest.raises(ValueError, match=r'MTD_MSIL2A\.xml.*SAFE description; .*\.jp2 below GRANULE'):
        SceneDataset(str(path), [LOAD])


@pytest.mark.parametrize('name', ['NETCDF:"a.nc":t', 'HDF5:"a.h5"://group/data', 'HDF4_EOS:EOS_GRID:"a.hdf":g:f'])
def test_names_of_subdatasets(name):
    command = (
        rf'subdataset, which is not read here; convert it: gdal_translate {re.escape(shlex.quote(name))} NAME\.tif'
    )
    if '://' in name:
        with pytest.raises(UnreadableImageError, match=command):
            check_address(name, access_beside('a'), name)
    else:
        with pytest.raises(FileNotFoundError, match=command):
            find_rasters(name)
    with pytest.raises((FileNotFoundError, ValueError), match=command):
        SceneDataset(name, [LOAD])


def test_the_lines_for_numpy_write_the_array(tmp_path, monkeypatch):
    array = noise(3, 20, 30)
    np.save(tmp_path / 'it is.npy', array)
    with pytest.raises(FileNotFoundError) as caught:
        find_rasters(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(re.search(r'import numpy.*?\.write\(a\)', str(caught.value))[0])
    with rasterio.open(tmp_path / 'it is.tif') as raster:
        assert np.array_equal(raster.read(), array)


@pytest.mark.slow
def test_the_command_for_netcdf_writes_the_variable(tmp_path):
    values = noise(1, 10, 20)[0].astype(np.float32)
    with netcdf_file(tmp_path / 'my data.nc', 'w') as file:
        file.createDimension('y', 10)
        file.createDimension('x', 20)
        file.createVariable('t', 'f4', ('y', 'x'))[:] = values
        file.createVariable('u', 'f4', ('y', 'x'))[:] = 0
    with pytest.raises(FileNotFoundError, match='gdal_translate') as caught:
        find_rasters(tmp_path)
    command = shlex.split(re.search(r'gdal_translate (.*?) \(gdalinfo', str(caught.value))[1])
    rio = Path(sys.executable).with_name('rio')
    subprocess.run([rio, 'convert', command[0].replace('VARIABLE', 't'), command[1]], cwd=tmp_path, check=True)
    assert np.array_equal(rasterio.open(tmp_path / 'my data.tif').read(1)[::-1], values)  # its rows go up
