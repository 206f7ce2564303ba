"""Cross-entropy between a centred, sharpened teacher and the student."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, centre: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy of every sample between softmax((teacher - centre) / T_t) and log-softmax(student / T_s).

    Args:
        student, teacher: (..., K) scores over K prototypes.
        centre: broadcastable to the teacher's scores.

    Returns:
        (...), float32, >= 0; gradients flow to the student only.

    Source: DINO (arXiv 2104.14294), equation 2 and algorithm 1.
    """
    target = F.softmax((teacher.detach().float() - centre) / teacher_temperature, dim=-1)
    return -(target * F.log_softmax(student.float() / student_temperature, dim=-1)).sum(dim=-1)


class PrototypeCentre(nn.Module):
    """The running centre of the teacher's scores, subtracted before its softmax so that no prototype takes over.

    Args:
        num_prototypes: K.
        momentum: weight of the old centre, in [0, 1].

    Source: DINO (arXiv 2104.14294), equation 4.
    """

    value: Tensor  # (1, K), float32

    def __init__(self, num_prototypes: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer('value', torch.zeros(1, num_prototypes))

    @torch.no_grad()
    def update(self, teacher: Tensor) -> None:
        """Move towards the mean of the teacher's scores (..., K) over samples and over all processes."""
        mean = teacher.float().flatten(0, -2).mean(dim=0, keepdim=True)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        self.value.lerp_(mean, 1 - self.momentum)
