"""Statistics of an archive: numpy's on all valid pixels at once, whatever the windows, tasks and processes were."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from mmengine.config import Config, DictAction

from mmrs_ssl.archives import band_statistics as module
from mmrs_ssl.archives import window_tasks
from mmrs_ssl.archives.band_statistics import QUANTILES, Options, band_statistics
from mmrs_ssl.rasters.blocks import BlockWindows
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.find import find_all
from mmrs_ssl.registry import MODELS

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


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows a file and several tasks."""
    monkeypatch.setattr(module, '_WINDOW_PIXELS', 64 * 64)
    monkeypatch.setattr(window_tasks, 'TASK_WINDOWS', 3)


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
    valid = [band[~np.isnan(band)] if np.isnan(nodata) else band[band != nodata] for band in bands]
    check(stats, valid, sum(height * width for height, width in SIZES), exact=dtype != 'float32')
    assert (stats.files, stats.dtype, stats.unreadable) == (3, dtype, ())
    assert stats.nodata_share[1] > stats.nodata_share[0] > 0.05


@pytest.mark.parametrize('dtype', ['float32', 'int32'])
def test_quantiles_of_many_values(dtype: str, tmp_path: Path) -> None:
    values = (draw('float32', (1, 900, 1200), 0) * (1 if dtype == 'float32' else 1000)).astype(dtype)
    shares = np.linspace(0.001, 0.999, 50).tolist()
    for processes in (1, 2):
        stats = band_statistics([write(tmp_path / 'a.tif', values)], shares=shares, processes=processes)
        check(stats, [values.ravel()], values.size, exact=False)


@pytest.mark.usefixtures('small_windows')
def test_large_offset(tmp_path: Path) -> None:
    values = (1e6 + np.random.default_rng(0).normal(size=(1, 700, 600))).astype(np.float32)
    band = band_statistics([write(tmp_path / 'a.tif', values, **TILED)]).bands[0]
    assert band is not None
    assert band.std == pytest.approx(values.astype(np.float64).std(), rel=1e-9)
    assert band.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-12)


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


def test_stretched_moments(tmp_path: Path) -> None:
    for dtype in ('uint16', 'float32'):
        values = draw(dtype, (1, 150, 140), 3)
        band = band_statistics([write(tmp_path / f'{dtype}.tif', values)]).bands[0]
        assert band is not None
        low, high = band.limits
        stretched = np.clip((values.astype(np.float64) - low) / (high - low) * 255, 0, 255)
        assert band.stretched == pytest.approx((stretched.mean(), stretched.std()), rel=0.002)


def test_masks_and_alpha(tmp_path: Path) -> None:
    image = draw('uint8', (4, 60, 80), 0)
    image[3, 10:30] = 0
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
    check(band_statistics([path]), [band[band != 0] for band in image], 2000)
    both = [np.concatenate([image[0] * 0.0001 - 0.1, image[0]]), np.tile(image[1], (2, 1))]
    valid = [values[np.tile(band != 0, (2, 1))] for values, band in zip(both, image, strict=True)]
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
    with pytest.raises(ValueError, match=r"a\.tif has no band 'swir'; it has 3 \(0 to 2\), named nir, red, green"):
        band_statistics([path], Options(bands=('swir',)))
    with pytest.raises(ValueError, match=r'a\.tif has no band 3'):
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


@pytest.mark.parametrize(
    ('size', 'block'),
    [
        ((100, 90), (1, 90)),
        ((1000, 700), (256, 256)),
        ((300, 5000), (300, 5000)),
        ((130, 130), (512, 512)),
        ((7, 9), (3, 2)),
    ],
)
def test_windows_cover_every_pixel_once(size: tuple[int, int], block: tuple[int, int]) -> None:
    windows, seen = BlockWindows.of_blocks(size, block, 2**14), np.zeros(size, int)
    for number in range(len(windows)):
        window = windows[number]
        assert window.width * window.height <= 4 * 2**14
        seen[window.toslices()] += 1
    assert (seen == 1).all()
    if np.prod(block) <= 4 * 2**14:
        assert windows.shape[0] % block[0] == 0 or windows.shape[0] == size[0]
        assert windows.shape[1] % block[1] == 0 or windows.shape[1] == size[1]


