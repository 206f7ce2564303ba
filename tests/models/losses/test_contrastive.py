"""InfoNCE with a queue and the cosine loss, against reference numbers and a formula written out here."""

import pytest
import torch
import torch.nn.functional as F

from mmrs_ssl.models.losses import negative_cosine, queue_info_nce
from tests.models.losses.test_reconstruction import TOLERANCE, tensor


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


def test_byol_golden(golden):
    loss = negative_cosine(tensor(golden, 'byol/pred'), tensor(golden, 'byol/target'))
    torch.testing.assert_close(loss, tensor(golden, 'byol/loss'), **TOLERANCE)
