"""CMID as a whole: a step of the real model against the paper's formulas, from the pixels to the states it leaves."""

import copy
import math

import pytest
import torch

from tests.models.algorithms import cmid_reference as reference
from tests.models.algorithms.cmid_step import (
    Rebuilt,
    Step,
    build_stirred,
    make_config,
    make_views,
    normalized,
    stem,
    take_step,
)

PUBLISHED = dict(
    mask_block=32,
    mask_ratio=0.6,
    mask_token_mode='add',
    num_matches=20,
    student_temperature=0.1,
    teacher_temperature=0.04,
    teacher_momentum=0.996,
    loss_weights={},
    reconstruction_head__spectral_weight=1.0,
    global_head__temperature=0.2,
)
# None of these is a default, so an option that does not reach its formula shows.
OTHERS = dict(
    mask_block=16,
    mask_ratio=0.55,
    mask_token_mode='replace',
    num_matches=4,
    student_temperature=0.17,
    teacher_temperature=0.06,
    teacher_momentum=0.7,
    loss_weights=dict(loss_spatial=0.5, loss_spectral=2.0, loss_global=3.0, loss_local=0.25),
    reconstruction_head__spectral_weight=0.7,
)
MOCO = dict(global_head__temperature=0.3, global_head__queue_length=13)
ADDED = dict(mask_token_mode='add')
# case -> (model, options that the config gives, options that the formulas use)
CASES: dict[str, tuple[dict, dict, dict]] = {
    'resnet-moco': (dict(family='resnet'), {**OTHERS, **MOCO}, {}),
    'resnet-byol': (dict(family='resnet', byol=True, bands=4), {**OTHERS, **ADDED}, {}),
    'convnext-moco': (dict(family='convnext'), {**OTHERS, **MOCO}, {}),
    'swin-moco': (dict(family='swin', bands=2), {**OTHERS, **MOCO, **ADDED}, {}),
    'swin-byol': (dict(family='swin', byol=True), OTHERS, {}),
    'vit-moco-published': (dict(family='vit'), dict(reconstruction_head__stride=16), PUBLISHED),
}
TOLERANCE = dict(rtol=2e-5, atol=1e-6)


@pytest.fixture(scope='module', params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Step, Rebuilt]:
    """A step with its backward pass, and the same from formulas."""
    kind, given, used = CASES[request.param]
    model = build_stirred(make_config(**kind, **given))
    model.recording = True
    step = take_step(model, make_views(kind.get('bands', 3)))
    sum(step.losses.values()).backward()
    return step, Rebuilt(step, dict(reconstruction_head__stride=32) | given | used)


def test_every_term_is_its_formula(case):
    step, rebuilt = case
    assert list(step.losses) == ['loss_spatial', 'loss_spectral', 'loss_global', 'loss_local']
    for name, value in step.losses.items():
        torch.testing.assert_close(value.double(), rebuilt.terms[name], **TOLERANCE, msg=lambda m, n=name: f'{n}: {m}')
        assert value > 0.01


def test_the_teacher_sees_the_views_and_the_student_masks_of_its_own_in_each(case):
    step, rebuilt = case
    views, block = normalized(step.batch), rebuilt.options['mask_block']
    blocks = views[0][0, 0].numel() // block**2
    for view, student, teacher, masks in zip(views, step.students, step.teachers, step.masks, strict=True):
        torch.testing.assert_close(teacher, view)
        assert [len(mask) for mask in masks] == [math.ceil(rebuilt.options['mask_ratio'] * blocks)] * len(view)
        assert any(mask != masks[0] for mask in masks)
        torch.testing.assert_close(student, reference.mask_pixels(view, masks, block))
    assert step.masks[0] != step.masks[1]


