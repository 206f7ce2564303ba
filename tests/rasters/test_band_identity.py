"""What bands are: chosen by name, compared over files and dates, and told apart from alpha channels and palettes."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.enums import ColorInterp

from mmrs_ssl.archives.band_statistics import Options, band_statistics
from mmrs_ssl.datasets import ImageFolder
from mmrs_ssl.rasters.errors import OtherBandsError, UnreadableImageError
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.rasters.nodata import Marks
from mmrs_ssl.rasters.reader import OpenRaster
from tests.datasets.transforms.test_loading import load
from tests.rasters.rasters import LOAD, dataset, noise, write_raster

BGR = ('Blue', 'Green', 'Red')
RGB = ('Red', 'Green', 'Blue')
RGB_COLORS = ('red', 'green', 'blue')


def write_turned(folder):
    """The same picture as RGB and as BGR, each saying so."""
    pixels = noise(3, 32, 32)
    write_raster(folder / 'a_1.tif', pixels, names=RGB)
    write_raster(folder / 'a_2.tif', pixels[::-1], names=BGR)
    return pixels


@pytest.mark.parametrize('files', ['{scene}', '{scene}_{date}'], ids=['scenes', 'dates'])
def test_another_order_is_refused_by_position_and_mended_by_name(tmp_path, files):
    pixels = write_turned(tmp_path)
    message = (
        r'1 files \(.*a_1\.tif\) and 1 others \(.*a_2\.tif\) do not have the same bands: band 0 \(from 0\) is named '
        r"'red' in one and 'blue' in the other.*bands=\['red', \.\.\.\]"
    )
    for bands in (None, 3, [0, 1], [2, 0]):
        if bands != [0, 1]:
            with pytest.raises(OtherBandsError, match='do not have the same bands'):
                dataset(tmp_path, files=files, load=dict(LOAD, bands=bands))
    with pytest.raises(OtherBandsError, match=message):
        dataset(tmp_path, files=files)
    data = dataset(tmp_path, files=files, load=dict(LOAD, bands=['red', 'GREEN', 'blue']), window=32)
    for i in range(len(data)):
        assert np.array_equal(data[i]['img'], pixels.transpose(1, 2, 0))
    assert data.band_names == {'': RGB}
    by_position = dataset(tmp_path, files=files, load=dict(LOAD, bands=3, ignore_names=True), window=32)
    assert len(by_position) == len(data)


def test_statistics_refuse_it_too(tmp_path):
    pixels = write_turned(tmp_path)
    paths = sorted(tmp_path.iterdir())
    with pytest.raises(OtherBandsError, match='--bands red'):
        band_statistics(paths)
    stats = band_statistics(paths, Options(bands=('blue', 'red')))
    assert [band.mean for band in stats.bands] == pytest.approx([pixels[2].mean(), pixels[0].mean()])
    assert band_statistics(paths, Options(ignore_names=True)).bands[0].mean != pytest.approx(pixels[0].mean())


def test_colors_are_compared_where_there_are_no_names(tmp_path):
    for name, order in dict(a=(3, 4, 5), b=(5, 4, 3), c=(3, 4, 5)).items():
        path = write_raster(tmp_path / f'{name}.tif', noise(3, 32, 32, seed=order[0]))
        with rasterio.open(path, 'r+') as file:
            file.colorinterp = [rasterio.enums.ColorInterp(color) for color in order]
    with pytest.raises(OtherBandsError, match=r"2 files .*c\.tif.* 1 others .*b\.tif.*colored 'red' in one and 'blue'"):
        dataset(tmp_path)
    assert np.array_equal(load(tmp_path / 'b.tif', bands=['red']), noise(3, 32, 32, seed=5)[2][..., None])
    write_raster(tmp_path / 'd.tif', noise(3, 32, 32))  # says nothing: fits
    (tmp_path / 'b.tif').unlink()
    assert len(dataset(tmp_path, window=32)) == 3


@pytest.mark.parametrize(
    ('names', 'first', 'known'),
    [
        (('blue', 'green', 'red'), 'named .blue. in one and colored .red.', True),
        (('B02', 'B03', 'B04'), 'named .B02. in one and colored .red.', True),
        (('nir', 'red', 'green'), 'named .nir. in one and colored .red.', False),
    ],
)
def test_names_of_one_file_are_compared_with_the_colors_of_another(tmp_path, names, first, known):
    pixels = np.stack([np.full((32, 32), value, np.uint8) for value in (200, 100, 50)])
    write_raster(tmp_path / 'a.tif', pixels, photometric='rgb')
    write_raster(
        tmp_path / 'b.tif', pixels[::-1], photometric='rgb', names=names
    )  # as colors, GDAL gives it these, too
    for bands in (3, None, [0, 2]):
        with pytest.raises(OtherBandsError, match=f'do not have the same bands: band 0 .from 0. is {first}'):
            dataset(tmp_path, load=dict(LOAD, bands=bands))
    with pytest.raises(OtherBandsError, match=first):
        band_statistics(sorted(tmp_path.iterdir()))
    if known:
        data = dataset(tmp_path, load=dict(LOAD, bands=['red', 'green', 'blue']))
        assert {tuple(data[i]['img'][0, 0]) for i in range(len(data))} == {(200, 100, 50)}
    (tmp_path / 'a.tif').unlink()
    cv2.imwrite(str(tmp_path / 'a.png'), np.moveaxis(pixels, 0, 2))
    with pytest.raises(OtherBandsError, match=first):
        ImageFolder(str(tmp_path), [dict(LOAD, bands=3)], cache_dir=str(tmp_path))


def test_names_that_tell_no_color_leave_it_to_colors(tmp_path):
    for name, names in dict(a=(), b=('Band 1', 'Band 2', 'Band 3')).items():
        write_raster(tmp_path / f'{name}.tif', noise(3, 32, 32, 'uint8'), photometric='rgb', names=names)
    write_raster(tmp_path / 'c.tif', noise(3, 32, 32, 'uint8'), names=('red', 'green', 'blue'))
    assert [len(dataset(tmp_path / files, window=32)) for files in ('[ab].tif', '[ac].tif')] == [2, 2]


def test_a_name_of_another_band_leaves_colors_to_be_compared(tmp_path):
    for name, colors in dict(a=RGB_COLORS, b=RGB_COLORS[::-1]).items():
        path = write_raster(tmp_path / f'{name}.tif', noise(4, 32, 32, 'uint8'), names=('', '', '', 'nir'))
        with rasterio.open(path, 'r+') as file:
            file.colorinterp = [*(ColorInterp[color] for color in colors), ColorInterp.undefined]
    with pytest.raises(ValueError, match=r"band 0 \(from 0\) is named 'red' in one and 'blue' in the other"):
        len(dataset(tmp_path, window=32))


def test_a_name_that_two_bands_have_is_refused(tmp_path):
    path = write_raster(tmp_path / 'a.tif', noise(3, 16, 16), names=('B4', 'B4', 'B3'))
    with pytest.raises(OtherBandsError, match=r"a\.tif has 2 bands named 'B4' \(numbers 0, 1 from 0\).*by number"):
        load(path, bands=['B4'])
    assert load(path, bands=['b3', 0]).shape == (16, 16, 2)


@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(
    orders=st.lists(st.permutations(range(4)), min_size=2, max_size=3),
    wanted=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True),
    named=st.booleans(),
)
def test_any_order_by_name_and_by_position(orders, wanted, named):
    """By name every file gives the same; by position they do if, and only if, these bands are in the same order."""
    names = ('blue', 'Green', 'RED', 'nir')
    pixels = noise(4, 32, 32)
    with tempfile.TemporaryDirectory() as folder:
        for i, order in enumerate(orders):
            write_raster(Path(folder) / f'{i}.tif', pixels[list(order)], names=[names[band] for band in order])
        options = dict(cache_dir=folder, window=32)
        if named:
            data = dataset(folder, load=dict(LOAD, bands=[names[band].lower() for band in wanted]), **options)
            for i in range(len(orders)):
                assert np.array_equal(data[i]['img'], pixels[wanted].transpose(1, 2, 0))
            return
        same = len({tuple(order[band] for band in wanted) for order in orders}) == 1
        if same:
            data = dataset(folder, load=dict(LOAD, bands=wanted), **options)
            assert len({data[i]['img'].tobytes() for i in range(len(orders))}) == 1
        else:
            with pytest.raises(OtherBandsError, match='do not have the same bands'):
                dataset(folder, load=dict(LOAD, bands=wanted), **options)


def write_four(path, fourth, seed=0):
    """8 bits of red, green, blue and something that GDAL declares to be alpha, as rasterio writes them by default."""
    pixels = np.concatenate([noise(3, 64, 64, 'uint8', seed), fourth[None]])
    with rasterio.open(path, 'w', driver='GTiff', count=4, height=64, width=64, dtype='uint8') as file:
        file.write(pixels)
    with rasterio.open(path) as file:
        assert file.colorinterp[3].name == 'alpha'
    return pixels


def water():
    infrared = noise(1, 64, 64, 'uint8', 9)[0]
    infrared[:, :40] = 0
    return infrared


@pytest.mark.parametrize('bands', [[0, 1, 2], 3, None])
@pytest.mark.parametrize('size', [None, 32])
def test_near_infrared_that_is_called_alpha_masks_nothing(tmp_path, bands, size):
    pixels = write_four(tmp_path / 'a.tif', water())
    count = 4 if bands is None else 3
    expected = pixels[:count].transpose(1, 2, 0)
    data = dataset(tmp_path, load=dict(LOAD, bands=bands, size=size), window=64, max_nodata=0.1)
    image = data[0]['img']
    assert np.array_equal(load(tmp_path / 'a.tif', bands=bands, size=size), image)
    if size:
        blocks = expected.reshape(32, 2, 32, 2, count).astype(float)
        assert np.abs(image - load_plain(tmp_path, pixels[:count], size)).max() <= 1
        assert abs(image.mean() - blocks.mean()) < 2
    else:
        assert np.array_equal(image, expected)


@pytest.mark.parametrize('bands', [3, [0, 1, 2], ['red', 'green', 'blue']])
@pytest.mark.parametrize('wet', [62, 64])
def test_near_infrared_over_the_sea_masks_nothing(tmp_path, bands, wet):
    """It is 0 nearly everywhere, as a mask may be: what else it holds tells, and nothing else does not."""
    infrared = np.random.default_rng(3).integers(60, 200, (64, 64)).astype(np.uint8)
    infrared[:, :wet] = 0
    pixels = write_four(tmp_path / 'a.tif', infrared)
    expected = pixels[:3].transpose(1, 2, 0)
    assert np.array_equal(load(tmp_path / 'a.tif', bands=bands), expected)
    assert np.array_equal(dataset(tmp_path, load=dict(LOAD, bands=bands), window=64)[0]['img'], expected)
    assert band_statistics([tmp_path / 'a.tif']).nodata_share[:3] == [0, 0, 0]
    image = np.moveaxis(pixels[[2, 1, 0, 3]], 0, 2)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    assert np.array_equal(load(tmp_path / 'a.png', bands=bands), expected)
    assert read_header(str(tmp_path / 'a.tif')).mask is (None if wet == 64 else False)


def test_a_tile_that_is_transparent_all_over_is_empty_among_others(tmp_path):
    """Alone it might be the sea; the others tell that it is a mask, and the log tells so."""
    mask = np.where(np.arange(64) < 3, np.arange(64), 255) * np.ones((64, 1))
    write_four(tmp_path / 'a.tif', mask.astype(np.uint8))
    write_four(tmp_path / 'b.tif', np.zeros((64, 64), np.uint8), seed=1)
    sparse = np.zeros((64, 64), np.uint8)
    sparse[0, :9] = [255] * 8 + [100]
    write_four(tmp_path / 'c.tif', sparse, seed=2)
    data = dataset(tmp_path, load=dict(LOAD, bands=3), window=64, max_nodata=0.999, max_bad=0.5)
    assert {Path(data[i]['img_path']).name for i in range(3)} == {'a.tif', 'c.tif'}
    assert [read_header(str(tmp_path / name)).mask for name in ('a.tif', 'b.tif', 'c.tif')] == [True, None, True]


def load_plain(folder, pixels, size):
    """The same pixels where no band is called anything."""
    return load(write_raster(folder.parent / 'plain.tif', pixels), bands=len(pixels), size=size)


def test_alpha_that_is_a_mask_masks(tmp_path):
    mask = np.full((64, 64), 255, np.uint8)
    mask[:16] = 0
    mask[16] = 128  # half transparent: data
    pixels = write_four(tmp_path / 'a.tif', mask)
    for bands in ([0, 1, 2], 3, None):
        image = load(tmp_path / 'a.tif', bands=bands)
        assert np.array_equal(image[16:], pixels[:3, 16:].transpose(1, 2, 0))
        assert np.array_equal(image[0, 0], pixels[:3, 16:].mean(axis=(1, 2)).astype(np.uint8))
    assert np.array_equal(load(tmp_path / 'a.tif', bands=4), pixels.transpose(1, 2, 0))
    assert np.array_equal(load(tmp_path / 'a.tif', bands=3, alpha=False), pixels[:3].transpose(1, 2, 0))
    infrared = write_four(tmp_path / 'b.tif', water())
    forced = load(tmp_path / 'b.tif', bands=3, alpha=True)
    assert np.array_equal(forced[0, 0], infrared[:3, :, 40:].mean(axis=(1, 2)).astype(np.uint8))


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(
    kind=st.sampled_from(['mask', 'soft mask', 'data', 'opaque', 'empty']),
    declared=st.booleans(),
    dtype=st.sampled_from(['uint8', 'uint16']),
    option=st.sampled_from([None, True, False]),
    seed=st.integers(0, 999),
)
def test_alpha_by_interpretation_values_and_option(kind, declared, dtype, option, seed):
    """A fourth band is a mask if the file says so, and the option or its values do."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    fourth = np.where(rng.random((40, 40)) < 0.5, top, 0)
    if kind == 'soft mask':
        fourth[3] = top // 3
    fourth = dict(data=rng.integers(0, top, (40, 40)), opaque=np.full((40, 40), top), empty=np.zeros((40, 40))).get(
        kind, fourth
    )
    pixels = np.concatenate([noise(3, 40, 40, dtype, seed), fourth[None].astype(dtype)])
    masks = declared and (option is True or (option is None and kind not in ('data', 'empty')))
    with tempfile.TemporaryDirectory() as folder:
        path = write_raster(Path(folder) / 'a.tif', pixels, photometric='rgb', alpha='yes' if declared else 'no')
        found, valid = OpenRaster(str(path), marks=Marks(alpha=option)).read([0, 1, 2])
        header = read_header(str(path))
    np.testing.assert_array_equal(found, pixels[:3])
    expected = fourth > 0 if masks else np.ones((40, 40), bool)
    np.testing.assert_array_equal(np.ones((3, 40, 40), bool) if valid is None else valid, np.stack([expected] * 3))
    assert header.alpha == (3 if declared else None)
    assert header.mask is (None if not declared or kind in ('opaque', 'empty') else kind != 'data')


