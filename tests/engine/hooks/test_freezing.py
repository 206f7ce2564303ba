"""The first stages of a backbone stay as they are for the first epochs, in real runs and with every optimizer."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from mmrs_ssl.engine.hooks import FreezeBackboneHook
from mmrs_ssl.engine.hooks.freezing import first_stages
from tests.conftest import train
from tests.engine.test_hooks import option
from tests.forked import differences, load
from tests.transfer.backbones import mine, weights_of

FREEZING = (
    "custom_hooks = [h for h in _base_.custom_hooks if 'Picture' not in h['type']] + "
    "[dict(type='mmrs_ssl.FreezeBackboneHook', stages=1, epochs=1)]\n"
)


@pytest.mark.parametrize(
    ('family', 'stages'),
    [('resnet', 0), ('resnet', 2), ('deep_stem', 1), ('swin', 0), ('swin', 3), ('vit', 1), ('vit', 2), ('convnext', 1)],
)
def test_stages_are_those_of_frozen_stages(family, stages):
    """The reference is the class itself, built with the option."""
    frozen = mine(family, frozen_stages=stages)
    frozen.train()
    expected = [name for name, param in frozen.named_parameters() if not param.requires_grad]
    backbone = mine(family)
    backbone.train()
    modes = [part.training for part in backbone.modules()]
    names = {id(param): name for name, param in backbone.named_parameters()}
    assert [names[id(param)] for param in first_stages(backbone, stages)] == expected
    assert all(param.requires_grad for param in backbone.parameters())
    assert [part.training for part in backbone.modules()] == modes
    assert backbone.frozen_stages != stages
    assert expected


def test_frozen_stages_stay_in_student_and_teacher_and_a_resumed_run_is_the_same(make_config, image_folder, tmp_path):
    cfg = make_config(FREEZING, data_root=image_folder / 'class_0')
    option(cfg, 'TeacherMomentumHook', start_left=0.5)
    found = {}

    def keep(name, runner):
        student = weights_of(runner.model.backbone)
        teacher = weights_of(runner.model.teacher.module['backbone'])
        found[name] = student, teacher, runner.model.backbone.bn1.running_mean.clone()

    def before(runner, batch):
        if runner.iter == 0:
            keep('start', runner)

    train(cfg, before_train_iter=before, after_train_epoch=lambda runner: keep(runner.epoch, runner))
    start, first, second = (found[name] for name in ('start', 0, 1))
    parameters = [name for name, _ in mine('resnet').named_parameters()]
    frozen = [name for name in parameters if name.startswith(('conv1', 'bn1', 'layer1.'))]
    for i in range(2):  # student and teacher
        assert all(torch.equal(start[i][name], first[i][name]) for name in frozen)
        assert not any(torch.equal(start[i][name], first[i][name]) for name in ('layer2.0.conv1.weight',))
        assert all(not torch.equal(first[0][name], second[0][name]) for name in frozen)
    assert not torch.equal(start[2], first[2])  # statistics follow the new images
    again = make_config(FREEZING, data_root=image_folder / 'class_0')
    option(again, 'TeacherMomentumHook', start_left=0.5)
    again.merge_from_dict(dict(work_dir=str(tmp_path / 'again'), resume=True, load_from=f'{cfg.work_dir}/epoch_1.pth'))
    train(again)
    whole, parts = (load(tmp_path / name / 'epoch_2.pth') for name in ('work', 'again'))
    assert differences(whole, parts) == []


OPTIMIZERS = [
    dict(type='AdamW', lr=0.1, weight_decay=0.1, fused=True),
    dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1),
    dict(type='LARS', lr=0.1, momentum=0.9, weight_decay=0.1),
    dict(type='mmrs_ssl.BlockAdan', lr=0.1, weight_decay=0.1),
]


@pytest.mark.parametrize('stages', [0, None])
@pytest.mark.parametrize('optimizer', OPTIMIZERS, ids=lambda each: each['type'])
def test_every_optimizer_that_ships_leaves_frozen_weights_alone(optimizer, stages):
    """A group for each parameter, as the shipped configs have them; weight decay and momentum do not move them."""
    init_default_scope('mmpretrain')
    model = nn.Module()
    model.backbone, model.head = mine('resnet'), nn.Linear(64, 3)
    model.backbone.train()
    groups = dict(norm_decay_mult=0.0, bias_decay_mult=0.0)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=optimizer, paramwise_cfg=groups))
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    said = []
    logger = SimpleNamespace(info=said.append)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, train_loop=loop, max_epochs=2, epoch=0, logger=logger)
    FreezeBackboneHook(stages).before_train(runner)
    count = 60 if stages is None else 3
    assert said == [f'FreezeBackboneHook: {count} of 60 weights of backbone stay as they are until epoch 1 is over']
    kept = [weights_of(model.backbone)]
    for epoch in (0, 1):
        runner.epoch = epoch
        for _ in range(2):
            images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(epoch))
            wrapper.update_params(model.head(model.backbone(images)[-1].mean((2, 3))).square().sum())
        kept.append(weights_of(model.backbone))
    names = ('conv1.weight', 'bn1.weight', 'bn1.bias')
    moved = [[not torch.equal(before[name], after[name]) for name in names] for before, after in pairwise(kept)]
    assert moved == [[False] * 3, [True] * 3]
    later = 'layer1.0.conv1.weight'
    assert torch.equal(kept[0][later], kept[1][later]) == (stages is None)


@pytest.mark.parametrize(
    ('stages', 'match'),
    [
        (-1, 'stages=-1, expected a whole number of at least 0, or None'),
        (7, 'stages=7, but {} has fewer'),
        (None, 'Linear does not count stages'),
    ],
)
@pytest.mark.parametrize('family', ['resnet', 'swin', 'vit', 'convnext'])
def test_stages_that_there_are_not(family, stages, match):
    backbone = mine(family) if stages else nn.Linear(1, 1)
    with pytest.raises(ValueError, match=match.format(type(backbone).__name__)):
        first_stages(backbone, FreezeBackboneHook(stages).stages or 0)
    assert all(param.requires_grad for param in backbone.parameters())
    with pytest.raises(ValueError, match='stages=0 of ConvNeXt are no weights'):
        first_stages(mine('convnext'), 0)
