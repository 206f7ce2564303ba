"""Shipped configs, other classes and the libraries' own networks: what is no difference is not said to be one."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.overrides import TorchFunctionMode

from mmrs_ssl.registry import MODELS
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.behavior import compare_behavior, settings_by_default, settings_of
from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.layouts import find_backbones
from mmrs_ssl.transfer.loading import layout_of
from mmrs_ssl.transfer.targets import as_plain_backbone
from tests.conftest import BACKBONES
from tests.transfer.backbones import build, same, save, under, weights_of
from tests.transfer.references import PAIRS

ARCH = BACKBONES['vit'][0]['arch']


def backbones_in(folder, *names):
    """The backbones of models in a folder of configs, each once."""
    paths = [path for name in names for path in sorted(Path('configs', folder).glob(f'{name}_*.py'))]
    found = [as_plain_backbone(Config.fromfile(path).model.backbone.to_dict())[0] for path in paths]
    return list({str(settings): settings for settings in found}.values())


class NumbersHere(TorchFunctionMode):
    """Numbers that classes read while they are built are made on the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        here = dict(device='cpu') if func is torch.linspace else {}
        return func(*args, **(kwargs or {}), **here)


def shapes_and_model(settings):
    """A backbone without memory, and the shapes of what it has in any use of it, but for position embeddings."""
    kind = settings['type']
    with torch.device('meta'), NumbersHere():
        model = MODELS.build({**settings, 'type': kind if '.' in kind else f'mmpretrain.{kind}', 'init_cfg': None})
    shapes = {key: value.shape for key, value in model.state_dict().items() if not re.match(r'norm\d|ln|pos', key)}
    return shapes, model


def test_shipped_configs_raise_no_false_alarm():
    """Every two of one architecture: what a file of the pre-training would say, and what the model computes."""
    compared, notes = 0, set()
    pretrained = [
        (settings, shapes_and_model(settings)[0])
        for settings in backbones_in('_base_/models', 'cmid', 'dino-mc', 'mssdf', 'm*')
    ]
    for settings in backbones_in('downstream/_base_/models', 'classifier', 'bit', 'siam-upernet'):
        shapes, model = shapes_and_model(settings)
        for said, others in pretrained:
            if any(others.get(key) != shape for key, shape in shapes.items()):
                continue
            errors, found = compare_behavior(model, layout_of(model.state_dict()), {}, said)
            assert errors == []
            notes |= set(found)
            compared += 1
    assert compared > 8
    assert {note.split(':')[0] for note in notes} <= {
        'the strides of its stages',  # of BIT
        'the padding of images that are no whole number of patches',  # after MAE
        'on maps no larger than a window pre-training attends to the whole map, this model to shifted windows of it',
        'on maps no larger than a window pre-training attends to shifted windows of it, this model to the whole map',
    }


OTHERS = {
    'split attention': dict(type='ResNeSt', depth=50, stem_channels=8, base_channels=8),
    'squeeze and excitation': dict(type='SEResNet', depth=50, stem_channels=8, base_channels=8),
    'groups': dict(type='ResNeXt', depth=50, stem_channels=8, base_channels=8, groups=2, width_per_group=4),
    'relative positions': dict(
        type='BEiTViT', arch=ARCH, img_size=64, use_rel_pos_bias=True, use_abs_pos_emb=False, layer_scale_init_value=0.1
    ),
    'a second token': dict(type='DistilledVisionTransformer', arch=ARCH, img_size=64, out_type='raw'),
    'plain convolutions': dict(type='ResNet', depth=18, base_channels=8, conv_cfg=dict(type='Conv')),
}


@pytest.mark.parametrize('what', OTHERS)
def test_other_classes_take_their_own_weights(what, tmp_path):
    """With a config and without one."""
    source, target = (build('mmpretrain', OTHERS[what], seed) for seed in (0, 1))
    text = f'model = {dict(type="ImageClassifier", backbone=OTHERS[what])}'
    for meta in ({}, dict(cfg=text)):
        path = save(under('backbone.', source.state_dict()), tmp_path / 'own.pth', meta=meta)
        report = load_backbone(target, path)
        assert (report.notes, report.ignored) == ([], [])
    assert same(weights_of(source), weights_of(target))


@pytest.mark.parametrize('name', PAIRS)
def test_the_libraries_networks_compute_as_is_said_of_them(name):
    """Read off timm's and torchvision's own modules."""
    network = PAIRS[name].network()
    family = PAIRS[name].family
    (layout,) = find_backbones(network.state_dict(), LAYOUTS).values()
    found = settings_of(network, family)
    for key, value in settings_by_default(layout, {}).items():
        if key in ('eps', 'activation', 'style'):
            assert found.get(key, value) == value
    assert 'heads' not in found or found['heads'] == 2
