"""From pre-training to every downstream task with the programs that users run, on generated data.

A run's whole checkpoint goes into the downstream run. What the backbone holds there before the first step is compared
with the file itself, and with what the log says of every weight.
"""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from mmrs_ssl.synthetic.layouts import write_layout
from tests.conftest import ROOT, TestProbe, log_of
from tests.downstream import FOLDER, losses_of, needs_library, prepare, small_options

# where a checkpoint of this project has each network
PREFIXES = dict(student='backbone.', teacher='teacher.module.backbone.')
# what follows from the architecture: the loader leaves it out
DERIVED = 'relative_position_index'


def under(prefix: str, *options: str) -> list[str]:
    """Options of one part of a config."""
    return [f'{prefix}.{option}' for option in options]


class Method(NamedTuple):
    """A pre-training method: the network that its authors evaluate, its generated data, options that make it small."""

    branch: str
    layout: str
    options: list[str]


METHODS = dict(
    cmid=Method(
        'student',
        'millionaid',
        # a GPU's loss scale would skip the first steps
        ['size=64', 'model.global_head.queue_length=64', 'optim_wrapper.loss_scale=1.0'],
    ),
    dino_mc=Method(
        'teacher',
        'seco',
        ['window=72', 'size=64', 'crops=(48,32)', 'model.head.num_prototypes=256'],
    ),
    mssdf=Method(
        'student',
        'hr_pairs',
        ['size=64', 'train_dataloader.dataset.windows_per_epoch=4'],
    ),
)
# two epochs of one step: DINO-MC's last layer is frozen in the first
TWO_STEPS = [
    *under('train_dataloader', 'num_workers=0', 'persistent_workers=False', 'pin_memory=False'),
    *('batch=4', 'epochs=2', 'default_hooks.logger.interval=1'),
]


class Task(NamedTuple):
    """A downstream task: its generated data, of which a batch so large makes two steps, its metric, more options."""

    layout: str
    scenes: int
    batch: int
    metric: str
    options: Sequence[str] = ()


SCALES = [*under('train_dataloader.dataset.datasets', '0.pipeline.2', '1.pipeline.2'),
          *('val_dataloader.dataset.pipeline.1', 'test_dataloader.dataset.pipeline.1')]  # fmt: skip
TASKS = dict(
    classification=Task('eurosat', 14, 4, 'accuracy/top1'),
    segmentation=Task('vaihingen', 8, 2, 'mIoU'),
    detection=Task('dior', 8, 3, 'pascal_voc/AP50', [f'{scale}.scale=(128,128)' for scale in SCALES]),
    change_detection=Task('levir_cd', 8, 2, 'mFscore'),
    height=Task('us3d', 8, 2, 'rmse'),
)

