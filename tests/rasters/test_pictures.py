"""Whole images: order of bands, types, and what is refused."""

import re
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from mmrs_ssl.datasets.transforms import (
    LoadRaster,
    PackViews,
    RandomCropResize,
    RandomGaussianBlur,
    RandomNoise,
    ResizeToSize,
    UnreadableImageError,
    Views,
    read_image,
)
from mmrs_ssl.models.data_preprocessor import BandPreprocessor
from mmrs_ssl.rasters.arrays import bands_first, bands_last
from mmrs_ssl.rasters.opening import open_raster
from mmrs_ssl.rasters.pictures import read_picture_header
from tests.rasters.rasters import picture, write_tiff


@pytest.mark.parametrize('suffix', ['png', 'bmp', 'ppm', 'tif', 'tiff', 'TIF'])
def test_rgb_order_in_lossless_files(tmp_path, suffix):
    image, path = picture(), tmp_path / f'a.{suffix}'
    if suffix.lower().startswith('tif'):
        write_tiff(path, image)
    else:
        assert cv2.imwrite(str(path), image[..., ::-1])
    assert np.array_equal(read_image(path), image)


def test_rgb_order_in_jpeg(tmp_path):
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 40
    cv2.imwrite(str(tmp_path / 'a.jpg'), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    loaded = read_image(tmp_path / 'a.jpg')
    assert loaded.dtype == np.uint8
    np.testing.assert_allclose(loaded, image, atol=6)


def test_one_band_and_four_bands(tmp_path):
    gray, rgba = picture(bands=1), picture(bands=4)
    cv2.imwrite(str(tmp_path / 'gray.png'), gray)
    cv2.imwrite(str(tmp_path / 'rgba.png'), rgba[..., [2, 1, 0, 3]])
    for name, image in (('gray', gray), ('rgba', rgba)):
        result = LoadRaster(bands=image.shape[2])(dict(img_path=str(tmp_path / f'{name}.png')))
        assert np.array_equal(result['img'], image)
        assert result['img_shape'] == result['ori_shape'] == (48, 40)


def test_uint16_geotiff_and_band_selection(tmp_path):
    image = picture(bands=5, dtype=np.uint16, top=10000)
    path = str(write_tiff(tmp_path / 'a.tif', image))
    assert np.array_equal(LoadRaster(bands=5)(dict(img_path=path))['img'], image)
    chosen = LoadRaster(bands=[3, 0, 1])(dict(img_path=path))['img']
    assert chosen.dtype == np.uint16
    assert np.array_equal(chosen, image[..., [3, 0, 1]])
    assert chosen.flags.c_contiguous
    png = picture(bands=1, dtype=np.uint16, top=60000)
    cv2.imwrite(str(tmp_path / 'b.png'), png)
    assert np.array_equal(read_image(tmp_path / 'b.png'), png)


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'plain.tif', 'packed.tif'])
def test_truncated_files_are_refused_by_name(tmp_path, name, share):
    image, path = picture(120, 130), tmp_path / name
    if name == 'plain.tif':
        write_tiff(path, image)
    elif name == 'packed.tif':
        write_tiff(path, image, compress='deflate', blockysize=16)
    else:
        cv2.imwrite(str(path), image)
    assert read_image(path).shape == image.shape  # whole, it is fine
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UnreadableImageError, match=name):
        read_image(path)


def test_complete_files_with_something_after_their_end_are_read(tmp_path):
    image = picture()
    for name in ('a.jpg', 'a.png'):
        cv2.imwrite(str(tmp_path / name), image)
        whole = read_image(tmp_path / name)
        with open(tmp_path / name, 'ab') as file:
            file.write(b'\0' * 300)
        assert np.array_equal(read_image(tmp_path / name), whole)


@pytest.mark.parametrize('name', ['text.jpg', 'text.png', 'text.tif', 'missing.jpg', 'missing.tif', 'folder.png'])
def test_no_image_is_refused_by_name(tmp_path, name):
    if name.startswith('text'):
        (tmp_path / name).write_text('this is not an image')
    if name.startswith('folder'):
        (tmp_path / name).mkdir()
    with pytest.raises(UnreadableImageError, match=name):
        LoadRaster()(dict(img_path=str(tmp_path / name)))


