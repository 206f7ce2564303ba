"""Losses against reference numbers and against formulas written out here."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmrs_ssl.models.heads import PixelReconstructionHead, QueueContrastHead
from mmrs_ssl.models.losses import (
    PrototypeCenter,
    focal_frequency,
    focal_l1,
    masked_focal_l1,
    negative_cosine,
    queue_info_nce,
    soft_cross_entropy,
    spectral_reconstruction,
)
from mmrs_ssl.models.masks.blocks import upsample_mask

TOLERANCE = dict(rtol=1e-5, atol=1e-6)


def tensor(golden, key):
    return torch.from_numpy(golden[key])


def test_focal_l1_golden(golden):
    loss = focal_l1(tensor(golden, 'focal_l1/pred'), tensor(golden, 'focal_l1/target'))
    torch.testing.assert_close(loss, tensor(golden, 'focal_l1/loss_map'), **TOLERANCE)


def test_focal_l1_exponent():
    pred, target = torch.tensor([2.0]), torch.tensor([-1.0])
    expected = 3 * (2 / (1 + np.exp(-0.6)) - 1) ** 2
    assert focal_l1(pred, target, alpha=0.2, gamma=2.0).item() == pytest.approx(expected)


def test_focal_frequency_golden(golden):
    loss = focal_frequency(tensor(golden, 'focal_l1/pred'), tensor(golden, 'focal_l1/target'))
    torch.testing.assert_close(loss, tensor(golden, 'focal_frequency/loss'), **TOLERANCE)


def test_focal_frequency_transforms_each_image_first():
    """The definition: transform every image, then average the spectra; mine averages first."""
    pred, target = torch.randn(2, 5, 3, 8, 6, generator=torch.manual_seed(0)).unbind()
    spectra = [torch.view_as_real(torch.fft.fft2(x.double(), norm='ortho')).mean(0) for x in (pred, target)]
    distance = (spectra[0] - spectra[1]).square().sum(-1)
    weight = torch.log(distance.sqrt() + 1)
    expected = (weight / weight.max() * distance).mean()
    assert focal_frequency(pred, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_focal_frequency_of_a_perfect_prediction_is_zero_with_finite_gradient():
    pred = torch.ones(2, 3, 8, 8, requires_grad=True)
    loss = focal_frequency(pred, torch.ones(2, 3, 8, 8))
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.isfinite().all()


def test_reconstruction_golden_with_gradient(golden):
    pred = tensor(golden, 'focal_l1/pred').requires_grad_()
    target = tensor(golden, 'focal_l1/target')
    mask = upsample_mask(tensor(golden, 'reconstruction/mask').bool(), (32, 32))
    terms = PixelReconstructionHead(in_channels=4, bands=3, stride=32).loss(pred, target, mask)
    loss = terms['loss_spatial'] + terms['loss_spectral']
    loss.backward()
    torch.testing.assert_close(loss, tensor(golden, 'reconstruction/loss'), **TOLERANCE)
    torch.testing.assert_close(pred.grad, tensor(golden, 'reconstruction/grad_pred'), rtol=1e-5, atol=1e-8)


def test_masked_focal_l1_counts_masked_pixels_only():
    pred, target = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    target[:, :, 0, 0] = 1.0  # masked
    target[:, :, 1, 1] = 100.0  # visible: must not count
    mask = torch.tensor([[[[True, True], [False, False]]]])
    one = 2 / (1 + np.exp(-0.2)) - 1
    assert masked_focal_l1(pred, target, mask).item() == pytest.approx(2 * one / 2 / 2, rel=1e-4)


def test_unmasked_pixels_get_a_thousandth_of_the_spectral_gradient():
    pred = torch.randn(1, 1, 8, 8, generator=torch.manual_seed(1)).requires_grad_()
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    spectral_reconstruction(pred, torch.zeros(1, 1, 8, 8), mask).backward()
    visible = pred.grad.clone()
    pred.grad = None
    blended = 0.001 * pred + 0.999 * 0.5 * pred.detach()
    focal_frequency(blended, torch.zeros(1, 1, 8, 8)).backward()
    torch.testing.assert_close(visible, pred.grad)
    assert visible.abs().max() < 0.01


def test_moco_golden(golden):
    loss = queue_info_nce(
        tensor(golden, 'moco/query'), tensor(golden, 'moco/key'), tensor(golden, 'moco/queue').T, temperature=0.2
    )
    torch.testing.assert_close(loss, tensor(golden, 'moco/loss_t0.2'), **TOLERANCE)


def test_moco_is_cross_entropy_over_cosines():
    query, key, queue = torch.randn(3, 5, 8, generator=torch.manual_seed(0)).unbind()
    queue = F.normalize(queue, dim=1)
    expected = 0.0
    for q, k in zip(query, key, strict=True):
        positive = torch.exp(F.cosine_similarity(q, k, dim=0) / 0.1)
        negatives = sum(torch.exp(F.cosine_similarity(q, n, dim=0) / 0.1) for n in queue)
        expected += -torch.log(positive / (positive + negatives)) / 5
    assert queue_info_nce(query, key, queue, 0.1).item() == pytest.approx(expected.item(), rel=1e-5)


def test_moco_uses_both_directions_against_the_same_queue():
    head = QueueContrastHead(channels=8, queue_length=16)
    queue = head.queue.clone()
    s1, s2, t1, t2 = torch.randn(4, 3, 8, generator=torch.manual_seed(0)).unbind()
    loss = head.loss([s1, s2], [t1, t2])
    expected = (queue_info_nce(s1, t2, queue, 0.2) + queue_info_nce(s2, t1, queue, 0.2)) / 2
    torch.testing.assert_close(loss, expected)


def test_byol_golden(golden):
    loss = negative_cosine(tensor(golden, 'byol/pred'), tensor(golden, 'byol/target'))
    torch.testing.assert_close(loss, tensor(golden, 'byol/loss'), **TOLERANCE)


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
