"""Exported files in the classes of every library, loaded by nothing of this package."""

import json
import re

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.config import Config, ConfigDict
from mmpretrain.models import ClsDataPreprocessor
from mmseg.models import SegDataPreProcessor
from safetensors import safe_open
from safetensors.torch import load_file

from mmrs_ssl.evaluation.frozen import open_backbone
from mmrs_ssl.transfer import key_maps, load_backbone
from mmrs_ssl.transfer.export import FORMATS, export_backbone
from mmrs_ssl.transfer.layouts import find_backbones
from mmrs_ssl.transfer.records import read_record
from mmrs_ssl.transfer.safe_types import allow_checkpoint_types
from mmrs_ssl.transfer.sources import read_file
from mmrs_ssl.transfer.targets import LIBRARIES, NAMES, target_of
from tests.conftest import BACKBONES
from tests.transfer.backbones import (
    REGISTRIES,
    agree,
    counterpart,
    mine,
    same,
    save,
    scramble,
    torchvisions,
    weights_of,
)
from tests.transfer.checkpoints import training

FAMILIES = ('resnet', 'swin', 'vit', 'convnext')
OWN = {
    ('mmseg', 'resnet'): 'mmseg.ResNet',
    ('mmseg', 'swin'): 'mmseg.SwinTransformer',
    ('mmseg', 'vit'): 'mmseg.VisionTransformer',
    ('mmdet', 'resnet'): 'mmdet.ResNet',
    ('mmdet', 'swin'): 'mmdet.SwinTransformer',
}


def pasted(printed):
    """The variables of the printed config."""
    settings = {}
    exec(printed.split('config:\n')[-1], {'dict': dict}, settings)
    return settings


def loaded_plainly(library, settings, seed=5):
    """A backbone of the printed settings, loaded by OpenMMLab without the allow-list; names that its file lacks."""
    backbone = scramble(REGISTRIES[library].build(ConfigDict(settings)), seed)
    before = weights_of(backbone)
    torch.serialization.clear_safe_globals()
    try:
        backbone.init_weights()
    finally:
        allow_checkpoint_types()
    backbone.eval()
    return backbone, [key for key, value in weights_of(backbone).items() if torch.equal(value, before[key])]


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('library', ['mmpretrain', 'mmseg', 'mmdet'])
def test_the_class_that_is_printed_computes_the_same(library, family, run_tool, tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', family)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', library)
    assert code == 0, printed
    settings = pasted(printed)
    kind = settings['backbone']['type']
    assert kind == OWN.get((library, family), f'mmpretrain.{type(student).__name__}')
    assert f"The class is type='{kind}'" in printed
    assert (f'has no {type(student).__name__} of its own' in printed) == (
        library != 'mmpretrain' and (library, family) not in OWN
    )
    assert ('custom_imports' in settings) == (library != 'mmpretrain' and kind.startswith('mmpretrain.'))
    own = (library, family) in OWN
    assert set(settings['backbone']['init_cfg']) == {'type', 'checkpoint'} | (set() if own else {'prefix'})
    backbone, untouched = loaded_plainly(library, settings['backbone'])
    assert all(re.match(r'norm[0-2]\.', key) or key.endswith('num_batches_tracked') for key in untouched)
    agree(backbone, student, torch.randn(2, 3, 64, 64))


@pytest.mark.parametrize(('branch', 'which'), [('student', 1), ('teacher', 2)])
def test_either_branch_of_a_class_with_other_names(branch, which, run_tool, tmp_path):
    made = training(tmp_path / 'run.pth', 'vit', method='DINOMC', out_type='cls_token', patch_size=8)
    options = [] if branch == 'teacher' else ['--branch', branch]
    code, printed = run_tool('export_backbone.py', made[0], tmp_path / 'out.pth', '--for', 'mmseg', *options)
    assert code == 0, printed
    backbone, untouched = loaded_plainly('mmseg', pasted(printed)['backbone'])
    assert untouched == []
    featmap = mine('vit', patch_size=8)
    featmap.load_state_dict(made[which].state_dict())
    agree(backbone, featmap, torch.randn(1, 3, 64, 64))
    report = load_backbone(mine('vit', seed=9, patch_size=8), tmp_path / 'out.pth')
    assert not report.ignored


