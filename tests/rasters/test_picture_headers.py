"""What the header of a picture tells is what decoding it gives, and reading windows of it."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.rasters.pictures import read_image, read_picture_header
from mmrs_ssl.rasters.reader import OpenRaster

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's color types
PNGS = [
    *((0, depth) for depth in (1, 2, 4, 8, 16)),
    *((3, depth) for depth in (1, 2, 4, 8)),
    *((kind, depth) for kind in (2, 4, 6) for depth in (8, 16)),
]
TRANSPARENT = {0: b'\0\1', 2: b'\0\1\0\2\0\3', 3: b'\0\xff'}


def png(kind, depth, transparent, width=9, height=6):
    """A PNG of any color type and depth, which Pillow and OpenCV write only some of."""
    row = b'\0' + bytes((width * CHANNELS[kind] * depth + 7) // 8)
    parts = {b'IHDR': struct.pack('>IIBBBBB', width, height, depth, kind, 0, 0, 0)}
    if kind == 3:
        parts[b'PLTE'] = bytes(range(min(3 * 2**depth, 255)))
    if transparent and kind in TRANSPARENT:
        parts[b'tRNS'] = TRANSPARENT[kind]
    parts |= {b'IDAT': zlib.compress(row * height), b'IEND': b''}
    chunks = (struct.pack('>I', len(d)) + t + d + struct.pack('>I', zlib.crc32(t + d)) for t, d in parts.items())
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def bmp(bits, palette=(), masks=(), width=9, height=6):
    """A BMP with a palette, of (red, green, blue), or with masks that tell colors apart."""
    extra = b''.join(struct.pack('<BBBB', b, g, r, 0) for r, g, b in palette) + struct.pack(f'<{len(masks)}I', *masks)
    body = bytes(((width * bits + 31) // 32) * 4 * height)
    start = 54 + len(extra)
    sizes = struct.pack('<IiiHHIIiiII', 40, width, height, 1, bits, 3 if masks else 0, len(body), 0, 0, len(palette), 0)
    return b'BM' + struct.pack('<IHHI', start + len(body), 0, 0, start) + sizes + extra + body


def pnm(letter, top, width=9, height=6):
    return f'P{letter}\n{width} {height}\n{top}\n'.encode() + bytes(9 * 6 * 6)


def encoded(suffix, pixels):
    return cv2.imencode(suffix, pixels)[1].tobytes()


LEVELS = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
GRAYS = [(i, i, i) for i in range(256)]
PICTURES = {
    **{f'{kind}_{depth}{"t" * t}.png': png(kind, depth, t) for kind, depth in PNGS for t in (False, True)},
    'gray.bmp': bmp(8, GRAYS),
    'inverted.bmp': bmp(8, GRAYS[::-1]),
    'palette.bmp': bmp(8, [(i, 0, i) for i in range(256)]),
    'bits.bmp': bmp(1, GRAYS[::255]),
    'colored_bits.bmp': bmp(1, [(255, 0, 0), (0, 0, 0)]),
    '16.bmp': bmp(16, masks=(0xF800, 0x7E0, 0x1F)),
    '24.bmp': bmp(24),
    '32.bmp': bmp(32),
    'masks.bmp': bmp(32, masks=(0xFF0000, 0xFF00, 0xFF)),
    **{f'{letter}_{top}.ppm': pnm(letter, top) for letter in (5, 6) for top in (15, 255, 256, 65535)},
    'gray.jpg': encoded('.jpg', LEVELS[..., 0]),
    'rgb.jpg': encoded('.jpg', LEVELS[..., :3]),
    'rgb.webp': encoded('.webp', LEVELS[..., :3]),
    'rgba.webp': encoded('.webp', LEVELS),
    'a_jpeg.png': encoded('.jpg', LEVELS[..., :3]),
    'a_tiff.png': encoded('.tif', LEVELS),
}


@pytest.mark.parametrize('name', PICTURES)
def test_a_header_tells_what_is_decoded(tmp_path, name):
    (tmp_path / name).write_bytes(PICTURES[name])
    image, header = read_image(tmp_path / name), read_picture_header(str(tmp_path / name))
    assert (header.height, header.width, len(header.names), header.dtype) == (*image.shape, image.dtype.name)
    assert len(header.colors) == len(header.nodata) == image.shape[2]
    assert header.alpha == (image.shape[2] - 1 if image.shape[2] in (2, 4) else None)
    if name.startswith('a_'):
        return
    windows = read_header(str(tmp_path / name))
    assert (windows.alpha, windows.dtype, len(windows.names)) == (header.alpha, header.dtype, image.shape[2])
    if name.endswith(('png', 'bmp', 'ppm')):
        pixels, _ = OpenRaster(str(tmp_path / name)).read(range(image.shape[2]))
        assert np.array_equal(pixels.transpose(1, 2, 0), image)


@pytest.mark.parametrize('name', ['0_16.png', '3_8t.png', '6_8.png', '24.bmp', '6_256.ppm', 'gray.jpg', 'rgba.webp'])
def test_a_header_takes_no_decoding(tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(PICTURES[name])
    monkeypatch.setattr(cv2, 'imdecode', None)
    monkeypatch.setattr(Image.Image, 'load', None)
    assert read_picture_header(str(tmp_path / name)).height == 6


def test_of_a_huge_picture_as_well(tmp_path):
    """Pillow refuses to open so large a one, and OpenCV to decode it: what counts is who reads it."""
    chunk = b'IHDR' + struct.pack('>IIBBBBB', 60000, 50000, 16, 2, 0, 0, 0)
    start = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + chunk + struct.pack('>I', zlib.crc32(chunk))
    (tmp_path / 'huge.png').write_bytes(start + b'\0\0\0\1IDAT\0\0\0\0\0')
    header = read_picture_header(str(tmp_path / 'huge.png'))
    assert (header.height, header.width, len(header.names), header.dtype) == (50000, 60000, 3, 'uint16')


@pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0', b'P6\n9'])
def test_what_has_no_header_is_unreadable(tmp_path, content):
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r'a\.png'):
        read_picture_header(str(tmp_path / 'a.png'))
    with pytest.raises(UnreadableImageError, match=r'b\.png: No such file'):
        read_picture_header(str(tmp_path / 'b.png'))
