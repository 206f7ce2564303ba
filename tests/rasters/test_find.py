"""What is found below folders, patterns and links, and in which order."""

import pytest
from mmpretrain.datasets import CustomDataset

from mmrs_ssl.rasters import find
from mmrs_ssl.rasters.find import IMAGE_SUFFIXES, RASTER_SUFFIXES, find_images, find_rasters, fits

NAMES = ('b.png', 'a/x.jpg', 'a/x/y.tif', 'a-b/z.PNG', 'a.png', 'B/c.webp', '.hidden.png', 'a/._x.jpg', 'notes.txt')


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def below(root, paths):
    return [path.removeprefix(f'{root}/') for path in paths]


@pytest.fixture
def told(monkeypatch):
    """What the log tells."""
    texts = []
    monkeypatch.setattr(find, 'print_log', lambda text, *_: texts.append(text))
    find._tell.cache_clear()
    return texts


def test_a_plain_folder_has_the_order_of_mmpretrain(tmp_path):
    touch(tmp_path, *NAMES)
    kinds = IMAGE_SUFFIXES + RASTER_SUFFIXES
    listed = CustomDataset(str(tmp_path), with_label=False, extensions=kinds)
    expected = [listed.get_data_info(i)['img_path'] for i in range(len(listed))]
    assert find_images(str(tmp_path)) == expected
    assert below(tmp_path, expected) == ['B/c.webp', 'a-b/z.PNG', 'a.png', 'a/x.jpg', 'a/x/y.tif', 'b.png']


@pytest.mark.parametrize(
    ('pattern', 'expected'),
    [
        ('*.png', ['a.png', 'b.png']),
        ('**/*.png', ['a.png', 'b.png']),
        ('**/x*', ['a/x.jpg', 'a/x/y.tif']),  # a folder stands for what is in it
        ('a/**/*.tif', ['a/x/y.tif']),
        ('a*', ['a-b/z.PNG', 'a.png', 'a/x.jpg', 'a/x/y.tif']),
        ('[ab].png', ['a.png', 'b.png']),
        ('**', ['B/c.webp', 'a-b/z.PNG', 'a.png', 'a/x.jpg', 'a/x/y.tif', 'b.png']),
    ],
)
def test_patterns(tmp_path, pattern, expected):
    touch(tmp_path, *NAMES)
    assert below(tmp_path, find_images(f'{tmp_path}/{pattern}')) == expected
    assert sorted(below(tmp_path, map(str, find_rasters(f'{tmp_path}/{pattern}')))) == sorted(expected)


COPIES = ('.@__thumb', '.ipynb_checkpoints', '.Trash-1000/files', '@eaDir', '__MACOSX', 'a/.git')


@pytest.mark.parametrize('pattern', ['', '/**/*.png', '/**', '/*', '/*/*.png', '/*/*/*.png', '/link'])
def test_copies_that_other_programs_make_are_no_images(tmp_path, pattern):
    """A file manager's trash, an editor's copies and a network disk's small pictures would count as images."""
    touch(tmp_path, 'a/b/x.png', 'x.png', 'a/x.png', *(f'{folder}/x.png' for folder in COPIES))
    touch(tmp_path.parent / 'elsewhere', '.thumb/x.png', 'x.png')
    (tmp_path / 'link').symlink_to(tmp_path.parent / 'elsewhere')
    (tmp_path / '.link').symlink_to(tmp_path.parent / 'elsewhere' / '.thumb')
    every = {'a/b/x.png', 'x.png', 'a/x.png', 'link/x.png'}
    expected = {'/*/*.png': {'a/x.png', 'link/x.png'}, '/*/*/*.png': {'a/b/x.png'}, '/link': {'link/x.png'}}
    found = [str(path) for path in find_rasters(f'{tmp_path}{pattern}')]
    assert sorted(found) == sorted(find_images(f'{tmp_path}{pattern}'))
    assert set(below(tmp_path, found)) == expected.get(pattern, every)


