"""Configs of the libraries as they are, trained by the libraries' own scripts with the documented lines and no more."""

import importlib
import json
import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ResNet

from tests.conftest import log_of
from tests.downstream import documented_lines, losses_of, pretrained_file

MEAN, STD = [86.0, 92.0, 85.0], [35.0, 34.5, 36.0]
RESNET = dict(type='ResNet', depth=18)
# library, config, backbone of the file
STOCK = {
    'RetinaNet': ('mmdet', 'retinanet/retinanet_r18_fpn_1x_coco.py', RESNET),
    'UPerNet': ('mmseg', 'upernet/upernet_r18_4xb4-80k_ade20k-512x512.py', dict(RESNET, type='ResNetV1c')),
    'ResNet': ('mmpretrain', 'resnet/resnet18_8xb32_in1k.py', RESNET),
}
LARGE = {
    'Mask R-CNN': ('mmdet', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', dict(RESNET, depth=50)),
    'UPerNet of ResNet-50': (
        'mmseg',
        'upernet/upernet_r50_4xb4-80k_ade20k-512x512.py',
        dict(type='ResNetV1c', depth=50),
    ),
    'ViT': (
        'mmseg',
        'vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py',
        dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16, patch_cfg=dict(padding=0)),
    ),
    'Swin': (
        'mmdet',
        'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
        dict(type='SwinTransformer', arch='tiny'),
    ),
    'ResNet-50': ('mmpretrain', 'resnet/resnet50_8xb32_in1k.py', dict(RESNET, depth=50)),
}
FREEZING = r'15 of 60 weights, statistics of 20 BatchNorms|33 of 159 weights, statistics of 53 BatchNorms'


def write_images(root):
    """Eight images in the layouts of COCO, ADE20K and folders of classes."""
    rng = np.random.default_rng(0)
    for folder in ('images/training', 'annotations/training', 'classes/a', 'classes/b'):
        (root / folder).mkdir(parents=True)
    images, boxes = [], []
    for i in range(8):
        picture = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        for path in (f'images/training/{i}.jpg', f'classes/{"ab"[i % 2]}/{i}.jpg'):
            assert cv2.imwrite(str(root / path), picture)
        assert cv2.imwrite(str(root / f'annotations/training/{i}.png'), rng.integers(0, 4, (96, 96), dtype=np.uint8))
        images.append(dict(id=i, file_name=f'{i}.jpg', width=96, height=96))
        corners = [10, 10, 70, 10, 70, 60, 10, 60]
        boxes.append(dict(id=i, image_id=i, category_id=1 + i % 2, bbox=[10, 10, 60, 50], area=3000, iscrowd=0))
        boxes[-1]['segmentation'] = [corners]
    kinds = [dict(id=1, name='person'), dict(id=2, name='bicycle')]
    (root / 'coco.json').write_text(json.dumps(dict(images=images, annotations=boxes, categories=kinds)))


def data_of(library, root):
    """What a config of a library says of the generated images, in small, with nothing to evaluate."""
    common = "num_workers=0, persistent_workers=False, batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False)"
    text = 'optim_wrapper = dict(optimizer=dict(lr=0.0))\nparam_scheduler = []\n'
    text += 'val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None\n'
    if library == 'mmdet':
        dataset = f"data_root={str(root)!r} + '/', ann_file='coco.json', data_prefix=dict(img='images/training/')"
        text += f'train_dataloader = dict({common}, dataset=dict({dataset}))\n'
        return f'{text}train_cfg = dict(max_epochs=1)\n', ['train_dataloader.dataset.pipeline.2.scale=(64,64)']
    if library == 'mmseg':
        text += f'train_dataloader = dict({common}, dataset=dict(data_root={str(root)!r}))\n'
        text += 'train_cfg = dict(max_iters=2, val_interval=2)\nmodel = dict(data_preprocessor=dict(size=(64, 64)))\n'
        text += 'default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))\n'
        pipeline = 'train_dataloader.dataset.pipeline'
        return text, [f'{pipeline}.2.scale=(96,96)', f'{pipeline}.3.crop_size=(64,64)']
    dataset = f"type='CustomDataset', data_root={str(root / 'classes')!r}, pipeline=_base_.train_pipeline"
    dataset = f'_delete_=True, {dataset}'
    text += f'train_dataloader = dict({common}, dataset=dict({dataset}))\ntrain_cfg = dict(max_epochs=1)\n'
    return text, ['train_dataloader.dataset.pipeline.1.scale=64']


def run_script(monkeypatch, library, *arguments):
    """Run a library's own script in this process."""
    script = Path(importlib.import_module(library).__file__).parent / '.mim/tools' / arguments[0]
    monkeypatch.setattr(sys, 'argv', [str(script), *map(str, arguments[1:])])
    monkeypatch.setenv('LOCAL_RANK', '0')
    runpy.run_path(str(script), run_name='__main__')