@pytest.mark.parametrize('library', ['mmseg', 'mmdet'])
def test_a_deep_stem(library, run_tool, tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', deep_stem=True)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', library)
    assert code == 0, printed
    backbone, untouched = loaded_plainly(library, pasted(printed)['backbone'])
    assert all(key.endswith('num_batches_tracked') for key in untouched)
    agree(backbone, student, torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize(
    ('family', 'changes', 'lacking'),
    [
        ('resnet', dict(depth=50, expansion=2), 'expansion=2'),
        ('vit', dict(layer_scale_init_value=0.1), 'layer_scale_init_value=0.1'),
        ('vit', dict(out_type='avg_featmap'), "out_type='avg_featmap'"),
        ('vit', dict(qkv_bias=False), 'qkv_bias=False'),  # there it also takes the bias behind attention away
        ('vit', dict(patch_size=(16, 16)), r'patch_size=[16, 16]'),
        ('swin', dict(use_abs_pos_embed=True), 'use_abs_pos_embed=True'),
    ],
)
def test_what_an_own_class_cannot_do_goes_to_mmpretrains(family, changes, lacking, run_tool, tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', family, **changes)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', 'mmseg')
    assert code == 0, printed
    kind = type(student).__name__
    assert f"The class is type='mmpretrain.{kind}' (mmseg.{kind} has nothing like {lacking})" in printed
    backbone, _ = loaded_plainly('mmseg', pasted(printed)['backbone'])
    weights = weights_of(student)
    weights.pop('ln2.weight', None), weights.pop('ln2.bias', None)  # after pooling, which a feature map has not
    assert same({key: value for key, value in weights_of(backbone).items() if key in weights}, weights)


def test_open_cds_are_mmsegs_for_two_dates(run_tool, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', 'swin')
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', 'opencd')
    assert code == 0, printed
    settings = pasted(printed)
    assert settings['backbone']['type'] == 'mmseg.SwinTransformer'
    assert settings['data_preprocessor']['mean'] == settings['mean'] * 2
    assert len(settings['data_preprocessor']['std']) == 6


@pytest.mark.parametrize(
    ('library', 'preprocessor', 'bands'),
    [
        ('mmpretrain', ClsDataPreprocessor, 3),
        ('mmpretrain', ClsDataPreprocessor, 4),
        ('mmseg', SegDataPreProcessor, 3),
        ('mmseg', SegDataPreProcessor, 4),
        ('mmdet', DetDataPreprocessor, 3),
        ('mmdet', DetDataPreprocessor, 1),
    ],
)
def test_the_printed_lines_normalize_what_openmmlab_loads(library, preprocessor, bands, run_tool, tmp_path):
    """Colors come as BGR and leave in the order of the files; other bands stay where they are."""
    path, student, _ = training(tmp_path / 'run.pth', bands=bands)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', library)
    assert code == 0, printed
    settings = pasted(printed)
    pixels = torch.randint(0, 256, (bands, 64, 64), dtype=torch.uint8)
    seen = pixels.flip(0) if bands == 3 else pixels
    inputs = preprocessor(**settings['data_preprocessor'])(dict(inputs=[seen], data_samples=None))['inputs']
    mean, std = (torch.tensor(settings[name]).view(-1, 1, 1) for name in ('mean', 'std'))
    expected = (pixels - mean) / std
    torch.testing.assert_close(inputs[0], expected)
    backbone, _ = loaded_plainly(library, settings['backbone'])
    agree(backbone, student, expected[None])


@pytest.mark.parametrize('swapped', [True, False])
def test_a_librarys_own_training_whose_statistics_stand_beside_the_model(swapped, run_tool, tmp_path):
    """As mmpretrain's configs are; without ``to_rgb`` the network saw blue first, as OpenCV reads."""
    path, student, _ = training(tmp_path / 'run.pth')
    content = torch.load(path, weights_only=True)
    beside = dict(type='SelfSupDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=swapped)
    model = dict(type='MoCo', backbone=BACKBONES['resnet'][0])
    pipeline = [dict(type='LoadImageFromFile')]
    content['meta']['cfg'] = f'data_preprocessor = {beside}\nmodel = {model}\ntrain_pipeline = {pipeline}'
    save(content['state_dict'], path, meta=content['meta'])
    out = tmp_path / 'out.pth'
    code, printed = run_tool('export_backbone.py', path, out, '--branch', 'student', '--for', 'mmpretrain')
    assert code == 0, printed
    assert ('blue, green, red, then (pixel - mean)' in printed) != swapped
    for file in (path, out):
        record = read_record(read_file(file))
        assert (record.mean, record.channel_order) == ([1.0, 2.0, 3.0], 'rgb' if swapped else 'bgr')
    pixels = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)  # as OpenCV reads them: blue first
    settings = pasted(printed)
    given = ClsDataPreprocessor(**settings['data_preprocessor'])(dict(inputs=[pixels], data_samples=None))['inputs']
    seen = (pixels.flip(0) if swapped else pixels).float()
    expected = (seen - torch.tensor([1.0, 2.0, 3.0]).view(-1, 1, 1)) / torch.tensor([4.0, 5.0, 6.0]).view(-1, 1, 1)
    torch.testing.assert_close(given[0], expected)
    for file in (path, out):
        frozen = open_backbone(file, branch='student' if file == path else None, size=64)
        with torch.no_grad():
            student.eval()
            vector = student(expected[None])[-1].mean(dim=(2, 3))
            torch.testing.assert_close(frozen(pixels.flip(0)[None].float()), vector)  # rasters' order


# Bases to inherit from: other classes, widths and normalization than the exported backbone's.
BASES = [
    ('mmpretrain', 'vit', ['models/vit-base-p16.py', 'datasets/imagenet_bs64_swin_224.py']),
    ('mmseg', 'resnet', ['models/upernet_r50.py']),
    ('mmseg', 'swin', ['models/upernet_r50.py']),
    ('mmseg', 'convnext', ['models/upernet_swin.py']),
    ('mmdet', 'resnet', ['models/faster-rcnn_r50_fpn.py']),
    ('mmdet', 'swin', ['models/faster-rcnn_r50_fpn.py']),
]


@pytest.mark.parametrize(('library', 'family', 'bases'), BASES)
def test_the_printed_lines_change_the_model_of_a_base(library, family, bases, run_tool, tmp_path):
    """Below a ``_base_``, whose own backbone, weights and normalization they replace, and nothing else."""
    path, student, _ = training(tmp_path / 'run.pth', family)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', library)
    assert code == 0, printed
    head = f'_base_ = {[f"{library}::_base_/{base}" for base in bases]}\n'
    (tmp_path / 'base.py').write_text(head)
    (tmp_path / 'config.py').write_text(head + printed.split('config:\n')[1])
    models = []
    for name in ('base.py', 'config.py'):
        cfg = Config.fromfile(tmp_path / name)
        cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))  # as the Runner does
        models.append(cfg.model)
    before, after = (model.pop('data_preprocessor') for model in models)
    assert after.pop('mean') == [100.0, 101.0, 102.0]
    assert after.pop('std') == [50.0, 51.0, 52.0]
    assert all(before[key] == value for key, value in after.items())
    assert set(before) - set(after) == {'mean', 'std'}
    model = REGISTRIES[library].build({**models[1], 'type': f'{library}.{models[1].type}'})
    model.backbone.init_weights()
    model.eval()
    agree(model.backbone, student, torch.randn(1, 3, 64, 64))


