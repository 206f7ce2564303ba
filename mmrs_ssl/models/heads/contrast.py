"""Compare pooled, projected vectors of two views: the heads of the global branch."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmengine.model import BaseModule
from torch import Tensor

from mmrs_ssl.models.losses import negative_cosine, queue_info_nce
from mmrs_ssl.options import COUNT, POSITIVE, check_numbers
from mmrs_ssl.registry import MODELS


@MODELS.register_module()
class QueueContrastHead(BaseModule):
    """Contrast the student of one view with the teacher of the other and a queue of earlier teacher keys, as MoCo.

    Both directions are contrasted with the same queue; then the keys of both views enter it, of all processes.

    Args:
        channels: width C of the projected vectors.
        queue_length: keys K to keep; starts as random unit vectors. Any batch size fits: the queue wraps around.
        temperature: divides the cosines.

    Raises:
        ValueError: for a queue without keys, or a temperature that is not above 0.

    Source: MoCo (arXiv 1911.05722); CMID, section III-D. Differs from the official code: the first keys are
    normalized one by one (not along the queue), and the batch need not divide the queue's length.
    """

    queue: Tensor  # (K, C) unit vectors
    queue_position: Tensor  # (), where the next key goes

    def __init__(self, channels: int = 256, queue_length: int = 65536, temperature: float = 0.2) -> None:
        super().__init__()
        check_numbers(self, COUNT, channels=channels, queue_length=queue_length)
        check_numbers(self, POSITIVE, temperature=temperature)
        self.temperature = temperature
        self.register_buffer('queue', F.normalize(torch.randn(queue_length, channels), dim=1))
        self.register_buffer('queue_position', torch.zeros((), dtype=torch.long))

    def loss(self, students: list[Tensor], teachers: list[Tensor]) -> Tensor:
        """Average InfoNCE over both directions; ``students`` and ``teachers`` are the two views' vectors (B, C)."""
        negatives = self.queue.clone()  # the queue moves on before the backward pass needs it
        losses = [
            queue_info_nce(student, teacher, negatives, self.temperature)
            for student, teacher in zip(students, reversed(teachers), strict=True)
        ]
        self.enqueue(torch.cat(teachers))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put teacher keys (N, C), of this and all other processes, in the place of the oldest ones."""
        keys = F.normalize(torch.cat(all_gather(keys.float().contiguous())), dim=1)
        length = len(self.queue)
        keys = keys[-length:]
        place = (self.queue_position + torch.arange(len(keys), device=keys.device)) % length
        self.queue.index_copy_(0, place, keys)
        self.queue_position.copy_((self.queue_position + len(keys)) % length)


@MODELS.register_module()
class PredictionHead(BaseModule):
    """Predict the teacher's vector of the other view with a small MLP on the student's, as BYOL.

    Args:
        predictor: config of the predictor, e.g. mmpretrain's ``NonLinearNeck`` without pooling.

    Source: BYOL (arXiv 2006.07733); CMID, section III-D.
    """

    def __init__(self, predictor: dict) -> None:
        super().__init__()
        self.predictor = MODELS.build(predictor)

    def loss(self, students: list[Tensor], teachers: list[Tensor]) -> Tensor:
        """Average ``2 - 2 cos`` over both directions; the two views' vectors are (B, C)."""
        losses = [
            negative_cosine(self.predictor((student,))[-1], teacher)
            for student, teacher in zip(students, reversed(teachers), strict=True)
        ]
        return torch.stack(losses).mean()
