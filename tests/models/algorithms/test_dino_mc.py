"""DINOMC: the loss against formulas written here, every backbone family, sizes of crops and of the head."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.engine.hooks import ScheduleHook
from mmrs_ssl.models.heads.sizing import head_size
from mmrs_ssl.models.losses import PrototypeCenter, balancing_center, cross_view_entropy
from tests.conftest import BACKBONES, build_dino, dino_config, make_crops

FAMILIES = list(BACKBONES)
SIZES = (64, 64, 44, 40, 36)  # 44 and 36 are no multiples of a patch of 8


def pairwise(student, teacher, center, student_temperature, teacher_temperature):
    """DINO's loss, pair by pair and image by image, in float64 by its formula."""
    terms = []
    for i, target in enumerate(teacher.double()):
        for j, view in enumerate(student.double()):
            if i == j:
                continue
            for t, s in zip(target, view, strict=True):
                q = torch.exp((t - center[0].double()) / teacher_temperature)
                p = torch.exp(s / student_temperature)
                terms.append(-(q / q.sum() * torch.log(p / p.sum())).sum())
    return torch.stack(terms).mean()


def reference(found, key):
    return torch.from_numpy(found[key])


def test_loss_center_and_temperature_are_the_golden_ones(dino_golden):
    schedule = ScheduleHook('teacher_temperature', 0.04, 0.07, 'linear', by_epoch=True, length=3)
    temperatures = [schedule.value(epoch, 10) for epoch in range(10)]
    np.testing.assert_allclose(temperatures, dino_golden['dino/teacher_temp'])
    center = PrototypeCenter(16)
    for i, epoch in enumerate(dino_golden['dino/epochs']):
        student = reference(dino_golden, f'dino/student{i}').view(8, 3, 16)
        teacher = reference(dino_golden, f'dino/teacher{i}').view(2, 3, 16)
        loss = cross_view_entropy(student, teacher, center.value, 0.1, temperatures[epoch])
        torch.testing.assert_close(loss, reference(dino_golden, f'dino/loss{i}'), rtol=1e-5, atol=1e-6)
        center.update(teacher)
        torch.testing.assert_close(center.value, reference(dino_golden, f'dino/center{i}'), rtol=1e-5, atol=1e-6)


def test_loss_of_three_teacher_views_is_the_golden_one(dino_golden):
    student = reference(dino_golden, 'dino_tp/student').view(9, 3, 16)
    teacher = reference(dino_golden, 'dino_tp/teacher').view(3, 3, 16)
    loss = cross_view_entropy(student, teacher, torch.zeros(1, 16), 0.1, 0.04)
    torch.testing.assert_close(loss, reference(dino_golden, 'dino_tp/loss'), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('views', 'globals_'), [(8, 2), (9, 3), (2, 2), (3, 1)])
def test_loss_and_gradient_by_formula(views, globals_):
    rng = torch.Generator().manual_seed(views)
    student = torch.randn(views, 3, 20, generator=rng, requires_grad=True)
    teacher = torch.randn(globals_, 3, 20, generator=rng, requires_grad=True)
    center = 0.1 * torch.randn(1, 20, generator=rng)
    expected = pairwise(student, teacher.detach(), center, 0.1, 0.05)
    (wanted,) = torch.autograd.grad(expected, student)
    loss = cross_view_entropy(student, teacher, center, 0.1, 0.05)
    (3 * loss).backward()  # what comes after the loss must reach the gradient
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(student.grad, 3 * wanted.float(), rtol=1e-4, atol=1e-5)
    assert teacher.grad is None


def test_loss_of_half_precision_scores_is_computed_in_float32():
    rng = torch.Generator().manual_seed(0)
    student = torch.randn(4, 3, 512, generator=rng).bfloat16().requires_grad_()
    teacher = torch.randn(2, 3, 512, generator=rng).bfloat16()
    loss = cross_view_entropy(student, teacher, torch.zeros(1, 512), 0.1, 0.04)
    expected = pairwise(student.float(), teacher, torch.zeros(1, 512), 0.1, 0.04)
    (wanted,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(loss, student)
    assert grad.dtype == torch.bfloat16
    torch.testing.assert_close(grad.float(), wanted.float(), rtol=1e-2, atol=1e-7)


def test_no_pair_of_different_crops():
    with pytest.raises(ValueError, match='1 student views for 1 teacher views'):
        cross_view_entropy(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), torch.zeros(1, 4), 0.1, 0.04)


