"""Scripts that prepare archives refuse what is not whole."""

import json
import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmrs_ssl.synthetic.layouts import write_layout
from tests.downstream import FOLDER, US3D

COLORS = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0], [0] * 3])


def write_scene(root, scene, label=True, image=True):
    """A scene of Potsdam, named as in the archive, and its colored label."""
    rng = np.random.default_rng(0)
    pictures = {}
    if image:
        pictures[f'rgb/top_potsdam_{scene}_RGB.tif'] = rng.integers(0, 256, (48, 64, 3))
    if label:
        pictures[f'labels/top_potsdam_{scene}_label.tif'] = COLORS[rng.integers(0, 7, (48, 64)), ::-1]
    for name, values in pictures.items():
        (root / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(root / name), values.astype(np.uint8))


@pytest.fixture
def tile(tmp_path, run_tool):
    """Cuts the scenes of a small Potsdam."""
    write_scene(tmp_path, '2_10')
    write_scene(tmp_path, '7_13')
    sources = ['--images', tmp_path / 'rgb', '--labels', tmp_path / 'labels', '--out', tmp_path / 'out']
    sources += ['--size', 32, '--stride', 32]
    return lambda *options: run_tool('prepare/segmentation.py', 'potsdam', *sources, *options)


def test_segmentation_does_not_mix_two_cuts(tile, tmp_path):
    assert tile()[0] == 0
    before = sorted((tmp_path / 'out').rglob('*'))
    code, text = tile('--stride', 16)
    assert code == 1
    assert 'is there already' in text
    assert sorted((tmp_path / 'out').rglob('*')) == before


def test_segmentation_wants_the_image_of_every_label(tile, tmp_path):
    write_scene(tmp_path, '3_10', image=False)
    code, text = tile()
    assert code == 1
    assert re.search(r'error: .*3_10', text)


def test_segmentation_passes_over_images_without_label(tile, tmp_path):
    write_scene(tmp_path, '3_10', label=False)
    assert tile()[0] == 0
    assert not list((tmp_path / 'out').rglob('3_10*'))


def test_segmentation_knows_the_scenes(tile, tmp_path):
    write_scene(tmp_path, '9_99')
    code, text = tile()
    assert code == 1
    assert '9_99' in text.splitlines()[-1]


def test_segmentation_wants_the_labels_colors(tile, tmp_path):
    (tmp_path / 'labels/top_potsdam_2_10_label.tif').write_bytes(
        (tmp_path / 'rgb/top_potsdam_2_10_RGB.tif').read_bytes()
    )
    code, text = tile()
    assert code == 1
    assert 'of the pixels have colors that are no class' in text


def test_segmentation_wants_one_label_of_a_scene(tile, tmp_path):
    label = tmp_path / 'labels/top_potsdam_2_10_label.tif'
    label.with_name('top_potsdam_2_10_label_noBoundary.tif').write_bytes(label.read_bytes())
    code, text = tile()
    assert code == 1
    assert re.search(r"error: .*label.*label_noBoundary.*'2_10'", text)


@pytest.fixture
def heights(tmp_path, run_tool):
    """Prepares a small US3D."""
    write_layout('us3d', tmp_path / 'us3d', scenes=4, size=32)
    folders = [tmp_path / 'us3d/Track1-RGB', tmp_path / 'us3d/Track1-Truth']
    return lambda *options: run_tool('prepare/height.py', *folders, *US3D, '--out', tmp_path / 'out', *options)


def test_another_seed_does_not_mix_training_and_validation_heights(heights):
    assert heights()[0] == 0
    code, text = heights('--seed', 1)
    assert code == 1
    assert 'is there already' in text


def test_heights_want_both_of_a_pair(heights, tmp_path):
    (tmp_path / 'us3d/Track1-RGB/SYN_000_002_RGB.tif').unlink()
    code, text = heights()
    assert code == 1
    assert re.search(r'error: .*SYN_0_2', text)


