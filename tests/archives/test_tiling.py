"""Tiles: every pixel in one, where it was in its scene, next to its label, and never in both splits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.transform import from_gcps, from_origin

from mmrs_ssl.archives.tiling import TiledScene, check_png, cut_tiles, find_scenes, plan_tiles, starts
from mmrs_ssl.rasters.errors import UnreadableImageError
from mmrs_ssl.rasters.opening import check_sizes
from tests.scenes.places import write_with_points

Array = np.ndarray
PLACE = dict(crs='EPSG:32633', transform=from_origin(400_000, 5_000_000, 2.0, 2.0))


def write(path: Path, pixels: Array, **profile: Any) -> Path:
    """Write (bands, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    driver = 'PNG' if path.suffix == '.png' else 'GTiff'
    shape = dict(count=count, height=height, width=width, dtype=pixels.dtype)
    with rasterio.open(path, 'w', driver=driver, **shape, **profile) as file:
        file.write(pixels)
    return path


def draw(shape: tuple[int, ...], dtype: str = 'uint16', seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


def scenes_of(count: int, side: int = 64) -> list[TiledScene]:
    return [TiledScene(f's{i}', Path(f's{i}.tif'), (side, side)) for i in range(count)]


@pytest.mark.parametrize('length', [64, 65, 100, 128, 200])
@pytest.mark.parametrize('stride', [20, 48, 64])
def test_starts(length: int, stride: int) -> None:
    shifted, dropped = starts(length, 64, stride), starts(length, 64, stride, 'drop')
    seen = np.zeros(length, int)
    for start in shifted:
        assert 0 <= start <= length - 64
        seen[start : start + 64] += 1
    assert seen.min() >= 1
    assert shifted == sorted(set(shifted))
    assert dropped == list(range(0, length - 63, stride))
    assert set(dropped) <= set(shifted)
    assert len(shifted) - len(dropped) == (0 if (length - 64) % stride == 0 else 1)
    assert starts(63, 64, stride) == []


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
def test_tiles_are_parts_of_the_scene(dtype: str, tmp_path: Path) -> None:
    image = draw((4, 150, 200), dtype)
    path = write(
        tmp_path / 'in' / 'scene.tif', image, nodata=255, photometric='minisblack', alpha='unspecified', **PLACE
    )
    with rasterio.open(path, 'r+') as file:
        file.descriptions, file.scales = ('blue', 'green', 'red', 'nir'), (0.5, 1.0, 1.0, 2.0)
    plan = plan_tiles(find_scenes([tmp_path / 'in']), 64, 48)
    assert all(written for _, written in cut_tiles(plan.tiles, tmp_path / 'out', 64))
    files = sorted((tmp_path / 'out').rglob('*.*'))
    assert len(files) == len(plan.tiles) == 3 * 4
    seen = np.zeros((150, 200), bool)
    for file in files:
        assert file.parent == tmp_path / 'out' / 'img_dir' / 'train'
        top, left = map(int, file.stem.removeprefix('scene_').split('_'))
        seen[top : top + 64, left : left + 64] = True
        with rasterio.open(file) as tile:
            np.testing.assert_array_equal(tile.read(), image[:, top : top + 64, left : left + 64])
            assert tile.xy(0, 0) == (400_000 + 2 * left + 1, 5_000_000 - 2 * top - 1)
            assert (tile.crs, tile.res, tile.nodata) == ('EPSG:32633', (2.0, 2.0), 255)
            assert (tile.dtypes[0], tile.descriptions, tile.scales) == (
                dtype,
                ('blue', 'green', 'red', 'nir'),
                (0.5, 1.0, 1.0, 2.0),
            )
            assert ColorInterp.alpha not in tile.colorinterp
    assert seen.all()


@pytest.mark.parametrize('crs', ['EPSG:32633', None])
def test_control_points_travel_along(crs: str | None, tmp_path: Path) -> None:
    """A tile's place is that of its part of the scene, turned and sheared as the scene's points say."""
    place = Affine.translation(400_000, 5_000_000) @ Affine.rotation(20) @ Affine.scale(2, -3)
    path = write_with_points(tmp_path / 'a.tif', draw((2, 80, 100)), place)
    if crs is None:
        rasterio.shutil.copy(path, tmp_path / 'a.vrt', driver='VRT')
        path = tmp_path / 'a.vrt'
        path.write_text(re.sub('<GCPList Projection=.*?>', '<GCPList>', path.read_text(), flags=re.DOTALL))
    for tile, _ in cut_tiles(plan_tiles(find_scenes([path]), 32, 24).tiles, tmp_path, 32):
        with rasterio.open(tmp_path / 'img_dir' / 'train' / f'{tile.name}.tif') as file:
            points, found = file.gcps
            assert found == crs
            expected = place @ Affine.translation(tile.left, tile.top)
            assert from_gcps(points).almost_equals(expected, 1e-6)


def test_masks_and_alpha_travel_along(tmp_path: Path) -> None:
    image = draw((4, 70, 70), 'uint8')
    image[3] = np.tril(image[3])
    write(tmp_path / 'alpha.tif', image, photometric='rgb', alpha='yes', **PLACE)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(tmp_path / 'mask.tif', image[:2], **PLACE)
        with rasterio.open(tmp_path / 'mask.tif', 'r+') as file:
            file.write_mask(image[3])
    out = tmp_path / 'out'
    list(cut_tiles(plan_tiles(find_scenes([tmp_path]), 70, 70).tiles, out, 70))
    assert len(list(out.rglob('*.*'))) == 2
    for name in ('alpha', 'mask'):
        with rasterio.open(out / 'img_dir' / 'train' / f'{name}_00000_00000.tif') as file:
            np.testing.assert_array_equal(file.dataset_mask() > 0, image[3] > 0)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int32'])
def test_labels_lie_under_their_pictures(dtype: str, tmp_path: Path) -> None:
    image = draw((3, 130, 100), 'uint8')
    write(tmp_path / 'in' / 'a' / 'top_1_RGB.tif', image, **PLACE)
    write(tmp_path / 'in' / 'b' / 'top_1_label.tif', image[:1].astype(dtype))
    write(tmp_path / 'in' / 'a' / 'top_1_DSM.tif', image[:1])
    source = [tmp_path / 'in']
    scenes = find_scenes(source, source, '_RGB', '_label')
    assert [scene.name for scene in scenes] == ['top_1']
    list(cut_tiles(plan_tiles(scenes, 64, 50).tiles, tmp_path / 'out', 64, 'png'))
    pictures = sorted((tmp_path / 'out' / 'img_dir').rglob('*.*'))
    labels = sorted((tmp_path / 'out' / 'ann_dir').rglob('*.*'))
    assert [path.name for path in pictures] == [path.name for path in labels]
    assert len(labels) == 3 * 2
    for picture, label in zip(pictures, labels, strict=True):
        top, left = map(int, label.stem.split('_')[2:])
        with rasterio.open(picture) as above, rasterio.open(label) as below:
            np.testing.assert_array_equal(above.read(), image[:, top : top + 64, left : left + 64])
            np.testing.assert_array_equal(below.read(1), image[0, top : top + 64, left : left + 64])
            assert below.dtypes == ('uint16' if dtype == 'uint16' else 'uint8',)


@pytest.mark.parametrize(
    ('label', 'message'),
    [
        (dict(crs='EPSG:32633', transform=Affine(2, 0, 400_000, 0, 2, 5_000_000 - 128)), 'pixels of 2 x 2, but'),
        (dict(crs='EPSG:32634', transform=PLACE['transform']), r'\(400000, 5000000\) of EPSG:32634 with'),
        (dict(crs='EPSG:32633', transform=from_origin(401_000, 5_000_000, 2.0, 2.0)), r'\(401000, 5000000\)'),
        (dict(transform=from_origin(401_000, 5_000_000, 2.0, 2.0)), r'\(401000, 5000000\) with pixels'),
        (PLACE, ''),
        (dict(transform=PLACE['transform']), ''),
        ({}, ''),
    ],
)
def test_labels_that_lie_elsewhere_are_refused(label: dict[str, Any], message: str, tmp_path: Path) -> None:
    """They are cut pixel by pixel: one whose rows go from south to north would be upside down."""
    scene = write(tmp_path / 'img' / 'one.tif', draw((3, 64, 64)), **PLACE)
    path = write(tmp_path / 'ann' / 'one.tif', draw((1, 64, 64), 'uint8'), **label)
    if not message:
        assert len(find_scenes([scene], [path])) == 1
        check_sizes(str(path), str(scene))
        return
    for refuses in (lambda: find_scenes([scene], [path]), lambda: check_sizes(str(path), str(scene))):
        with pytest.raises(ValueError, match=rf'ann/one\.tif lies .*{message}.*img/one\.tif at \(400000, .*gdalwarp'):
            refuses()


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    scene = write(tmp_path / 'img' / 'one.tif', draw((3, 64, 64)))
    labels = tmp_path / 'ann'
    write(labels / 'two.png', draw((1, 64, 64), 'uint8'))
    with pytest.raises(ValueError, match=r'one\.tif has no label: expected one\.\*'):
        find_scenes([scene], [labels])
    write(labels / 'one.png', draw((1, 60, 64), 'uint8'))
    with pytest.raises(ValueError, match=r'one\.tif has 64 x 64 pixels, its label .*one\.png has 64 x 60'):
        find_scenes([scene], [labels])
    write(labels / 'one.png', draw((3, 64, 64), 'uint8'))
    with pytest.raises(ValueError, match=r'one\.png has 3 bands of uint8; expected one band'):
        find_scenes([scene], [labels])
    (labels / 'one.png').unlink()
    write(labels / 'one.tif', draw((1, 64, 64), 'int16') + 200)
    with pytest.raises(ValueError, match=r'one\.tif holds values from \d+ to \d+; expected class numbers 0 to 255'):
        list(cut_tiles(plan_tiles(find_scenes([scene], [labels]), 64, 64).tiles, tmp_path / 'out', 64))
    with pytest.raises(ValueError, match=r'one\.tif is both scene and label'):
        find_scenes([scene], [scene])
    with pytest.raises(FileNotFoundError, match="--label-suffix '_gt'"):
        find_scenes([scene], [labels], label_suffix='_gt')
    write(tmp_path / 'img' / 'more' / 'one.tif', draw((3, 64, 64)))
    with pytest.raises(ValueError, match="are both named 'one'"):
        find_scenes([tmp_path / 'img'])


def test_split_by_scene() -> None:
    scenes = scenes_of(20)
    plan = plan_tiles(scenes, 32, 32, val_share=0.3)
    splits = {scene.name: {tile.split for tile in plan.tiles if tile.scene == scene} for scene in scenes}
    assert all(len(split) == 1 for split in splits.values())
    val = {name for name, split in splits.items() if split == {'val'}}
    assert len(val) == 6
    assert val == {'s1', 's11', 's15', 's19', 's5', 's9'}  # in every run, on every machine
    again = plan_tiles(scenes[::-1], 32, 32, val_share=0.3)
    assert {tile.scene.name for tile in again.tiles if tile.split == 'val'} == val
    assert len(plan.tiles) == 20 * 4
    for share, expected in ((0.01, 1), (0.99, 19)):
        few = plan_tiles(scenes, 32, 32, val_share=share)
        assert len({tile.scene for tile in few.tiles if tile.split == 'val'}) == expected


@pytest.mark.parametrize(('height', 'width'), [(64, 300), (300, 64), (150, 290)])
@pytest.mark.parametrize('stride', [64, 32])
def test_split_of_one_scene(height: int, width: int, stride: int) -> None:
    scene = TiledScene('s', Path('s.tif'), (height, width))
    plan = plan_tiles([scene], 64, stride, val_share=0.25)
    seen = {split: np.zeros((height, width), bool) for split in ('train', 'val')}
    for tile in plan.tiles:
        seen[tile.split][tile.top : tile.top + 64, tile.left : tile.left + 64] = True
    assert not (seen['train'] & seen['val']).any()
    assert seen['val'][-1, -1]
    assert seen['train'][0, 0]
    assert 0.15 < seen['val'].mean() < 0.45
    assert len(plan.tiles) + plan.straddling == len(plan_tiles([scene], 64, stride).tiles)
    assert plan.straddling > 0 or stride == 64


def test_plans_that_cannot_be() -> None:
    with pytest.raises(ValueError, match='too small to be split'):
        plan_tiles(scenes_of(1, 80), 64, 64, val_share=0.2)
    with pytest.raises(ValueError, match='all 2 scenes are smaller than 100 x 100'):
        plan_tiles(scenes_of(2), 100, 100)
    with pytest.raises(ValueError, match='size is 32 and stride 33'):
        plan_tiles(scenes_of(1), 32, 33)
    with pytest.raises(ValueError, match=r'val_share is 1\.0'):
        plan_tiles(scenes_of(2), 32, 32, val_share=1.0)


def test_tiles_with_little_data(tmp_path: Path) -> None:
    image = draw((2, 64, 192), 'float32')
    image[:, :, 80:128] = 0
    image[0, :, :32] = 0  # the other band has data there
    image[:, :48, 128:] = np.nan
    path = write(tmp_path / 'a.tif', image, nodata=0, **PLACE)
    tiles = plan_tiles(find_scenes([path]), 64, 64).tiles
    for limit, expected in ((1.0, [True, True, True]), (0.75, [True, True, True]), (0.74, [True, False, False])):
        out = tmp_path / str(limit)
        assert [written for _, written in cut_tiles(tiles, out, 64, max_nodata=limit)] == expected
        assert len(list(out.rglob('*.tif'))) == sum(expected)


def test_png_holds_not_everything(tmp_path: Path) -> None:
    check_png(find_scenes([write(tmp_path / 'a.tif', draw((1, 64, 64)))]))
    for pixels in (draw((2, 64, 64)), draw((5, 64, 64)), draw((3, 64, 64), 'float32'), draw((1, 64, 64), 'int16')):
        scenes = find_scenes([write(tmp_path / 'a.tif', pixels)])
        with pytest.raises(ValueError, match=rf'a\.tif has {len(pixels)} bands of {pixels.dtype}; .*--format tif'):
            check_png(scenes)


def test_damaged_scene(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.tif', draw((3, 128, 128)))
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(UnreadableImageError, match=r'a\.tif: cannot be read in window \(64, 0, 64, 64\)'):
        list(cut_tiles(plan_tiles(find_scenes([path]), 64, 64).tiles, tmp_path / 'out', 64))