def test_wrong_number_of_bands_says_how_to_mend(tmp_path):
    path = str(write_tiff(tmp_path / 'five.tif', picture(bands=5)))
    with pytest.raises(
        ValueError, match=r'five\.tif has 5 bands, .*=3 .*set bands .*to 5.*bands=\[0, 1, 2\]'
    ) as caught:
        LoadRaster(bands=3)(dict(img_path=path))
    assert not isinstance(caught.value, UnreadableImageError)  # a wrong configuration is not a bad file: never skipped
    with pytest.raises(ValueError, match=r'five\.tif has 5 bands \(0 to 4.*\), but bands=\[0, 7\]'):
        LoadRaster(bands=[0, 7])(dict(img_path=path))


@pytest.mark.parametrize('bands', [1, 3, 4, 13, 40])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32', 'float64', 'uint32', 'bool'])
def test_bands_go_first_and_last_again(dtype, bands):
    image = picture(bands=bands, top=120).astype(dtype)
    for source in (image, image[:, ::-1], image[3:30, 5:20]):
        first = bands_first(source)
        assert np.array_equal(first, source.transpose(2, 0, 1))
        assert first.flags.c_contiguous
        assert not np.shares_memory(first, source)
        again = bands_last(first)
        assert np.array_equal(again, source)
        assert again.flags.c_contiguous
    assert np.shares_memory(bands_last(image.transpose(2, 0, 1)), image)  # what lies right is not copied


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'int16', 'uint16', 'int32', 'uint32', 'float32', 'float64'])
def test_any_raster_type_goes_through_the_pipeline(tmp_path, dtype):
    """Contract 8: any integer or float raster, from the file to the normalized batch."""
    image = picture(bands=6, dtype=dtype, top=120)
    path = str(write_tiff(tmp_path / 'a.tif', image))
    noise = RandomNoise(variance=(0, 0), prob=1, max_value=120)
    view = [RandomCropResize(32, flip_prob=1), RandomGaussianBlur(sigma=(0.1, 0.1)), noise]
    sample = dict(img_path=path, rng=np.random.default_rng(0))
    for step in (LoadRaster(bands=6), ResizeToSize(44), Views([view, view]), PackViews()):
        sample = step(sample)
    batch = default_collate([sample['inputs']] * 2)
    assert batch[0].shape == (2, 6, 32, 32)
    means = image.reshape(-1, 6).mean(0).astype(float)
    preprocessor = BandPreprocessor(mean=means.tolist(), std=[120.0] * 6)
    out = preprocessor(dict(inputs=batch), True)['inputs'][0]
    assert out.dtype == torch.float32
    assert out.mean((0, 2, 3)).abs().max() < 0.25  # a crop's mean is near the image's
    assert out.std() > 0.05


def test_a_header_that_asks_for_too_much(tmp_path):
    chunk = b'IHDR' + struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    header = struct.pack('>I', 13) + chunk + struct.pack('>I', zlib.crc32(chunk))
    path = tmp_path / 'huge.png'
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + header + b'\0\0\0\0IEND\xaeB`\x82')
    with pytest.raises(UnreadableImageError, match=r'huge\.png'):
        read_image(path)


def test_what_a_decoder_says_names_the_file(tmp_path, capfd, monkeypatch):
    """Damage inside of a picture: a JPEG is read all the same, a PNG is not."""
    for name in ('a.jpg', 'b.png'):
        cv2.imwrite(str(tmp_path / name), picture(96, 96))
        data = bytearray((tmp_path / name).read_bytes())
        data[2000:2400] = bytes(400)
        (tmp_path / name).write_bytes(data)
    warnings = []
    monkeypatch.setattr('mmrs_ssl.rasters.pictures.print_log', lambda text, *_: warnings.append(text))
    read_image(tmp_path / 'a.jpg')
    assert re.search(r'a\.jpg: Corrupt JPEG data', warnings[0])
    assert len(warnings) == 1
    with pytest.raises(UnreadableImageError, match=r'b\.png: not an image, or truncated \(\d+ bytes, libpng error'):
        read_image(tmp_path / 'b.png')
    assert not capfd.readouterr().err


@pytest.mark.parametrize('suffix', ['png', 'webp'])
def test_animated_pictures_are_refused(tmp_path, suffix):
    """As files of several pages are: the first picture alone would be read."""
    frames = [Image.fromarray(np.full((32, 32, 3), value, np.uint8)) for value in (10, 100, 200)]
    frames[0].save(tmp_path / f'a.{suffix}', save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / f'b.{suffix}')
    for use in (read_image, read_picture_header, open_raster):
        with pytest.raises(UnreadableImageError, match=rf'a\.{suffix}: is animated: .*a file of its own'):
            use(str(tmp_path / f'a.{suffix}'))
        use(str(tmp_path / f'b.{suffix}'))
