"""One step of a real CMID whose inputs, feature maps and states are kept, and its loss by the reference's formulas."""

import copy
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from tests.conftest import build, cmid_config
from tests.models.algorithms import cmid_reference as reference

# An even number: where the threads do not divide the batch, torch 2.13 (oneDNN 3.12) writes past a buffer in the
# backward pass of a strided 1x1 convolution of eight channels, channels-last, which the tests' ResNet has.
IMAGES, HEIGHT, WIDTH = 6, 64, 96


def make_config(family: str = 'resnet', byol: bool = False, bands: int = 3, **options: Any) -> dict:
    """A tiny CMID for views of 64 x 96 pixels; ``options`` with two underscores go to a part: head__temperature."""
    config = cmid_config(family, bands=bands, byol=byol)
    if family == 'vit':
        config['backbone']['img_size'] = (HEIGHT, WIDTH)
    for name, value in options.items():
        part, _, option = name.rpartition('__')
        (config[part] if part else config)[option] = value
    return config


def build_stirred(config: dict, seed: int = 0) -> nn.Module:
    """A model in the midst of training: student and teacher differ; token, center and queue position are not zero."""
    model = build(config, seed).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith('original0'):  # the prototypes' gain, fixed at 1
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.center.value.normal_(0, 0.05)
        if hasattr(model.global_head, 'queue_position'):
            model.global_head.queue_position.fill_(len(model.global_head.queue) - 3)
    return model


def make_views(bands: int = 3) -> dict:
    """A collated batch: images of their own brightness, every combination of flips, image 4 without shared ground."""
    rng = torch.Generator().manual_seed(5)
    base = torch.randint(0, 120, (2, IMAGES, bands, 1, 1), generator=rng)
    views = base + torch.randint(0, 130, (2, IMAGES, bands, HEIGHT, WIDTH), generator=rng)
    corner, extent = 60 * torch.rand(2, IMAGES, 2, generator=rng), 60 + 100 * torch.rand(2, IMAGES, 2, generator=rng)
    boxes = torch.cat((corner, extent), dim=2)
    boxes[1, 4, 1] += 500
    samples = []
    for i in range(IMAGES):
        sample = DataSample()
        sample.boxes, sample.flips = boxes[:, i], torch.tensor([i % 2 == 0, i % 4 < 2])
        samples.append(sample)
    return dict(inputs=list(views.to(torch.uint8)), data_samples=samples)


@dataclass
class Step:
    """What went in and out in one call of ``loss``; lists hold one entry per view."""

    model: nn.Module
    twin: nn.Module  # the model before the step
    batch: dict
    losses: dict[str, Tensor]
    students: list[Tensor]  # what entered the student's backbone
    entrances: list[Tensor]  # what entered its first stage
    student_maps: list[Tensor]
    teachers: list[Tensor]  # what entered the teacher's backbone
    teacher_maps: list[Tensor]

    @property
    def masks(self) -> list[list[set]]:
        """The masked blocks of every image of every view, as the student's pixels show them."""
        return [reference.masked_blocks(view, self.model.mask_block) for view in self.students]


def take_step(model: nn.Module, batch: dict, seed: int = 3) -> Step:
    """Call ``loss`` on the preprocessed batch with hooks that look on."""
    twin, seen = copy.deepcopy(model), defaultdict(list)

    def keep(name: str, value: Tensor) -> None:
        if value.requires_grad:
            value.retain_grad()
        seen[name].append(value)

    def look(module: nn.Module, into: str, out: str | None = None) -> None:
        handles.append(module.register_forward_pre_hook(lambda _, args: keep(into, args[0])))
        if out:
            handles.append(module.register_forward_hook(lambda _, args, output: keep(out, output[-1])))

    handles: list = []
    look(model.backbone, 'students', 'student_maps')
    look(model.teacher.module['backbone'], 'teachers', 'teacher_maps')
    look(first_stage(model.backbone), 'entrances')
    torch.manual_seed(seed)
    losses = model.loss(**model.data_preprocessor(batch, True))
    for handle in handles:
        handle.remove()
    return Step(model, twin, batch, losses, **seen)


def first_stage(backbone: nn.Module) -> nn.Module:
    """The first module behind the entrance; a ViT's gets position embeddings too."""
    for name in ('layer1', 'drop_after_pos', 'stages'):
        if hasattr(backbone, name):
            module = getattr(backbone, name)
            return module[0] if name == 'stages' else module
    raise TypeError(type(backbone).__name__)


