"""tools/evaluate_dense.py on generated scenes, in this process."""

import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmrs_ssl.cli.evaluate_dense import class_reader, pairs_of
from mmrs_ssl.evaluation.dense import dense_maps, height_probe, segmentation_probe
from mmrs_ssl.rasters.pictures import read_image
from mmrs_ssl.synthetic.layouts import write_layout
from tests.conftest import build_cmid, cmid_config


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Tiles of 128 pixels with classes and heights, in the layout of Potsdam."""
    root = tmp_path_factory.mktemp('potsdam')
    write_layout('potsdam_ndsm', root, scenes=16, size=128, seed=0)
    return root


@pytest.fixture
def checkpoint(make_config, tmp_path):
    """An untrained CMID, as a training saves it."""
    model = build_cmid(seed=5)
    meta = dict(cfg=make_config(model=cmid_config()).pretty_text, evaluated='student', mmengine_version='0.10.7')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'run.pth')
    return tmp_path / 'run.pth', model


def arguments(root, labels):
    found = []
    for option, folder in (('', 'train'), ('test-', 'val')):
        found += [f'--{option}images', root / 'img_dir' / folder, f'--{option}labels', root / labels / folder]
    return found


def figures(output):
    rows = re.findall(r'^\| (\S.*?) +\| ([\d.]+) \(([\d.]+)-([\d.]+)\) \|$', output, re.MULTILINE)
    return {name: tuple(map(float, numbers)) for name, *numbers in rows}


def quarters(folder, read):
    """Tiles of 64 pixels of all files of a folder, row by row."""
    return np.stack(
        [
            part
            for path in sorted(folder.iterdir())
            for rows in np.split(read(path), 2)
            for part in np.split(rows, 2, axis=1)
        ]
    )


@pytest.mark.parametrize(('heights', 'stage'), [(False, 3), (True, 2)])
def test_figures_are_those_of_the_probes(checkpoint, scenes, run_tool, heights, stage):
    path, model = checkpoint
    model.backbone.out_indices = (stage,)
    labels = 'ndsm_dir' if heights else 'ann_dir'
    kind = ['--heights', '--stage', 2] if heights else ['--reduce-zero-label']
    code, output = run_tool('evaluate_dense.py', path, *arguments(scenes, labels), *kind)
    assert code == 0, output
    table = figures(output)
    floors = ['mean and deviation of 16 pixels', 'random ResNet', 'random ResNet, BatchNorm measured']
    assert list(table) == [*floors, str(path)]
    sets = []
    for split in ('train', 'val'):
        pictures = quarters(scenes / 'img_dir' / split, lambda path: cv2.imread(str(path))[..., ::-1])
        pixels = (torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).float() - 100) / 50
        target = quarters(scenes / labels / split, lambda path: read_image(path)[..., 0])
        if not heights:
            target = np.where(target == 0, 255, target.astype(np.int64) - 1)
        sets += [dense_maps(model.backbone, pixels), torch.from_numpy(target)]
    expected = (
        height_probe(*sets) if heights else segmentation_probe(*sets, classes=int(sets[1][sets[1] < 255].max()) + 1)
    )
    factor = 1 if heights else 100
    assert table[str(path)] == pytest.approx([factor * value for value in expected.figure], abs=0.006)


def test_files_are_paired_by_their_folders(tmp_path):
    for name in ('img/a/0.png', 'img/b/0.png', 'ann/a/0.tif', 'ann/b/0.tif'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), np.zeros((8, 8), np.uint8))
    images, labels = str(tmp_path / 'img'), str(tmp_path / 'ann')
    expected = [(f'{images}/{name}.png', f'{labels}/{name}.tif') for name in ('a/0', 'b/0')]
    assert pairs_of(images, labels) == expected
    assert pairs_of(f'{images}/**/*.png', labels) == expected
    with pytest.raises(FileNotFoundError, match=r'the first is .*img/a/0.png; expected a/0.\* there'):
        pairs_of(images, f'{labels}/a')
    assert cv2.imwrite(f'{labels}/b/0.png', np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r'0.png and .*0.tif would both be the label of b/0: keep one'):
        pairs_of(images, labels)


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (lambda root, given: ['--size', '256'], 'fewer than a tile of 256: give a smaller --size'),
        (
            lambda root, given: ['--test-images', given[1], '--test-labels', given[3]],
            'of the test images is the same image as',
        ),
        (lambda root, given: ['--labels', root / 'ndsm_dir' / 'val'], 'images have no label in .*, the first is'),
        (
            lambda root, given: ['--labels', root / 'ndsm_dir' / 'train'],
            'has 1 bands of float32; expected one of uint8',
        ),
    ],
)
def test_bad_options(checkpoint, scenes, run_tool, change, error):
    given = arguments(scenes, 'ann_dir')
    code, output = run_tool('evaluate_dense.py', checkpoint[0], *given, '--reduce-zero-label', *change(scenes, given))
    assert code == 1
    assert re.search(error, output.rsplit('\nerror: ', 1)[1])


def test_classes_are_the_numbers_that_labels_store(tmp_path):
    """Neither few bits brought to 0 to 255, where 255 is ignored, nor the colors of a palette."""
    classes = np.arange(16).reshape(4, 4) % 2
    Image.fromarray(classes.astype(bool)).save(tmp_path / 'bits.png')
    colored = Image.fromarray(classes.astype(np.uint8), 'P')
    colored.putpalette([0, 0, 0, 200, 10, 30])
    colored.save(tmp_path / 'palette.png')
    colored.save(tmp_path / 'palette.tif')
    cv2.imwrite(str(tmp_path / 'gray.png'), classes.astype(np.uint8))
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(class_reader(False)(str(path)), classes, err_msg=str(path))
        np.testing.assert_array_equal(class_reader(True)(str(path)), np.where(classes == 0, 255, 0))
    cv2.imwrite(str(tmp_path / 'rgb.png'), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r'rgb\.png has 3 bands of uint8; expected one of uint8'):
        class_reader(False)(str(tmp_path / 'rgb.png'))