def train_stock(tmp_path, monkeypatch, library, config, settings, spoil=None, normalization='adopt'):
    """Train a stock config with the documented lines; returns its work dir and the pre-trained backbone."""
    source = pretrained_file(tmp_path / 'pretrained.pth', settings, mean=MEAN, std=STD)
    if spoil:
        content = torch.load(tmp_path / 'pretrained.pth', weights_only=True)
        spoil(content)
        torch.save(content, tmp_path / 'pretrained.pth')
    write_images(tmp_path / 'data')
    data, options = data_of(library, tmp_path / 'data')
    stock = Path(importlib.import_module(library).__file__).parent / '.mim/configs' / config
    path = tmp_path / 'stock.py'
    lines = documented_lines(tmp_path / 'pretrained.pth').replace("'adopt'", repr(normalization))
    path.write_text(f'_base_ = {str(stock)!r}\n{lines}\n{data}')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'downloads'))
    work = tmp_path / 'work'
    run_script(monkeypatch, library, 'train.py', path, '--work-dir', work, '--cfg-options', *options)
    assert not list((tmp_path / 'downloads').rglob('*.pth*'))
    return work, source


def check_run(work, library, source):
    log = log_of(work)
    assert re.search(r'missing +0', log)
    assert re.search(r'mean +86, 92, 85 +123\.7, 116\.3, 103\.5 +adopted', log)
    assert re.search(r'order of bands +rgb +rgb \(bgr by LoadImageFromFile, swapped\) +same', log)
    frozen = FREEZING if library == 'mmdet' and isinstance(source, ResNet) else 'nothing'
    assert re.search(rf'frozen +({frozen}) +as the config says', log)
    assert len(losses_of(log)) >= 1
    cfg = Config.fromfile(work / 'stock.py')
    beside = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    assert (beside.mean, beside.std) == (MEAN, STD)
    assert beside.get('to_rgb') or beside.get('bgr_to_rgb')
    saved = torch.load(next(work.glob('*.pth')), weights_only=True)
    assert saved['meta']['adopted_normalization']['mean'] == MEAN
    assert '86.0' in saved['meta']['cfg']
    # it began with the file's weights, which a learning rate of 0 leaves as they are
    found = {key.removeprefix('backbone.'): value for key, value in saved['state_dict'].items()}
    weights = {name: value for name, value in source.named_parameters() if name in found}
    assert len(weights) > 0.6 * len(list(source.parameters()))  # but for those with names of their own
    changed = [name for name, value in weights.items() if not torch.equal(found[name], value)]
    assert changed == (['pos_embed'] if 'pos_embed' in weights else [])  # of smaller images


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', list(STOCK))
def test_a_stock_config_takes_the_documented_lines(name, tmp_path, monkeypatch):
    library, config, settings = STOCK[name]
    work, source = train_stock(tmp_path, monkeypatch, library, config, settings)
    check_run(work, library, source)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', list(LARGE))
def test_a_large_stock_config_takes_the_documented_lines(name, tmp_path, monkeypatch):
    library, config, settings = LARGE[name]
    work, source = train_stock(tmp_path, monkeypatch, library, config, settings)
    check_run(work, library, source)


SIX_HEADS = dict(embed_dims=768, num_layers=12, num_heads=6, feedforward_channels=3072)


def not_a_number(content):
    content['state_dict']['backbone.layer4.2.conv3.weight'][0, 0] = float('nan')


def reflectances(content):
    content['meta']['cfg'] = content['meta']['cfg'].replace(str(STD), '[0.1, 0.1, 0.1]')


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    ('name', 'changes', 'options', 'match'),
    [
        ('Mask R-CNN', dict(style='caffe'), {}, r'(?s)computes something else.*style'),
        ('ViT', dict(arch=SIX_HEADS), {}, r'(?s)computes something else.*heads'),
        ('ResNet-50', {}, dict(spoil=not_a_number), 'NaN or inf'),
        ('UPerNet of ResNet-50', {}, dict(spoil=reflectances, normalization='check'), 'means other units'),
    ],
)
def test_a_stock_config_refuses_what_does_not_fit(name, changes, options, match, tmp_path, monkeypatch):
    """Style, heads, values that are no numbers, and statistics: what names and shapes do not tell."""
    library, config, settings = LARGE[name]
    with pytest.raises(ValueError, match=match):
        train_stock(tmp_path, monkeypatch, library, config, {**settings, **changes}, **options)
    assert not list((tmp_path / 'work').glob('*.pth'))
