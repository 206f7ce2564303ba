"""Swin with the published windows, in and out: the libraries' own networks, and OpenMMLab's classes."""

import pytest
import torch
from mmengine.config import ConfigDict

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.targets import as_plain_backbone, remarks, target_of
from tests.transfer.backbones import agree, build, save
from tests.transfer.checkpoints import training
from tests.transfer.references import PAIRS, deviation, images

EXACT = 1e-10
PADDED = dict(type='mmrs_ssl.PaddedSwinTransformer')


@pytest.mark.parametrize('library', ['timm', 'torchvision'])
@pytest.mark.parametrize('option', [True, False])
def test_padded_windows_are_those_of_the_libraries(library, option, tmp_path):
    """Also on maps of a single window; mmpretrain's option means nothing to them."""
    pair = PAIRS[f'{library}, Swin']
    changes = {**pair.changes, **PADDED, 'pad_small_map': option}
    path, student, _ = training(tmp_path / 'run.pth', 'swin', **changes)
    export_backbone(path, tmp_path / 'out.pth', file_format=library)
    network = pair.network(seed=5)
    network.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=False)
    assert deviation(network, student, pair.image()) < EXACT
    assert remarks(changes, library) == []
    back = pair.backbone(2, **PADDED)
    assert load_backbone(back, save(network.state_dict(), tmp_path / 'network.pth')).notes == []
    assert deviation(back, network, pair.image()) < EXACT


@pytest.mark.parametrize(
    ('library', 'kind', 'remark'),
    [
        ('mmpretrain', 'mmpretrain.SwinTransformer', 'refuses smaller ones'),
        ('mmseg', 'mmseg.SwinTransformer', 'mmseg attends to shifted windows of it, pre-training did to the whole map'),
        ('mmdet', 'mmdet.SwinTransformer', 'mmdet attends to shifted windows of it, pre-training did to the whole map'),
    ],
)
def test_padded_windows_in_openmmlabs_classes(library, kind, remark, tmp_path):
    """They have the weights, and on larger maps the features."""
    path, student, _ = training(tmp_path / 'run.pth', 'swin', **PADDED)
    meta = export_backbone(path, tmp_path / 'out.pth', library=library)
    target = target_of(library, meta['backbone'], 3)
    assert target.settings['type'] == kind
    assert not target.settings.get('pad_small_map')
    (found,) = remarks(meta['backbone'], library)
    assert remark in found
    backbone = build(library, target.settings, seed=5, init_cfg=ConfigDict(target.init_cfg(str(tmp_path / 'out.pth'))))
    backbone.init_weights()
    agree(backbone, student, images(3, (128, 192)))


def test_padded_simmim_is_exported_as_the_padded_swin():
    settings = dict(type='mmrs_ssl.PaddedSimMIMSwinTransformer', arch='tiny', img_size=192)
    plain, without = as_plain_backbone(settings)
    assert plain == dict(type='mmrs_ssl.PaddedSwinTransformer', arch='tiny', img_size=192)
    assert without == ('mask_token',)