def test_files_that_disagree_on_alpha_are_named(tmp_path):
    write_four(tmp_path / 'a.tif', np.where(np.eye(64) > 0, 0, 255).astype(np.uint8))
    write_four(tmp_path / 'b.tif', water())
    message = r'1 files have an alpha channel .*a\.tif.* in 1 others they are data .*b\.tif.*alpha=True or alpha=False'
    with pytest.raises(OtherBandsError, match=message):
        dataset(tmp_path, load=dict(LOAD, bands=3))
    with pytest.raises(OtherBandsError, match=message):
        band_statistics([tmp_path / 'a.tif', tmp_path / 'b.tif'])
    assert len(dataset(tmp_path, load=dict(LOAD, bands=3, alpha=False), window=64)) == 2
    assert dataset(tmp_path, load=dict(LOAD, bands=4), window=64)[0]['img'].shape == (64, 64, 4)


def test_a_file_of_four_bands_among_those_of_three_and_alpha(tmp_path):
    """The header check counts what is loaded, so that batches fit together."""
    mask = np.where(np.eye(64) > 0, 0, 255).astype(np.uint8)
    for i in range(3):
        write_four(tmp_path / f'{i}.tif', mask, seed=i)
    write_raster(tmp_path / '3.tif', noise(4, 64, 64, 'uint8'))
    with pytest.raises(ValueError, match=r'3\.tif has 4 bands, most files have 3; choose with bands='):
        dataset(tmp_path, max_bad=0)
    write_raster(tmp_path / '3.tif', noise(3, 64, 64, 'uint8'))
    data = dataset(tmp_path, window=64)
    assert {data[i]['img'].shape for i in range(len(data))} == {(64, 64, 3)}


