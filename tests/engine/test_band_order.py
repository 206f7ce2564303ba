"""The order in which loaders give red, green and blue: what is told of a pipeline against the pixels that come out."""

import cv2
import mmdet.datasets  # noqa: F401
import mmpretrain.datasets  # noqa: F401
import mmseg.datasets  # noqa: F401
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from mmrs_ssl.engine.band_order import loaded_order, readings
from tests.conftest import ROOT

COLOR = (200, 100, 50)


@pytest.fixture
def image(tmp_path):
    """An image of one color, as PNG."""
    path = tmp_path / 'a' / 'image.png'
    path.parent.mkdir()
    assert cv2.imwrite(str(path), np.full((20, 20, 3), COLOR[::-1], np.uint8))
    return path


def first_pixel(result):
    found = result['inputs'][:, 0, 0] if 'inputs' in result else result['img'][0, 0]
    return {COLOR: 'rgb', COLOR[::-1]: 'bgr'}[tuple(int(value) for value in found)]


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmseg', 'mmdet'])
@pytest.mark.parametrize(
    'loader',
    [
        dict(type='LoadImageFromFile'),
        dict(type='LoadImageFromFile', imdecode_backend='pillow', color_type='unchanged'),
        dict(type='mmrs_ssl.LoadRaster'),
        dict(type='mmrs_ssl.LoadRaster', bands=None),
        dict(type='mmrs_ssl.LoadRaster', bands=[0, 1, 2]),
        dict(type='mmrs_ssl.LoadRaster', bands=[2, 1, 0]),
        dict(type='mmrs_ssl.LoadRaster', bands=['blue', 'green', 'red']),
        dict(type='mmrs_ssl.LoadRaster', bands=['red', 'green', 'blue']),
    ],
)
def test_loaders_give_bands_in_the_order_that_is_told(scope, loader, image):
    init_default_scope(scope)
    built = TRANSFORMS.build(loader)
    assert loaded_order(built, None)[0] == first_pixel(built(dict(img_path=str(image))))
    (config,) = readings(dict(dataset=dict(type='Any', pipeline=[dict(type='RandomCrop'), loader])))
    assert (config.order, config.loader) == (loaded_order(built, None)[0], loader['type'].removeprefix('mmrs_ssl.'))


@pytest.mark.parametrize(
    ('loader', 'dataset', 'order'),
    [
        (dict(bands=[3, 2, 1]), {}, None),
        (dict(bands=['B04', 'B03', 'B02']), {}, 'rgb'),
        (dict(bands=['red', 'nir', 'blue']), {}, None),
        (dict(bands=3), dict(bands=('B02', 'B03', 'B04')), 'bgr'),
        (dict(bands=None), dict(band_files=['B4', 'B3', 'B2']), 'rgb'),
        (dict(bands=None), dict(band_files=['B2', 'B3', 'B4', 'B8']), None),
        (dict(bands=3), dict(band_files=None), 'rgb'),
    ],
)
def test_names_of_bands_tell_their_order(loader, dataset, order):
    (found,) = readings(dict(dataset=dict(dataset, pipeline=[dict(type='mmrs_ssl.LoadRaster', **loader)])))
    assert found.order == order


def test_the_shipped_config_of_oscd_loads_blue_first():
    init_default_scope('mmseg')
    cfg = Config.fromfile(ROOT / 'configs/downstream/_base_/datasets/oscd.py')
    (found,) = readings(cfg.train_dataloader)
    assert (found.loader, found.order, found.normalized) == ('LoadRaster', 'bgr', False)


def test_pipelines_of_data_sets_in_others_and_what_transforms_swap(image):
    init_default_scope('mmpretrain')
    turns = [dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy', to_bgr=False)]
    pipeline = [dict(type='LoadImageFromFile'), *turns, dict(type='PackInputs')]
    one = DATASETS.build(dict(type='CustomDataset', data_root=str(image.parents[1]), pipeline=pipeline))
    other = DATASETS.build(dict(type='CustomDataset', data_root=str(image.parents[1]), pipeline=pipeline[::3]))
    found = readings(dict(dataset=ConcatDataset([one, other])))
    assert [each.order for each in found] == ['rgb', 'bgr'] == [first_pixel(one[0]), first_pixel(other[0])]
    assert [each.order for each in readings(dict(dataset=RepeatDataset(other, 2)))] == ['bgr']
    both = dict(type='ConcatDataset', datasets=[dict(pipeline=pipeline), dict(pipeline=pipeline[::3])])
    assert [each.order for each in readings(dict(dataset=both))] == ['rgb', 'bgr']
    normalize = dict(type='mmcv.Normalize', mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True)
    (last,) = readings(dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), normalize])))
    assert (last.normalized, last.order) == (True, 'rgb')


def test_loaders_that_nobody_knows():
    @TRANSFORMS.register_module(force=True)
    class LoadMyImages:
        """Load images of a kind that only its author knows."""

        def __call__(self, results):
            return results

    for loader, name in ((dict(type='LoadMyImages'), 'LoadMyImages'), (dict(type='Other'), 'no loader of images')):
        (found,) = readings(dict(dataset=dict(pipeline=[loader])))
        assert (found.order, found.loader) == (None, name)
    assert readings(None) == []


def test_open_cds_loader_of_two_dates():
    """Whose name begins otherwise; it is mmcv's, called once for each date."""
    loader = type('MultiImgLoadImageFromFile', (LoadImageFromFile,), dict(__module__='opencd.datasets.transforms'))()
    steps = [type('MultiImgLoadAnnotations', (LoadImageFromFile,), {})(), loader]
    (found,) = readings(dict(dataset=dict(type='Any', pipeline=steps)))
    assert (found.loader, found.order) == ('MultiImgLoadImageFromFile', 'bgr')
