"""tools/tile_scenes.py: tiles, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from mmrs_ssl.rasters.arrays import Array
from mmrs_ssl.rasters.grid import Grid, Window
from mmrs_ssl.rasters.header import read_header
from mmrs_ssl.rasters.nodata import Marks
from mmrs_ssl.rasters.reader import OpenRaster
from tests.archives.test_tiling import PLACE, draw, write
from tests.loopback import serve


def test_tool(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    scenes, labels, out = tmp_path / 'img', tmp_path / 'ann', tmp_path / 'out'
    for index in range(4):
        write(scenes / f's{index}.tif', draw((3, 100, 64 + 10 * index), 'uint8', index), **PLACE)
        write(labels / f's{index}.png', draw((1, 100, 64 + 10 * index), 'uint8', index))
    write(scenes / 'tiny.tif', draw((3, 20, 100), 'uint8'))
    write(labels / 'tiny.png', draw((1, 20, 100), 'uint8'))
    request = ('tile_scenes.py', scenes, '--labels', labels, '--out', out, '--size', 64, '--val-share', 0.25)
    code, said = run_tool(*request)
    assert code == 0
    files = {split: sorted((out / 'img_dir' / split).iterdir()) for split in ('train', 'val')}
    assert f'{len(files["train"])} training and {len(files["val"])} validation tiles' in said
    assert sum(map(len, files.values())) == 2 * 1 + 3 * 4
    assert {path.stem[:2] for path in files['train']} | {path.stem[:2] for path in files['val']} == {
        's0',
        's1',
        's2',
        's3',
    }
    assert 'passed over 1 scenes smaller than a tile' in said
    assert 'tiny.tif (100 x 20)' in said
    assert {path.suffix for path in out.rglob('*') if path.is_file()} == {'.tif', '.png'}
    for split in files:
        assert [path.stem for path in sorted((out / 'ann_dir' / split).iterdir())] == [
            path.stem for path in files[split]
        ]
    code, said = run_tool(*request)
    assert code == 1
    assert said.splitlines()[-1] == f'error: {out} is not an empty folder; choose another one or add --overwrite'
    assert run_tool(*request, '--overwrite')[0] == 0
    code, said = run_tool('tile_scenes.py', scenes, '--out', tmp_path / 'new', '--size', 64, '--max-nodata', 2)
    assert code == 1
    assert '--max-nodata is 2.0' in said.splitlines()[-1]
    code, said = run_tool('tile_scenes.py', scenes, '--out', tmp_path / 'new', '--size', 64, '--stride', 0)
    assert code == 1
    assert 'size is 64 and stride 0' in said.splitlines()[-1]
    assert not (tmp_path / 'new').exists()


def test_tool_asks_the_network_only_if_told_to(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    write(tmp_path / 'served' / 'a.tif', draw((3, 64, 64), 'uint8'))
    with serve(tmp_path / 'served') as (address, asked):
        request = ('tile_scenes.py', f'{address}/a.tif', '--out', tmp_path / 'out', '--size', 32)
        code, said = run_tool(*request)
        assert code == 1
        assert 'lies on the network' in said.splitlines()[-1]
        assert not asked
        assert run_tool(*request, '--allow-remote')[0] == 0
        assert asked
    assert len(list((tmp_path / 'out/img_dir/train').glob('a_*.tif'))) == 4


COLORS = {0: (0, 0, 0, 255), 1: (200, 10, 10, 255), 2: (10, 200, 10, 255), 3: (90, 80, 70, 255)}


def cut(run_tool: Callable[..., tuple[int, str]], out: Path, *args: object) -> list[Path]:
    code, said = run_tool('tile_scenes.py', *args, '--out', out)
    assert code == 0, said
    return sorted((out / 'img_dir' / 'train').iterdir())


def refused(run_tool: Callable[..., tuple[int, str]], source: Path, *args: object) -> str:
    code, said = run_tool('tile_scenes.py', source, *args, '--size', 32, '--out', source.parent / 'never')
    assert code == 1
    return said.splitlines()[-1]


def loaded(path: Path, bands: Sequence[int], **place: Any) -> tuple[Array, Array]:
    """Read as training does: the pixels, and which hold data."""
    raster = OpenRaster(str(path), **place)
    pixels, valid = raster.read(list(bands), Window(0, 0, 32, 32) if place else None)
    raster.close()
    return pixels, np.ones(pixels.shape, bool) if valid is None else valid


def test_bands_are_chosen(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw((4, 32, 32))
    path = write(tmp_path / 'in' / 'a.tif', image, **PLACE)
    with rasterio.open(path, 'r+') as file:
        file.descriptions, file.scales = ('blue', 'green', 'red', 'nir'), (1, 2, 3, 4)
    config = tmp_path / 'config.py'
    data = dict(type='mmrs_ssl.SceneDataset', data_root=str(path.parent), window=32)
    data['pipeline'] = [dict(type='mmrs_ssl.LoadRaster', bands=[3, 1], unscale=True)]
    config.write_text(f"default_scope = 'mmpretrain'\ntrain_dataloader = dict(dataset={data!r})\n")
    for number, request in enumerate(([path, '--bands', 3, 1], [path, '--bands', 'NIR', 'green'], [config])):
        [tile] = cut(run_tool, tmp_path / str(number), *request, '--size', 32)
        with rasterio.open(tile) as file:
            assert (file.read() == image[[3, 1]]).all()
            assert (file.descriptions, file.scales) == (('nir', 'green'), (4, 2))
    assert 'PNG holds no scales' in refused(run_tool, config, '--format', 'png')
    assert 'train on the tiles with unscale=True' in refused(run_tool, path, '--scale')
    assert 'a.tif has 4 bands (0 to 3, ' in refused(run_tool, path, '--bands', 7)


def test_what_other_bands_said_of_empty_pixels(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    """The value counts where all bands of the scene hold it; an alpha channel that is left out masks."""
    image = draw((3, 32, 32), 'uint8')
    image[:2, :8] = 0
    image[2, :4] = 0
    path = write(tmp_path / 'a.tif', image, nodata=0, **PLACE)
    [tile] = cut(run_tool, tmp_path / 'zeros', path, '--bands', 0, 1, '--size', 32)
    pixels, valid = loaded(tile, [0, 1])
    assert (pixels == image[:2]).all()
    assert valid.mean(axis=(0, 2)).tolist() == [0] * 4 + [1] * 28
    alpha = np.concatenate([draw((3, 32, 32), 'uint8'), np.full((1, 32, 32), 255, 'uint8')])
    alpha[3, :, :5] = 0
    path = write(tmp_path / 'b.tif', alpha, photometric='rgb', alpha='yes', **PLACE)
    [tile] = cut(run_tool, tmp_path / 'alpha', path, '--bands', 2, 1, 0, '--size', 32)
    pixels, valid = loaded(tile, [0, 1, 2])
    assert (pixels == alpha[2::-1]).all()
    assert valid.mean(axis=(0, 1)).tolist() == [0] * 5 + [1] * 27


@pytest.mark.parametrize('kind', ['tif', 'png'])
def test_palettes(kind: str, tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    indices = np.random.default_rng(0).integers(0, 4, (1, 32, 32), 'uint8')
    indices[0, :3] = 0
    path = tmp_path / 'in' / 'a.tif'
    path.parent.mkdir()
    nodata = dict(nodata=0) if kind == 'tif' else {}
    profile = dict(driver='GTiff', count=1, height=32, width=32, dtype='uint8', photometric='palette', **nodata)
    with rasterio.open(path, 'w', **profile, **PLACE) as file:
        file.write_colormap(1, COLORS)
        file.write(indices)
    [tile] = cut(run_tool, tmp_path / 'out', path, '--size', 32, '--format', kind)
    colors = np.array([COLORS[number][:3] for number in range(4)], 'uint8')[indices[0]].transpose(2, 0, 1)
    pixels, valid = loaded(tile, [0, 1, 2])
    with rasterio.open(tile) as file:
        assert (file.read() == indices).all()
    assert (pixels == colors).all()
    assert (valid == (indices > 0 if kind == 'tif' else True)).all()
    [tile] = cut(run_tool, tmp_path / 'red', path, '--size', 32, '--bands', 0)
    with rasterio.open(tile) as file:
        assert (file.read(1) == colors[0]).all()


def write_scene(root: Path, bands: dict[str, Array], **profile: Any) -> None:
    """Write bands of 20 m, on half as many pixels, beside those of 10 m."""
    for name, pixels in bands.items():
        step = 10 * 32 / len(pixels)
        place = dict(crs='EPSG:32633', transform=from_origin(400_000, 5_000_000, step, step))
        write(root / 's' / f'{name}.tif', pixels[None], **place, **profile)


def test_bands_in_files_of_their_own(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    """Of several types, and empty where a value says so that no file declares."""
    fine, coarse = draw((32, 32), 'float32'), draw((16, 16), 'int16')
    fine[20:, :6] = -9999
    coarse[:6, 8:] = -9999
    write_scene(tmp_path / 'in', dict(f=fine, c=coarse))
    request = (tmp_path / 'in', '--files', '{scene}/{band}', '--band-files', 'c', 'f', '--size', 32)
    [tile] = cut(run_tool, tmp_path / 'out', *request, '--nodata', -9999)
    pixels, valid = loaded(tile, [0, 1])
    with rasterio.open(tile) as file:
        assert (file.nodata, file.descriptions, file.dtypes) == (-9999, ('c', 'f'), ('float32', 'float32'))
    assert (pixels[~valid] == -9999).all()
    assert pixels[valid].min() >= 1  # none is made of numbers and -9999
    assert (valid[1] == (fine != -9999)).all()
    assert (pixels[1] == fine).all()
    grid = Grid(read_header(str(tmp_path / 'in/s/f.tif')).grid.crs, (10, 0, 400_000, 0, -10, 5_000_000))
    trained, holds = loaded(tmp_path / 'in/s/c.tif', [0], grid=grid, shape=(32, 32), marks=Marks(-9999.0))
    assert (valid[0] == holds[0]).all()
    assert (pixels[0][valid[0]] == trained[0][holds[0]]).all()
    [tile] = cut(run_tool, tmp_path / 'all', *request, '--nodata', 'none')
    with rasterio.open(tile) as file:
        assert np.isnan(file.nodata)
        assert file.read(2).min() == -9999


def test_masks_of_bands_in_files_of_their_own(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    bands = dict(a=draw((32, 32), 'uint8'), b=draw((32, 32), 'int64', 1) + 2**40)
    write_scene(tmp_path / 'in', bands)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / 'in/s/a.tif', 'r+') as file:
        file.write_mask(np.arange(32)[:, None].repeat(32, 1) >= 9)
    request = ('--files', '{scene}/{band}', '--band-files', 'a', 'b', '--size', 32)
    [tile] = cut(run_tool, tmp_path / 'out', tmp_path / 'in', *request)
    pixels, valid = loaded(tile, [0, 1])
    assert valid.mean(axis=(0, 2)).tolist() == [0] * 9 + [1] * 23
    assert pixels.dtype == 'int64'
    assert (pixels == np.stack(list(bands.values()))).all()
    message = refused(run_tool, tmp_path / 'in', *request, '--bands', 0)
    assert 'chosen with --band-files' in message


def test_single_masks_of_decimal_numbers(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    bands = dict(a=draw((32, 32), 'float32'), b=draw((32, 32), 'uint8', 1))
    write_scene(tmp_path / 'in', bands)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / 'in/s/b.tif', 'r+') as file:
        file.write_mask(np.arange(32)[:, None].repeat(32, 1) >= 9)
    request = ('--files', '{scene}/{band}', '--band-files', 'a', 'b', '--size', 32)
    [tile] = cut(run_tool, tmp_path / 'out', tmp_path / 'in', *request)
    pixels, valid = loaded(tile, [0, 1])
    assert (pixels[0] == bands['a']).all()
    assert (pixels[1, 9:] == bands['b'][9:]).all()
    assert valid.mean(axis=2).tolist() == [[1] * 32, [0] * 9 + [1] * 23]


def test_the_value_that_means_no_data(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    image = draw((2, 32, 32), 'int16')
    image[0, 5] = -9999
    path = write(tmp_path / 'a.tif', image, nodata=7, **PLACE)
    for asked, written in (([], 7), (['--nodata', -9999], -9999), (['--nodata', 'none'], None)):
        [tile] = cut(run_tool, tmp_path / f'out{written}', path, '--size', 32, *asked)
        with rasterio.open(tile) as file:
            assert file.nodata == written
            assert (file.read() == image).all()
    [tile] = (tmp_path / 'out-9999/img_dir/train').iterdir()
    assert (loaded(tile, [0, 1])[1] == (image != -9999)).all()


def test_scenes_have_the_same_bands(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    for name, order in (('a', 'rgb'), ('b', 'bgr')):
        path = write(tmp_path / 'in' / f'{name}.tif', draw((3, 32, 32), 'uint8'), **PLACE)
        with rasterio.open(path, 'r+') as file:
            file.descriptions = tuple(order)
    message = refused(run_tool, tmp_path / 'in')
    assert "named 'r' in one and 'b' in the other" in message or "named 'b' in one and 'r' in the other" in message
    assert len(cut(run_tool, tmp_path / 'out', tmp_path / 'in', '--size', 32, '--ignore-names')) == 2
    for tile in cut(run_tool, tmp_path / 'named', tmp_path / 'in', '--size', 32, '--bands', 'r', 'g', 'b'):
        with rasterio.open(tile) as file:
            assert file.descriptions == ('r', 'g', 'b')


def test_alpha_is_settled_for_all_scenes(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    infrared, mask = draw((4, 32, 32), 'uint8'), draw((4, 32, 32), 'uint8')
    mask[3] = 255
    mask[3, :16] = 0
    write(tmp_path / 'in' / 'a.tif', infrared, alpha='yes', **PLACE)
    write(tmp_path / 'in' / 'b.tif', mask, alpha='yes', **PLACE)
    assert 'an alpha channel whose values are those of a mask' in refused(run_tool, tmp_path / 'in')
    for tile in cut(run_tool, tmp_path / 'data', tmp_path / 'in', '--size', 32, '--alpha', 'data'):
        with rasterio.open(tile) as file:
            assert ColorInterp.alpha not in file.colorinterp
            assert (file.read() == (mask if tile.stem[0] == 'b' else infrared)).all()
    tiles = cut(run_tool, tmp_path / 'masks', tmp_path / 'in', '--size', 32, '--alpha', 'mask', '--max-nodata', 0.4)
    assert [tile.stem[0] for tile in tiles] == ['a']
    with rasterio.open(tiles[0]) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    mask[3] = 0  # of water, as the other scene says: no mask
    write(tmp_path / 'in' / 'b.tif', mask, alpha='yes', **PLACE)
    assert len(cut(run_tool, tmp_path / 'water', tmp_path / 'in', '--size', 32, '--max-nodata', 0.5)) == 2


def test_bands_with_values_of_their_own(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    """A tile has one value for all bands: in decimal numbers, one that no pixel with data can have."""
    image = draw((2, 32, 32), 'float32')
    image[0, :4] = -1
    image[1, :9] = -2
    image[1, 20:] = -1  # which is data in this band
    path = write(tmp_path / 'a.tif', image, nodata=-1, **PLACE)
    rasterio.shutil.copy(path, tmp_path / 'a.vrt', driver='VRT')
    first, _, second = (tmp_path / 'a.vrt').read_text().partition('<VRTRasterBand dataType="Float32" band="2"')
    text = first + _ + second.replace('<NoDataValue>-1<', '<NoDataValue>-2<').replace('<NODATA>-1<', '<NODATA>-2<')
    (tmp_path / 'a.vrt').write_text(text)
    [tile] = cut(run_tool, tmp_path / 'out', tmp_path / 'a.vrt', '--size', 32)
    pixels, valid = loaded(tile, [0, 1])
    assert valid.mean(axis=2).tolist() == [[0] * 4 + [1] * 28, [0] * 9 + [1] * 23]
    assert (pixels[valid] == image[valid]).all()


def test_scenes_are_named_by_their_rule(tmp_path: Path, run_tool: Callable[..., tuple[int, str]]) -> None:
    for number, name in enumerate(('one', 'two')):
        write(tmp_path / 'in' / name / 'img.tif', draw((3, 32, 32), 'uint8', number), **PLACE)
        write(tmp_path / 'ann' / f'{name}_gt.png', draw((1, 32, 32), 'uint8', number))
    request = (tmp_path / 'in', '--files', '{scene}/img', '--labels', tmp_path / 'ann', '--label-suffix', '_gt')
    tiles = cut(run_tool, tmp_path / 'out', *request, '--size', 32)
    assert [tile.stem for tile in tiles] == ['one_00000_00000', 'two_00000_00000']
    for number, tile in enumerate(tiles):
        with rasterio.open(tile) as file, rasterio.open(tmp_path / f'out/ann_dir/train/{tile.stem}.png') as label:
            assert (file.read() == draw((3, 32, 32), 'uint8', number)).all()
            assert (label.read() == draw((1, 32, 32), 'uint8', number)).all()
    assert 'say it in --files' in refused(run_tool, *request, '--image-suffix', '_x')
