"""Rasters that name what lies elsewhere: what is refused before GDAL opens it, and what is read all the same."""

import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from mmrs_ssl.datasets import ImageFolder
from mmrs_ssl.rasters.access import access_to
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.opening import open_raster
from mmrs_ssl.rasters.reader import OpenRaster
from mmrs_ssl.scenes.placing import SceneError
from tests.conftest import ROOT
from tests.loopback import serve
from tests.rasters.rasters import dataset, noise, write_raster
from tests.rasters.vrts import WMS, read, vrt


@pytest.mark.parametrize('name', ['a.tif', 'a.jp2', 'a.png', 'a.ovr.tif'])
@pytest.mark.parametrize('what', ['VRT', 'GDAL_WMS'])
def test_text_under_the_name_of_a_picture(root, name, what):
    with serve(root) as (address, asked):
        text = WMS.format(address=address) if what == 'GDAL_WMS' else vrt(f'/vsicurl/{address}/inside.tif')
        (root / name).write_text(text)
        with pytest.raises(UnreadableImageError, match=f'{name}.* holds the text of a? ?{what}'):
            open_raster(root / name)
        with pytest.raises(SceneError, match=f'{name}.* holds the text of a? ?{what}'):
            dataset(root, window=32, max_bad=0)
        assert not asked


def test_what_a_file_holds_is_said(tmp_path):
    for name, data, said in (
        ('a.tif', b'', 'it is empty'),
        ('b.tif', bytes(100), 'first 100 bytes are empty'),
        ('c.tif', b'no raster at all', "begins with b'no raste'; expected .tif"),
        ('d.vrt', b'<OGRVRTDataSource/>', 'text of OGRVRTDataSource'),
        ('e.vrt', b'<x><VRTDataset/></x>', 'text of x, not of a VRT'),
        ('f.tif', b'<?xml version="1.0"?><GDAL_WMS/>', 'text of xml'),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableImageError, match=f'{name}.*{said}'):
            open_raster(tmp_path / name)
    with pytest.raises(UnreadableImageError, match=r'none\.tif.*No such file'):
        open_raster(tmp_path / 'none.tif')


def test_a_format_is_told_from_the_content(tmp_path, pixels):
    write_raster(tmp_path / 'a.png', pixels, crs=None, driver='PNG', photometric=None)
    os.rename(tmp_path / 'a.png', tmp_path / 'a.tif')
    with open_raster(tmp_path / 'a.tif') as raster:
        assert raster.driver == 'PNG'
        assert np.array_equal(raster.read(), pixels)


def test_drivers_are_few(tmp_path):
    wanted = {'GTiff', 'COG', 'VRT', 'MEM', 'JP2OpenJPEG', 'PNG', 'JPEG', 'BMP', 'WEBP', 'PNM'}
    others = {'WMS', 'WCS', 'WMTS', 'HTTP', 'HFA', 'netCDF', 'Zarr', 'NITF', 'GTI', 'STACTA', 'DERIVED', 'GPKG', 'PDF'}
    with rasterio.Env() as env:
        assert wanted <= set(env.drivers())
        assert not others & set(env.drivers())
    (tmp_path / 'a.xml').write_text(WMS.format(address='http://127.0.0.1:9'))
    with pytest.raises(rasterio.errors.RasterioIOError, match='not recognized'):
        rasterio.open(tmp_path / 'a.xml')


def test_drivers_that_were_there_before_open_nothing(root):
    """A program that has opened rasters before it imports mmrs_ssl, of which this one imports the readers alone."""
    with serve(root) as (address, asked):
        (root / 'a.tif').write_text(WMS.format(address=address))
        (root / 'b.vrt').write_text(vrt('a.tif'))
        code = (
            'import rasterio, sys, types\n'
            'with rasterio.Env() as env: assert "WMS" in env.drivers()\n'
            'package = sys.modules["mmrs_ssl"] = types.ModuleType("mmrs_ssl")\n'
            'package.__path__ = ["mmrs_ssl"]\n'
            'from mmrs_ssl.rasters.opening import open_raster\n'
            'with rasterio.Env() as env: assert "WMS" in env.drivers()\n'
            'for name in ("a.tif", "b.vrt"):\n'
            '    try: open_raster(sys.argv[1] + "/" + name)\n'
            '    except ValueError as error: print(error)\n'
        )
        run = [sys.executable, '-c', code, str(root)]
        said = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
        assert len(said) == 2
        assert all('a.tif' in line and 'the text of GDAL_WMS' in line for line in said)
        assert not asked


