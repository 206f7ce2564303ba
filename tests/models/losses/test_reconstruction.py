"""Losses of the reconstruction, against reference numbers and formulas written out here."""

import numpy as np
import pytest
import torch

from mmrs_ssl.models.heads import PixelReconstructionHead
from mmrs_ssl.models.losses import (
    focal_frequency,
    focal_l1,
    masked_focal_l1,
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
