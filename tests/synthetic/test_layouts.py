"""Folder layouts: the files an archive has, label values its class list has, and GeoTIFFs that say where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import rasterio

from mmrs_ssl.synthetic.canvas import LAND_COVER
from mmrs_ssl.synthetic.layouts import LAYOUTS, write_layout
from mmrs_ssl.synthetic.scene import make_scene
from mmrs_ssl.synthetic.writing import NOTICE, write_geotiff
from mmrs_ssl_commands.main import run_command

ONERA = 'Onera Satellite Change Detection dataset - '

# With 4 scenes of seed 0: number of files without SYNTHETIC.txt, and some that must be among them.
EXPECTED: dict[str, tuple[int, tuple[str, ...]]] = {
    'ucm': (4, ('Images/agricultural/agricultural00.tif', 'Images/river/river00.tif')),
    'aid': (4, ('Farmland/Farmland_1.jpg',)),
    'resisc45': (4, ('rectangular_farmland/rectangular_farmland_001.jpg',)),
    'eurosat': (4, ('AnnualCrop/AnnualCrop_1.jpg',)),
    'eurosat_ms': (4, ('Forest/Forest_1.tif',)),
    'millionaid': (4, ('test/P0000000.jpg', 'test/P0000003.jpg')),
    'folder': (4, ('farmland/farmland_001.png',)),
    'bigearthnet': (52, ('S2A_MSIL2A_20170613T101031_0_0/S2A_MSIL2A_20170613T101031_0_0_B8A.tif',)),
    'potsdam': (8, ('img_dir/train/2_0_0_0_64_64.png', 'ann_dir/val/2_1_0_0_64_64.png')),
    'potsdam_ndsm': (12, ('img_dir/train/2_0_0_0_64_64.png', 'ndsm_dir/train/2_0_0_0_64_64.tif')),
    'vaihingen': (8, ('img_dir/train/area0_0_0_64_64.png', 'ann_dir/val/area1_0_0_64_64.png')),
    'loveda': (8, ('img_dir/train/0.png', 'ann_dir/val/1.png')),
    'dior': (11, ('JPEGImages-trainval/00001.jpg', 'JPEGImages-test/00003.jpg', 'ImageSets/Main/val.txt')),
    'dota': (8, ('train/images/P0000.png', 'val/labelTxt/P0001.txt')),
    'levir_cd': (12, ('train/A/train_1.png', 'val/B/val_2.png', 'test/label/test_3.png')),
    'svcd': (12, ('train/A/00001.jpg', 'val/B/00002.jpg', 'test/OUT/00003.jpg')),
    'second': (16, ('train/im1/00001.png', 'test/label2/00002.png')),
    'oscd': (
        110,
        (
            f'{ONERA}Images/synthetic00/imgs_1_rect/B01.tif',
            f'{ONERA}Images/train.txt',
            f'{ONERA}Test Labels/synthetic01/cm/cm.png',
        ),
    ),
    'us3d': (12, ('Track1-RGB/SYN_000_000_RGB.tif', 'Track1-Truth/SYN_000_003_AGL.tif')),
    'potsdam_height': (8, ('img_dir/train/2_0.tif', 'height_dir/val/2_1.tif')),
    'hr_pairs': (8, ('patch/000000_dom.tif', 'patch/000003_dsm.tif')),
    'seco': (240, ('000000/20200115T100000/B4.tif', '000003/20200915T100000/B8A.tif')),
    'time_series': (16, ('place000/place000_20200115.tif', 'place003/place003_20201015.tif')),
    'geotiff': (12, ('scene_000.tif', 'scene_003_dsm.tif', 'scene_003_classes.tif')),
}
PLAIN = ('ucm',)  # .tif without a position, as in the archive


@pytest.fixture(scope='module')
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every layout with 4 scenes of 64 pixels; the ground sample distance is the layout's own."""
    base = tmp_path_factory.mktemp('layouts')
    for name in LAYOUTS:
        write_layout(name, base / name, scenes=4, size=64)
    return {name: base / name for name in LAYOUTS}


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


