"""Addresses are asked only if that is allowed, and nothing is taken for one that is none."""

import zipfile

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from mmrs_ssl.datasets import ImageFolder
from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.opening import open_raster
from tests.loopback import serve
from tests.rasters.rasters import write_raster
from tests.rasters.vrts import read, vrt


def test_the_network_is_asked_only_if_that_is_allowed(root, pixels):
    with serve(root) as (address, asked):
        for name in 'abcd':  # GDAL keeps what it has read of an address
            write_raster(root / f'{name}.tif', pixels, crs=None)
        (root / 'a.vrt').write_text(vrt(f'/vsicurl/{address}/a.tif', properties=True))
        (root / 'list.csv').write_text(f'path\n{address}/b.tif\n')
        for source in (root / 'a.vrt', root / 'list.csv', f'{address}/c.tif', f'/vsicurl/{address}/d.tif'):
            with pytest.raises(ValueError, match=r'[a-d]\.tif.* lies on the network.*allow_remote=True'):
                read(source)
            assert not asked
            assert np.array_equal(read(source, allow_remote=True)[..., 0], pixels[0])
            assert asked
            asked.clear()
            with pytest.raises(ValueError, match='lies on the network'):
                read(source)
            assert not asked


def test_the_network_of_a_folder_of_images(root, pixels):
    pipeline = [dict(type='mmrs_ssl.LoadRaster', bands=1)]
    with serve(root.parent) as (address, asked):
        (root / 'a.vrt').write_text(vrt(f'/vsicurl/{address}/outside/secret.tif'))
        with pytest.raises(UnreadableImageError, match=r'a\.vrt.*lies on the network'):
            ImageFolder(str(root), pipeline, max_unreadable=0)[0]
        assert not asked
        data = ImageFolder(str(root), pipeline, max_unreadable=0, allow_remote=True)
        assert np.array_equal(data[0]['img'][..., 0], pixels[0])
        assert asked


def test_gdal_itself_asks_nobody(root):
    """What no look ahead has found stops at GDAL's own settings."""
    with serve(root.parent) as (address, asked):
        with pytest.raises(rasterio.errors.RasterioIOError):
            rasterio.open(f'{address}/outside/secret.tif')
        assert not asked
        with open_raster(f'{address}/outside/secret.tif', access_to([], remote=True)):
            assert asked
        asked.clear()
        with pytest.raises(rasterio.errors.RasterioIOError):
            rasterio.open(f'/vsicurl/{address}/root/inside.tif')
        assert not asked


def test_remote_vrts_and_unknown_kinds_are_refused(root):
    with serve(root) as (address, asked):
        access = access_to([], remote=True)
        for name, said in (('a.vrt', 'ends in'), ('a', 'ends in')):
            with pytest.raises(UnreadableImageError, match=said):
                open_raster(f'{address}/{name}', access)
        (root / 'a.vrt').write_text(vrt(f'/vsicurl/{address}/b.vrt'))
        with pytest.raises(UnreadableImageError, match='is a VRT that is no local file'):
            open_raster(root / 'a.vrt', access_to([root], remote=True))
        assert not asked
    for address in (
        '/vsicurl/file:///etc/hostname.tif',
        '/vsicurl?url=http://x/a.tif',
        '/vsistdin/',
        'zip://a.zip!a.tif',
    ):
        with pytest.raises(UnreadableImageError, match='is no address that is read'):
            open_raster(address, access)


def test_archives_of_this_machine(root, pixels):
    for folder in (root, root.parent / 'outside'):
        with zipfile.ZipFile(folder / 'a.zip', 'w') as archive:
            archive.write(root / 'inside.tif', 'x.tif')
    (root / 'list.json').write_text(f'["/vsizip/{root}/a.zip/x.tif"]')
    assert np.array_equal(read(root / 'list.json')[..., 0], pixels[0])
    (root / 'list.json').write_text(f'["/vsizip/{root.parent}/outside/a.zip/x.tif"]')
    with pytest.raises(ValueError, match=r'a\.zip/x\.tif, which lies outside of'):
        read(root / 'list.json')


def test_a_folder_named_as_an_address(tmp_path, pixels, monkeypatch):
    write_raster(tmp_path / 'https:' / '127.0.0.1' / 'a.tif', pixels, crs=None)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(read('.', files='{scene}')[..., 0], pixels[0])