PRETRAININGS = {
    'cmid_resnet50': 'cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px',
    'cmid_swin-base': 'cmid/cmid_swin-base_4xb64-amp-coslr-200e_millionaid-224px',
    'dino-mc_resnet50': 'dino_mc/dino-mc_resnet50_4xb64-amp-coslr-300e_seco-224px',
    'dino-mc_swin-tiny': 'dino_mc/dino-mc_swin-tiny_4xb64-amp-coslr-300e_seco-224px',
    'mssdf_vit-base': 'mssdf/mssdf_vit-base_8xb64-amp-coslr-500e_hr-pairs-320px',
}
CASES = [
    ('cmid_resnet50', 'classification/resnet50_1xb64-ft-coslr-100e_eurosat-224px'),
    ('cmid_resnet50', 'segmentation/upernet_resnet50_4xb4-80k_vaihingen-512x512'),
    ('cmid_resnet50', 'detection/faster-rcnn_resnet50_fpn_8xb2-12e_dior-800px'),
    ('cmid_resnet50', 'change_detection/bit_resnet50_1xb8-40k_levir-cd-256x256'),
    ('cmid_resnet50', 'height/depth-estimator_resnet50_1xb8-25k_us3d-512x512'),
    ('cmid_swin-base', 'classification/swin-base_1xb64-ft-coslr-100e_eurosat-224px'),
    ('cmid_swin-base', 'segmentation/upernet_swin-base_4xb4-80k_vaihingen-512x512'),
    ('cmid_swin-base', 'detection/faster-rcnn_swin-base_fpn_8xb2-12e_dior-800px'),
    ('cmid_swin-base', 'change_detection/bit_swin-base_1xb8-40k_levir-cd-256x256'),
    ('dino-mc_resnet50', 'classification/resnet50_1xb64-ft-coslr-100e_eurosat-224px'),
    ('dino-mc_resnet50', 'segmentation/upernet_resnet50_4xb4-80k_vaihingen-512x512'),
    ('dino-mc_resnet50', 'detection/retinanet_resnet50_fpn_8xb2-12e_dior-800px'),
    ('dino-mc_resnet50', 'change_detection/siam-upernet_resnet50_1xb8-40k_levir-cd-256x256'),
    ('dino-mc_resnet50', 'height/depth-estimator_resnet50_1xb8-25k_us3d-512x512'),
    ('dino-mc_swin-tiny', 'classification/swin-tiny_1xb64-ft-coslr-100e_eurosat-224px'),
    ('mssdf_vit-base', 'classification/vit-base_1xb64-ft-coslr-100e_eurosat-224px'),
    ('mssdf_vit-base', 'segmentation/upernet_vit-base_4xb4-80k_vaihingen-512x512'),
    ('mssdf_vit-base', 'detection/faster-rcnn_vit-base_fpn_8xb2-12e_dior-800px'),
    ('mssdf_vit-base', 'change_detection/siam-upernet_vit-base_1xb8-40k_levir-cd-256x256'),
    ('mssdf_vit-base', 'height/depth-estimator_vit-base_1xb8-25k_us3d-512x512'),
]
# Small backbones: options of both runs, of the pre-training's heads, of the downstream heads
QUICK = {
    'cmid_swin-base': (
        'segmentation/upernet_swin-base_4xb4-80k_vaihingen-512x512',
        under('model.backbone.arch', '_delete_=True', 'embed_dims=8', 'depths=(1,1,1,1)', 'num_heads=(1,2,4,8)'),
        under('model', 'neck.in_channels=64', 'local_head.in_channels=64', 'reconstruction_head.in_channels=64'),
        [
            *under('model.decode_head', 'in_channels=[8,16,32,64]', 'channels=16'),
            *under('model.auxiliary_head', 'in_channels=32', 'channels=16'),
        ],
    ),
    'dino-mc_resnet50': (
        'detection/faster-rcnn_resnet50_fpn_8xb2-12e_dior-800px',
        under('model.backbone', 'depth=18', 'stem_channels=8', 'base_channels=8'),
        ['model.head.in_channels=64'],
        under('model', 'neck.in_channels=[8,16,32,64]', 'roi_head.bbox_head.fc_out_channels=64'),
    ),
    'mssdf_vit-base': (
        'height/depth-estimator_vit-base_1xb8-25k_us3d-512x512',
        under(
            'model.backbone.arch',
            '_delete_=True',
            'embed_dims=64',
            'num_layers=4',
            'num_heads=2',
            'feedforward_channels=64',
        ),
        under('model', 'fusion.channels=24', 'fusion.heads=2', 'decoder.heads=2'),
        [
            *under('model', 'backbone.out_indices=(0,1,2,3)', 'neck.out_channels=64'),
            *under('model', 'neck.in_channels=[64,64,64,64]', 'decode_head.in_channels=[64,64,64,64]'),
        ],
    ),
}


class Shelf(NamedTuple):
    """Where data and checkpoints lie, and those that are there by name."""

    folder: Path
    made: dict[str, Path]


@pytest.fixture(scope='module')
def shelf(tmp_path_factory):
    """What the tests of this file share: each data set is written once, each pre-training runs once."""
    folder = tmp_path_factory.mktemp('end_to_end')
    yield Shelf(folder, {})
    shutil.rmtree(folder)  # gigabytes, which pytest would keep


def pretrain(name, options, shelf, run_tool):
    """The checkpoint that two steps of a pre-training write."""
    key = ' '.join([name, *options])
    if key not in shelf.made:
        config = PRETRAININGS[name]
        _, layout, small = METHODS[config.split('/')[0]]
        root, work = shelf.folder / layout, shelf.folder / f'work_{len(shelf.made)}'
        write_layout(layout, root, scenes=4, size=80)
        options = ['--cfg-options', f'data_root={root}', *TWO_STEPS, *small, *options]
        # SeCo's stretch makes generated scenes white, which the check at the start says
        unchecked = ['--no-check'] if layout == 'seco' else []
        code, text = run_tool('train.py', ROOT / f'configs/{config}.py', '--work-dir', work, *unchecked, *options)
        assert code == 0, text[-2000:]
        assert len(losses_of(log_of(work))) == 2
        shelf.made[key] = work / 'epoch_2.pth'
    return shelf.made[key]