@pytest.mark.parametrize('name', LAYOUTS)
def test_files_of_a_layout(name: str, written: dict[str, Path]) -> None:
    count, some = EXPECTED[name]
    files = {path.relative_to(written[name]).as_posix() for path in written[name].rglob('*') if path.is_file()}
    assert NOTICE in (written[name] / 'SYNTHETIC.txt').read_text()
    assert len(files - {'SYNTHETIC.txt'}) == count
    assert set(some) <= files


@pytest.mark.parametrize('name', LAYOUTS)
def test_every_raster_opens_and_is_not_blank(name: str, written: dict[str, Path]) -> None:
    for path in written[name].rglob('*'):
        if path.suffix == '.tif' and name not in PLAIN:
            with rasterio.open(path) as file:
                assert file.crs.to_epsg() == 32633
                assert file.tags()['DESCRIPTION'] == NOTICE
                assert file.res[0] * file.width == pytest.approx(LAYOUTS[name].gsd * 64)
                assert file.transform.e < 0
                assert np.isfinite(file.read()).all()
        elif path.suffix in ('.png', '.jpg', '.tif'):
            assert read(path).shape[:2] == (64, 64)


def test_geotiff_metadata(tmp_path: Path) -> None:
    values = np.arange(300 * 280 * 3, dtype=np.uint16).reshape(300, 280, 3)
    path = tmp_path / 'deep' / 'a.tif'
    write_geotiff(path, values, 0.5, (100.0, 900.0), 'EPSG:25832', nodata=7, band_names=('r', 'g', 'b'))
    with rasterio.open(path) as file:
        assert (file.count, file.height, file.width, file.dtypes[0]) == (3, 300, 280, 'uint16')
        assert file.crs.to_epsg() == 25832
        assert tuple(file.transform)[:6] == (0.5, 0.0, 100.0, 0.0, -0.5, 900.0)
        assert file.nodata == 7
        assert file.descriptions == ('r', 'g', 'b')
        assert file.block_shapes[0] == (256, 256)
        assert file.compression.name == 'deflate'
        np.testing.assert_array_equal(file.read(), values.transpose(2, 0, 1))
    with pytest.raises(ValueError, match='2 band_names for 3 bands'):
        write_geotiff(path, values, 0.5, band_names=('r', 'g'))
    with pytest.raises(ValueError, match='shape'):
        write_geotiff(path, values[0, 0], 0.5)


@pytest.mark.parametrize(('name', 'highest'), [('potsdam', 6), ('vaihingen', 6), ('loveda', 7)])
def test_segmentation_labels(name: str, highest: int, written: dict[str, Path]) -> None:
    labels = {path.name: read(path) for path in written[name].glob('ann_dir/*/*.png')}
    values = np.unique(np.stack(list(labels.values())))
    assert values.min() == 0
    assert len(values) >= 4
    assert values.max() <= highest
    for split in ('train', 'val'):
        pictures = {path.name for path in (written[name] / 'img_dir' / split).iterdir()}
        assert pictures == {path.name for path in (written[name] / 'ann_dir' / split).iterdir()} != set()


def test_potsdam_label_follows_the_land_cover(written: dict[str, Path]) -> None:
    scene = make_scene('farmland', 0, 64, LAYOUTS['potsdam'].gsd)
    label = read(written['potsdam'] / 'ann_dir/train/2_0_0_0_64_64.png')
    picture = read(written['potsdam'] / 'img_dir/train/2_0_0_0_64_64.png')
    np.testing.assert_array_equal(picture[..., ::-1], scene.rgb())
    for number, cover in enumerate(LAND_COVER[:6], 1):
        soil = cover == 'low_vegetation'
        kinds = [LAND_COVER.index(cover)] + ([LAND_COVER.index('bare_soil')] if soil else [])
        kinds += [LAND_COVER.index('water')] if cover == 'background' else []
        expected = np.isin(scene.land_cover, kinds)[1:-1, 1:-1]
        np.testing.assert_array_equal(label[1:-1, 1:-1] == number, expected)