def test_mmdetection_normalizes_one_or_three_bands(run_tool, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', bands=4)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--for', 'mmdet')
    assert code == 0, printed
    assert "# mmdet's DetDataPreprocessor takes 1 or 3 bands" in printed
    assert 'data_preprocessor' not in pasted(printed)
    with pytest.raises(AssertionError, match='should have 1 or 3 values'):
        DetDataPreprocessor(mean=[0.0] * 4, std=[1.0] * 4)


@pytest.mark.parametrize('family', FAMILIES)
def test_torchvisions_class_takes_all_but_a_head(family, run_tool, tmp_path):
    changes = dict(stem_channels=64, base_channels=64) if family == 'resnet' else {}
    path, student, _ = training(tmp_path / 'run.pth', family, **changes)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', '--format', 'torchvision')
    assert code == 0, printed
    weights = torch.load(tmp_path / 'out.pth', weights_only=True)
    network = torchvisions(family, seed=7)
    heads = ('fc.', 'head.', 'heads.', 'classifier.2.')
    head = {key: value for key, value in network.state_dict().items() if key.startswith(heads)}
    network.load_state_dict(weights | head, strict=True)
    agree(network, student, torch.randn(2, 3, 64, 64))
    report = load_backbone(counterpart(family, seed=4), tmp_path / 'out.pth')
    assert not report.ignored
    assert f'mean = {[100.0, 101.0, 102.0]}' in printed


