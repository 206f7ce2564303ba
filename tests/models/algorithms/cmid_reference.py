"""CMID's terms written out from the paper's formulas: image by image, cell by cell, in float64.

Nothing here calls the package's losses, masks or matching. What the terms start from was captured in a step of the real
model (``cmid_step.py``): views, masked views, feature maps, and the weights and states before the step.
"""

import math

import torch
from torch import Tensor

Weights = dict[str, Tensor]  # float64, by the names of the model's state dict
Block = tuple[int, int]  # row and column


def masked_blocks(view: Tensor, block: int) -> list[set[Block]]:
    """The blocks of a masked view (B, C, H, W) that show one value per channel, of every image."""
    found = []
    for image in view:
        blocks = [(r, c) for r in range(image.shape[1] // block) for c in range(image.shape[2] // block)]
        found.append({(r, c) for r, c in blocks if flat(pixels(image, r, c, block))})
    return found


def pixels(image: Tensor, row: int, col: int, block: int) -> Tensor:
    return image[:, row * block : (row + 1) * block, col * block : (col + 1) * block]


def flat(patch: Tensor) -> bool:
    return bool((patch == patch[:, :1, :1]).all())


def mask_pixels(views: Tensor, masks: list[set[Block]], block: int) -> Tensor:
    """Views (B, C, H, W) as the student must see them: masked blocks show the image's own mean of each channel."""
    out = views.clone()
    for image, original, blocks in zip(out, views, masks, strict=True):
        for row, col in blocks:
            for channel in range(len(image)):
                pixels(image, row, col, block)[channel] = original[channel].double().sum() / original[channel].numel()
    return out


def mark(entrance: Tensor, masks: list[set[Block]], grid: tuple[int, int], token: Tensor, mode: str) -> Tensor:
    """A map (B, D, h, w) with the token added, or put, where the block at the position's place is masked."""
    out = entrance.clone()
    rows, cols = entrance.shape[2:]
    for b, blocks in enumerate(masks):
        for y in range(rows):
            for x in range(cols):
                if (y * grid[0] // rows, x * grid[1] // cols) in blocks:
                    out[b, :, y, x] = token if mode == 'replace' else entrance[b, :, y, x] + token
    return out


# The layers of the heads


def linear(rows: Tensor, weights: Weights, name: str) -> Tensor:
    return rows @ weights[f'{name}.weight'].T + weights.get(f'{name}.bias', 0.0)


def batch_norm(rows: Tensor, weights: Weights, name: str) -> Tensor:
    """By the statistics of these rows."""
    mean = rows.sum(dim=0) / len(rows)
    variance = ((rows - mean) ** 2).sum(dim=0) / len(rows)
    return (rows - mean) / (variance + 1e-5).sqrt() * weights[f'{name}.weight'] + weights[f'{name}.bias']


def unit(rows: Tensor) -> Tensor:
    return rows / (rows**2).sum(dim=-1, keepdim=True).sqrt()


def project(rows: Tensor, weights: Weights, part: str) -> Tensor:
    """MoCo's linear - ReLU - linear, or BYOL's with BatchNorm after the first."""
    if f'{part}.mlp.0.weight' in weights:
        return linear(linear(rows, weights, f'{part}.mlp.0').clamp(min=0), weights, f'{part}.mlp.2')
    hidden = batch_norm(linear(rows, weights, f'{part}.fc0'), weights, f'{part}.bn0')
    return linear(hidden.clamp(min=0), weights, f'{part}.fc1')


def prototype_scores(rows: Tensor, weights: Weights, part: str) -> Tensor:
    """Cosines between the bottleneck of a three-layer MLP (GELU, BatchNorm where it has any) and the prototypes."""
    norm = f'{part}.mlp.1.weight' in weights
    layers = (0, 3, 6) if norm else (0, 2, 4)
    for layer in layers[:2]:
        rows = linear(rows, weights, f'{part}.mlp.{layer}')
        rows = batch_norm(rows, weights, f'{part}.mlp.{layer + 1}') if norm else rows
        rows = rows * (1 + torch.erf(rows / math.sqrt(2))) / 2
    rows = unit(linear(rows, weights, f'{part}.mlp.{layers[2]}'))
    return rows @ unit(weights[f'{part}.last_layer.parametrizations.weight.original1']).T


# Reconstruction


def reconstruct(feature_map: Tensor, weights: Weights, stride: int) -> Tensor:
    """Pixels (B, C, H, W): every cell's vector through the 1x1 convolution, its stride x stride pixels row by row."""
    kernel, bias = (weights[f'reconstruction_head.decoder.{name}'] for name in ('weight', 'bias'))
    images = []
    for cells in feature_map:
        rows = []
        for y in range(cells.shape[1]):
            patches = [kernel[:, :, 0, 0] @ cells[:, y, x] + bias for x in range(cells.shape[2])]
            rows.append(torch.cat([patch.view(-1, stride, stride) for patch in patches], dim=2))
        images.append(torch.cat(rows, dim=1))
    return torch.stack(images)


def spatial(pred: Tensor, view: Tensor, masks: list[set[Block]], block: int) -> Tensor:
    """Focal L1 over masked pixels, alpha 0.2 and gamma 1, per masked pixel and channel."""
    total, count = pred.new_zeros(()), 0
    for image, target, blocks in zip(pred, view, masks, strict=True):
        for place in blocks:
            distance = (pixels(image, *place, block) - pixels(target, *place, block)).abs()
            total = total + (distance * (2 / (1 + torch.exp(-0.2 * distance)) - 1)).sum()
            count += block * block
    return total / (count + 1e-5) / pred.shape[1]


def spectral(pred: Tensor, view: Tensor, masks: list[set[Block]], block: int) -> Tensor:
    """Focal frequency loss with a plain Fourier sum; visible pixels of the prediction count a thousandth."""
    spectra = {'pred': [], 'view': []}
    for image, target, blocks in zip(pred, view, masks, strict=True):
        share = torch.full_like(target, 0.001)
        for place in blocks:
            pixels(share, *place, block).fill_(1.0)
        blended = image * share + (image.detach() / 2 + target / 2) * (1 - share)
        spectra['pred'].append(fourier(blended))
        spectra['view'].append(fourier(target))
    difference = torch.stack(spectra['pred']).mean(dim=0) - torch.stack(spectra['view']).mean(dim=0)
    distance = difference.real**2 + difference.imag**2
    weight = torch.log(1 + distance.detach().sqrt())
    return (weight / weight.max() * distance).mean()


def fourier(image: Tensor) -> Tensor:
    """The orthonormal transform of every channel of (C, H, W), by its definition."""
    height, width = image.shape[1:]
    return waves(height) @ image.to(torch.complex128) @ waves(width)


def waves(length: int) -> Tensor:
    steps = torch.arange(length, dtype=torch.float64)
    angle = -2 * math.pi * steps[:, None] * steps / length
    return torch.complex(angle.cos(), angle.sin()) / math.sqrt(length)


# Global branch


def pool(feature_map: Tensor) -> Tensor:
    """(B, D, N, M) -> (B, D)."""
    return torch.stack([image.sum(dim=(1, 2)) / image[0].numel() for image in feature_map])


def moco(queries: list[Tensor], keys: list[Tensor], queue: Tensor, temperature: float) -> Tensor:
    """Each view's queries against the other view's keys and the queue; mean of both directions."""
    losses = []
    for own, other in ((0, 1), (1, 0)):
        for query, key in zip(unit(queries[own]), unit(keys[other]), strict=True):
            positive = torch.exp((query * key).sum() / temperature)
            negatives = sum(torch.exp((query * old).sum() / temperature) for old in queue)
            losses.append(-torch.log(positive / (positive + negatives)))
    return torch.stack(losses).mean()


def next_queue(queue: Tensor, position: int, keys: list[Tensor]) -> tuple[Tensor, int]:
    """The queue and its position after the keys of both views took the place of the oldest, one by one."""
    queue = queue.clone()
    for key in (*unit(keys[0]), *unit(keys[1])):
        queue[position] = key
        position = (position + 1) % len(queue)
    return queue, position


def byol(predictions: list[Tensor], targets: list[Tensor]) -> Tensor:
    """2 - 2 cos of each view's prediction and the other view's target; mean of both directions."""
    losses = []
    for own, other in ((0, 1), (1, 0)):
        for prediction, target in zip(unit(predictions[own]), unit(targets[other]), strict=True):
            losses.append(2 - 2 * (prediction * target).sum())
    return torch.stack(losses).mean()


# Local branch


def positions(box: list[float], flip: bool, rows: int, cols: int) -> list[tuple[float, float]]:
    """Where in the image (y, x) the center of every cell lies, row by row; a mirrored view's columns run backwards."""
    top, left, height, width = box
    return [
        (top + (r + 0.5) * height / rows, left + ((cols - 1 - c if flip else c) + 0.5) * width / cols)
        for r in range(rows)
        for c in range(cols)
    ]


def closest_pairs(own: list[tuple], other: list[tuple], count: int) -> list[tuple[int, int]]:
    """Every cell's nearest cell of the other view; of these pairs the ``count`` closest, in the order of the cells."""
    pairs = []
    for i, (y, x) in enumerate(own):
        distance, partner = min((math.hypot(v - y, u - x), j) for j, (v, u) in enumerate(other))
        pairs.append((distance, i, partner))
    return sorted((i, partner) for _, i, partner in sorted(pairs)[:count])


def share_ground(box: list[float], other: list[float]) -> bool:
    """Whether two boxes (top, left, height, width) overlap in both directions."""
    return all(max(box[k], other[k]) < min(box[k] + box[k + 2], other[k] + other[k + 2]) for k in (0, 1))


def pair_entropy(student: Tensor, teacher: Tensor, center: Tensor, temperatures: tuple[float, float]) -> Tensor:
    """Cross-entropy of one pair's scores (K,), the student's temperature first."""
    scores = torch.exp(student / temperatures[0])
    target = torch.exp((teacher - center) / temperatures[1])
    return -(target / target.sum() * torch.log(scores / scores.sum())).sum()
