"""Self-distillation and its center, against reference numbers and a formula written out here."""

import numpy as np
import pytest
import torch

from mmrs_ssl.models.losses import (
    PrototypeCenter,
    balancing_center,
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


def lopsided(samples=48, prototypes=12):
    """Scores of two views: one prototype varies most, and is the highest or the lowest of nearly all samples."""
    scores = 0.05 * torch.randn(2, samples // 2, prototypes, generator=torch.manual_seed(0), dtype=torch.float64)
    scores[..., 3] *= 8
    return scores


@pytest.mark.parametrize('iterations', [1, 3])
def test_balancing_is_sinkhorns_scaling_of_rows_and_columns(iterations):
    """Against the matrix of probabilities, scaled in turn, as SwAV writes it."""
    scores = lopsided()
    matrix = np.exp(scores.flatten(0, 1).numpy().T / 0.1)  # (K, N)
    for _ in range(iterations):
        matrix /= matrix.sum(axis=0, keepdims=True)
        matrix /= len(matrix) * matrix.sum(axis=1, keepdims=True)
    expected = (matrix / matrix.sum(axis=0, keepdims=True)).T
    center = balancing_center(scores, 0.1, iterations)
    assert center.shape == (1, 12)
    assert center.mean().item() == pytest.approx(0, abs=1e-6)
    found = torch.softmax((scores.flatten(0, 1) - center) / 0.1, dim=-1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_balanced_choices_use_prototypes_that_a_mean_leaves_out():
    scores = lopsided()
    running = PrototypeCenter(12, momentum=0.0)
    running.update(scores)
    use = [
        torch.softmax((scores.flatten(0, 1) - center) / 0.1, dim=-1).mean(dim=0)
        for center in (running.value, balancing_center(scores, 0.1), balancing_center(scores, 0.1, iterations=100))
    ]
    assert use[0].max() > 2.5 / 12  # of even ones each is used 1/12
    assert use[1].max() < 1.5 / 12
    torch.testing.assert_close(use[2], torch.full((12,), 1 / 12, dtype=torch.float64), rtol=1e-3, atol=0)


def test_balancing_of_half_precision_and_of_prototypes_far_below_others():
    scores = torch.randn(2, 8, 64, generator=torch.manual_seed(0))
    scores[..., 40:] -= 20  # of no probability in float32 before they are balanced
    center = balancing_center(scores.bfloat16(), 0.02)
    assert center.dtype == torch.float32
    assert center.isfinite().all()
    use = torch.softmax((scores.bfloat16().float().flatten(0, 1) - center) / 0.02, dim=-1).mean(dim=0)
    assert use[40:].sum() == pytest.approx(24 / 64, abs=0.1)