def test_vaihingen_is_infrared_red_green(written: dict[str, Path]) -> None:
    scene = make_scene('forest', 1, 64, LAYOUTS['vaihingen'].gsd)
    picture = read(written['vaihingen'] / 'img_dir/val/area1_0_0_64_64.png')[..., ::-1]
    np.testing.assert_array_equal(picture[..., 1:], scene.rgb()[..., :2])
    np.testing.assert_array_equal(picture[..., 0], scene.multispectral(4, np.uint8)[..., 3])


def test_sentinel_bands_have_their_own_resolution(written: dict[str, Path]) -> None:
    patch = written['bigearthnet'] / 'S2A_MSIL2A_20170613T101031_2_0'
    for band, side in (('B02', 64), ('B05', 32), ('B8A', 32), ('B01', 10)):
        with rasterio.open(patch / f'{patch.name}_{band}.tif') as file:
            assert (file.width, file.dtypes[0]) == (side, 'uint16')
    record = json.loads((patch / f'{patch.name}_labels_metadata.json').read_text())
    assert 'Water bodies' in record['labels']
    assert record['tile_source'] == NOTICE
    with rasterio.open(written['eurosat_ms'] / 'Forest' / 'Forest_1.tif') as file:
        assert file.count == 13
        assert file.descriptions[7] == 'B08'
        bands = file.read()
        assert bands[7].mean() > bands[3].mean()  # a forest is brighter in the near infrared than in red
    assert not list(written['seco'].rglob('B10.tif'))


def test_bigearthnet_has_120_20_pixel_bands_by_default(tmp_path: Path) -> None:
    files = write_layout('bigearthnet', tmp_path, scenes=1)
    sizes = {path.stem[-3:]: rasterio.open(path).width for path in files if path.suffix == '.tif'}
    assert (sizes['B02'], sizes['B11'], sizes['B09']) == (120, 60, 20)
    assert len(sizes) == 12


