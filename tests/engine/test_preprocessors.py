"""Data preprocessors of the libraries are read, set and written into configs: what comes out of them."""

import mmdet.models  # noqa: F401
import mmpretrain.models  # noqa: F401
import mmseg.models  # noqa: F401
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmrs_ssl.engine.preprocessors import (
    Normalization,
    alike,
    preprocessors_of,
    read_normalization,
    set_normalization,
    write_to_config,
)
from tests.downstream import needs_library

OLD = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
NEW = Normalization((86.0, 92.0, 85.0), (35.0, 34.5, 36.0), True)
CLASSES = {
    'mmpretrain.ClsDataPreprocessor': dict(to_rgb=True),
    'mmpretrain.SelfSupDataPreprocessor': dict(to_rgb=False),
    'mmseg.SegDataPreProcessor': dict(bgr_to_rgb=False, size=(8, 8)),
    'mmdet.DetDataPreprocessor': dict(rgb_to_bgr=True),
    'mmengine.ImgDataPreprocessor': dict(bgr_to_rgb=True),
}


class Whole(BaseModel):
    """A model of nothing but its data preprocessor."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


def out(preprocessor, image):
    """What the backbone would get of one image (C, H, W)."""
    inputs = image[None] if 'SelfSup' in type(preprocessor).__name__ else [image]
    return preprocessor(dict(inputs=inputs, data_samples=None), training=False)['inputs'][0]


def expected(image, mean, std, swaps):
    image = image.flip(0) if swaps else image
    return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.fixture
def image():
    return torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize('swaps', [True, False])
@pytest.mark.parametrize('statistics', [OLD, dict(mean=[0, 0, 0], std=[1, 1, 1]), dict(mean=[100.0], std=[50.0]), {}])
@pytest.mark.parametrize('name', list(CLASSES))
def test_they_normalize_as_wanted_and_so_does_their_config(name, statistics, swaps, image):
    config = dict(type=name, **statistics, **CLASSES[name])
    model = Whole(data_preprocessor=dict(config))
    (preprocessor,) = preprocessors_of(model)
    before = read_normalization(preprocessor, 3)
    torch.testing.assert_close(out(preprocessor, image), expected(image, before.mean, before.std, before.swaps))
    wanted = Normalization(NEW.mean, NEW.std, swaps)
    set_normalization(preprocessor, wanted)
    assert read_normalization(preprocessor, 3) == wanted
    result = out(preprocessor, image)
    torch.testing.assert_close(result, expected(image, NEW.mean, NEW.std, swaps))
    assert not preprocessor.state_dict()  # as before: weights stay loadable everywhere
    cfg = dict(model=dict(type='Any', data_preprocessor=dict(config)), data_preprocessor=dict(config))
    write_to_config(cfg, wanted, preprocessor)
    for written in (cfg['model']['data_preprocessor'], cfg['data_preprocessor']):
        torch.testing.assert_close(out(MODELS.build(written), image), result)
        assert [written.get(key) for key in ('type', 'size')] == [config.get(key) for key in ('type', 'size')]


def test_images_of_many_bands():
    preprocessor = MODELS.build(dict(type='mmrs_ssl.BandPreprocessor', mean=[1.0] * 13, std=[2.0] * 13))
    assert read_normalization(preprocessor, 13) == Normalization((1.0,) * 13, (2.0,) * 13, None)
    wanted = Normalization(tuple(map(float, range(13))), (4.0,) * 13, None)
    set_normalization(preprocessor, wanted)
    image = torch.rand(13, 4, 4)
    torch.testing.assert_close(
        preprocessor(dict(inputs=image[None]))['inputs'][0], expected(image, wanted.mean, wanted.std, False)
    )
    with pytest.raises(ValueError, match='BandPreprocessor does not swap bands'):
        set_normalization(preprocessor, Normalization(wanted.mean, wanted.std, True))
    with pytest.raises(ValueError, match=r'expected values for the 4 bands of the backbone'):
        read_normalization(preprocessor, 4)
    detection = MODELS.build(dict(type='mmdet.DetDataPreprocessor', mean=[1.0], std=[2.0]))
    with pytest.raises(ValueError, match='DetDataPreprocessor normalizes 1 or 3 bands, not the 13 of pre-training'):
        set_normalization(detection, wanted)


def test_pairs_of_images(image, monkeypatch):
    """Open-cd's: six values, two of each band, and bands swapped within each image."""
    needs_library('change_detection')
    import opencd.models  # noqa: F401

    config = dict(type='opencd.DualInputSegDataPreProcessor', mean=OLD['mean'] * 2, std=OLD['std'] * 2, size=(8, 8))
    model = Whole(data_preprocessor=config)
    (preprocessor,) = preprocessors_of(model)
    assert read_normalization(preprocessor, 3).mean == pytest.approx(OLD['mean'] * 2)
    set_normalization(preprocessor, Normalization(NEW.mean * 2, NEW.std * 2, True))
    pair = torch.cat([image, image / 2])
    found = out(preprocessor, pair)
    torch.testing.assert_close(found[:3], expected(image, NEW.mean, NEW.std, True))
    torch.testing.assert_close(found[3:], expected(image / 2, NEW.mean, NEW.std, True))


def test_models_that_hold_others():
    inner = dict(type='mmdet.DetDataPreprocessor', **OLD)
    cfg = dict(
        model=dict(
            data_preprocessor=dict(type='mmdet.MultiBranchDataPreprocessor', data_preprocessor=dict(inner)),
            detector=dict(backbone=dict(), data_preprocessor=dict(inner)),
        )
    )
    whole = Whole(data_preprocessor=cfg['model']['data_preprocessor'])
    (preprocessor,) = preprocessors_of(whole)
    write_to_config(cfg, NEW, preprocessor)
    nodes = (cfg['model']['data_preprocessor']['data_preprocessor'], cfg['model']['detector']['data_preprocessor'])
    assert [(node['mean'], node['bgr_to_rgb']) for node in nodes] == [([86.0, 92.0, 85.0], True)] * 2
    assert 'mean' not in cfg['model']['data_preprocessor']
    without = dict(model=dict(type='Any'))
    write_to_config(without, NEW, preprocessor)
    assert without['model']['data_preprocessor'] == dict(
        type='DetDataPreprocessor', mean=[86.0, 92.0, 85.0], std=[35.0, 34.5, 36.0], bgr_to_rgb=True
    )
    parts = dict(rgb=dict(OLD), dsm=dict(mean=[5.0], std=[4.0]))
    several = Whole(data_preprocessor=dict(type='mmrs_ssl.ModalityPreprocessor', modalities=parts))
    assert len(preprocessors_of(several)) == 2
    assert not alike(preprocessors_of(several))
    assert alike([preprocessor, preprocessor])
    assert preprocessors_of(Whole()) == []