@pytest.mark.parametrize('family', FAMILIES)
def test_timms_names(family, tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', family)
    export_backbone(path, tmp_path / 'out.pth', file_format='timm')
    weights = torch.load(tmp_path / 'out.pth', weights_only=True)
    layout = NAMES['timm'][find_backbones(student.state_dict(), key_maps.LAYOUTS)[''].name]
    assert find_backbones(weights, key_maps.LAYOUTS) == {'': layout}
    assert same(weights, layout.from_mmpretrain(weights_of(student)))


def test_safetensors_with_meta(run_tool, tmp_path):
    path, _, teacher = training(tmp_path / 'run.pth', 'swin', bands=4)
    out = tmp_path / 'out.safetensors'
    options = ('--format', 'safetensors', '--branch', 'teacher')
    code, printed = run_tool('export_backbone.py', path, out, *options)
    assert code == 0, printed
    meta = export_backbone(path, tmp_path / 'out.pth', branch='teacher')
    with safe_open(out, framework='pt') as file:
        assert {key: json.loads(value) for key, value in file.metadata().items()} == meta
    assert (meta['branch'], meta['bands'], meta['mean']) == ('teacher', 4, [100.0, 101.0, 102.0, 103.0])
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert content['meta'] == meta
    assert same(load_file(out), content['state_dict'])
    (hook,) = pasted(printed)['custom_hooks']
    assert hook == dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint=str(out))
    backbone = mine('swin', seed=3, in_channels=4)
    load_backbone(backbone, hook['checkpoint'])
    assert same(weights_of(backbone), weights_of(teacher))


@pytest.mark.parametrize(
    ('family', 'changes', 'options', 'message'),
    [
        ('resnet', dict(deep_stem=True), ('out.pth', 'timm'), 'no map from ResNet of mmpretrain, deep stem to timm'),
        (
            'vit',
            dict(layer_scale_init_value=0.1),
            ('out.pth', 'torchvision'),
            r'no weight like layers\.0\.attn\.gamma1',
        ),
        ('swin', dict(use_abs_pos_embed=True), ('out.pth', 'timm'), 'no weight like absolute_pos_embed'),
        ('resnet', {}, ('out.pth', 'safetensors'), r'\.safetensors is for that format, and no other'),
        ('resnet', {}, ('out.safetensors', 'openmmlab'), r'\.safetensors is for that format, and no other'),
        ('resnet', {}, ('out.pth', 'keras'), f'expected one of {", ".join(FORMATS)}'),
    ],
)
def test_what_a_format_does_not_have(family, changes, options, message, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', family, **changes)
    name, file_format = options
    with pytest.raises(ValueError, match=message):
        export_backbone(path, tmp_path / name, file_format=file_format)
    assert not (tmp_path / name).exists()


def test_a_library_that_is_not_known():
    with pytest.raises(ValueError, match=f'expected one of {", ".join(LIBRARIES)}'):
        target_of('yolo', dict(type='ResNet', depth=18), 3)


def test_a_library_and_the_names_of_another(run_tool, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth')
    options = ('--format', 'timm', '--for', 'mmseg')
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', *options)
    assert code != 0
    assert '--for mmseg has no meaning with --format timm' in printed.rstrip().splitlines()[-1]
    assert not (tmp_path / 'out.pth').exists()
