"""Labelled images of folders and lists, and their halves."""

import cv2
import numpy as np
import pytest

from mmrs_ssl.evaluation.labelled import Labelled, halves, read_labelled


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name in ('water/a.png', 'water/deep/b.jpg', 'forest/c.tif', 'forest/d.png', 'forest/e.png'):
        write(tmp_path / name)
    (tmp_path / 'README.txt').write_text('no image')
    (tmp_path / '.cache').mkdir()
    return tmp_path


def test_folder_of_class_folders(folder):
    found = read_labelled(folder)
    assert found.classes == ['forest', 'water']
    names = [path.removeprefix(f'{folder}/') for path in found.paths]
    assert names == ['forest/c.tif', 'forest/d.png', 'forest/e.png', 'water/a.png', 'water/deep/b.jpg']
    assert found.labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ('lines', 'classes', 'labels'),
    [
        ('water/a.png 10\nforest/d.png 9\n\nwater/deep/b.jpg 10\n', ['9', '10'], [1, 0, 1]),
        ('water/a.png wet\nforest/d.png green\nforest/e.png green', ['green', 'wet'], [1, 0, 0]),
        ('water/a.png 0,2\nforest/d.png 1', ['0', '1', '2'], [[True, False, True], [False, True, False]]),
    ],
)
def test_lists(folder, lines, classes, labels):
    listed = folder / 'list.txt'
    listed.write_text(lines)
    found = read_labelled(listed)
    assert found.classes == classes
    assert found.labels.tolist() == labels
    assert found.paths[0] == str(folder / 'water/a.png')
    elsewhere = folder.parent / f'{folder.name}_list.txt'
    elsewhere.write_text(lines)
    assert read_labelled(elsewhere, root=folder).paths == found.paths


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (lambda root: (root / 'empty').mkdir(), "class 'empty' is empty, .* holds no image"),
        (lambda root: write(root / 'loose.png'), 'loose.png is in no class folder'),
        (lambda root: [write(root / 'one' / 'x.png')], None),
    ],
)
def test_folders_that_are_not_clear(folder, change, error):
    change(folder)
    if error:
        with pytest.raises(ValueError, match=error):
            read_labelled(folder)
    else:
        with pytest.raises(ValueError, match="class 'one' has 1 image; expected two"):
            halves(read_labelled(folder))


@pytest.mark.parametrize(
    ('lines', 'kind', 'error'),
    [
        ('', ValueError, 'is empty; expected a line'),
        ('water/a.png\n', ValueError, "line 1: 'water/a.png'; expected a path, a blank and a label"),
        ('water/a.png 0\nwater/b.png 1\n', FileNotFoundError, 'names 1 images that are not in .*first is water/b.png'),
        ('water/a.png 0\nforest/d.png 0\n', ValueError, "has one class, '0'; expected two"),
        ('../x.png 0\n', ValueError, 'leads out of its folder'),
    ],
)
def test_lists_that_are_not_clear(folder, lines, kind, error):
    listed = folder / 'list.txt'
    listed.write_text(lines)
    with pytest.raises(kind, match=error):
        read_labelled(listed)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such folder of class folders, and no list'):
        read_labelled(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='has no folders; expected one for each class'):
        read_labelled(tmp_path)


def test_halves_of_every_class():
    labels = np.array([0] * 10 + [1] * 20 + [2] * 4)
    data = Labelled([f'{i}.png' for i in range(34)], labels, list('abc'))
    labelled, test = halves(data)
    assert np.bincount(labelled.labels).tolist() == np.bincount(test.labels).tolist() == [5, 10, 2]
    assert sorted(labelled.paths + test.paths) == sorted(data.paths)
    for part in (labelled, test):
        assert [labels[int(path[:-4])] for path in part.paths] == part.labels.tolist()
    assert halves(data)[0].paths == labelled.paths != halves(data, seed=1)[0].paths
