"""Checkpoints as this project's training and the published programs write them, with tiny backbones."""

import argparse

import torch

from mmrs_ssl.transfer import key_maps
from tests.conftest import BACKBONES
from tests.transfer.backbones import mine, save, torchvisions, under, weights_of

METHODS = dict(CMID='mmrs_ssl.CMID', DINOMC='mmrs_ssl.DINOMC', MSSDF='mmrs_ssl.MSSDF')


def training(path, family='resnet', method='CMID', bands=3, **changes):
    """A training run's file with a head, an optimizer and a progress; the student and the teacher in it."""
    settings = {**BACKBONES[family][0], **changes}
    channels = {} if bands == 3 else dict(in_channels=bands)
    student, teacher = (mine(family, seed, **changes, **channels) for seed in (0, 1))
    model = dict(
        type=METHODS[method],
        data_preprocessor=dict(mean=[100.0 + i for i in range(bands)], std=[50.0 + i for i in range(bands)]),
        backbone=settings,
    )
    weights = under('backbone.', student.state_dict()) | under('teacher.module.backbone.', teacher.state_dict())
    heads = {'neck.fc0.weight': torch.ones(2), 'neck.fc1.weight': torch.ones(2), 'queue': torch.ones(3)}
    meta = dict(cfg=f'model = {model!r}', epoch=7, iter=70, mmengine_version='0.10.7')
    return save(weights | heads, path, meta=meta, optimizer=dict(state={})), student, teacher


def published_cmid(path, family):
    """The content of a CMID file, in ``path``, with a queue, a projector and a mask token."""
    backbones = under('online_encoder.model.', mine(family).state_dict())
    backbones |= under('branch_encoder.', mine(family, seed=1).state_dict())
    heads = {
        'online_encoder.mask_token': torch.zeros(1),
        'branch_projector.0.weight': torch.zeros(1),
        'branch_projector.1.weight': torch.zeros(1),
        'queue': torch.zeros(2),
    }
    torch.save(dict(epoch=199, model=backbones | heads, optimizer={}), path)
    return dict(model=backbones)


def published_dino(path, family):
    """The same of a DINO-MC file, with the options of its command line."""

    def weights(seed):
        if family == 'vit':
            return key_maps.VIT_TIMM.from_mmpretrain(weights_of(mine('vit', seed)))
        state = torchvisions(family, seed).state_dict()
        return {key: value for key, value in state.items() if not key.startswith(('fc.', 'head.'))}

    wrapper = 'module.' if family == 'resnet' else ''  # of the teacher: BatchNorm
    backbones = dict(student=under('module.backbone.', weights(0)), teacher=under(f'{wrapper}backbone.', weights(1)))
    head = {'head.mlp.0.weight': torch.zeros(1), 'head.last_layer.weight_g': torch.zeros(1)}
    content = dict(
        student=backbones['student'] | under('module.', head),
        teacher=backbones['teacher'] | under(wrapper, head),
        optimizer=dict(state={}),
        epoch=300,
        args=argparse.Namespace(arch='resnet50', lr=0.0005),
        dino_loss=dict(center=torch.zeros(1, 8)),
    )
    torch.save(content, path)
    return backbones


def published_mssdf(path):
    """The same of MSSDF's, a backbone alone."""
    weights = mine('vit').state_dict()
    torch.save(weights | dict(mask_token=torch.zeros(1)), path)
    return dict(weights)