def test_the_token_marks_masked_positions_at_the_entrance_of_the_first_stage(case):
    step, rebuilt = case
    backbone, token = step.twin.backbone, step.twin.mask_token.token.detach().requires_grad_()
    grid = [side // rebuilt.options['mask_block'] for side in step.students[0].shape[2:]]
    grads = []
    for student, entrance, masks in zip(step.students, step.entrances, step.masks, strict=True):
        with torch.no_grad():
            plain = stem(backbone, student)
        marked = reference.mark(plain, masks, grid, token, rebuilt.options['mask_token_mode'])
        if entrance.ndim == 3:
            marked = marked.flatten(2).mT
        if hasattr(backbone, 'pos_embed'):
            marked = torch.cat((backbone.cls_token.expand(len(marked), -1, -1), marked), dim=1) + backbone.pos_embed
        torch.testing.assert_close(entrance, marked, rtol=1e-5, atol=1e-5)
        grads.append(torch.autograd.grad(marked, token, entrance.grad)[0])
    torch.testing.assert_close(step.model.mask_token.token.grad, sum(grads), rtol=1e-4, atol=1e-6)


def test_queue_and_center_after_the_step(case):
    step, rebuilt = case
    torch.testing.assert_close(step.model.center.value[0].double(), rebuilt.center, **TOLERANCE)
    if 'global_head.queue' in rebuilt.weights:
        before = rebuilt.weights['global_head.queue'], int(rebuilt.weights['global_head.queue_position'])
        queue, position = reference.next_queue(*before, rebuilt.keys)
        torch.testing.assert_close(step.model.global_head.queue.double(), queue, **TOLERANCE)
        assert int(step.model.global_head.queue_position) == position


def test_gradients_of_the_sum_reach_the_student_alone(case):
    step, rebuilt = case
    heads = {
        name: parameter
        for name, parameter in step.model.named_parameters()
        if parameter.requires_grad and not name.startswith(('backbone.', 'mask_token.'))
    }
    assert {name.split('.')[0] for name in heads} >= {'neck', 'local_head', 'reconstruction_head'}
    wanted = torch.autograd.grad(
        sum(rebuilt.terms.values()), [*rebuilt.maps, *(rebuilt.weights[name] for name in heads)]
    )
    found = dict(enumerate(each.grad for each in step.student_maps)) | {n: p.grad for n, p in heads.items()}
    for (name, grad), expected in zip(found.items(), wanted, strict=True):
        atol = 1e-4 * expected.abs().max().item() + 2e-6  # a bias before BatchNorm has none but for rounding
        torch.testing.assert_close(grad.double(), expected, rtol=1e-3, atol=atol, msg=lambda m, n=name: f'{n}: {m}')
    assert all(parameter.grad is None for parameter in step.model.teacher.parameters())
    assert all(parameter.grad is not None for parameter in step.model.backbone.parameters())


def test_features_and_pictures_show_this_step(case):
    step, rebuilt = case
    for name, maps in (('student', step.student_maps), ('teacher', step.teacher_maps)):
        vectors = torch.cat([reference.pool(each) for each in maps])
        torch.testing.assert_close(step.model.monitor().features[name], vectors.detach())
    kept = step.model.kept
    for v in (0, 1):
        assert torch.equal(kept.views[v], step.teachers[v])
        assert torch.equal(kept.masked[v], step.students[v])
        torch.testing.assert_close(kept.reconstructions[v].double(), rebuilt.images[v].detach(), **TOLERANCE)
    assert kept.grid == step.student_maps[0].shape[2:]
    pairs = torch.stack(kept.matches, dim=-1)  # (B, k, 2)
    assert pairs.tolist() == [[list(pair) for pair in image] for image in rebuilt.pairs[0]]


def test_the_teacher_moves_towards_the_student_after_the_step(case):
    step, rebuilt = case
    model, weight = copy.deepcopy(step.model), rebuilt.options['teacher_momentum']
    student, before = model.state_dict(), copy.deepcopy(model.teacher.module.state_dict())
    model.update_teacher()
    parts = ('backbone.', 'neck.', 'local_head.')
    assert set(before) == {name for name in student if name.startswith(parts)}
    averaged = {name for name, _ in model.teacher.module.named_parameters()}
    for name, value in model.teacher.module.state_dict().items():
        old = before[name].double()
        expected = weight * old + (1 - weight) * student[name].double() if name in averaged else old
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6, msg=name)
