"""Compute the cross-entropy between a centered, sharpened teacher and the student."""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, center: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Compute every sample's cross-entropy of softmax((teacher - center) / T_t) and log-softmax(student / T_s).

    Args:
        student, teacher: (..., K) scores over K prototypes.
        center: broadcastable to the teacher's scores.

    Returns:
        (...), float32, >= 0; gradients flow to the student only.

    Source: DINO (arXiv 2104.14294), equation 2 and algorithm 1.
    """
    target = F.softmax((teacher.detach().float() - center) / teacher_temperature, dim=-1)
    return -(target * F.log_softmax(student.float() / student_temperature, dim=-1)).sum(dim=-1)


def cross_view_entropy(
    student: Tensor, teacher: Tensor, center: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Average :func:`soft_cross_entropy` of every student view with every teacher view of another crop.

    Args:
        student: (V, B, K) scores of V views over K prototypes; the first T are of the teacher's own crops.
        teacher: (T, B, K), T at most V.
        center: (1, K).

    Returns:
        Scalar, float32, mean over the V * T - T pairs of different crops and over the batch; gradients flow to the
        student only.

    Scores may be bfloat16 or float16: they are made float32 view by view, so that of tensors K = 65,536 wide only the
    teacher's probabilities and the student's gradient are kept.

    Raises:
        ValueError: if there is no pair of different crops.

    Source: DINO (arXiv 2104.14294), equation 3; DINO-MC (arXiv 2303.06670), section 3.
    """
    if len(student) < max(2, len(teacher)):
        raise ValueError(f'{len(student)} student views for {len(teacher)} teacher views: no pair of different crops')
    target = (teacher.detach() - center).float().div_(teacher_temperature).softmax(dim=-1)
    return _CrossViewEntropy.apply(student, target, student_temperature)


class _CrossViewEntropy(torch.autograd.Function):
    """Sum -q log p over k, where q is the sum of the targets that a view is compared with."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, target: Tensor, temperature: float) -> Tensor:
        total = target.sum(dim=0)  # (B, K)
        log_norms, losses = [], []
        for number, view in enumerate(student):
            scaled = view.float() / temperature
            log_norms.append(scaled.logsumexp(dim=-1, keepdim=True))
            matched, count = others(total, target, number)
            losses.append(count * log_norms[-1].sum() - (matched * scaled).sum())
        ctx.save_for_backward(student, target, total, *log_norms)
        ctx.temperature = temperature
        ctx.terms = len(target) * (len(student) - 1) * student.shape[1]
        return torch.stack(losses).sum() / ctx.terms

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        student, target, total, *log_norms = ctx.saved_tensors
        scale = grad / (ctx.terms * ctx.temperature)
        out = torch.empty_like(student)
        for number, view in enumerate(student):
            matched, count = others(total, target, number)
            softmax = (view.float() / ctx.temperature).sub_(log_norms[number]).exp_()
            out[number] = softmax.mul_(count).sub_(matched).mul_(scale)
        return out, None, None


def others(total: Tensor, target: Tensor, number: int) -> tuple[Tensor, int]:
    """Return the sum of the targets of all crops but this one, and how many there are."""
    if number < len(target):
        return total - target[number], len(target) - 1
    return total, len(target)


class PrototypeCenter(nn.Module):
    """Keep the running center of the teacher's scores, subtracted before its softmax so that no prototype takes over.

    Args:
        num_prototypes: K.
        momentum: weight of the old center, in [0, 1].

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
        mean = teacher.flatten(0, -2).mean(dim=0, keepdim=True, dtype=torch.float32)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        self.value.lerp_(mean, 1 - self.momentum)


@torch.no_grad()
def balancing_center(teacher: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Compute the center after which a batch chooses all prototypes equally often, by Sinkhorn and Knopp's iterations.

    Each divides every prototype by how much it is used, then the probabilities of every sample by their sum. A running
    mean of the scores equals out their means alone: a teacher can still choose a few prototypes for all images.

    Args:
        teacher: (..., K) scores; those of all processes are balanced together.
        temperature: of the softmax that follows.
        iterations: three come close.

    Returns:
        (1, K) float32, of mean 0.

    Source: SwAV (arXiv 2006.09882), appendix A; in the place of DINO's center, DINOv2 (arXiv 2304.07193), section 4.
    """
    logits = teacher.flatten(0, -2).float() / temperature
    center = torch.zeros_like(logits[:1])
    for _ in range(iterations):
        used = (logits - center).log_softmax(dim=-1).logsumexp(dim=0, keepdim=True)
        center = center + torch.cat(all_gather(used)).logsumexp(dim=0, keepdim=True)
        center = center - center.mean()
    return center * temperature
