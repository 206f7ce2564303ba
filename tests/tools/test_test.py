"""tools/test.py, run in this process on a small classifier that tools/train.py has trained."""

import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from tests.conftest import BACKBONES, TestProbe, build_cmid
from tests.tools.test_train import error_of


@pytest.fixture
def classifier(tmp_path):
    """A classification config over mmpretrain's, on two easy classes; and a CMID checkpoint of its backbone."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('val', 4)):
        for label, level in (('dark', 60), ('light', 190)):
            folder = tmp_path / 'classes' / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-30, 30, (40, 40, 3))
                cv2.imwrite(str(folder / f'{i}.png'), np.clip(level + noise, 0, 255).astype(np.uint8))
    model = build_cmid(seed=3)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'cmid.pth')
    narrow = {key: value for key, value in BACKBONES['resnet'][0].items() if key not in ('type', 'depth')}
    path = tmp_path / 'classifier.py'
    path.write_text(f"""
_base_ = ['mmpretrain::_base_/models/resnet18.py', 'mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmrs_ssl'])
data_root = {str(tmp_path / 'classes')!r}
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint={str(tmp_path / 'cmid.pth')!r}), **{narrow!r}
    ),
    head=dict(num_classes=2, in_channels=64, topk=(1,)),
    data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3, num_classes=2),
)
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='val', pipeline=pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='TestProbe')]
default_hooks = dict(checkpoint=dict(interval=1))
work_dir = {str(tmp_path / 'downstream')!r}
""")
    return path, model


def test_downstream_training_and_testing(classifier, run_tool, tmp_path):
    """Any library's config: the backbone starts from the pre-trained one, exactly."""
    path, model = classifier
    pretrained = model.backbone.state_dict()
    compared = []

    def look(runner, batch):
        if runner.iter == 0:
            compared.append(all(torch.equal(v, pretrained[k]) for k, v in runner.model.backbone.state_dict().items()))

    TestProbe.calls = dict(before_train_iter=look)
    code, output = run_tool('train.py', path)
    assert code == 0, output
    assert compared == [True]
    checkpoint = tmp_path / 'downstream' / 'epoch_1.pth'
    trained = torch.load(checkpoint, weights_only=True)['state_dict']
    assert not torch.equal(trained['backbone.conv1.weight'], pretrained['conv1.weight'])

    code, output = run_tool('test.py', path, checkpoint, '--work-dir', tmp_path / 'test')
    assert code == 0, output
    reported = float(re.search(r'accuracy/top1: ([\d.]+)', output).group(1))
    assert reported == accuracy_of(checkpoint, path, tmp_path / 'classes' / 'val')

    for key in ('head.fc.weight', 'head.fc.bias'):
        del trained[key]
    torch.save(dict(state_dict=trained, meta={}), tmp_path / 'headless.pth')
    code, output = run_tool('test.py', path, tmp_path / 'headless.pth', '--work-dir', tmp_path / 'test')
    assert code == 1
    assert re.search(r'2 weights of the model .*random: head\.fc\.weight, head\.fc\.bias.*--allow', error_of(output))
    code, output = run_tool('test.py', path, tmp_path / 'headless.pth', '--allow-missing', 'head.*')
    assert code == 0, output
    code, output = run_tool('test.py', path, tmp_path / 'gone.pth')
    assert code == 1
    assert re.match(r"no checkpoint '.*gone\.pth'", error_of(output))


def accuracy_of(checkpoint, config, folder):
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = None
    cfg.model.pop('data_preprocessor')
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    right = []
    for label, name in enumerate(('dark', 'light')):
        for path in sorted((folder / name).glob('*.png')):
            image = torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1).float()
            with torch.no_grad():
                scores = model.head(model.extract_feat((image[None] - 127) / 60))
            right.append(int(scores[0].argmax()) == label)
    return 100 * sum(right) / len(right)


def test_testing_a_pretraining_config(make_config, run_tool, tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'')
    code, output = run_tool('test.py', make_config().filename, tmp_path / 'a.pth')
    assert code == 1
    assert 'has no test_dataloader: a pre-training config has nothing to test' in error_of(output)
