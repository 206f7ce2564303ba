"""Packed views say where they are from."""

import numpy as np
import pytest
import torch

from mmrs_ssl.datasets.transforms import PackViews, RandomCropResize, Views
from tests.rasters.rasters import picture


def test_pack_views():
    views = [picture(32, 24, 5, np.uint16, 9000, seed)[:, ::-1] for seed in range(2)]
    boxes = np.array([[1, 2, 30, 20], [0, 0, 10, 11]], np.float32)
    packed = PackViews()(
        dict(img=views, boxes=boxes, flips=np.array([True, False]), img_path='a.tif', sample_idx=7, rng=None)
    )
    assert set(packed) == {'inputs', 'data_samples'}
    for tensor, view in zip(packed['inputs'], views, strict=True):
        assert tensor.dtype == torch.uint16
        assert tensor.shape == (5, 32, 24)
        assert np.array_equal(tensor.numpy(), view.transpose(2, 0, 1))
    sample = packed['data_samples']
    assert torch.equal(sample.boxes, torch.from_numpy(boxes))
    assert sample.flips.tolist() == [True, False]
    assert (sample.img_path, sample.sample_idx) == ('a.tif', 7)


@pytest.mark.parametrize('views', [True, False])
def test_one_view_is_one_tensor(views):
    """Whether ``Views`` made it or ``RandomCropResize`` alone; with the mask that SimMIM is to use."""
    image = picture(40, 40, 4, np.uint16, 9000, 0)
    crop = RandomCropResize(16)
    mask = np.arange(16).reshape(4, 4) % 2
    results = dict(img=image, rng=np.random.default_rng(0), img_path='a.tif')
    results = Views([[crop]])(results) if views else crop(results)
    packed = PackViews()(dict(results, mask=mask))
    alone = crop(dict(img=image, rng=np.random.default_rng(0)))
    assert np.array_equal(packed['inputs'].numpy(), alone['img'].transpose(2, 0, 1))
    sample = packed['data_samples']
    assert sample.boxes.dtype == torch.float32
    assert sample.boxes.tolist() == [list(alone['box'])]
    assert sample.flips.tolist() == [alone['flip']]
    assert sample.mask.tolist() == mask.tolist()
