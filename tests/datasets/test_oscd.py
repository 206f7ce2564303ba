"""OSCD as it is unpacked: cities, bands, labels, and what is refused."""

import cv2
import numpy as np
import pytest
import rasterio

from mmrs_ssl.datasets import OSCDDataset
from mmrs_ssl.synthetic.layouts import write_layout


def pipeline(bands):
    return [dict(type='mmrs_ssl.LoadRaster', bands=bands, stretch=[(0, 3000)] * bands)]


@pytest.fixture
def archive(tmp_path):
    write_layout('oscd', tmp_path, scenes=6, size=32)
    return tmp_path


def test_cities_bands_and_labels(archive):
    train, test = (OSCDDataset(str(archive), split, pipeline(3), ('B02', 'B03', 'B04')) for split in ('train', 'test'))
    listed = next(archive.glob('*Images/train.txt')).read_text().strip().split(',')
    assert len(train) == len(listed) > 1
    assert len(train) + len(test) == 6
    sample = train[1]
    for date in (1, 2):
        folder = next(archive.glob(f'*Images/{listed[1]}/imgs_{date}_rect'))
        for number, band in enumerate(('B02', 'B03', 'B04')):
            with rasterio.open(folder / f'{band}.tif') as file:
                expected = np.clip(file.read(1) / 3000 * 255, 0, 255)
            assert expected.std() > 1
            np.testing.assert_allclose(sample['img'][date - 1][..., number], expected, atol=1)
    assert listed[1] in sample['seg_map_path']
    assert sample['img_shape'] == (32, 32)
    assert train.metainfo['classes'] == ('unchanged', 'changed')


def test_all_bands_in_the_sensors_order(archive):
    image = OSCDDataset(str(archive), 'test', [dict(type='mmrs_ssl.LoadRaster', bands=13)])[0]['img'][0]
    assert image.shape == (32, 32, 13)
    path = next(archive.glob('*Images/test.txt')).read_text().strip().split(',')[0]
    with rasterio.open(next(archive.glob(f'*Images/{path}/imgs_1_rect/B8A.tif'))) as file:
        np.testing.assert_array_equal(image[..., 8], file.read(1))


def test_lists_with_blanks(archive):
    listed = next(archive.glob('*Images/test.txt'))
    listed.write_text(listed.read_text().replace(',', ', '))
    assert len(OSCDDataset(str(archive), 'test', pipeline(13))) == len(listed.read_text().split(','))


@pytest.mark.parametrize('city', ['../outside', '/etc', '', 'a/b'])
def test_cities_are_folders_of_the_archive(archive, city):
    listed = next(archive.glob('*Images/test.txt'))
    listed.write_text(f'{listed.read_text().strip()},{city}')
    with pytest.raises(ValueError, match=r'test\.txt: the name .* expected a plain name'):
        OSCDDataset(str(archive), 'test', pipeline(13))


def test_what_is_refused(archive):
    for arguments, said in ((('val',), "'val'"), (('train', pipeline(1), ('B4',)), "'B4' is none of B01")):
        with pytest.raises(ValueError, match=said):
            OSCDDataset(str(archive), *(arguments if len(arguments) > 1 else (*arguments, pipeline(13))))
    with pytest.raises(FileNotFoundError, match='expected the unpacked archives'):
        OSCDDataset(str(archive / 'other'), 'train', pipeline(13))
    label = next(archive.glob('*Test Labels/*/cm/cm.png'))
    assert cv2.imwrite(str(label), np.zeros((32, 31), np.uint8))
    with pytest.raises(ValueError, match='31 x 32'):
        OSCDDataset(str(archive), 'test', pipeline(13))
    label.unlink()
    with pytest.raises(FileNotFoundError, match='is missing: is the archive complete'):
        OSCDDataset(str(archive), 'test', pipeline(13))