def stem(backbone: nn.Module, view: Tensor) -> Tensor:
    """The output (B, D, h, w) of the entrance, its modules called one by one without any token."""
    if hasattr(backbone, 'conv1'):
        return backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(view))))
    if hasattr(backbone, 'downsample_layers'):
        return backbone.downsample_layers[0](view)
    tokens, (rows, cols) = backbone.patch_embed(view)
    return tokens.mT.unflatten(2, (rows, cols))


class Rebuilt:
    """The four terms of a step by the reference, from its maps and the weights before it.

    Attributes:
        terms: ``loss_spatial``, ``loss_spectral``, ``loss_global`` and ``loss_local``, float64, with gradients.
        maps, weights: what the gradients are taken by, float64.
        keys: the teacher's vectors (B, C) of both views.
        images: the reconstructions.
        pairs: of both directions, every image's matched cells.
        center: what it must be after the step.
    """

    def __init__(self, step: Step, options: dict) -> None:
        self.step = step
        self.options = options
        self.weights = {name: value.double() for name, value in step.twin.state_dict().items()}
        for name, parameter in step.twin.named_parameters():
            self.weights[name].requires_grad_(parameter.requires_grad)
        self.maps = [value.detach().double().requires_grad_() for value in step.student_maps]
        self.teacher_maps = [value.detach().double() for value in step.teacher_maps]
        self.terms = {**self.reconstruction(), 'loss_global': self.global_term(), 'loss_local': self.local_term()}
        for name, weight in options['loss_weights'].items():
            self.terms[name] = weight * self.terms[name]

    def reconstruction(self) -> dict[str, Tensor]:
        stride, block = self.options['reconstruction_head__stride'], self.options['mask_block']
        self.images = [reference.reconstruct(each, self.weights, stride) for each in self.maps]
        views = [view.double() for view in normalized(self.step.batch)]
        masks = self.step.masks
        spatial = [reference.spatial(*each, block) for each in zip(self.images, views, masks, strict=True)]
        spectral = [reference.spectral(*each, block) for each in zip(self.images, views, masks, strict=True)]
        weight = self.options['reconstruction_head__spectral_weight']
        return dict(loss_spatial=sum(spatial) / 2, loss_spectral=weight * sum(spectral) / 2)

    def global_term(self) -> Tensor:
        weights = self.weights
        queries = [reference.project(reference.pool(each), weights, 'neck') for each in self.maps]
        vectors = [reference.pool(each) for each in self.teacher_maps]
        self.keys = [reference.project(each, weights, 'teacher.module.neck') for each in vectors]
        if 'global_head.queue' in weights:
            return reference.moco(
                queries, self.keys, weights['global_head.queue'], self.options['global_head__temperature']
            )
        predictions = [reference.project(each, weights, 'global_head.predictor') for each in queries]
        return reference.byol(predictions, self.keys)

    def local_term(self) -> Tensor:
        rows, cols = self.maps[0].shape[2:]
        samples = self.step.batch['data_samples']
        boxes, flips = [s.boxes.tolist() for s in samples], [s.flips.tolist() for s in samples]
        center, directions, self.pairs = self.weights['center.value'][0], [], []
        temperatures = self.options['student_temperature'], self.options['teacher_temperature']
        for own, other in ((0, 1), (1, 0)):
            matched = []
            for box, flip in zip(boxes, flips, strict=True):
                places = [reference.positions(box[v], flip[v], rows, cols) for v in (own, other)]
                matched.append(reference.closest_pairs(*places, min(self.options['num_matches'], rows * cols)))
            cells = [
                (self.maps[own][b].flatten(1)[:, i], self.teacher_maps[other][b].flatten(1)[:, j])
                for b, pairs in enumerate(matched)
                for i, j in pairs
            ]
            student, teacher = (torch.stack(side) for side in zip(*cells, strict=True))
            scores = reference.prototype_scores(student, self.weights, 'local_head')
            targets = reference.prototype_scores(teacher, self.weights, 'teacher.module.local_head')
            owners = [b for b, pairs in enumerate(matched) for _ in pairs]
            entropies = [
                reference.pair_entropy(s, t, center, temperatures)
                for s, t, b in zip(scores, targets, owners, strict=True)
                if reference.share_ground(*boxes[b])
            ]
            directions.append(sum(entropies) / len(entropies))
            center = 0.9 * center + 0.1 * targets.mean(dim=0)
            self.pairs.append(matched)
        self.center = center
        return sum(directions) / 2


def normalized(batch: dict) -> list[Tensor]:
    """The raw 8-bit views by the statistics of the tests' preprocessor."""
    return [((view.double() - 100) / 50).float() for view in batch['inputs']]