OUTSIDE = (
    '../outside/secret.tif',
    '{outside}/secret.tif',
    'sub/../../outside/secret.tif',
    'link.tif',
    'dir/secret.tif',
)


@pytest.mark.parametrize('source', OUTSIDE)
def test_sources_outside_of_the_data(root, source):
    (root / 'sub').mkdir()
    (root / 'sub2').mkdir()
    (root / 'nested.vrt').write_text(vrt(source.format(outside=root.parent / 'outside')))
    (root / 'link.tif').symlink_to(root.parent / 'outside' / 'secret.tif')
    (root / 'dir').symlink_to(root.parent / 'outside')
    with pytest.raises(UnreadableImageError, match=r'nested\.vrt: its source .*secret|link.* lies outside of .*roots='):
        open_raster(root / 'nested.vrt')
    (root / 'sub2' / 'top.vrt').write_text(vrt('../nested.vrt'))
    with pytest.raises(UnreadableImageError, match=r'nested\.vrt: its source'):
        open_raster(root / 'sub2' / 'top.vrt', access_to([root]))
    allowed = access_to([root], roots=[root.parent / 'outside'])
    with open_raster(root / 'sub2' / 'top.vrt', allowed) as raster:
        assert raster.read().any()


def test_a_vrt_in_a_folder_of_images(root, pixels):
    (root / 'bad.vrt').write_text(vrt('../outside/secret.tif'))
    (root / 'good.vrt').write_text(vrt('inside.tif'))
    pipeline = [dict(type='mmrs_ssl.LoadRaster', bands=1)]
    with pytest.raises(UnreadableImageError, match=r'1 of 3.*bad\.vrt: its source \.\./outside/secret\.tif lies'):
        ImageFolder(str(root), pipeline, max_unreadable=0)
    data = ImageFolder(str(root), pipeline, max_unreadable=0.3)
    assert [np.array_equal(data[i]['img'][..., 0], pixels[0]) for i in range(len(data))] == [True, True]
    free = ImageFolder(str(root), pipeline, max_unreadable=0, roots=[str(root.parent / 'outside')])
    assert np.array_equal(free[0]['img'][..., 0], pixels[0])


def test_files_that_were_found_behind_links_are_part_of_the_data(tmp_path, pixels):
    write_raster(tmp_path / 'disk' / 'a.tif', pixels, crs=None)
    (tmp_path / 'disk' / 'a.vrt').write_text(vrt('a.tif'))
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root' / 'linked').symlink_to(tmp_path / 'disk')
    data = dataset(tmp_path / 'root', files=r'linked/a\.(?P<scene>.+)', window=32, max_bad=0)
    assert [data[i]['scene'] for i in range(2)] == ['tif', 'vrt']


def test_a_vrt_that_the_user_named_himself(root, pixels):
    path = root / 'mine.vrt'
    path.write_text(vrt('../outside/secret.tif'))
    with pytest.raises(SceneError, match='lies outside'):
        read(root, files=r'(?P<scene>mine)\.vrt')
    assert np.array_equal(read(path)[..., 0], pixels[0])
    (root.parent / 'outside' / 'theirs.vrt').write_text(vrt('../root/inside.tif', '/etc/hostname'))
    path.write_text(vrt('../outside/theirs.vrt'))
    with pytest.raises(SceneError, match=r'theirs\.vrt: its source /etc/hostname lies outside'):
        read(path)