def test_a_hidden_folder_that_is_named_is_searched(tmp_path):
    root = tmp_path / '.archive'
    touch(root, 'a/x.png', '.old/y.png', '@eaDir/z.png')
    assert below(root, find_images(str(root))) == ['a/x.png']
    assert below(root, find_images(f'{root}/.old')) == ['.old/y.png']
    for pattern, name in (('.old/*.png', '.old/y.png'), ('**/.old/*', '.old/y.png'), ('@*/*.png', '@eaDir/z.png')):
        assert below(root, find_images(f'{root}/{pattern}')) == [name]


def test_several_roots_count_what_they_share_once(tmp_path):
    touch(tmp_path, *NAMES)
    roots = [f'{tmp_path}/a', f'{tmp_path}/**/*.png', f'{tmp_path}/a/x', f'{tmp_path}/B/c.webp', str(tmp_path)]
    found = below(tmp_path, find_images(roots))
    assert found == ['a/x.jpg', 'a/x/y.tif', 'a.png', 'b.png', 'B/c.webp', 'a-b/z.PNG']
    with pytest.raises(FileNotFoundError, match=r"data_root='.*nowhere' is no folder, file or glob pattern"):
        find_images([str(tmp_path), f'{tmp_path}/nowhere'])


@pytest.mark.parametrize(
    ('exclude', 'left'),
    [
        ('label/*', ['A/1.png', 'A/label/1.png', 'A/x_mask.png', 'B/1.png']),
        ('label', ['A/1.png', 'A/label/1.png', 'A/x_mask.png', 'B/1.png']),
        ('**/label', ['A/1.png', 'A/x_mask.png', 'B/1.png']),
        (['**/label/*', '**/*_mask.png'], ['A/1.png', 'B/1.png']),
        ('*.png', ['A/1.png', 'A/label/1.png', 'A/x_mask.png', 'B/1.png', 'label/1.png']),
        ('[!A]', ['A/1.png', 'A/label/1.png', 'A/x_mask.png', 'label/1.png']),
    ],
)
def test_what_is_excluded(tmp_path, exclude, left, told):
    touch(tmp_path, 'A/1.png', 'B/1.png', 'label/1.png', 'A/label/1.png', 'A/x_mask.png')
    assert below(tmp_path, find_images(str(tmp_path), exclude)) == left
    assert below(tmp_path, find_images(f'{tmp_path}/**/*.png', exclude)) == left  # counted from the same folder
    missed = ["exclude='*.png' fits no file"] * 2 if exclude == '*.png' else []
    assert [text.split(' of ')[0] for text in told] == missed


def test_all_excluded(tmp_path):
    touch(tmp_path, 'label/1.png')
    with pytest.raises(FileNotFoundError, match=r"holds no image .*, exclude='label' aside"):
        find_images(str(tmp_path), 'label')


def test_links_in_a_circle_and_twice_to_a_folder(tmp_path):
    touch(tmp_path, 'root/z/1.png', 'root/z/2.png', 'elsewhere/deep/3.png')
    (tmp_path / 'root' / 'a').symlink_to(tmp_path / 'root' / 'z')  # the folder itself goes before a link to it
    (tmp_path / 'root' / 'z' / 'up').symlink_to(tmp_path / 'root')
    (tmp_path / 'root' / 'z' / 'self').symlink_to('.')
    (tmp_path / 'root' / 'c').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'root' / 'b').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere' / 'back').symlink_to(tmp_path / 'root' / 'c')
    (tmp_path / 'root' / 'broken.png').symlink_to('nowhere.png')
    expected = ['b/deep/3.png', 'z/1.png', 'z/2.png']
    root = tmp_path / 'root'
    for where in (str(root), f'{root}/**', f'{root}/**/*.png'):
        assert below(root, find_images(where)) == expected
        assert below(root, map(str, find_rasters(where))) == expected


def test_double_stars_stand_for_none_or_several_folders():
    assert fits(('label',), '**/label')
    assert fits(('a', 'b', 'label', 'x.png'), '**/label')
    assert fits(('a', 'b.png'), 'a/**/*.png')
    assert not fits(('a', 'b', 'c.png'), 'a/*.png')
    assert not fits(('labels', 'x.png'), '**/label')
