"""From a folder of images by a shipped config to a shipped downstream config, by two commands that name paths alone."""

import re

import numpy as np
import pytest
import torch

from mmrs_ssl import get_config
from mmrs_ssl.synthetic.layouts import write_layout
from tests.conftest import ROOT, TestProbe, log_of
from tests.downstream import FOLDER, prepare, small_options

# What the machine of a test needs: two steps of four small images.
SMALL = [
    *('batch=4', 'epochs=2', 'size=64'),
    *('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
]
PRETRAININGS = {
    'cmid/cmid_resnet50_1xb64-coslr-100e_folder-224px': 'classification/resnet50_1xb64-ft-coslr-100e_eurosat-224px',
    'cmid/cmid_vit-small_1xb64-coslr-100e_folder-224px': ('classification/vit-small_1xb64-ft-coslr-100e_eurosat-224px'),
    'dino_mc/dino-mc_swin-tiny_1xb64-coslr-100e_folder-224px': (
        'classification/swin-tiny_1xb64-linear-coslr-100e_eurosat-224px'
    ),
}


def two_commands(name, downstream, tmp_path, run_tool):
    """Run both; returns the checkpoint of the first and the log of the second."""
    images, scenes = tmp_path / 'images', tmp_path / 'scenes'
    write_layout('folder', images, scenes=8, size=80)
    root = prepare('eurosat', scenes, 14, run_tool)
    sizes = SMALL + (['crops=[48,32]'] if 'dino' in name else [])
    before = ['--work-dir', tmp_path / 'pretrained', '--cfg-options', f'data_root={images}', *sizes]
    code, text = run_tool('train.py', ROOT / f'configs/{name}.py', *before)
    assert code == 0, text[-2000:]
    checkpoint = tmp_path / 'pretrained' / 'epoch_2.pth'
    options = small_options(downstream, 'eurosat', root, checkpoint)
    options += ['train_dataloader.batch_size=4', 'default_hooks.probe.type=TestProbe']
    after = ['--work-dir', tmp_path / 'work', '--cfg-options', *options]
    code, text = run_tool('train.py', FOLDER / f'{downstream}.py', *after)
    assert code == 0, text[-2000:]
    return checkpoint


@pytest.mark.slow
@pytest.mark.parametrize('name', list(PRETRAININGS))
def test_own_images_reach_a_downstream_config(name, tmp_path, run_tool, monkeypatch):
    """The weights and statistics that the first step finds are those of the pre-training."""
    found = {}

    def look(runner, data):
        if runner.iter == 0:
            found.update({key: value.clone() for key, value in runner.model.backbone.named_parameters()})
            found['mean'] = runner.model.data_preprocessor.mean.flatten().tolist()

    monkeypatch.setattr(TestProbe, 'calls', dict(before_train_iter=look))
    checkpoint = two_commands(name, PRETRAININGS[name], tmp_path, run_tool)
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    prefix = 'teacher.module.backbone.' if name.startswith('dino') else 'backbone.'
    np.testing.assert_allclose(found.pop('mean'), get_config(name).statistics['mean'], rtol=1e-6)
    for key, value in found.items():
        if key != 'pos_embed':  # of images of 64 pixels there, of 224 here
            torch.testing.assert_close(value, state[prefix + key], rtol=0, atol=0)
    assert re.search(r'^  missing +0$', log_of(tmp_path / 'work'), re.M)
