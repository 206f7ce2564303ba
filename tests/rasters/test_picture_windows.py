"""Whole pictures, windows of them and statistics have the same bands and values, those that Pillow was given."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from mmrs_ssl.archives.band_statistics import band_statistics
from mmrs_ssl.datasets.image_folder import ImageFolder
from mmrs_ssl.datasets.transforms import LoadRaster
from mmrs_ssl.rasters.errors import OtherBandsError, UnreadableImageError
from mmrs_ssl.rasters.formats import driver_of
from mmrs_ssl.rasters.grid import Window
from tests.rasters.rasters import noise, write_raster

HEIGHT, WIDTH = 24, 32
NUMBERS = noise(1, HEIGHT, WIDTH, 'uint8', 3)[0] % 16
OPAQUE = np.where(NUMBERS == 3, 0, 255).astype(np.uint8)
GRAYS = np.arange(255, -1, -17, dtype=np.uint8)
COLORS = noise(1, 16, 3, 'uint8', 4)[0]


def gray_png(path, bits, clear=None):
    """Write gray of few bits, which Pillow does not."""
    cells = (NUMBERS >> (4 - bits)).reshape(HEIGHT, -1, 8 // bits)
    rows = np.zeros(cells.shape[:2], np.uint8)
    for i in range(8 // bits):
        rows = rows << bits | cells[..., i]
    parts = {b'IHDR': struct.pack('>IIBBBBB', WIDTH, HEIGHT, bits, 0, 0, 0, 0)}
    parts |= {} if clear is None else {b'tRNS': struct.pack('>H', clear)}
    parts |= {b'IDAT': zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows)), b'IEND': b''}
    chunks = (struct.pack('>I', len(d)) + t + d + struct.pack('>I', zlib.crc32(t + d)) for t, d in parts.items())
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(chunks))


def palette(colors):
    image = Image.frombytes('P', (WIDTH, HEIGHT), NUMBERS.tobytes())
    image.putpalette(np.broadcast_to(colors if colors.ndim == 2 else colors[:, None], (16, 3)).tobytes())
    return image


def plain(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


GRAY, COLOR, ALPHA = GRAYS[NUMBERS][..., None], COLORS[NUMBERS], OPAQUE[..., None]
BITS = (NUMBERS > 7)[..., None] * np.uint8(255)
KINDS = {  # how each is written, and the bands it has
    'bits.png': (lambda path: Image.fromarray(BITS[..., 0] > 0).save(path), [BITS]),
    'bits.bmp': (lambda path: Image.fromarray(BITS[..., 0] > 0).save(path), [BITS]),
    'two.png': (lambda path: gray_png(path, 2), [(NUMBERS >> 2)[..., None] * np.uint8(85)]),
    'four.png': (lambda path: gray_png(path, 4), [NUMBERS[..., None] * np.uint8(17)]),
    'four_clear.png': (lambda path: gray_png(path, 4, clear=3), [NUMBERS[..., None] * np.uint8(17), ALPHA]),
    'gray.png': (lambda path: plain(GRAY).save(path), [GRAY]),
    'gray.bmp': (lambda path: plain(GRAY).save(path), [GRAY]),
    'gray_clear.png': (lambda path: plain(GRAY).save(path, transparency=int(GRAYS[3])), [GRAY, ALPHA]),
    'gray_alpha.png': (lambda path: plain(np.dstack([GRAY, ALPHA])).save(path), [GRAY, ALPHA]),
    'palette.png': (lambda path: palette(COLORS).save(path), [COLOR]),
    'palette.bmp': (lambda path: palette(COLORS).save(path), [COLOR]),
    'palette_clear.png': (lambda path: palette(COLORS).save(path, transparency=3), [COLOR, ALPHA]),
    'gray_palette.png': (lambda path: palette(GRAYS).save(path), [GRAY]),
    'gray_palette.bmp': (lambda path: palette(GRAYS).save(path), [GRAY]),
    'gray_palette_clear.png': (lambda path: palette(GRAYS).save(path, transparency=3), [GRAY, ALPHA]),
    'color.png': (lambda path: plain(COLOR).save(path), [COLOR]),
    'color_clear.png': (lambda path: plain(COLOR).save(path, transparency=(*map(int, COLORS[3]),)), [COLOR, ALPHA]),
    'rgba.png': (lambda path: plain(np.dstack([COLOR, ALPHA])).save(path), [COLOR, ALPHA]),
}


@pytest.mark.parametrize('name', KINDS)
def test_whole_and_by_windows(tmp_path, name):
    write, parts = KINDS[name]
    write(tmp_path / name)
    colors, every = parts[0], np.dstack(parts)
    source = dict(img_path=str(tmp_path / name))
    window = Window(3, 5, 16, 20)
    inside = (slice(3, 19), slice(5, 25))
    seen = every.astype(float)
    if len(parts) > 1:
        seen = np.where(ALPHA > 0, colors, np.uint8(9)).astype(float)
    for bands, expected in ((every.shape[2], every), (colors.shape[2], seen), (None, seen)):
        load = LoadRaster(bands=bands, fill=9)
        assert np.array_equal(load(dict(source))['img'], expected)
        assert np.array_equal(load(dict(source, window=window))['img'], expected[inside])
    halves = LoadRaster(bands=colors.shape[2], size=8, resampling='nearest', fill=9)(dict(source))['img']
    assert set(halves[..., 0].ravel()) <= {*colors[..., 0].ravel(), 9}
    data = colors[OPAQUE > 0] if len(parts) > 1 else colors.reshape(-1, colors.shape[2])
    stats = band_statistics([tmp_path / name]).bands
    assert [band.mean for band in stats] == pytest.approx(data.mean(axis=0).tolist())
    assert [band.std for band in stats] == pytest.approx(data.std(axis=0).tolist(), rel=0.01)


def test_measurements_of_few_bits_stay_as_they_are(tmp_path):
    path = write_raster(tmp_path / 'a.tif', NUMBERS[None], nbits=4)
    assert np.array_equal(LoadRaster(bands=1)(dict(img_path=str(path)))['img'][..., 0], NUMBERS)


@pytest.mark.parametrize('beside', ['nodata', 'msk'])
@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_what_a_file_beside_a_picture_says_holds_for_all_of_it(tmp_path, beside, suffix):
    levels = np.full((32, 32, 3), 100, np.uint8)
    levels[:16] = 0
    for name in 'ab':
        path = tmp_path / f'{name}.{suffix}'
        Image.fromarray(levels).save(path, **({'quality': 100} if suffix == 'jpg' else {}))
        if beside == 'nodata':
            band = '<PAMRasterBand band="{}"><NoDataValue>0</NoDataValue></PAMRasterBand>'
            text = f'<PAMDataset>{"".join(map(band.format, (1, 2, 3)))}</PAMDataset>'
            path.with_name(f'{path.name}.aux.xml').write_text(text)
        else:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, 'r+') as file:
                file.write_mask(levels[..., 0] > 0)
            assert path.with_name(f'{path.name}.msk').exists() == (suffix == 'png')  # JPEG has it behind its pixels
    whole = LoadRaster(bands=3)(dict(img_path=str(path)))['img']
    part = LoadRaster(bands=3)(dict(img_path=str(path), window=Window(0, 0, 32, 32)))['img']
    rgb = LoadRaster(convert='rgb')(dict(img_path=str(path)))['img']
    data = folder(tmp_path, bands=3)
    assert len(data) == 2
    for image in (whole, part, rgb, data[0]['img']):
        assert np.array_equal(image, np.full((32, 32, 3), 100))
    assert band_statistics([path]).nodata_share == [0.5] * 3
    assert LoadRaster(bands=3, fill=9)(dict(img_path=str(path)))['img'][0, 0, 0] == 9


def write_holes(folder, alpha, count=3):
    for i in range(count):
        levels = np.full((HEIGHT, WIDTH, 4), 100, np.uint8)
        levels[alpha == 0, :3] = 7
        levels[..., 3] = alpha
        Image.fromarray(levels).save(folder / f'{i}.png')


def folder(root, **load):
    return ImageFolder(str(root), [dict(type='mmrs_ssl.LoadRaster', **load)], cache_dir=str(root / 'cache'))


@pytest.mark.parametrize('bands', [[0, 1, 2], 3, None])
def test_alpha_of_pictures_is_a_mask_however_they_are_read(tmp_path, bands):
    write_holes(tmp_path, OPAQUE)
    images = [folder(tmp_path, bands=bands, size=size)[0]['img'] for size in (None, 8)]
    images.append(LoadRaster(bands=bands)(dict(img_path=str(tmp_path / '0.png'), window=Window(0, 0, 9, 9)))['img'])
    assert [(image.shape[2], image.min(), image.max()) for image in images] == [(3, 100, 100)] * 3
    data = folder(tmp_path, bands=bands, alpha=False)[0]['img']
    assert np.array_equal(data[..., 0], np.where(OPAQUE == 0, 7, 100))
    assert data.shape[2] == (4 if bands is None else 3)
    for alpha, hidden in ((False, 7), (None, 100)):
        rgb = LoadRaster(convert='rgb', alpha=alpha)(dict(img_path=str(tmp_path / '0.png')))['img']
        assert np.array_equal(rgb[..., 1], np.where(OPAQUE == 0, hidden, 100))
    assert folder(tmp_path, bands=4)[0]['img'].shape[2] == 4


@pytest.mark.parametrize('bands', [[0, 1, 2], 3, None])
def test_alpha_that_is_data_masks_nothing_and_the_folder_agrees(tmp_path, bands):
    infrared = noise(1, HEIGHT, WIDTH, 'uint8', 5)[0] // 2 * (NUMBERS > 5)
    write_holes(tmp_path, infrared, count=12)
    data = folder(tmp_path, bands=bands)
    assert len(data) == 12
    expected = np.dstack([np.where(infrared == 0, 7, 100)] * 3 + [infrared] * (bands is None))
    assert all(np.array_equal(data[i]['img'], expected) for i in range(12))
    assert np.array_equal(LoadRaster(bands=bands)(dict(img_path=str(tmp_path / '0.png')))['img'], expected)
    rgb = np.dstack([np.where(infrared == 0, 7, 100)] * 3)
    for size in (None, HEIGHT):
        converted = LoadRaster(bands=3, convert='rgb', size=size)(dict(img_path=str(tmp_path / '0.png')))['img']
        assert size or np.array_equal(converted, rgb)
        assert set(np.unique(converted)) >= {7, 100}
    assert np.array_equal(folder(tmp_path, convert='rgb')[3]['img'], rgb)
    write_holes(tmp_path, OPAQUE, count=1)
    if bands is None:  # then it has other bands than most
        assert len(folder(tmp_path, bands=bands)) == 11
    else:
        with pytest.raises(OtherBandsError, match='alpha=True or alpha=False'):
            folder(tmp_path, bands=bands)


def test_a_value_that_means_no_data_counts_colors_alone(tmp_path):
    write_holes(tmp_path, OPAQUE | 255, count=1)
    levels = np.asarray(Image.open(tmp_path / '0.png')).copy()
    levels[:4, :, :3] = 0
    Image.fromarray(levels).save(tmp_path / '0.png')
    cv2.imwrite(str(tmp_path / 'gray.png'), levels[..., 0])
    for load in (dict(bands=3), dict(bands=None), dict(convert='rgb')):
        loaded = LoadRaster(nodata=0, **load)(dict(img_path=str(tmp_path / '0.png')))['img']
        assert (loaded.min(), loaded.max(), loaded.shape[2]) == (100, 100, 3)
    gray = LoadRaster(nodata=0, convert='rgb')(dict(img_path=str(tmp_path / 'gray.png')))['img']
    assert (gray.min(), gray.max(), gray.shape[2]) == (100, 100, 3)


def test_what_no_file_can_hold_is_told_at_the_start(tmp_path):
    write_holes(tmp_path, OPAQUE)
    with pytest.raises(ValueError, match=r'0\.png holds uint8, which has no value nodata=-9999'):
        folder(tmp_path, bands=3, nodata=-9999)
    (tmp_path / 'waves').mkdir()
    write_raster(tmp_path / 'waves' / 'a.tif', noise(1, 16, 16).astype(np.complex64))
    with pytest.raises(ValueError, match=r'a\.tif is complex64: complex numbers are not supported; take amplitude'):
        folder(tmp_path / 'waves', bands=1)


def test_palettes_of_gray_in_a_geotiff(tmp_path):
    profile = dict(driver='GTiff', count=1, height=HEIGHT, width=WIDTH, dtype='uint8')
    with rasterio.open(tmp_path / 'a.tif', 'w', **profile) as file:
        file.write(NUMBERS[None])
        file.write_colormap(1, {i: (int(level),) * 3 + (255,) for i, level in enumerate(GRAYS)})
    assert np.array_equal(LoadRaster(bands=1)(dict(img_path=str(tmp_path / 'a.tif')))['img'], GRAY)


def test_a_list_that_names_a_subdataset_or_excludes_nothing(tmp_path, monkeypatch):
    write_holes(tmp_path, OPAQUE)
    (tmp_path / 'list.txt').write_text('0.png\n1.png\nNETCDF:"x.nc":t\n')
    told = []
    monkeypatch.setattr('mmrs_ssl.rasters.find.print_log', lambda text, *_: told.append(text))
    options = dict(ann_file=str(tmp_path / 'list.txt'), exclude=['label/*', '1.*'], cache_dir=str(tmp_path))
    pipeline = [dict(type='mmrs_ssl.LoadRaster')]
    message = r"""subdataset, which is not read here; convert it: gdal_translate 'NETCDF:"x\.nc":t' NAME\.tif"""
    with pytest.raises(ValueError, match=message):
        ImageFolder(str(tmp_path), pipeline, max_unreadable=0, **options)
    assert [text.split(';')[0] for text in told] == [
        f"exclude='label/*' fits no file of the list {tmp_path / 'list.txt'}"
    ]
    assert len(ImageFolder(str(tmp_path), pipeline, max_unreadable=0.5, **options)) == 1
    with pytest.raises(UnreadableImageError, match=message):
        driver_of('NETCDF:"x.nc":t')
