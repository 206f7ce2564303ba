"""What the README promises for GeoTIFFs: statistics, training, export, and a backbone of as many bands."""

import json
import re
import shlex

import torch
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.synthetic.layouts import write_layout

CONFIG = 'configs/cmid/cmid_resnet18_1xb64-coslr-100e_geotiff-224px.py'


def test_from_geotiffs_to_a_backbone(tmp_path, run_tool):
    write_layout('time_series', tmp_path / 'scenes', scenes=2, size=96, bands=5)
    code, printed = run_tool('band_stats.py', tmp_path / 'scenes', '--processes', 1, '--out', tmp_path / 'stats.json')
    assert code == 0, printed
    stats = json.loads((tmp_path / 'stats.json').read_text())
    options = shlex.split(re.search(r'--cfg-options (.*)', printed)[1])
    assert [option.split('=')[0] for option in options] == [
        'model.data_preprocessor.mean',
        'model.data_preprocessor.std',
        'train_dataloader.dataset.max_value',
        'train_dataloader.dataset.band_spread',
    ]
    small = {
        'data_root': tmp_path / 'scenes',
        'size': 32,
        'window': 80,
        'batch': 4,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'epochs': 2,
        'default_hooks.checkpoint.interval': 2,
        'train_dataloader.dataset.windows_per_epoch': 4,
        'model.mask_block': 16,
    }
    settings = [f'{key}={value}' for key, value in small.items()]
    code, printed = run_tool('train.py', CONFIG, '--work-dir', tmp_path / 'run', '--cfg-options', *options, *settings)
    assert code == 0, printed
    code, printed = run_tool('export_backbone.py', tmp_path / 'run' / 'epoch_2.pth', tmp_path / 'backbone.pth')
    assert code == 0, printed
    meta = torch.load(tmp_path / 'backbone.pth', weights_only=True)['meta']
    assert meta['bands'] == 5
    for mine, counted in zip(meta['mean'], stats['mean'], strict=True):
        assert abs(mine - counted) < 1
    init_default_scope('mmpretrain')
    pretrained = dict(type='Pretrained', prefix='backbone.', checkpoint=str(tmp_path / 'backbone.pth'))
    backbone = MODELS.build(dict(type='ResNet', depth=18, in_channels=5, init_cfg=pretrained))
    backbone.init_weights()
    trained = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)['state_dict']
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, trained[f'backbone.{key}']), key
    assert backbone(torch.randn(1, 5, 64, 64))[-1].shape == (1, 512, 2, 2)
