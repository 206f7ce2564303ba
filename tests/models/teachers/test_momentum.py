"""The momentum teacher, the queue and the prototype head."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrs_ssl.models import MomentumTeacher, PixelReconstructionHead, PrototypeHead, QueueContrastHead
from tests.conftest import build_cmid


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


def test_teacher_starts_from_initialised_student():
    model = build_cmid()
    for key, value in model.student_parts().state_dict().items():
        assert torch.equal(model.teacher.module.state_dict()[key], value), key


def test_teacher_refuses_another_student_and_a_wrong_momentum():
    teacher = MomentumTeacher(nn.Linear(3, 2))
    with pytest.raises(ValueError, match='differ in'):
        teacher.update_parameters(nn.Linear(3, 2, bias=False))
    with pytest.raises(ValueError, match='outside'):
        MomentumTeacher(nn.Linear(3, 2), momentum=1.5)


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


@pytest.mark.parametrize('batch_norm', [False, True])
def test_prototype_head_by_hand(batch_norm):
    head = PrototypeHead(6, 8, 4, 10, batch_norm=batch_norm).eval()
    rows = torch.randn(5, 6)
    hidden = rows
    for module in head.mlp:
        hidden = module(hidden)
    weight = head.last_layer.parametrizations.weight.original1
    expected = F.normalize(hidden, dim=1) @ F.normalize(weight, dim=1).T
    torch.testing.assert_close(head(rows), expected)
    assert head(rows).abs().max() <= 1 + 1e-6
    assert sum(isinstance(m, nn.BatchNorm1d) for m in head.mlp) == 2 * batch_norm
    trained = [name for name, p in head.named_parameters() if p.requires_grad]
    assert not any('original0' in name for name in trained)
    gain = PrototypeHead(6, 8, 4, 10, learn_gain=True).last_layer.parametrizations.weight.original0
    assert gain.requires_grad
    copy.deepcopy(head)


def test_grouped_rows_equal_separate_calls():
    torch.manual_seed(0)
    head = PrototypeHead(6, 8, 4, 10, batch_norm=True).train()
    other = copy.deepcopy(head)
    rows = torch.randn(10, 6)
    torch.testing.assert_close(head(rows, groups=2), torch.cat([other(rows[:5]), other(rows[5:])]))
    torch.testing.assert_close(head.state_dict(), other.state_dict())  # running statistics moved alike


def test_pixel_shuffle_puts_cells_where_they_belong():
    head = PixelReconstructionHead(in_channels=2, bands=5, stride=4)
    nn.init.zeros_(head.decoder.weight)
    nn.init.zeros_(head.decoder.bias)
    with torch.no_grad():
        head.decoder.weight[:, 0] = 1
    feature_map = torch.zeros(1, 2, 3, 3)
    feature_map[0, 0, 1, 2] = 1
    image = head(feature_map)
    assert image.shape == (1, 5, 12, 12)
    assert (image[0, :, 4:8, 8:12] == 1).all()
    assert image.sum() == 5 * 16