def test_sources_of_every_kind_are_found(root):
    """Each names the file outside at another place, with capitals and in attributes as GDAL takes them."""
    secret = root.parent / 'outside' / 'secret.tif'
    source = f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename>'
    warped = f'<GDALWarpOptions><SourceDataset relativeToVRT="0">{secret}</SourceDataset></GDALWarpOptions>'
    texts = dict(
        mask=f'<MaskBand><VRTRasterBand><SimpleSource>{source}</SimpleSource></VRTRasterBand></MaskBand>',
        overview=f'<VRTRasterBand band="1" dataType="Byte"><Overview>{source}</Overview></VRTRasterBand>',
        capitals=f'<VRTRasterBand><AveragedSource><SOURCEFILENAME>{secret}</SOURCEFILENAME></AveragedSource>'
        '</VRTRasterBand>',
        entity=f'<VRTRasterBand><SimpleSource><SourceFilename>&#x2f;{str(secret)[1:]}</SourceFilename></SimpleSource>'
        '</VRTRasterBand>',
        raw=f'<VRTRasterBand subClass="VRTRawRasterBand"><SourceFilename>{secret}</SourceFilename></VRTRasterBand>',
        sharp=f'<PansharpeningOptions><PanchroBand>{source}</PanchroBand></PansharpeningOptions>',
        warped=warped,
    )
    for name, text in texts.items():
        kind = dict(sharp='subClass="VRTPansharpenedDataset"', warped='subClass="VRTWarpedDataset"').get(name, '')
        (root / f'{name}.vrt').write_text(f'<VRTDataset rasterXSize="32" rasterYSize="32" {kind}>{text}</VRTDataset>')
        with pytest.raises(UnreadableImageError, match=rf'{name}\.vrt: its source .*secret\.tif lies outside'):
            open_raster(root / f'{name}.vrt')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (vrt('inside.tif', head='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'), 'declares entities'),
        (vrt('in<!-- x -->side.tif'), 'more than text in sourcefilename'),
        (vrt('<![CDATA[inside.tif]]>'), 'more than text in sourcefilename'),
        (vrt('inside.tif\n'), "names a source 'inside.tif.n'"),
        (vrt('inside.tif', relative='2'), "relativeToVRT='2'"),
        (vrt('inside.tif', kind='subClass="VRTProcessedDataset"'), 'of class VRTProcessedDataset'),
        (
            vrt('inside.tif', extra='<PixelFunctionLanguage>Python</PixelFunctionLanguage>'),
            'a pixel function in Python',
        ),
        (vrt('inside.tif', extra='<PixelFunctionCode>import os</PixelFunctionCode>'), 'holds code'),
        (vrt('inside.tif', band='PixelFunctionCode="import os"'), 'pixelfunctioncode as an attribute'),
        (
            vrt('inside.tif', element='SimpleSource SourceFilename="/x"'),
            'sourcefilename as an attribute|not well-formed',
        ),
        (
            vrt('inside.tif', extra='<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">x</MDI></Metadata>'),
            'metadata',
        ),
        (vrt('inside.tif', extra='<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">x</MDI></Metadata>'), 'metadata'),
        (vrt('inside.tif', extra='<OpenOptions><OOI key="ROOT_PATH">/</OOI></OpenOptions>'), "open option 'ROOT_PATH'"),
        (vrt('inside.tif').encode('utf-16'), 'not readable as a raster|not readable as a VRT'),
        (vrt('GTIFF_DIR:1:inside.tif', relative=0), 'names a driver'),
        (vrt('/vsizip/%s.zip/a.tif'), 'is no address|lies outside'),
        (vrt('/vsistdin/'), 'is no address'),
        (vrt('vrt://inside.tif?bands=1'), 'is no address'),
        (vrt('bad.vrt'), 'a source of itself'),
        (vrt('.'), 'is no file'),
        ('<VRTDataset', 'not readable as a VRT'),
    ],
)
def test_what_a_vrt_must_not_hold(root, text, said):
    path = root / 'bad.vrt'
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
    with pytest.raises(UnreadableImageError, match=rf'bad\.vrt.*({said})'):
        open_raster(path)


def test_vrts_that_gdal_makes_are_read(root, pixels):
    """Copies, warped ones, and copies of these."""
    georeferenced = write_raster(root / 'geo.tif', pixels)
    with rasterio.open(georeferenced) as source:
        rasterio.shutil.copy(source, root / 'copy.vrt', driver='VRT')
        with rasterio.vrt.WarpedVRT(source, crs='EPSG:32634') as warped:
            shape = warped.shape
            rasterio.shutil.copy(warped, root / 'warped.vrt', driver='VRT')
    with open_raster(root / 'copy.vrt') as source:
        assert np.array_equal(source.read(), pixels)
        rasterio.shutil.copy(source, root / 'again.vrt', driver='VRT')
    with open_raster(root / 'again.vrt') as raster:
        assert np.array_equal(raster.read(), pixels)
    with open_raster(root / 'warped.vrt') as raster:
        assert raster.shape == shape
        assert raster.read().any()


