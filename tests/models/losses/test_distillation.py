"""Self-distillation and its center, against reference numbers and a formula written out here."""

import numpy as np
import pytest
import torch

from mmrs_ssl.models.losses import (
    PrototypeCenter,
    soft_cross_entropy,
)
from tests.models.losses.test_reconstruction import TOLERANCE, tensor


def test_local_golden(golden):
    """Losses and centers of three calls in a row; the reference has prototypes before positions."""
    center = PrototypeCenter(24)
    temperatures = golden['local/teacher_temp']
    for i, epoch in enumerate(golden['local/epochs']):
        student = tensor(golden, f'local/student{i}').mT  # (3, 5, 24)
        teacher = tensor(golden, f'local/teacher{i}').mT
        loss = soft_cross_entropy(student, teacher, center.value, 0.1, float(temperatures[epoch])).mean()
        center.update(teacher)
        torch.testing.assert_close(loss, tensor(golden, f'local/loss{i}'), **TOLERANCE)
        torch.testing.assert_close(center.value, tensor(golden, f'local/center{i}')[..., 0], **TOLERANCE)


def test_soft_cross_entropy_by_hand():
    student, teacher, center = torch.randn(3, 1, 4, dtype=torch.float64, generator=torch.manual_seed(0)).unbind()
    target = np.exp((teacher - center).numpy() / 0.05)
    target /= target.sum()
    scores = student.numpy() / 0.1
    expected = -(target * (scores - np.log(np.exp(scores).sum()))).sum()
    assert soft_cross_entropy(student, teacher, center, 0.1, 0.05).item() == pytest.approx(expected, rel=1e-5)


def test_no_gradient_reaches_the_teacher():
    teacher = torch.randn(2, 4, requires_grad=True)
    student = torch.randn(2, 4, requires_grad=True)
    soft_cross_entropy(student, teacher, torch.zeros(1, 4), 0.1, 0.04).sum().backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