def test_palettes_are_colors_however_they_are_read(tmp_path):
    numbers = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4), 8, 0), 8, 1)
    colors = {i: (*map(int, noise(1, 1, 3, 'uint8', i).ravel()), 255) for i in range(16)}
    expected = np.array([colors[i][:3] for i in range(16)], np.uint8)[numbers]
    for name, driver in (('a.png', 'PNG'), ('b.tif', 'GTiff')):
        profile = dict(driver=driver, count=1, height=32, width=32, dtype='uint8')
        with rasterio.open(tmp_path / name, 'w', **profile) as file:
            file.write(numbers[None])
            file.write_colormap(1, colors)
        assert np.array_equal(load(tmp_path / name), expected)
        data = dataset(tmp_path / name, window=16)
        assert np.array_equal(data[3]['img'], expected[16:, 16:])
        half = load(tmp_path / name, size=8)
        means = expected.reshape(8, 4, 8, 4, 3).mean((1, 3))
        assert np.corrcoef(half.ravel(), means.ravel())[0, 1] > 0.95  # means of colors, not colors of mean numbers
        stats = band_statistics([tmp_path / name])
        assert [band.mean for band in stats.bands] == pytest.approx(expected.mean(axis=(0, 1)).tolist())


def test_a_color_that_means_no_data_is_empty(tmp_path):
    numbers = np.full((32, 32), 3, np.uint8)
    numbers[:8] = 0
    with rasterio.open(
        tmp_path / 'a.tif', 'w', driver='GTiff', count=1, height=32, width=32, dtype='uint8', nodata=0
    ) as file:
        file.write(numbers[None])
        file.write_colormap(1, {0: (255, 0, 0, 255), 3: (10, 20, 30, 255)})
    assert np.array_equal(load(tmp_path / 'a.tif'), np.broadcast_to(np.uint8([10, 20, 30]), (32, 32, 3)))


