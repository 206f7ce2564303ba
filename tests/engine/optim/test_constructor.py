"""The optimizer has the student alone."""

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmrs_ssl.ops.adan import BlockAdan
from tests.conftest import BACKBONES, build_cmid


def test_nothing_is_said_of_the_teachers_parameters(monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.optim.optimizer.default_constructor.print_log', lambda text, **_: said.append(text))
    model = build_cmid()
    config = dict(
        type='OptimWrapper',
        constructor='mmrs_ssl.StudentOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1),
        paramwise_cfg=dict(bias_decay_mult=0.0),
    )
    build_optim_wrapper(model, config)
    assert any('backbone' in text for text in said)
    assert not [text for text in said if 'teacher' in text]


@pytest.mark.parametrize('family', list(BACKBONES))
def test_only_the_student_is_optimised_and_only_weights_decay(family):
    model = build_cmid(family)
    config = dict(
        type='OptimWrapper',
        constructor='mmrs_ssl.StudentOptimWrapperConstructor',
        optimizer=dict(type='mmrs_ssl.BlockAdan', lr=4e-3, weight_decay=0.02),
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    )
    optimizer = build_optim_wrapper(model, config).optimizer
    assert isinstance(optimizer, BlockAdan)
    decay = {id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']}
    teacher = {id(p) for p in model.teacher.parameters()}
    assert teacher
    assert not teacher & set(decay)
    student = [(name, p) for name, p in model.named_parameters() if not name.startswith('teacher.')]
    assert {id(p) for _, p in student if p.requires_grad} <= set(decay)
    norms = {
        id(p)
        for m in model.modules()
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm)
        for p in m.parameters()
    }
    decayed = 0
    for name, p in student:
        if not p.requires_grad:
            continue
        if name.endswith('bias') or id(p) in norms:
            assert decay[id(p)] == 0, name
        elif p.ndim > 1 and name.endswith('weight'):
            assert decay[id(p)] == 0.02, name
            decayed += 1
    assert decayed > 8