def test_dior_boxes_lie_in_the_picture(tmp_path: Path) -> None:
    write_layout('dior', tmp_path, scenes=4, size=128)
    records = sorted((tmp_path / 'Annotations' / 'Horizontal Bounding Boxes').iterdir())
    things = 0
    for record in records:
        root = ElementTree.parse(record).getroot()
        assert root.findtext('size/width') == '128'
        for thing in root.iter('object'):
            left, top, right, bottom = (
                int(thing.findtext(f'bndbox/{k}') or -1) for k in ('xmin', 'ymin', 'xmax', 'ymax')
            )
            assert 1 <= left < right <= 128
            assert 1 <= top < bottom <= 128
            assert thing.findtext('name') in ('vehicle', 'storagetank')
            things += 1
    assert things > 20
    members = [
        (tmp_path / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split() for split in ('train', 'val', 'test')
    ]
    assert sorted(stem for split in members for stem in split) == [record.stem for record in records]
    assert all(members)


def test_dota_lines(tmp_path: Path) -> None:
    write_layout('dota', tmp_path, scenes=4, size=128)
    count = 0
    for path in tmp_path.glob('*/labelTxt/*.txt'):
        source, gsd, *lines = path.read_text().splitlines()
        assert (source, gsd) == ('imagesource:synthetic', 'gsd:0.3')
        for line in lines:
            *corners, category, difficult = line.split()
            assert len(np.array(corners, float)) == 8
            assert category in ('small-vehicle', 'large-vehicle', 'storage-tank')
            assert difficult == '0'
            count += 1
    assert count > 20


@pytest.mark.parametrize(('name', 'labels'), [('levir_cd', 'label'), ('svcd', 'OUT')])
def test_change_labels_are_black_and_white(name: str, labels: str, written: dict[str, Path]) -> None:
    masks = np.stack([read(path) for path in written[name].glob(f'*/{labels}/*')])
    far = np.minimum(masks, 255 - masks)
    assert far.max() == 0 if name == 'levir_cd' else np.percentile(far, 95) < 20  # JPEG rings at the edges
    assert 0.001 < (masks > 127).mean() < 0.5
    for path in written[name].glob('*/A/*'):
        assert (read(path) != read(path.parents[1] / 'B' / path.name)).mean() > 0.5


def test_second_colors(written: dict[str, Path]) -> None:
    palette = {(255, 255, 255), (128, 128, 128), (0, 255, 0), (0, 128, 0), (0, 0, 255), (128, 0, 0)}
    for path in written['second'].glob('*/label1/*.png'):
        one, two = (read(path.parents[1] / f'label{k}' / path.name)[..., ::-1] for k in (1, 2))
        assert {tuple(color) for color in np.unique(np.stack([one, two]).reshape(-1, 3), axis=0).tolist()} <= palette
        white = [(label == 255).all(-1) for label in (one, two)]
        np.testing.assert_array_equal(*white)
        assert not (one[~white[0]] == two[~white[0]]).all(-1).any()


def test_labels_of_second_are_of_their_own_date(written: dict[str, Path]) -> None:
    classes, built = ('residential', 'industrial', 'forest', 'water'), LAND_COVER.index('building')
    for path in written['second'].glob('*/label1/*.png'):
        index = int(path.stem) - 1
        for date in (0, 1):
            scene = make_scene(classes[index], index, 64, LAYOUTS['second'].gsd, date)
            label = read(path.parents[1] / f'label{date + 1}' / path.name)[..., ::-1]
            changed, maroon = (label != 255).any(-1), (label == (128, 0, 0)).all(-1)
            np.testing.assert_array_equal(maroon, changed & (scene.land_cover == built))


def test_heights_are_above_ground_and_aligned(written: dict[str, Path]) -> None:
    root = written['us3d'] / 'Track1-Truth'
    for path in sorted(root.glob('*_AGL.tif')):
        with rasterio.open(path) as height, rasterio.open(str(path).replace('AGL', 'CLS')) as kind:
            assert height.dtypes[0] == 'float32'
            np.testing.assert_array_equal(height.read(1) > 2, np.isin(kind.read(1), (5, 6)))
    patch = written['hr_pairs'] / 'patch'
    with rasterio.open(patch / '000001_dom.tif') as dom, rasterio.open(patch / '000001_dsm.tif') as dsm:
        assert dom.transform == dsm.transform
        assert (dom.count, dsm.count) == (3, 1)


def test_scenes_of_a_layout_lie_side_by_side(written: dict[str, Path]) -> None:
    root = written['geotiff']
    with rasterio.open(root / 'scene_000.tif') as first, rasterio.open(root / 'scene_001.tif') as second:
        assert first.bounds.right == second.bounds.left
        assert first.descriptions[3] == 'nir'


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown layout 'imagenet'"):
        write_layout('imagenet', tmp_path)
    with pytest.raises(ValueError, match='scenes is 0'):
        write_layout('folder', tmp_path, scenes=0)
    with pytest.raises(ValueError, match='at least one for each of train, val, test'):
        write_layout('levir_cd', tmp_path, scenes=2, size=64)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / 'out')
    assert run_command('make-scenes', [out, '--layout', 'folder', '--scenes', '2', '--size', '32']) == 0
    said = capsys.readouterr().out
    assert 'synthetic' in said
    assert '3 files' in said
    assert run_command('make-scenes', [out, '--layout', 'folder']) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert '--overwrite' in error
    assert run_command('make-scenes', [out, '--layout', 'folder', '--scenes', '2', '--size', '32', '--overwrite']) == 0
    assert run_command('make-scenes', [str(tmp_path / 'new'), '--layout', 'imagenet']) == 2
    assert "unknown layout 'imagenet'" in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()