def test_several_pages_are_refused(tmp_path):
    pages = [Image.fromarray(noise(1, 16, 16, 'uint8', i)[0]) for i in range(3)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadableImageError, match=r'a\.tif: has 3 pages, .*gdal_translate GTIFF_DIR:3:.*a\.tif page3'):
        load(tmp_path / 'a.tif', bands=1)
    pages[0].save(tmp_path / 'b.tif')
    assert np.array_equal(load(tmp_path / 'b.tif', bands=1)[..., 0], noise(1, 16, 16, 'uint8', 0)[0])


def test_a_vrt_of_several_types_is_read_in_one_that_holds_all(tmp_path):
    for name, dtype in dict(a='uint8', b='int16', c='float32').items():
        write_raster(tmp_path / f'{name}.tif', noise(1, 16, 16, dtype) * (1 if name == 'a' else -1), crs=None)
    band = (
        '<VRTRasterBand dataType="{}" band="{}"><SimpleSource><SourceFilename relativeToVRT="1">{}.tif</SourceFilename>'
        '</SimpleSource></VRTRasterBand>'
    )
    bands = [band.format(*each) for each in (('Byte', 1, 'a'), ('Int16', 2, 'b'), ('Float32', 3, 'c'))]
    path = tmp_path / 'mixed.vrt'
    path.write_text(f'<VRTDataset rasterXSize="16" rasterYSize="16">{"".join(bands)}</VRTDataset>')
    image = load(path)
    assert image.dtype == np.float32
    assert np.array_equal(image[..., 0], noise(1, 16, 16)[0])
    assert np.array_equal(image[..., 2], -noise(1, 16, 16, 'float32')[0])
    assert dataset(path)[0]['img'].dtype == np.float32
    assert band_statistics([path]).bands[1].mean == pytest.approx(-noise(1, 16, 16).mean())


