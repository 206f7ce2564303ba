"""Heights of tiles are cut where the tiles were, whoever has cut them."""

import cv2
import numpy as np
import pytest
import rasterio

RNG = np.random.default_rng(0)
HEIGHTS = RNG.integers(0, 256, (40, 48), dtype=np.uint8)
NAME = 'dsm_potsdam_02_10_normalized_lastools'


@pytest.fixture
def cut(tmp_path, run_tool):
    """Cuts heights of this size for tiles of 16 pixels with these names."""

    def run(*tiles, heights=HEIGHTS, name=NAME):
        (tmp_path / 'heights').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'heights' / f'{name}.png'), heights)
        for split, stem in tiles:
            path = tmp_path / 'out' / 'img_dir' / split / f'{stem}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((16, 16, 3), np.uint8))
        options = ['--prefix', 'dsm_potsdam_', '--suffix', '_normalized_lastools', '--scale', 0.25]
        return run_tool('prepare/ndsm.py', tmp_path / 'out', tmp_path / 'heights', *options)

    return run


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def test_heights_of_tiles(cut, tmp_path):
    """Rows come first in our names, columns in mmsegmentation's."""
    tiles = (('train', '2_10_00008_00024'), ('val', '2_10_24_8_40_24'))
    code, text = cut(*tiles)
    assert code == 0, text
    assert 'heights of 2 tiles' in text
    for split, stem in tiles:
        found = read(tmp_path / f'out/ndsm_dir/{split}/{stem}.tif')
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, HEIGHTS[8:24, 24:40] * np.float32(0.25))
    code, text = cut(*tiles)
    assert code == 1
    assert 'is there already' in text


def test_a_scene_may_lack_a_few_pixels_at_its_edge(cut, tmp_path):
    tiles = (('train', '2_10_00024_00032'), ('val', '2_10_00000_00000'))
    code, text = cut(*tiles, heights=HEIGHTS[:, :-1])
    assert code == 0, text
    found = read(tmp_path / f'out/ndsm_dir/train/{tiles[0][1]}.tif')
    assert np.isnan(found[:, -1]).all()
    np.testing.assert_array_equal(found[:, :-1], HEIGHTS[24:, 32:-1] * np.float32(0.25))


@pytest.mark.parametrize(
    ('stem', 'options', 'match'),
    [
        (
            '2_10_00024_00032',
            dict(heights=HEIGHTS[:20, :24]),
            'has 20 x 24 pixels, but 2_10_00024_00032.png',
        ),
        ('3_10_00000_00000', {}, 'has no 3_10'),
        ('area1_0_0', {}, 'is no tile of Potsdam'),
        ('2_10_00000_00000', dict(heights=np.dstack([HEIGHTS] * 3)), 'has 3 bands, expected heights alone'),
    ],
)
def test_what_does_not_belong_together_is_refused(cut, stem, options, match):
    code, text = cut(('train', stem), ('val', '2_10_00000_00000'), **options)
    assert code == 1
    assert match in text