def data_of(task, shelf, run_tool):
    """The root of a task's data, prepared as a user does it."""
    if task not in shelf.made:
        layout, scenes = TASKS[task][:2]
        shelf.made[task] = prepare(layout, shelf.folder / task / 'data', scenes, run_tool)
    return shelf.made[task]


def row(log, kind):
    """How many weights of a kind the table in a log counts, and the names that it lists."""
    found = re.findall(rf'^  {kind} +(\d+) *(.*)$', log, re.M)
    assert len(found) == 1, 'one backbone is loaded, and says so in one table'
    names = re.sub(r' \([^()]*\)', '', found[0][1])  # without what was done to them
    return int(found[0][0]), set(names.split(', ')) if names else set()


def listed(log, kind):
    """The names of all weights of a kind: the table shortens long lists, and these must not be."""
    count, names = row(log, kind)
    assert len(names) == count, names
    return names


def resized(positions, like):
    """Position embeddings of a square grid brought to another, the class token's as it is."""
    old, new = (math.isqrt(tensor.shape[1] - 1) for tensor in (positions, like))
    grid = positions[:, 1:].mT.unflatten(2, (old, old))
    grid = F.interpolate(grid, size=(new, new), mode='bicubic', align_corners=False)
    return torch.cat([positions[:, :1], grid.flatten(2).mT], 1)


def check_start(found, checkpoint, branch, log):
    """The tensors found in a backbone are those of the checkpoint's branch, but for what the log says of them."""
    state = torch.load(checkpoint, map_location='cpu', weights_only=True)['state_dict']
    networks = {
        name: {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for name, prefix in PREFIXES.items()
    }
    weights = networks[branch]
    equal = {name for name, value in found.items() if name in weights and torch.equal(value, weights[name])}
    fresh, adapted = listed(log, 'fresh'), listed(log, 'adapted')
    assert found.keys() - equal == fresh | adapted
    assert not fresh & weights.keys()
    for name in adapted:
        torch.testing.assert_close(found[name], resized(weights[name], found[name]))
    assert row(log, 'matched')[0] == sum(not name.endswith(DERIVED) for name in equal)
    assert not listed(log, 'missing') | listed(log, 'mismatch')
    # it is this branch, which is not the other one
    assert f'{checkpoint} ({branch}, ' in log
    student, teacher = networks.values()
    assert not all(torch.equal(student[name], teacher[name]) for name in equal)


@pytest.fixture
def train_downstream(shelf, run_tool, monkeypatch, tmp_path):
    """Two steps and an evaluation; gives the backbone's tensors as the first step finds them, and the log."""

    def run(name, checkpoint, options):
        found = {}

        def look(runner, data):
            if runner.iter == 0:
                backbone = runner.model.backbone
                tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
                found.update({key: value.detach().cpu().clone() for key, value in tensors})

        monkeypatch.setattr(TestProbe, 'calls', dict(before_train_iter=look))
        task = TASKS[name.split('/')[0]]
        small = small_options(name, task.layout, data_of(name.split('/')[0], shelf, run_tool), checkpoint)
        small += [f'train_dataloader.batch_size={task.batch}', *task.options]
        small += ['default_hooks.probe.type=TestProbe', 'default_hooks.checkpoint=None']
        arguments = ['--work-dir', tmp_path / 'work', '--cfg-options', *small, *options]
        code, text = run_tool('train.py', FOLDER / f'{name}.py', *arguments)
        assert code == 0, text[-2000:]
        return found, log_of(tmp_path / 'work')

    return run


@pytest.fixture
def check_chain(shelf, run_tool, train_downstream):
    """One pre-training and one task, each with its options: weights, losses and the metric."""

    def check(pretraining, name, before=(), after=()):
        checkpoint = pretrain(pretraining, before, shelf, run_tool)
        found, log = train_downstream(name, checkpoint, after)
        check_start(found, checkpoint, METHODS[PRETRAININGS[pretraining].split('/')[0]].branch, log)
        assert len(losses_of(log)) == 2
        metric = TASKS[name.split('/')[0]].metric
        assert len(re.findall(rf'{metric}: +\d+\.\d+', log)) == 1

    return check


@pytest.mark.parametrize('pretraining', list(QUICK))
def test_a_task_of_each_method(pretraining, check_chain):
    """The published configs with small backbones."""
    name, both, before, after = QUICK[pretraining]
    check_chain(pretraining, name, [*both, *before], [*both, *after])


@pytest.mark.slow
@pytest.mark.parametrize(('pretraining', 'name'), CASES)
def test_every_task_of_each_method(pretraining, name, check_chain):
    """The published configs as they are, but for the data and its size."""
    needs_library(name)
    check_chain(pretraining, name)