def test_alpha_as_data_of_a_vrt_on_another_grid(tmp_path):
    """It is described by a VRT of this project's own, whose source is a VRT."""
    band = noise(4, 32, 32, 'uint8')
    with rasterio.open(write_raster(tmp_path / 'a.tif', band, photometric='rgb', alpha='yes')) as source:
        rasterio.shutil.copy(source, tmp_path / 'a.vrt', driver='VRT')
        grid = OpenRaster(str(tmp_path / 'a.tif')).header.grid
    moved = grid._replace(transform=(*grid.transform[:2], grid.transform[2] + 0.5, *grid.transform[3:]))
    found = [OpenRaster(str(tmp_path / name), moved, (32, 32)).read([0, 1, 2, 3])[0] for name in ('a.tif', 'a.vrt')]
    assert np.array_equal(*found)
    assert found[0][3, 8:-8, 8:-8].any()


@pytest.mark.parametrize('suffix', ['.ovr', '.msk', '.OVR', '.MSK', '.ovr.msk'])
def test_text_beside_a_picture(root, suffix):
    with serve(root.parent) as (address, asked):
        for path in (root / 'inside.tif.ovr',) if suffix == '.ovr.msk' else ():
            write_raster(path, noise(1, 16, 16, 'uint8'), crs=None)
        beside = root / f'inside.tif{suffix}'
        for text in (vrt(f'/vsicurl/{address}/outside/secret.tif'), WMS.format(address=address)):
            beside.write_text(text)
            with pytest.raises(UnreadableImageError, match=rf'inside\.tif{suffix}.* holds the text of'):
                open_raster(root / 'inside.tif')
        assert not asked


@pytest.mark.parametrize('name', ['link.vrt', 'outer.vrt'])
@pytest.mark.parametrize('suffix', ['.ovr', '.msk'])
def test_text_beside_what_a_link_leads_to(root, name, suffix):
    """GDAL looks there, too: at the place of the VRT itself, and of one that another names."""
    (root / 'more').mkdir()
    (root / 'more' / 'real.vrt').write_text(vrt('../inside.tif'))
    (root / 'link.vrt').symlink_to('more/real.vrt')
    (root / 'outer.vrt').write_text(vrt('link.vrt'))
    with open_raster(root / name) as raster, rasterio.open(root / 'inside.tif') as inside:
        assert np.array_equal(raster.read(1), inside.read(1))
    (root / 'outer.vrt').write_text(vrt('link.vrt', head=' '))  # else it is known to be in order
    secret = str(root.parent / 'outside' / 'secret.tif')
    (root / 'more' / f'real.vrt{suffix}').write_text(vrt(secret, relative=0))
    with pytest.raises(UnreadableImageError, match=rf'more/real\.vrt{suffix} holds the text of a VRT'):
        open_raster(root / name)


def test_overviews_that_metadata_name(root):
    secret = root.parent / 'outside' / 'secret.tif'
    with serve(root.parent) as (address, asked):
        for key, name in (('OVERVIEW_FILE', str(secret)), ('Overview_File', f'/vsicurl/{address}/outside/secret.tif')):
            item = f'<Metadata domain="OVERVIEWS"><MDI key="{key}">{name}</MDI></Metadata>'
            (root / 'inside.tif.aux.xml').write_text(f'<PAMDataset>{item}</PAMDataset>')
            with pytest.raises(UnreadableImageError, match=r'inside\.tif: its metadata name a file of overviews'):
                open_raster(root / 'inside.tif')
        (root / 'a.vrt').write_text(vrt('inside.tif'))
        with pytest.raises(UnreadableImageError, match=r'inside\.tif: its metadata name a file of overviews'):
            open_raster(root / 'a.vrt')
        with rasterio.open(root / 'b.tif', 'w', driver='GTiff', width=64, height=64, count=1, dtype='uint8') as file:
            file.update_tags(ns='OVERVIEWS', OVERVIEW_FILE=f'/vsicurl/{address}/outside/secret.tif')
        with pytest.raises(UnreadableImageError, match=r'b\.tif: its metadata name a file of overviews'):
            open_raster(root / 'b.tif')
        assert not asked
