"""Names of lists become paths only below their folder."""

import pytest

from mmrs_ssl.rasters.names import check_name


@pytest.mark.parametrize('name', ['a', 'a.png', 'a/b c.png', '..a', 'a..', 'ä/ö', './a'])
def test_names_that_stay_in_their_folder(name):
    assert check_name(name, 'x.txt') == name


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('', 'is empty'),
        ('  ', 'is empty'),
        ('.', 'is no name'),
        ('./', 'is no name'),
        ('..', 'leads out'),
        ('../a', 'leads out'),
        ('a/../../b', 'leads out'),
        ('a/..', 'leads out'),
        ('/a', 'is absolute'),
        ('http://a/b', 'is absolute'),
        ('a\0b', 'control character'),
        ('a\nb', 'control character'),
        ('..\\a', 'back-slash'),
    ],
)
def test_names_that_do_not(name, said):
    with pytest.raises(ValueError, match=f'x.txt: the name .* {said}'):
        check_name(name, 'x.txt')


def test_plain_names(tmp_path):
    assert check_name('a.b', 'x.txt', folders=False) == 'a.b'
    with pytest.raises(ValueError, match="the name 'a/b' holds a folder; expected a plain name"):
        check_name('a/b', 'x.txt', folders=False)
