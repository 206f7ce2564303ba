"""Tools for archives read files as training does: by a config, or by the data set's own options."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from mmrs_ssl.datasets import SceneDataset

SIZES = dict(B8=1, B11=2, B9=6)  # finest pixels a side
PLACE = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def write_bands(folder: Path) -> dict[str, np.ndarray]:
    """Two places of three bands of 10, 20 and 60 m, a file each, and the same as files of three bands of 10 m."""
    fine = {}
    for place in 'pq':
        pixels = []
        for number, (band, factor) in enumerate(SIZES.items()):
            rng = np.random.default_rng(ord(place) + number)
            values = rng.integers(1, 1000 * (number + 1), (96 // factor, 96 // factor)).astype(np.uint16)
            values[: 12 // factor] = 0
            if band == 'B9':
                values[4:8] = 0  # dark, where the others have values
            write(folder / 'bands' / place / f'{band}.tif', values[None], factor)
            pixels.append(values.repeat(factor, 0).repeat(factor, 1))
        fine[place] = np.stack(pixels)
        write(folder / 'stacks' / f'{place}.tif', fine[place], 1, tuple(SIZES))
    return fine


def write(path: Path, pixels: np.ndarray, factor: int, names: tuple[str, ...] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    profile = dict(driver='GTiff', count=count, height=height, width=width, dtype=pixels.dtype, nodata=0)
    with rasterio.open(path, 'w', crs='EPSG:32631', transform=PLACE @ Affine.scale(factor), **profile) as file:
        file.write(pixels)
        if names:
            file.descriptions = names


CONFIG = """
default_scope = 'mmpretrain'
load = dict(type='mmrs_ssl.LoadRaster', bands=None)
train_dataloader = dict(dataset=dict(type='mmrs_ssl.SceneDataset', data_root={root!r}, pipeline=[load], window=32))
"""


@pytest.fixture
def count(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> Callable[..., tuple[dict, str]]:
    """Run band_stats and return what it writes and prints."""

    def run(*args: object) -> tuple[dict, str]:
        code, said = run_tool('band_stats.py', *args, '--processes', 1, '--out', tmp_path / 'stats.json')
        assert code == 0, said
        return json.loads((tmp_path / 'stats.json').read_text()), said

    return run


def test_both_layouts_count_alike(tmp_path: Path, count: Callable[..., tuple[dict, str]]) -> None:
    fine = write_bands(tmp_path)
    stacked, _ = count(tmp_path / 'stacks')
    # the finest need not come first
    order = ['B9', 'B11', 'B8']
    banded, said = count(tmp_path / 'bands', '--files', '{scene}/{band}', '--band-files', *order)
    assert banded['bands'] == order
    for key in ('mean', 'std', 'min', 'max', 'nodata_share'):
        assert banded[key] == pytest.approx(stacked[key][::-1]), key
    pixels = np.stack(list(fine.values()))
    valid = pixels[:, 0] > 0
    assert stacked['mean'] == pytest.approx([pixels[:, band][valid].mean() for band in range(3)])
    assert stacked['mean'][2] < pixels[:, 2][pixels[:, 2] > 0].mean()  # dark pixels count
    assert 'band_spread=' in said
    assert 'max_value=' in said


def test_a_config_counts_what_it_trains_on(tmp_path: Path, count: Callable[..., tuple[dict, str]]) -> None:
    write_bands(tmp_path)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=str(tmp_path / 'bands')))
    options = ['train_dataloader.dataset.files={scene}/{band}', 'train_dataloader.dataset.band_files=[B11,B8]']
    by_config, said = count(config, '--cfg-options', *options)
    by_options, _ = count(tmp_path / 'bands', '--files', '{scene}/{band}', '--band-files', 'B11', 'B8')
    assert by_config == by_options
    # one of the places cannot be used: it does not count
    write(tmp_path / 'bands' / 'q' / 'B8.tif', np.ones((1, 16, 16), np.uint16), 1)
    fewer, _ = count(config, '--cfg-options', *options, 'train_dataloader.dataset.max_bad=0.5')
    assert fewer['count'][0] == by_config['count'][0] // 2
    config.write_text(CONFIG.format(root=str(tmp_path / 'stacks')).replace('bands=None', "bands=['b8'], nodata=5"))
    one, said = count(config)
    assert one['bands'] == ['B8']
    assert "LoadRaster', bands=['b8'], nodata=5.0)" in said
    assert 'bands=[' in said


def test_modalities_are_counted_apart(tmp_path: Path, count: Callable[..., tuple[dict, str]]) -> None:
    rng = np.random.default_rng(0)
    rgb, dsm = rng.integers(1, 255, (3, 64, 64)).astype(np.uint8), rng.random((1, 64, 64)).astype(np.float32) * 30
    write(tmp_path / 'a_rgb.tif', rgb, 1)
    write(tmp_path / 'a_dsm.tif', dsm, 1)
    stats, said = count(tmp_path, '--files', 'rgb={scene}_rgb', 'dsm={scene}_dsm')
    assert set(stats) == {'rgb', 'dsm'}
    assert stats['dsm']['mean'] == pytest.approx([dsm.mean()], rel=1e-6)
    assert stats['rgb']['mean'] == pytest.approx(rgb.mean((1, 2)).tolist())
    assert 'model = dict(data_preprocessor=dict(modalities=dict(dsm=dict(mean=' in said
    assert 'max_value=dict(dsm=' in said


def test_files_named_like_bands_that_hold_several_are_images(
    tmp_path: Path, count: Callable[..., tuple[dict, str]]
) -> None:
    """And so are those of one band, if that is said."""
    fine = write_bands(tmp_path)
    for name in ('B1', 'B2'):
        write(tmp_path / 'named' / 'p' / f'{name}.tif', fine['p'], 1)
    counted, _ = count(tmp_path / 'named')
    assert (counted['files'], len(counted['mean'])) == (2, 3)
    counted, _ = count(tmp_path / 'bands', '--files', '{scene}')
    assert (counted['files'], len(counted['mean'])) == (6, 1)


def test_requests_that_contradict_each_other(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    write_bands(tmp_path)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=str(tmp_path / 'stacks')))
    for args, message in (
        ((tmp_path / 'bands',), "add --files '{scene}/{band}' --band-files B11 B8 B9; or, if every file is an image"),
        ((tmp_path / 'bands', '--files', '{scene}/{band}'), 'is one of several bands; say which to take: --band-files'),
        ((tmp_path / 'bands', '--files', '{scene}/{band}', '--band-files', 'B8', 'B1'), "has no file of band 'B1'"),
        ((config, '--band-files', 'B8'), '--band-files is for files; a config says it itself'),
        ((config, '--nodata', '0'), '--nodata is for files; a config says it itself'),
        ((config, '--nodata', 'none'), '--nodata is for files; a config says it itself'),
        ((config, '--nodata-rule', 'any'), '--nodata-rule is for files; a config says it itself'),
        ((tmp_path / 'stacks', '--cfg-options', 'a=1'), '--cfg-options are for a config'),
        ((tmp_path / 'stacks', tmp_path / 'bands', '--files', '{scene}'), '--files is a rule for one source'),
    ):
        code, said = run_tool('band_stats.py', *args)
        assert code == 1
        assert message in said.splitlines()[-1]


def test_tiles_of_bands_with_a_file_each(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    """They lie on the finest grid, and hold what training reads."""
    fine = write_bands(tmp_path)
    out = tmp_path / 'tiles'
    bands = ['B9', 'B8', 'B11']
    code, said = run_tool(
        'tile_scenes.py', tmp_path / 'bands', '--files', '{scene}/{band}', '--band-files', *bands, '--out', out,
        '--size', 48, '--max-nodata', 0.15,
    )  # fmt: skip
    assert code == 0, said
    assert 'left out 4 tiles' in said
    names = sorted(path.stem for path in (out / 'img_dir' / 'train').iterdir())
    assert names == ['p_00048_00000', 'p_00048_00048', 'q_00048_00000', 'q_00048_00048']
    with rasterio.open(out / 'img_dir' / 'train' / 'p_00048_00048.tif') as tile:
        assert tile.descriptions == tuple(bands)
        assert tile.transform == PLACE @ Affine.translation(48, 48)
        assert np.array_equal(tile.read(2), fine['p'][0, 48:, 48:])
        pixels = tile.read()
    load = dict(type='mmrs_ssl.LoadRaster', bands=None)
    options = dict(files='{scene}/{band}', band_files=bands, window=48, sampling='grid', cache_dir=str(tmp_path))
    trained = SceneDataset(str(tmp_path / 'bands'), [load], max_nodata=1.0, **options)[3]['img']
    assert np.abs(trained[8:-8, 8:-8].astype(int) - pixels.transpose(1, 2, 0)[8:-8, 8:-8]).max() <= 1


def test_water_is_no_reason_to_leave_a_tile_out(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 200, (4, 64, 64)).astype(np.uint8)
    pixels[3, :, :32] = 0  # near infrared, which rasterio declares alpha
    with rasterio.open(tmp_path / 'a.tif', 'w', driver='GTiff', count=4, height=64, width=64, dtype='uint8') as file:
        file.write(pixels)
    request = ('tile_scenes.py', tmp_path / 'a.tif', '--size', 32, '--max-nodata', 0.5, '--out')
    assert '4 training' in run_tool(*request, tmp_path / 'one')[1]
    assert '2 training' in run_tool(*request, tmp_path / 'two', '--alpha', 'mask')[1]
