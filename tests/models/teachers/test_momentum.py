"""The momentum teacher: an average of the student with BatchNorm statistics of its own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrs_ssl.models import MomentumTeacher


def test_teacher_is_the_average_from_the_first_update_on():
    student = nn.Linear(3, 2)
    teacher = MomentumTeacher(student, momentum=0.9)
    start = teacher.module.weight.clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    teacher.update_parameters(student)
    torch.testing.assert_close(teacher.module.weight, 0.9 * start + 0.1 * student.weight)
    teacher.momentum = 1.0
    frozen = teacher.module.weight.clone()
    teacher.update_parameters(student)
    assert torch.equal(teacher.module.weight, frozen)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_teacher_keeps_its_own_batchnorm_statistics_and_drops_nothing():
    student = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    teacher = MomentumTeacher(student).train()
    rows = torch.randn(64, 4) * 3 + 5
    out = teacher(rows)
    torch.testing.assert_close(out, F.batch_norm(rows, None, None, training=True))  # the batch's own, no dropout
    before = teacher.module[0].running_mean.clone()
    assert before.abs().sum() > 0
    teacher.update_parameters(student)
    assert torch.equal(teacher.module[0].running_mean, before)
    teacher.eval()
    assert not teacher.module[0].training


def test_teacher_refuses_another_student_and_a_wrong_momentum():
    teacher = MomentumTeacher(nn.Linear(3, 2))
    with pytest.raises(ValueError, match='differ in'):
        teacher.update_parameters(nn.Linear(3, 2, bias=False))
    with pytest.raises(ValueError, match=r'teacher_momentum=1\.5, expected a number of at least 0 and at most 1'):
        MomentumTeacher(nn.Linear(3, 2), momentum=1.5)