def parse_options(line: str) -> dict[str, Any]:
    """What tools/train.py understands."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(shlex.split(line)).cfg_options


def test_tool(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw('uint16', (3, 200, 300), 0) // 7
    write(tmp_path / 'a.tif', image)
    (tmp_path / 'b.tif').touch()
    code, said = run_tool(
        'band_stats.py', tmp_path, '--processes', 1, '--out', tmp_path / 'stats.json', '--quantiles', 0.5
    )
    assert code == 0
    assert '1 files cannot be read' in said
    assert 'b.tif' in said
    written = json.loads((tmp_path / 'stats.json').read_text())
    np.testing.assert_allclose(written['mean'], image.mean((1, 2)), rtol=1e-9)
    np.testing.assert_allclose(written['std'], image.std((1, 2)), rtol=1e-9)
    assert written['quantiles']['0.5'] == np.quantile(image, 0.5, axis=(1, 2), method='inverted_cdf').tolist()
    assert {key: written[key] for key in ('bands', 'dtype', 'files', 'pixels', 'count', 'nodata_share')} == dict(
        bands=['band 0', 'band 1', 'band 2'],
        dtype='uint16',
        files=1,
        pixels=60000,
        count=[60000] * 3,
        nodata_share=[0.0] * 3,
    )
    lines = said.splitlines()
    line = next(line for line in lines if line.startswith('--cfg-options'))
    assert ', ' not in line
    options = parse_options(line)
    pasted = Config.fromstring('\n'.join(line for line in lines if ' = dict(' in line), '.py')
    plain, stretched = (line for line in lines if 'LoadRaster' in line)
    assert plain.endswith("dict(type='mmrs_ssl.LoadRaster', bands=3)")
    limits = eval(stretched.removeprefix('# '), {}).pop('stretch')
    expected = np.quantile(image, (0.02, 0.98), axis=(1, 2), method='inverted_cdf').T
    np.testing.assert_array_equal(limits, expected)
    merged = Config(dict(model=dict(data_preprocessor=dict()), train_dataloader=dict(dataset=dict())))
    merged.merge_from_dict(options)
    assert merged.to_dict() == pasted.to_dict()
    preprocessor = MODELS.build(dict(type='mmrs_ssl.BandPreprocessor', **merged.model.data_preprocessor))
    np.testing.assert_allclose(preprocessor.mean.ravel(), image.mean((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(preprocessor.std.ravel(), image.std((1, 2)), rtol=1e-3)
    white = np.quantile(image, 0.999, axis=(1, 2)).max()
    assert white <= merged.train_dataloader.dataset.max_value <= 1.1 * white


def test_tool_on_bytes_and_constants(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw('uint8', (2, 30, 30), 0)
    path = write(tmp_path / 'a.tif', image)
    code, said = run_tool('band_stats.py', path, '--processes', 1)
    assert code == 0
    assert '--cfg-options' in said
    assert 'max_value' not in said
    image[1] = 5
    write(path, image, nodata=5)
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--nodata', 'none')
    assert code == 0
    assert 'band 1 is constant' in said
    assert '--cfg-options' not in said
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--out', tmp_path / 'stats.json')
    assert code == 0
    assert 'band 1 has no valid pixel' in said
    written = json.loads((tmp_path / 'stats.json').read_text())
    assert (written['mean'][1], written['count'][1], written['nodata_share'][1]) == (None, 0, 1.0)


def test_tool_where_nearly_all_values_are_the_same(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = np.full((1, 40, 50), 7, np.int16)
    image[0, 0, :5] = -3
    code, said = run_tool('band_stats.py', write(tmp_path / 'a.tif', image), '--processes', 1)
    assert code == 0
    assert 'max_value=7' in said
    assert 'values below 0' in said
    assert 'stretch=' not in said


def test_tool_says_what_is_wrong(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    code, said = run_tool('band_stats.py', tmp_path / 'nowhere')
    assert code == 1
    assert said.splitlines()[-1].startswith('error: ')
    assert 'nowhere: no raster there' in said.splitlines()[-1]
    code, said = run_tool('band_stats.py', tmp_path, '--out', tmp_path / 'nowhere' / 'stats.json')
    assert code == 1
    assert 'there is no folder' in said.splitlines()[-1]
    (tmp_path / 'a.tif').touch()
    code, said = run_tool('band_stats.py', tmp_path, '--processes', 1)
    assert code == 1
    assert 'none of 1 files can be read' in said.splitlines()[-1]
    path = write(tmp_path / 'b.tif', draw('uint8', (3, 20, 30), 0))
    code, said = run_tool('band_stats.py', tmp_path, '--processes', 1, '--strict')
    assert code == 1
    assert 'a.tif' in said.splitlines()[-1]
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--bands', 2, 0, '--scale', '--nodata', 7)
    assert code == 0
    assert "dict(type='mmrs_ssl.LoadRaster', bands=[2, 0], nodata=7.0, unscale=True)" in said
    code, said = run_tool('band_stats.py', path, '--processes', 1, '--bands', 0, 'nir')
    assert code == 1
    assert "b.tif has no band 'nir'" in said.splitlines()[-1]
