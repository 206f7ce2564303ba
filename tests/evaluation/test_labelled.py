"""Labelled images of folders and lists, and their halves."""

import cv2
import numpy as np
import pytest

from mmrs_ssl.evaluation.labelled import Labelled, check_learnable, halves, read_labelled


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
        ('\ufeffwater/a.png 1\nforest/d.png 01\nforest/e.png 2', ['1', '2'], [0, 0, 1]),
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
        ('water/a.png 0\nforest/d.png 1\n./water/a.png 1\n', ValueError, 'a.png is the same image as .*water/a.png'),
        ('water/a.png 0\nforest/link.png 1\nforest/d.png 1\n', ValueError, 'link.png is the same image as .*a.png'),
        ('w\xe4sser.png 0\n'.encode('latin-1'), ValueError, 'list.txt is no text in UTF-8 .*; save it so'),
    ],
)
def test_lists_that_are_not_clear(folder, lines, kind, error):
    (folder / 'forest' / 'link.png').symlink_to(folder / 'water' / 'a.png')
    listed = folder / 'list.txt'
    listed.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    with pytest.raises(kind, match=error):
        read_labelled(listed)


def test_a_link_to_a_class_folder(folder):
    (folder / 'again').symlink_to(folder / 'water')
    with pytest.raises(ValueError, match=r'water/a.png is the same image as .*again/a.png, .*: name each once'):
        read_labelled(folder)


def test_halves_with_every_label_in_both():
    rng = np.random.default_rng(0)
    labels = rng.random((60, 5)) < 0.3
    labels[:, 4] = False
    labels[[3, 17], 4] = True  # half of all splits put both on one side
    data = Labelled([f'{i}.png' for i in range(60)], labels, list('abcde'))
    for seed in range(8):
        parts = halves(data, seed)
        assert [part.labels[:, 4].sum() for part in parts] == [1, 1]
        assert sorted(parts[0].paths + parts[1].paths) == sorted(data.paths)
    assert halves(data, 3)[0].paths == halves(data, 3)[0].paths
    rare = np.zeros((60, 20), bool)
    rare[np.arange(40), np.arange(40) // 2] = True  # twenty pairs
    with pytest.raises(ValueError, match="label 'a' has 2 images, and others are as rare: none of 200 splits"):
        halves(Labelled(data.paths, rare, list('abcdefghijklmnopqrst')))


def test_labels_of_which_nothing_can_be_learned():
    labels = np.eye(4, dtype=bool)[:, :3]
    check_learnable(Labelled(list('wxyz'), labels, ['sea', 'wood', 'roof']))
    labels[:, 1] = True
    with pytest.raises(ValueError, match="label 'wood' is that of 4 of 4 labelled images"):
        check_learnable(Labelled(list('wxyz'), labels, ['sea', 'wood', 'roof']))


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