def test_folders_of_images_are_told_apart_too(tmp_path):
    write_turned(tmp_path)
    options = dict(data_root=str(tmp_path), cache_dir=str(tmp_path))
    with pytest.raises(OtherBandsError, match='do not have the same bands'):
        ImageFolder(pipeline=[dict(LOAD, bands=3)], **options)
    by_name = ImageFolder(pipeline=[dict(LOAD, bands=['red', 'green', 'blue'])], **options)
    assert np.array_equal(by_name[0]['img'], by_name[1]['img'])
    (tmp_path / 'a_2.tif').unlink()
    (tmp_path / 'a_1.tif').unlink()
    write_four(tmp_path / 'c.tif', np.where(np.eye(64) > 0, 0, 255).astype(np.uint8))
    write_four(tmp_path / 'd.tif', water())
    with pytest.raises(OtherBandsError, match='alpha=True or alpha=False'):
        ImageFolder(pipeline=[dict(LOAD, bands=3)], **options)


def test_a_band_with_a_name_of_its_own_is_no_mask(tmp_path):
    pixels = write_four(tmp_path / 'a.tif', np.where(np.eye(64) > 0, 0, 255).astype(np.uint8))
    assert not np.array_equal(load(tmp_path / 'a.tif', bands=3), pixels[:3].transpose(1, 2, 0))
    with rasterio.open(tmp_path / 'a.tif', 'r+') as file:
        file.descriptions = ('red', 'green', 'blue', 'nir')
    assert read_header(str(tmp_path / 'a.tif')).mask is False
    assert np.array_equal(load(tmp_path / 'a.tif', bands=3), pixels[:3].transpose(1, 2, 0))
    assert np.array_equal(load(tmp_path / 'a.tif'), pixels.transpose(1, 2, 0))


def test_names_tell_more_than_the_colors_that_writing_gives(tmp_path):
    """rasterio calls the first three bands of 8 bits red, green and blue whatever they are."""
    pixels = noise(3, 32, 32, 'uint8')
    path = write_raster(tmp_path / 'a.tif', pixels, photometric='rgb', names=('B02', 'B03', 'B04'))
    assert read_header(str(path)).colors == RGB_COLORS
    assert np.array_equal(load(path, bands=['red', 'green', 'blue']), pixels[::-1].transpose(1, 2, 0))
    assert np.array_equal(load(path, convert='rgb', bands=3), pixels[::-1].transpose(1, 2, 0))
    write_raster(tmp_path / 'b.tif', pixels, photometric='rgb', names=('B2', 'B3', 'B4'))  # spelt otherwise
    assert len(dataset(tmp_path, window=32)) == 2
