"""The head that contrasts views with a queue of earlier teacher keys."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmrs_ssl.models.heads import QueueContrastHead
from mmrs_ssl.models.losses import queue_info_nce


@pytest.mark.parametrize('batch', [1, 4, 7, 11, 30])
def test_queue_wraps_around_for_any_batch_size(batch):
    head = QueueContrastHead(channels=5, queue_length=11)
    torch.testing.assert_close(head.queue.norm(dim=1), torch.ones(11))
    expected, position = head.queue.clone().numpy(), 0
    for step in range(4):
        keys = torch.randn(batch, 5, generator=torch.manual_seed(step))
        head.enqueue(keys)
        newest = F.normalize(keys, dim=1).numpy()[-11:]
        for row in newest:
            expected[position] = row
            position = (position + 1) % 11
    np.testing.assert_allclose(head.queue.numpy(), expected, rtol=1e-6)
    assert int(head.queue_position) == position


def test_queue_does_not_move_under_the_backward_pass():
    head = QueueContrastHead(channels=5, queue_length=11)
    student = torch.randn(3, 5, requires_grad=True)
    queue = head.queue.clone()
    loss = head.loss([student, student], [torch.ones(3, 5), torch.ones(3, 5)])
    assert not torch.equal(head.queue, queue)
    loss.backward()
    assert student.grad.abs().sum() > 0


def test_moco_uses_both_directions_against_the_same_queue():
    head = QueueContrastHead(channels=8, queue_length=16)
    queue = head.queue.clone()
    s1, s2, t1, t2 = torch.randn(4, 3, 8, generator=torch.manual_seed(0)).unbind()
    loss = head.loss([s1, s2], [t1, t2])
    expected = (queue_info_nce(s1, t2, queue, 0.2) + queue_info_nce(s2, t1, queue, 0.2)) / 2
    torch.testing.assert_close(loss, expected)
