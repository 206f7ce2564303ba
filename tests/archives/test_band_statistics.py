"""Statistics of an archive: numpy's on all valid pixels at once, whatever the windows, tasks and processes were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio

from mmrs_ssl.archives import band_statistics as module
from mmrs_ssl.archives.band_statistics import QUANTILES, Options, band_statistics
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import find_all

Array = np.ndarray
SIZES = ((90, 70), (300, 260), (37, 129))
TILED = dict(tiled=True, blockxsize=64, blockysize=128)


def write(path: Path, pixels: Array, mask: Array | None = None, **profile: Any) -> Path:
    """Write (bands, H, W)."""
    count, height, width = pixels.shape
    shape = dict(count=count, height=height, width=width, dtype=pixels.dtype)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, 'w', driver='GTiff', **{'photometric': 'minisblack', 'alpha': 'unspecified', **profile}, **shape
        ) as file,
    ):
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


def draw(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    rng = np.random.default_rng(seed)
    if dtype == 'float32':
        return (rng.gamma(2.0, 50.0, shape) - 20).astype(dtype)
    info = np.iinfo(dtype)
    skewed = rng.beta(0.3, 2.0, shape) * (float(info.max) - info.min) + info.min
    return skewed.round().astype(dtype)


def check(stats: module.Statistics, valid: Sequence[Array], pixels: int, exact: bool = True) -> None:
    """Compare with numpy on the valid pixels of every band, put together."""
    assert len(stats.bands) == len(valid)
    assert stats.pixels == pixels
    for number, values in enumerate(valid):
        band, ordered = stats.bands[number], np.sort(values)
        assert band is not None
        assert band.count == len(values)
        assert stats.nodata_share[number] == pytest.approx(1 - len(values) / pixels, abs=1e-12)
        assert (band.low, band.high) == (ordered[0], ordered[-1])
        assert band.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-9)
        assert band.std == pytest.approx(values.astype(np.float64).std(), rel=1e-9)
        if exact:
            expected = np.quantile(values, stats.shares, method='inverted_cdf').tolist()
            assert list(band.quantiles) == expected
        for share, value in zip(stats.shares, band.quantiles, strict=True):
            first, last = (np.searchsorted(ordered, value, side) / len(ordered) for side in ('left', 'right'))
            assert first - 0.001 <= share <= last + 0.001


@pytest.mark.usefixtures('small_windows')
@pytest.mark.parametrize(
    ('dtype', 'nodata'), [('uint8', 0), ('uint16', 65535), ('int16', -32768), ('float32', -9999.0), ('float32', np.nan)]
)
def test_as_numpy_on_all_pixels(dtype: str, nodata: float, tmp_path: Path) -> None:
    images, paths = [], []
    for seed, size in enumerate(SIZES):
        image = draw(dtype, (3, *size), seed)
        image[:, np.random.default_rng(9).random(size) < 0.1] = nodata
        image[1, :5] = nodata  # one band more than the others
        images.append(image)
        paths.append(write(tmp_path / f'{seed}.tif', image, nodata=nodata, **(TILED if seed == 1 else {})))
    stats = band_statistics(paths, shares=(0.0, *QUANTILES, 0.07, 1.0))
    bands = [np.concatenate([image[band].ravel() for image in images]) for band in range(3)]
    held = np.isnan(bands) if np.isnan(nodata) else np.stack(bands) == nodata
    if nodata >= 0:  # a value that pixels of one band may have
        held = np.broadcast_to(held.all(axis=0), held.shape)
    valid = [band[~empty] for band, empty in zip(bands, held, strict=True)]
    check(stats, valid, sum(height * width for height, width in SIZES), exact=dtype != 'float32')
    assert (stats.files, stats.dtype, stats.unreadable) == (3, dtype, ())
    assert stats.nodata_share[0] > 0.05
    assert (stats.nodata_share[1] > stats.nodata_share[0]) == (not nodata >= 0)


@pytest.mark.usefixtures('small_windows')
@pytest.mark.parametrize('dtype', ['uint16', 'float32'])
def test_processes_make_no_difference(dtype: str, tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f'{seed}.tif', draw(dtype, (2, *size), seed), **(TILED if seed == 1 else {}))
        for seed, size in enumerate(SIZES * 2)
    ]
    one, two = (band_statistics(paths, processes=processes).as_dict() for processes in (1, 2))
    if dtype == 'float32':
        assert len(one.pop('quantiles')) == len(two.pop('quantiles')) == len(QUANTILES)
    assert one == two


def test_masks_and_alpha(tmp_path: Path) -> None:
    image = draw('uint8', (4, 60, 80), 0)
    image[3], image[3, 10:30] = 255, 0
    masked = write(tmp_path / 'mask.tif', image[:3], mask=image[3])
    seen = image[3] != 0
    check(band_statistics([masked]), [band[seen] for band in image[:3]], seen.size)
    rgba = write(tmp_path / 'rgba.tif', image, photometric='rgb', alpha='yes')
    stats = band_statistics([rgba])
    check(stats, [band[seen] for band in image[:3]], seen.size)
    assert stats.names == ('red', 'green', 'blue')
    assert '--bands 0 1 2 3' in stats.notes[0]
    as_data = band_statistics([rgba], Options(bands=(0, 1, 2, 3)))
    check(as_data, [band.ravel() for band in image], seen.size)
    assert as_data.notes == ()
    assert cv2.imwrite(str(tmp_path / 'picture.png'), image.transpose(1, 2, 0)[..., [2, 1, 0, 3]])
    check(
        band_statistics([tmp_path / 'picture.png', masked]),
        [np.tile(band[seen], 2) for band in image[:3]],
        2 * seen.size,
    )


def test_nodata_option(tmp_path: Path) -> None:
    image = draw('int16', (1, 40, 50), 0)
    image[0, :4], image[0, 4:6] = -9999, -1
    declared = write(tmp_path / 'declared.tif', image, nodata=-9999)
    silent = write(tmp_path / 'silent.tif', image)
    every = image.ravel()
    check(band_statistics([declared]), [every[every != -9999]], every.size)
    check(band_statistics([declared, silent], Options(nodata=-1.0)), [np.tile(every[every != -1], 2)], 2 * every.size)
    check(band_statistics([declared], Options(nodata=None)), [every], every.size)
    check(band_statistics([silent]), [every], every.size)


def test_what_is_not_finite_never_counts(tmp_path: Path) -> None:
    image = draw('float32', (2, 40, 50), 0)
    image[0, :3], image[0, 3], image[1, 0] = np.nan, np.inf, -np.float32(3.4e38)
    path = write(tmp_path / 'a.tif', image)
    expected = [image[0, 4:].ravel(), image[1, 1:].ravel()]
    check(band_statistics([path], Options(nodata=-3.4e38)), expected, 2000)
    # Held as float64, the file's -3.4e38 is another number than the one asked for.
    wide = write(tmp_path / 'b.tif', np.ones((2, 1, 1)))
    stats = band_statistics([path, wide], Options(nodata=-3.4e38))
    check(stats, [np.append(band.astype(np.float64), 1.0) for band in expected], 2001)


def test_scale_and_offset(tmp_path: Path) -> None:
    image = draw('uint16', (2, 40, 50), 0)
    image[:, 0] = 0
    path = write(tmp_path / 'a.tif', image, nodata=0)
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = (0.0001, 1.0), (-0.1, 0.0)
    plain = write(tmp_path / 'b.tif', image, nodata=0)
    seen = (image != 0).any(axis=0)
    check(band_statistics([path]), [band[seen] for band in image], 2000)
    both = [np.concatenate([image[0] * 0.0001 - 0.1, image[0]]), np.tile(image[1], (2, 1))]
    valid = [values[np.tile(seen, (2, 1))] for values in both]
    stats = band_statistics([path, plain], Options(scale=True))
    check(stats, [values.astype(np.float64) for values in valid], 4000, exact=False)


def test_files_of_several_types(tmp_path: Path) -> None:
    images = [draw(dtype, (1, 40, 50), 0) for dtype in ('uint8', 'int16')]
    stats = band_statistics([write(tmp_path / f'{image.dtype}.tif', image) for image in images])
    check(stats, [np.concatenate([image.ravel().astype(np.int16) for image in images])], 4000)
    assert stats.dtype == 'int16'
    assert 'int16, uint8' in stats.notes[0]


def test_bands_by_number_and_name(tmp_path: Path) -> None:
    image = draw('uint8', (3, 40, 50), 0)
    path = write(tmp_path / 'a.tif', image)
    with rasterio.open(path, 'r+') as file:
        file.descriptions = ('nir', 'red', 'green')
    turned = write(tmp_path / 'b.tif', image[::-1])
    with rasterio.open(turned, 'r+') as file:
        file.descriptions = ('green', 'Red', 'NIR')
    stats = band_statistics([path, turned], Options(bands=('NIR', 1)))
    check(stats, [np.tile(image[band].ravel(), 2) for band in (0, 1)], 4000)
    assert stats.indexes == (0, 1)
    with pytest.raises(ValueError, match=r"a\.tif has 3 bands \(0 to 2, named nir, red, green\), but bands=\['swir'\]"):
        band_statistics([path], Options(bands=('swir',)))
    with pytest.raises(ValueError, match=r'a\.tif has 3 bands \(0 to 2.*bands=\[3\]'):
        band_statistics([path], Options(bands=(3,)))
    two = write(tmp_path / 'two.tif', image[:2])
    with pytest.raises(ValueError, match=r'a\.tif has 3 bands, .*two\.tif has 2; .*--bands 0 1,'):
        band_statistics([path, two])
    check(band_statistics([path, two], Options(bands=(1,))), [np.tile(image[1].ravel(), 2)], 4000)


@pytest.mark.usefixtures('small_windows')
@pytest.mark.parametrize('processes', [1, 2])
def test_unreadable_files_do_not_count(processes: int, tmp_path: Path) -> None:
    image = draw('uint8', (1, 400, 300), 0)
    good = write(tmp_path / 'good.tif', image, **TILED)
    cut = tmp_path / 'cut.tif'  # its first windows can be read
    cut.write_bytes(good.read_bytes()[:90_000])
    picture = tmp_path / 'cut.png'
    picture.write_bytes(cv2.imencode('.png', image[0])[1].tobytes()[:50_000])
    (tmp_path / 'empty.tif').touch()
    paths = find_all([tmp_path])
    stats = band_statistics(paths, processes=processes)
    check(stats, [image.ravel()], image.size)
    assert stats.files == 1
    assert [name for name in ('empty.tif', 'cut.png', 'cut.tif') if any(name in text for text in stats.unreadable)] == [
        'empty.tif',
        'cut.png',
        'cut.tif',
    ]
    assert len(stats.unreadable) == 3
    for strict in ([cut], [picture], [tmp_path / 'empty.tif']):
        with pytest.raises(UnreadableImageError, match=strict[0].name):
            band_statistics([good, *strict], Options(strict=True), processes=processes)
        with pytest.raises(UnreadableImageError, match=f'none of 1 files can be read; the first: .*{strict[0].name}'):
            band_statistics(strict, processes=processes)


def test_truncated_picture_read_at_once(tmp_path: Path) -> None:
    picture = tmp_path / 'cut.png'  # GDAL says nothing about this one
    picture.write_bytes(cv2.imencode('.png', draw('uint8', (300, 300), 0))[1].tobytes()[:20_000])
    with pytest.raises(UnreadableImageError, match=r'cut\.png: truncated'):
        band_statistics([picture])


def test_bad_requests(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.tif', np.zeros((1, 8, 8), np.complex64))
    with pytest.raises(ValueError, match='type complex64'):
        band_statistics([path])
    with pytest.raises(ValueError, match=r'quantile of 2 .*\[0, 1\]'):
        band_statistics([path], shares=[2])
    with pytest.raises(ValueError, match='processes is 0'):
        band_statistics([path], processes=0)
    with pytest.raises(ValueError, match='paths is empty'):
        band_statistics([])
    with pytest.raises(FileNotFoundError, match='nowhere: no raster there'):
        find_all([path, tmp_path / 'nowhere'])
    assert find_all([path, tmp_path, f'{tmp_path}/*.tif']) == [path]
