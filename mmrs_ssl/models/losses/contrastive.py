"""Compare pooled vectors of two views."""

import torch
import torch.nn.functional as F
from torch import Tensor


def queue_info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE: each query against its own key (positive) and a queue of other images' keys (negatives).

    Args:
        query, key: (B, C); L2-normalized here.
        queue: (K, C), unit vectors.
        temperature: > 0; the cosines are divided by it.

    Returns:
        Scalar mean over the batch, in float32.

    Source: MoCo (arXiv 1911.05722), equation 1.
    """
    query = F.normalize(query.float(), dim=1)
    key = F.normalize(key.float(), dim=1)
    positive = (query * key).sum(dim=1, keepdim=True)
    with torch.autocast(query.device.type, enabled=False):
        logits = torch.cat((positive, query @ queue.T), dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def negative_cosine(pred: Tensor, target: Tensor) -> Tensor:
    """Compute ``2 - 2 cos`` of predicted and target vectors (B, C), mean over the batch, in [0, 4].

    Source: BYOL (arXiv 2006.07733), equation 2.
    """
    return 2 - 2 * F.cosine_similarity(pred.float(), target.float(), dim=1).mean()