def test_head_is_the_golden_one(dino_golden):
    from mmrs_ssl.models import PrototypeHead

    head = PrototypeHead(12, hidden_channels=16, bottleneck_channels=8, num_prototypes=20)
    state = {key.removeprefix('head/state/'): reference(dino_golden, key) for key in dino_golden if 'state' in key}
    assert not head.load_state_dict(state, strict=True).missing_keys
    torch.testing.assert_close(
        head(reference(dino_golden, 'head/input')), reference(dino_golden, 'head/output'), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('num_global', [2, 3])
@pytest.mark.parametrize('family', FAMILIES)
def test_loss_of_the_model_against_single_crops(family, num_global):
    """Every family, two and three teacher views: crops of one size together, scores and pairs one by one."""
    sizes = (64,) * num_global + SIZES[2:]
    no_drop = dict(drop_path_rate=0.0) if family == 'swin' else {}
    backbone = {**dino_config(family)['backbone'], **no_drop}
    model = build_dino(family, num_global=num_global, backbone=backbone).train()
    model.center.value.normal_(0, 0.1)
    with torch.no_grad():  # a teacher of its own
        for parameter in model.teacher.module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    twin = copy.deepcopy(model)
    data = model.data_preprocessor(make_crops(sizes), True)
    loss = model.loss(**data)['loss']

    def vectors(backbone, views):
        made = []
        for size in sorted({view.shape[-1] for view in views}, reverse=True):
            output = backbone(torch.cat([view for view in views if view.shape[-1] == size]))[-1]
            made.append(output if output.ndim == 2 else output.flatten(2).mean(2))
        return torch.cat(made)

    views = data['inputs']
    student = twin.head(vectors(twin.backbone, views)).view(len(sizes), 4, -1)
    teacher = twin.teacher.module['head'](vectors(twin.teacher.module['backbone'], views[:num_global]))
    teacher = teacher.view(num_global, 4, -1)
    expected = pairwise(student, teacher, twin.center.value, 0.1, 0.04)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    mean = teacher.mean(dim=(0, 1))
    torch.testing.assert_close(model.center.value[0], 0.9 * twin.center.value[0] + 0.1 * mean, rtol=1e-4, atol=1e-6)

    loss.backward()
    expected.backward()
    grads = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        if name.startswith('teacher.') or not parameter.requires_grad:
            assert parameter.grad is None, name
        elif grads[name].grad is not None:
            torch.testing.assert_close(parameter.grad, grads[name].grad, rtol=1e-3, atol=1e-5, msg=name)
    assert model.head.last_layer.parametrizations.weight.original1.grad.abs().max() > 0
    assert next(iter(model.backbone.parameters())).grad.abs().max() > 0


@pytest.mark.parametrize('family', FAMILIES)
def test_steps_lower_the_loss_and_move_the_teacher(family):
    model = build_dino(family, teacher_momentum=0.9).train()
    start = {name: value.clone() for name, value in model.teacher.module.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    data = model.data_preprocessor(make_crops(SIZES), True)
    losses = []
    for _ in range(12):
        loss = model.loss(**data)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_teacher()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    moved = [name for name, value in model.teacher.module.named_parameters() if not torch.equal(value, start[name])]
    assert len(moved) >= len(start) - 1  # all but the head's fixed gain
    for name, rows in model.monitor().features.items():
        assert rows.shape == (8, 64), name
        assert rows.std(dim=0).mean() > 1e-4


def test_student_drops_paths_and_the_teacher_does_not():
    backbone = {**dino_config('vit')['backbone'], 'drop_path_rate': 0.5}
    model = build_dino('vit', backbone=backbone).train()
    views = model.data_preprocessor(make_crops(SIZES), True)['inputs']
    with torch.no_grad():
        students = [model.encode(model.backbone, views) for _ in range(2)]
        teachers = [model.encode(model.teacher.module['backbone'], views) for _ in range(2)]
    assert torch.equal(*teachers)
    assert not torch.equal(*students)


@pytest.mark.parametrize('family', ['vit', 'swin'])
def test_the_teacher_drops_paths_if_it_is_to(family):
    backbone = {**dino_config(family)['backbone'], 'drop_path_rate': 0.5, 'drop_rate': 0.1}
    model = build_dino(family, backbone=backbone, teacher_drop_path=True).train()
    teacher = model.teacher.module['backbone']
    views = model.data_preprocessor(make_crops(SIZES), True)['inputs']
    with torch.no_grad():
        first, second = (model.encode(teacher, views) for _ in range(2))
        assert not torch.equal(first, second)
        model.eval()
        first, second = (model.encode(teacher, views) for _ in range(2))
        assert torch.equal(first, second)
        torch.testing.assert_close(first, model.encode(model.backbone, views))
    model.train()
    active = [module for module in teacher.modules() if module.training and not list(module.children())]
    assert active
    assert {type(module) for module in active} == {DropPath}  # dropout stays off


def test_a_vit_starts_from_truncated_normal_weights_and_zero_biases(tmp_path):
    arch = dict(embed_dims=128, num_layers=2, num_heads=2, feedforward_channels=256)
    backbone = {**dino_config('vit')['backbone'], 'arch': arch}
    head = {**dino_config('vit')['head'], 'in_channels': 128}
    plain, model = (build_dino('vit', backbone=backbone, head=head, **each) for each in ({}, dict(init_std=0.02)))
    weights = {}
    for name, value in model.backbone.named_parameters():
        if name.startswith('ln1') or '.ln' in name:
            assert torch.equal(value, torch.full_like(value, float(name.endswith('weight')))), name
        elif name.endswith('bias'):
            assert value.abs().max() == 0, name
        else:
            weights[name] = value
    assert len(weights) == 1 + 2 + 2 * 4
    for name, value in weights.items():
        assert value.std().item() == pytest.approx(0.02, rel=0.25 if name == 'cls_token' else 0.05), name
        assert value.mean().abs() < 0.005, name
        assert value.abs().max() < 0.12, name
    ffn = plain.backbone.layers[0].ffn.layers[1]
    assert ffn.weight.std() > 0.05  # mmpretrain's own
    assert ffn.bias.abs().max() > 0
    for name, value in model.teacher.module['backbone'].state_dict().items():
        assert torch.equal(value, model.backbone.state_dict()[name]), name

    # a file's weights stay, whichever init_cfg names it
    torch.save(dict(state_dict=plain.state_dict()), tmp_path / 'plain.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    whole = build_dino('vit', 1, backbone=backbone, head=head, init_std=0.02, init_cfg=pretrained)
    assert torch.equal(whole.backbone.layers[0].ffn.layers[1].weight, ffn.weight)
    backbone['init_cfg'] = [dict(**pretrained, prefix='backbone.')]
    again = build_dino('vit', 2, backbone=backbone, head=head, init_std=0.02)
    assert torch.equal(again.backbone.layers[0].ffn.layers[1].weight, ffn.weight)


@pytest.mark.parametrize('bands', [1, 4, 13])
def test_any_number_of_bands(bands):
    model = build_dino('vit', bands=bands).train()
    data = model.data_preprocessor(make_crops(SIZES, bands=bands), True)
    model.loss(**data)['loss'].backward()
    assert model.backbone.patch_embed.projection.weight.shape[1] == bands
    assert model.backbone.patch_embed.projection.weight.grad.abs().amax(dim=(0, 2, 3)).min() > 0
    with pytest.raises(ValueError, match=f'do.* {bands} bands'):
        model.data_preprocessor(make_crops(SIZES, bands=bands + 1), True)


def test_evaluated_backbone_is_the_teachers():
    model = build_dino()
    assert model.evaluated_backbone is model.teacher.module['backbone']


# Bad input


def test_crops_smaller_than_a_patch():
    model = build_dino('vit').train()
    with pytest.raises(ValueError, match='view 2 has 7 x 7 pixels, less than a patch of 8'):
        model.loss(**model.data_preprocessor(make_crops((64, 64, 7)), True))


def test_crops_smaller_than_a_window():
    config = dino_config('swin')
    config['backbone'].pop('pad_small_map')
    with pytest.raises(ValueError, match=r"backbone\.type='mmrs_ssl\.PaddedSwinTransformer'.*pad_small_map=True"):
        build_dino('swin', backbone=config['backbone'])
    model = build_dino('swin', backbone={**config['backbone'], 'type': 'mmrs_ssl.PaddedSwinTransformer'}).train()
    model.loss(**model.data_preprocessor(make_crops((64, 64, 28)), True))['loss'].backward()
    assert model.backbone.stages[3].blocks[0].attn.w_msa.qkv.weight.grad.abs().max() > 0


def test_vit_that_pads_at_the_corner():
    config = dino_config('vit')
    config['backbone'].pop('patch_cfg')
    with pytest.raises(ValueError, match=r'patch_cfg=dict\(padding=0\)'):
        build_dino('vit', backbone=config['backbone'])


@pytest.mark.parametrize('option', [dict(num_global=0), dict(teacher_temperature=0.0), dict(center_momentum=1.5)])
def test_impossible_options(option):
    (name, value) = next(iter(option.items()))
    with pytest.raises(ValueError, match=rf'{name.split("_")[0]}.*{value}'):
        build_dino(**option)


def test_balanced_choices_are_those_of_the_batch_itself():
    """The center is the batch's own, for the loss and for what the monitor sees; nothing of earlier batches is left."""
    model = build_dino('resnet', balanced=True).train()
    model.center.value.fill_(100.0)  # of an earlier batch
    data = model.data_preprocessor(make_crops(SIZES), True)
    twin = copy.deepcopy(model)
    loss = model.loss(**data)['loss']
    student = twin.head(twin.encode(twin.backbone, data['inputs'])).view(len(data['inputs']), 4, -1)
    teacher = twin.teacher.module['head'](twin.encode(twin.teacher.module['backbone'], data['inputs'][:2]))
    center = balancing_center(teacher, model.teacher_temperature)
    torch.testing.assert_close(model.center.value, center)
    expected = pairwise(student, teacher.view(2, 4, -1), center, 0.1, model.teacher_temperature)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    choices = torch.softmax((teacher - center) / model.teacher_temperature, dim=-1)
    torch.testing.assert_close(model.monitor().choices, choices, rtol=1e-4, atol=1e-6)
    model.eval().loss(**data)
    torch.testing.assert_close(model.center.value, center)  # an evaluation has none of its own


def test_evaluation_leaves_the_center_alone():
    model = build_dino().eval()
    model.loss(**model.data_preprocessor(make_crops(SIZES), False))
    assert not model.center.value.any()
    model.train().loss(**model.data_preprocessor(make_crops(SIZES), True))
    assert model.center.value.any()


def test_too_few_views():
    model = build_dino(num_global=3).train()
    with pytest.raises(ValueError, match=r'2 views, but the teacher sees num_global=3.*TemporalCrops'):
        model.loss(**model.data_preprocessor(make_crops((64, 64)), True))


def test_tokens_instead_of_vectors():
    backbone = {**BACKBONES['vit'][0], 'out_type': 'raw'}
    model = build_dino('vit', backbone=backbone, packed=False).train()
    with pytest.raises(ValueError, match="out_type='cls_token'"):
        model.loss(**model.data_preprocessor(make_crops((64, 64)), True))


def test_trains_without_an_update_hook_never():
    model = build_dino().train()
    model.teacher_is_updated = False
    with pytest.raises(RuntimeError, match='TeacherUpdateHook'):
        model.loss(**model.data_preprocessor(make_crops(SIZES), True))


# Sizes of the head


@pytest.mark.parametrize(
    ('images', 'prototypes', 'temperature'),
    [
        (None, 65536, 0.04),
        (10**6, 65536, 0.04),
        (65536, 65536, 0.04),
        (65535, 32768, 0.0375),
        (5000, 4096, 0.03),
        (1400, 1024, 0.025),
        (300, 256, 0.02),
        (1, 256, 0.02),
    ],
)
def test_head_follows_the_data_set(images, prototypes, temperature):
    size = head_size(images)
    assert size.num_prototypes == prototypes
    assert size.teacher_temperature == pytest.approx(temperature)
    assert prototypes <= max(images or math.inf, 256)
    if images is not None and images < 65536:
        assert f'{images:,} images' in size.reason
    else:
        assert 'as published' in size.reason


def test_no_images():
    with pytest.raises(ValueError, match='num_images=0'):
        head_size(0)


def test_sizes_and_their_reason_are_printed(monkeypatch):
    said = []
    monkeypatch.setattr('mmrs_ssl.models.algorithms.dino_mc.print_log', lambda text, **_: said.append(text))
    init_default_scope('mmpretrain')
    config = dino_config(num_images=700)
    config['head'].pop('num_prototypes')
    model = MODELS.build(config)
    assert model.head.num_prototypes == 512 == model.center.value.shape[1]
    assert model.teacher.module['head'].num_prototypes == 512
    assert '512 prototypes (700 images are too few for the published 65,536 and 0.04)' in said[0]
    assert 'teacher temperature 0.0225 (700 images are too few' in said[1]
    assert model.teacher_temperature == pytest.approx(0.0225)
    said.clear()
    MODELS.build(dino_config(num_images=700, teacher_temperature=0.07))
    assert '24 prototypes (from the config)' in said[0]
    assert 'teacher temperature 0.07 (from the config)' in said[1]


def test_scores_are_cosines():
    """Of the normalized bottleneck with unit prototypes, whatever they were trained to."""
    model = build_dino()
    model.head.last_layer.parametrizations.weight.original1.data.mul_(5)
    rows = torch.randn(6, 64)
    hidden = F.normalize(model.head.mlp(rows), dim=-1)
    prototypes = F.normalize(model.head.last_layer.parametrizations.weight.original1, dim=-1)
    torch.testing.assert_close(model.head(rows), hidden @ prototypes.T, rtol=1e-5, atol=1e-6)
