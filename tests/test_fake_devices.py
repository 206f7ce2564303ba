"""The device that is not there notices what a GPU would wait for or refuse."""

import pytest
import torch

from tests.fake_devices import FakeDevice


@pytest.mark.parametrize(
    ('call', 'kinds'),
    [
        (lambda there, here: there.sum().item(), ['value']),
        (lambda there, here: int(there.max()), ['value']),
        (lambda there, here: bool((there > 0).all()), ['value']),
        (lambda there, here: there[:, 0].tolist(), ['value', 'value']),
        (lambda there, here: there.cpu().sum().item(), ['fetch']),  # which is then a tensor of the CPU
        (lambda there, here: here.copy_(there), ['fetch']),
        (lambda there, here: here.to('cuda'), ['send']),
        (lambda there, here: here.to('cuda', non_blocking=True), []),
        (lambda there, here: there.copy_(here), ['send']),
        (lambda there, here: there.copy_(here, non_blocking=True), []),
        (lambda there, here: torch.tensor([1, 2], device='cuda'), ['send']),
        (lambda there, here: there.new_tensor([1.0, 2.0]), ['send']),
        (lambda there, here: there.new_zeros(3) + torch.ones(3, device='cuda'), []),
        (lambda there, here: there[torch.tensor([0, 1])], ['send']),
        (lambda there, here: there.__setitem__(there > 0, 0.5), []),  # filled, not counted
        (lambda there, here: there.__setitem__(there > 0, there.new_ones(())), ['shape']),
        (lambda there, here: torch.linalg.cholesky(there), ['shape']),
        (lambda there, here: torch.linalg.cholesky_ex(there), []),
        (lambda there, here: int(torch.randint(3, ())) + here.sum().item(), []),  # the CPU's own
    ],
)
def test_what_waits(call, kinds):
    with FakeDevice() as device:
        call(torch.empty(2, 2, device='cuda'), torch.zeros(2, 2))
    assert [wait.kind for wait in device.found] == kinds


@pytest.mark.parametrize(
    ('call', 'error'),
    [
        (lambda there: there + torch.zeros(2, 2), 'two devices'),
        (lambda there: torch.cat((there, torch.zeros(2, 2))), 'two devices'),
        (lambda there: there[there > 0], 'nonzero'),
        (lambda there: there.nonzero(), 'nonzero'),
        (lambda there: torch.where(there > 0), 'nonzero'),
        (lambda there: there[:, 0].repeat_interleave(torch.empty(2, dtype=torch.long, device='cuda')), 'repeat'),
    ],
)
def test_what_is_refused(call, error):
    with FakeDevice(), pytest.raises(RuntimeError, match=error):
        call(torch.empty(2, 2, device='cuda'))
