"""Which bands are red, green and blue, by the names that files give them."""

import pytest

from mmrs_ssl.band_names import colors_of, rgb_bands

SENTINEL2 = ['B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B10', 'B11', 'B12']
WORLDVIEW = ['Coastal Blue', 'Blue', 'Green', 'Yellow', 'Red', 'Red Edge', 'NIR1', 'NIR2']
PLANET = ['coastal_blue', 'blue', 'green_i', 'green', 'yellow', 'red', 'rededge', 'nir']
GDAL = ['B4, central wavelength 665 nm', 'B3, central wavelength 560 nm', 'B2, central wavelength 490 nm']


def numbered(form, numbers):
    return [form.format(number) for number in numbers]


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['red', 'green', 'blue'], (0, 1, 2)),
        (['blue', 'green', 'red', 'alpha'], (2, 1, 0)),
        (['Blue', 'GREEN', ' Red', 'NIR'], (2, 1, 0)),
        (['undefined', 'red', 'green', 'blue'], (1, 2, 3)),
        (['g', 'R', 'b', 'n'], (1, 0, 2)),
        (['Band 4 - Red', 'Band 3 - Green', 'Band 2 - Blue', 'Red Edge 1'], (0, 1, 2)),
        (['B4 (near infrared)', 'B1 (blue)', 'B2 (green)', 'B3 (red)'], (3, 2, 1)),
        (WORLDVIEW, (4, 2, 1)),
        (PLANET, (5, 3, 1)),
        (SENTINEL2, (3, 2, 1)),
        (SENTINEL2[::-1], (9, 10, 11)),
        ([name.lower() for name in SENTINEL2 if name != 'B10'], (3, 2, 1)),
        (numbered('B{:02d}', [2, 3, 4]), (2, 1, 0)),
        (numbered('B{:02d}', [4, 3, 2, 8]), (0, 1, 2)),
        (['T32UQD_B04_10m', 'T32UQD_B03_10m', 'T32UQD_B02_10m'], (0, 1, 2)),
        (['B2', 'B3', 'B4', 'B8'], (2, 1, 0)),
        ([*GDAL, 'B8, central wavelength 842 nm'], (0, 1, 2)),
        (numbered('B{}', range(1, 12)), (3, 2, 1)),  # Landsat 8, level 1
        (numbered('SR_B{}', range(1, 8)), (3, 2, 1)),  # level 2
        (numbered('SR_B{}', [1, 2, 3, 4, 5, 7]), (2, 1, 0)),  # Landsat 4 to 7
        (numbered('band {}', [1, 2, 3, 4, 5, 7]), (2, 1, 0)),
        (numbered('sur_refl_b{:02d}', range(1, 8)), (0, 3, 2)),
    ],
)
def test_red_green_and_blue(names, expected):
    assert rgb_bands(names) == expected
    assert rgb_bands(tuple(name.upper() for name in names)) == expected


@pytest.mark.parametrize(
    'names',
    [
        [],
        [''] * 13,
        ['undefined'] * 13,
        ['gray', 'undefined', 'undefined'],
        ['VV', 'VH'],
        ['nir', 'red', 'green'],
        ['red', 'red', 'green', 'blue'],
        ['red edge', 'green', 'blue'],
        ['B1', 'B2', 'B3', 'B4'],  # blue to near infrared of one sensor, coastal to red of another
        numbered('B{}', range(1, 9)),
        numbered('band {}', range(14)),
        numbered('band {}', range(1, 225)),
        ['B4', 'B3', 'B2', 'B2'],
    ],
)
def test_names_that_do_not_tell(names):
    assert rgb_bands(names) is None


def test_images_are_told_apart_by_their_number_of_bands():
    bgr, rgb = ('blue', 'green', 'red'), ('red', 'green', 'blue')
    assert colors_of([SENTINEL2, bgr, ('VV', 'VH')]) == {13: (3, 2, 1), 3: (2, 1, 0)}
    assert colors_of([bgr, bgr]) == {3: (2, 1, 0)}
    assert colors_of([bgr, rgb]) == {}  # which of them an image is cannot be told
    assert colors_of([bgr, ('', '', '')]) == {}
    assert colors_of([]) == {}
