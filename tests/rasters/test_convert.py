"""RGB of whatever a file holds, against what Pillow was given to write."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrs_ssl.datasets.transforms import LoadRaster
from mmrs_ssl.rasters.convert import QUANTILES, rgb_numbers
from mmrs_ssl.rasters.errors import OtherBandsError
from mmrs_ssl.rasters.grid import Window
from mmrs_ssl.rasters.header import read_header
from tests.rasters.rasters import noise, write_raster

HOLE = 7  # what pixels without data become here
WRITTEN = [  # what each format can hold
    *((mode, 'png') for mode in ('1', 'L', 'LA', 'P', 'P transparent', 'RGB', 'RGBA')),
    *((mode, 'tif') for mode in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')),
    *((mode, 'bmp') for mode in ('1', 'L', 'P', 'RGB')),
    *((mode, 'webp') for mode in ('L', 'RGB', 'RGBA')),
    ('L', 'pgm'),
    ('RGB', 'ppm'),
]


def draw(mode, seed, soft, height=37, width=29):
    """A picture of Pillow's, (H, W, 3) that is seen, and where something is to be seen; alpha may be soft."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    opaque = rng.random((height, width)) > 0.2
    levels[..., 3] = np.where(opaque, np.where(rng.random(opaque.shape) < 0.1 * soft, 128, 255), 0)
    gray = np.repeat(levels[..., :1], 3, axis=2)
    if mode == '1':
        bits = levels[..., 0] > 127
        return Image.fromarray(bits), np.repeat(bits[..., None] * np.uint8(255), 3, axis=2), np.ones_like(opaque)
    if mode.startswith('P'):
        palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
        image = Image.fromarray(levels[..., 0], 'P')
        image.putpalette(palette.tobytes())
        return image, palette[levels[..., 0]], levels[..., 0] != 5 if 'trans' in mode else np.ones_like(opaque)
    if mode == 'L':
        return Image.fromarray(levels[..., 0]), gray, np.ones_like(opaque)
    if mode == 'LA':
        return Image.fromarray(levels[..., [0, 3]], 'LA'), gray, opaque
    if mode == 'RGB':
        return Image.fromarray(levels[..., :3]), levels[..., :3], np.ones_like(opaque)
    return Image.fromarray(levels), levels[..., :3], opaque


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize(('mode', 'suffix'), WRITTEN)
def test_every_kind_of_8_bits_becomes_the_rgb_that_is_seen(tmp_path, mode, suffix, seed):
    image, seen, valid = draw(mode, seed, soft=True)
    path = tmp_path / f'a.{suffix}'
    image.save(path, **({'transparency': 5} if 'trans' in mode else {'lossless': True} if suffix == 'webp' else {}))
    expected = np.where(valid[..., None], seen, HOLE).astype(np.uint8)
    load = LoadRaster(convert='rgb', fill=HOLE)
    loaded = load(dict(img_path=str(path)))['img']
    assert loaded.dtype == np.uint8
    assert loaded.flags.c_contiguous
    if suffix != 'webp' or mode != 'RGBA':  # WebP changes the color of what is transparent
        assert np.array_equal(loaded, expected)
    else:
        assert np.array_equal(loaded[valid], seen[valid])
    window = load(dict(img_path=str(path), window=Window(3, 4, 20, 11)))['img']  # read by GDAL
    assert np.array_equal(window[valid[3:23, 4:15]], expected[3:23, 4:15][valid[3:23, 4:15]])


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('bands', [1, 3])
@pytest.mark.parametrize('bits', [10, 12, 16])
def test_more_than_8_bits_are_stretched_by_quantiles_of_all_bands(tmp_path, bands, bits, suffix):
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (40, 50, bands)).astype(np.uint16)
    path = tmp_path / f'a.{suffix}'
    cv2.imwrite(str(path), pixels[..., ::-1])
    loaded = LoadRaster(convert='rgb')(dict(img_path=str(path)))['img']
    low, high = np.quantile(pixels.ravel(), QUANTILES)
    expected = np.clip((pixels.astype(float) - low) * 255 / (high - low), 0, 255)
    assert loaded.dtype == np.uint8
    np.testing.assert_allclose(loaded, np.broadcast_to(expected, (40, 50, 3)), atol=0.51)
    given = LoadRaster(convert='rgb', stretch=[(0, 2**bits - 1)] * 3)(dict(img_path=str(path)))['img']
    np.testing.assert_allclose(given, np.broadcast_to(pixels * (255 / (2**bits - 1)), (40, 50, 3)), atol=0.51)


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(['uint8', 'uint16', 'int16', 'int32', 'float32', 'float64']),
    bands=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    spread=st.sampled_from([1, 30, 250]),
    empty=st.floats(0, 0.9),
    declared=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_type_is_stretched_by_what_holds_data(dtype, bands, size, spread, empty, declared, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 1 + spread, (bands, *size)).astype(dtype)
    holes = declared & (rng.random(size) < empty)
    holes[0, 0] = False
    pixels[:, holes] = 0
    with tempfile.TemporaryDirectory() as folder:
        path = write_raster(Path(folder) / 'a.tif', pixels, **(dict(nodata=0) if declared else {}))
        loaded = LoadRaster(convert='rgb', fill=HOLE)(dict(img_path=str(path)))['img']
    shown = np.broadcast_to(pixels.astype(float), (3, *size))
    low, high = np.quantile(shown[:, ~holes], QUANTILES)
    if dtype != 'uint8':
        shown = np.clip((shown - low) * (255 / max(high - low, 1e-6)), 0, 255)
    # holes are filled before the stretch, in the file's units
    filled = HOLE if dtype == 'uint8' else np.clip((HOLE - low) * (255 / max(high - low, 1e-6)), 0, 255)
    expected = np.where(holes, filled, shown).transpose(1, 2, 0)
    np.testing.assert_allclose(loaded, expected, atol=0.51)


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_few_bits_and_white_that_is_zero(tmp_path, bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (1, 20, 30), dtype=np.uint8)
    path = write_raster(tmp_path / 'few.tif', values, nbits=bits)
    rgb = LoadRaster(convert='rgb')(dict(img_path=str(path)))['img']
    assert np.array_equal(rgb, np.repeat(values[0, ..., None] * (255 // (2**bits - 1)), 3, axis=2))
    levels = noise(1, 20, 30, 'uint8')
    path = write_raster(tmp_path / 'white.tif', levels, photometric='miniswhite')
    assert np.array_equal(LoadRaster(convert='rgb')(dict(img_path=str(path)))['img'][..., 2], 255 - levels[0])


def test_four_bands_give_those_that_are_red_green_and_blue(tmp_path):
    pixels = noise(4, 20, 30, 'uint8')
    near_infrared = write_raster(tmp_path / 'nir.tif', pixels, names=('nir', 'blue', 'green', 'red'))
    assert np.array_equal(
        LoadRaster(convert='rgb')(dict(img_path=str(near_infrared)))['img'], pixels[[3, 2, 1]].transpose(1, 2, 0)
    )
    unknown = str(write_raster(tmp_path / 'unknown.tif', pixels))
    with pytest.raises(OtherBandsError, match=r'unknown\.tif has 4 bands, .*not say which are red.*bands=\[\.\.\.\]'):
        LoadRaster(convert='rgb')(dict(img_path=unknown))
    chosen = LoadRaster(convert='rgb', bands=[2, 1, 0])(dict(img_path=unknown))['img']
    assert np.array_equal(chosen, pixels[[2, 1, 0]].transpose(1, 2, 0))
    one = LoadRaster(convert='rgb', bands=[3])(dict(img_path=unknown))['img']
    assert np.array_equal(one, np.repeat(pixels[3, ..., None], 3, axis=2))
    assert rgb_numbers(read_header(str(write_raster(tmp_path / 'three.tif', pixels[:3]))), 'three.tif') == [0, 1, 2]


def test_cmyk_is_what_pillow_makes_of_it(tmp_path):
    colors = np.full((32, 32, 3), (200, 90, 30), np.uint8)
    Image.fromarray(colors).convert('CMYK').save(tmp_path / 'a.jpg', quality=100)
    expected = np.asarray(Image.open(tmp_path / 'a.jpg').convert('RGB'))
    loaded = LoadRaster(convert='rgb')(dict(img_path=str(tmp_path / 'a.jpg')))['img']
    np.testing.assert_allclose(loaded, expected, atol=3)