def test_two_heights_of_one_name(heights, tmp_path):
    path = tmp_path / 'us3d/Track1-Truth/SYN_000_002_AGL.tif'
    path.with_name('SYN_0_2_AGL.tif').write_bytes(path.read_bytes())
    code, text = heights()
    assert code == 1
    assert "both named 'SYN_0_2'" in text


def test_dota_wants_the_picture_of_every_label(tmp_path, run_tool):
    write_layout('dota', tmp_path / 'dota', scenes=4, size=64)
    next((tmp_path / 'dota/train/images').iterdir()).unlink()
    code, text = run_tool('prepare/dota.py', tmp_path / 'dota', '--out', tmp_path / 'out')
    assert code == 1
    assert re.search(r'error: .*P000', text)


def test_dota_takes_gray_pictures(tmp_path, run_tool):
    write_layout('dota', tmp_path / 'dota', scenes=4, size=64)
    path = next((tmp_path / 'dota/val/images').iterdir())
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(path), gray)
    code, text = run_tool('prepare/dota.py', tmp_path / 'dota', '--out', tmp_path / 'out')
    assert code == 0, text
    tile = cv2.imread(str(tmp_path / f'out/val/{path.stem}_00000_00000.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(tile, np.stack([gray] * 3, -1))


def test_small_pictures_of_dota_are_not_enlarged(tmp_path, run_tool):
    write_layout('dota', tmp_path / 'dota', scenes=4, size=64)
    assert run_tool('prepare/dota.py', tmp_path / 'dota', '--out', tmp_path / 'out')[0] == 0
    cfg = Config.fromfile(FOLDER / 'detection/faster-rcnn_resnet50_fpn_8xb2-12e_dota-1024px.py')
    init_default_scope('mmdet')
    for split in ('train', 'val'):
        dataset = DATASETS.build({**cfg[f'{split}_dataloader'].dataset, 'data_root': str(tmp_path / 'out')})
        assert dataset[0]['inputs'].shape == (3, 64, 64)
        assert dataset[0]['data_samples'].scale_factor == (1, 1)


@pytest.mark.parametrize('name', [path.stem for path in FOLDER.glob('detection/*_dota-*.py')])
def test_dota_tiles_may_hold_hundreds_of_objects(name):
    cfg = Config.fromfile(FOLDER / f'detection/{name}.py').model.test_cfg
    assert cfg.get('rcnn', cfg).max_per_img == 1000


@pytest.mark.parametrize('part', ['im2', 'label1', 'label2'])
def test_second_wants_four_equal_folders(part, tmp_path, run_tool):
    write_layout('second', tmp_path / 'second', scenes=6, size=32)
    missing = next((tmp_path / 'second/train' / part).iterdir())
    missing.unlink()
    code, text = run_tool('prepare/second.py', tmp_path / 'second', '--out', tmp_path / 'out')
    assert code == 1
    assert re.search(rf'error: .*{missing.name}.*missing', text)


def test_second_does_not_mix_two_archives(tmp_path, run_tool):
    write_layout('second', tmp_path / 'second', scenes=6, size=32)
    options = [tmp_path / 'second', '--out', tmp_path / 'out']
    assert run_tool('prepare/second.py', *options)[0] == 0
    code, text = run_tool('prepare/second.py', *options)
    assert code == 1
    assert 'is there already' in text


def test_second_as_unpacked(tmp_path, run_tool):
    write_layout('second', tmp_path / 'second', scenes=6, size=32)
    (tmp_path / 'second/train').rename(tmp_path / 'second/SECOND_train_set')
    code, text = run_tool('prepare/second.py', tmp_path / 'second', '--out', tmp_path / 'out')
    assert code == 0, text
    assert {path.name for path in (tmp_path / 'out/train').iterdir()} == {'im1', 'im2', 'label', 'label1', 'label2'}


def test_bigearthnet_wants_known_classes(tmp_path, run_tool):
    write_layout('bigearthnet', tmp_path / 'ben', scenes=4, size=24)
    options = [tmp_path / 'ben', '--out', tmp_path / 'out']
    path = next((tmp_path / 'ben').glob('*/*.json'))
    text = path.read_text()
    record = json.loads(text)
    path.write_text(json.dumps({**record, 'labels': [*record['labels'], 'Burnt areas']}))
    assert run_tool('prepare/bigearthnet.py', *options)[0] == 0
    path.write_text(json.dumps({**record, 'labels': ['Mixed forests']}))
    code, text = run_tool('prepare/bigearthnet.py', *options)
    assert code == 1
    assert "'Mixed forests'" in text
    path.unlink()
    code, text = run_tool('prepare/bigearthnet.py', *options)
    assert code == 1
    assert 'expected a folder of BigEarthNet-S2 v1.0' in text


def test_bigearthnet_wants_lists_without_common_patches(tmp_path, run_tool):
    write_layout('bigearthnet', tmp_path / 'ben', scenes=4, size=24)
    names = sorted(path.parent.name for path in (tmp_path / 'ben').glob('*/*.json'))
    for split, part in (('train', names[:3]), ('val', names[2:])):
        (tmp_path / f'{split}.csv').write_text('\n'.join(part))
    lists = ['--train', tmp_path / 'train.csv', '--val', tmp_path / 'val.csv']
    code, text = run_tool('prepare/bigearthnet.py', tmp_path / 'ben', '--out', tmp_path / 'out', *lists)
    assert code == 1
    assert f'1 patches are in both lists, e.g. {names[2]}' in text


@pytest.mark.parametrize('name', ['../../outside', '{}/outside', 'a/../../outside', '..', 'a\\b'])
def test_bigearthnet_writes_nothing_above_its_folder(tmp_path, run_tool, name):
    write_layout('bigearthnet', tmp_path / 'data/ben', scenes=4, size=24)
    first, *others = sorted(path.parent for path in (tmp_path / 'data/ben').glob('*/*.json'))
    # a patch that is there, at the place that the name leads to
    outside = tmp_path / 'outside'
    first.rename(outside)
    for path in outside.iterdir():
        path.rename(outside / path.name.replace(first.name, 'outside'))
    (tmp_path / 'train.csv').write_text('\n'.join([others[0].name, name.format(tmp_path)]))
    (tmp_path / 'val.csv').write_text(others[1].name)
    before = sorted(tmp_path.rglob('*'))
    lists = ['--train', tmp_path / 'train.csv', '--val', tmp_path / 'val.csv']
    code, text = run_tool('prepare/bigearthnet.py', tmp_path / 'data/ben', '--out', tmp_path / 'out/a', *lists)
    assert code == 1
    assert re.search(r'error: .*train\.csv: the name .* expected a plain name', text)
    assert sorted(tmp_path.rglob('*')) == before


def test_names_that_a_list_cannot_hold(tmp_path, run_tool):
    write_layout('ucm', tmp_path, scenes=16, size=16)
    path = next((tmp_path / 'Images/forest').iterdir())
    path.rename(path.with_name('x 0\ny.tif'))
    code, text = run_tool('prepare/classification.py', tmp_path / 'Images', '--out', tmp_path / 'meta')
    assert code == 1
    assert 'holds a back-slash or a control character' in text


def test_folder_of_a_class_without_images(tmp_path, run_tool):
    write_layout('ucm', tmp_path, scenes=16, size=16)
    options = [tmp_path / 'Images', '--out', tmp_path / 'meta']
    code, text = run_tool('prepare/classification.py', *options, '--classes', 21)
    assert code == 1
    assert 'has 8 folders with images' in text
    assert run_tool('prepare/classification.py', *options, '--classes', 8)[0] == 0
    for path in (tmp_path / 'Images/forest').iterdir():
        path.unlink()
    code, text = run_tool('prepare/classification.py', *options)
    assert code == 1
    assert 'no image in forest' in text
