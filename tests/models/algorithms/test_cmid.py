"""The CMID model: what it learns from, what it saves, what it refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import load_checkpoint, load_state_dict

from mmrs_ssl.models.losses import soft_cross_entropy
from mmrs_ssl.models.mask_token import MaskToken, entrance_of
from mmrs_ssl.models.masks.blocks import upsample_mask
from tests.conftest import BACKBONES, build_cmid, cmid_config, make_batch

FAMILIES = list(BACKBONES)
TERMS = {'loss_spatial', 'loss_spectral', 'loss_global', 'loss_local'}


def losses_of(model, batch):
    return model.loss(**model.data_preprocessor(copy.deepcopy(batch), True))


@pytest.mark.parametrize('family', FAMILIES)
def test_a_step_lowers_every_term(family):
    """Thirty steps on one batch with fixed masks: each term goes down, the teacher moves."""
    model = build_cmid(family).train()
    model.global_head.enqueue = lambda keys: None  # a queue that fills with this batch's own keys gets harder
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    teacher = copy.deepcopy(model.teacher.module.state_dict())
    batch, history = make_batch(), []
    for _ in range(30):
        torch.manual_seed(0)
        losses = losses_of(model, batch)
        assert set(losses) == TERMS
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.update_teacher()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    for name in TERMS:
        assert history[-1][name] < history[0][name], (name, history[0], history[-1])
    moved = [key for key, value in model.teacher.module.named_parameters() if not torch.equal(value, teacher[key])]
    assert len(moved) > 0.8 * len(teacher) - sum('num_batches' in k or 'running' in k for k in teacher)


@pytest.mark.parametrize('family', FAMILIES)
def test_checkpoint_has_exactly_mmpretrains_backbone_names(family, tmp_path):
    """`backbone.*` is the backbone's own state dict, no more, no less, and loads into it unchanged."""
    model = build_cmid(family)
    saved = {key: value for key, value in model.state_dict().items() if key.startswith('backbone.')}
    plain = MODELS.build({**BACKBONES[family][0], 'in_channels': 3})
    assert set(saved) == {f'backbone.{key}' for key in plain.state_dict()}
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'model.pth')
    target = MODELS.build(
        {
            **BACKBONES[family][0],
            'init_cfg': dict(type='Pretrained', prefix='backbone.', checkpoint=str(tmp_path / 'model.pth')),
        }
    )
    target.init_weights()
    for key, value in target.state_dict().items():
        assert torch.equal(value, saved[f'backbone.{key}']), key


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('mode', ['add', 'replace'])
def test_mask_token_acts_at_the_entrance_where_masked(family, mode):
    model = build_cmid(family)
    backbone = model.eval().backbone
    module, channels = entrance_of(backbone)
    token = MaskToken(channels, mode)
    torch.nn.init.constant_(token.token, 3.0)
    mask = torch.tensor([[[True, False], [False, True]]])
    seen = {}
    view = torch.randn(1, 3, 64, 64)
    with token.applied(backbone, mask):
        handle = module.register_forward_hook(lambda m, a, out: seen.update(out=out))
        backbone(view)
        handle.remove()
    with torch.no_grad():
        plain = module_output(backbone, module, view)
    marked, plain = as_map(seen['out']), as_map(plain)
    where = upsample_mask(mask, plain.shape[-2:]).expand_as(plain)
    torch.testing.assert_close(marked[~where], plain[~where])
    expected = torch.full_like(plain, 3.0) if mode == 'replace' else plain + 3
    torch.testing.assert_close(marked[where], expected[where])
    assert not module._forward_hooks  # nothing stays behind


def module_output(backbone, module, view):
    out = {}
    handle = module.register_forward_hook(lambda m, a, o: out.update(o=o))
    backbone(view)
    handle.remove()
    return out['o']


def as_map(output):
    if isinstance(output, torch.Tensor):
        return output
    tokens, (h, w) = output
    return tokens.mT.unflatten(2, (h, w))


def test_unknown_backbone_and_mode():
    with pytest.raises(TypeError, match='does not know where Conv2d begins'):
        entrance_of(torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="'blend' is not one of"):
        MaskToken(8, 'blend')


def test_local_branch_against_a_loop_over_images():
    """The batched matching and loss equal a plain loop over images, directions and pairs."""
    model = build_cmid('vit').eval()  # no BatchNorm: images do not influence each other
    batch = make_batch(3)
    boxes = torch.stack([s.boxes for s in batch['data_samples']], 1)
    flips = torch.stack([s.flips for s in batch['data_samples']], 1)
    boxes[1, 2] = torch.tensor([500.0, 500.0, 40.0, 40.0])  # the third image's views do not overlap
    maps = list(torch.randn(4, 3, 64, 4, 4, generator=torch.manual_seed(3)))
    loss, _ = model.local_branch(maps[:2], maps[2:], boxes, flips)

    center, total = torch.zeros(1, 24), 0.0
    for i, j in ((0, 1), (1, 0)):
        scores, direction = [], 0.0
        for b in range(3):
            cells = {}
            for v in (0, 1):
                top, left, height, width = boxes[v, b].tolist()
                cells[v] = [
                    (top + (r + 0.5) / 4 * height, left + ((3 - c if flips[v, b] else c) + 0.5) / 4 * width)
                    for r in range(4)
                    for c in range(4)
                ]
            for own, (y, x) in enumerate(cells[i]):
                partner = min(range(16), key=lambda k: (cells[j][k][0] - y) ** 2 + (cells[j][k][1] - x) ** 2)
                student = model.local_head(maps[i][b].flatten(1)[:, own][None])
                teacher = model.teacher.module['local_head'](maps[2 + j][b].flatten(1)[:, partner][None])
                scores.append(teacher)
                if b != 2:
                    direction += soft_cross_entropy(student, teacher, center, 0.1, 0.04).item() / 16 / 2
        center = 0.9 * center + 0.1 * torch.cat(scores).mean(0, keepdim=True)
        total += direction / 2
    assert loss.item() == pytest.approx(total, rel=1e-4)
    torch.testing.assert_close(model.center.value, center)


def test_no_overlap_at_all_costs_nothing():
    model = build_cmid().train()
    batch = make_batch()
    for sample in batch['data_samples']:
        sample.boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [100.0, 100.0, 20.0, 20.0]])
    losses = losses_of(model, batch)
    assert losses['loss_local'].item() == 0
    sum(losses.values()).backward()


def test_byol_branch():
    model = build_cmid(byol=True).train()
    losses = losses_of(model, make_batch())
    assert 0 < losses['loss_global'].item() < 4
    sum(losses.values()).backward()
    assert model.global_head.predictor.fc0.weight.grad.abs().sum() > 0


def test_byol_head_is_two_minus_two_cos_both_ways():
    head = build_cmid(byol=True).eval().global_head
    s1, s2, t1, t2 = torch.randn(4, 3, 16, generator=torch.manual_seed(0)).unbind()
    expected = sum(
        2 - 2 * (F.normalize(head.predictor((s,))[0], dim=1) * F.normalize(t, dim=1)).sum(1).mean()
        for s, t in ((s1, t2), (s2, t1))
    )
    torch.testing.assert_close(head.loss([s1, s2], [t1, t2]), expected / 2)


@pytest.mark.parametrize('bands', [1, 5, 13])
def test_any_number_of_bands(bands):
    model = build_cmid(bands=bands).train()
    assert model.backbone.conv1.in_channels == bands
    losses = losses_of(model, make_batch(bands=bands))
    assert all(value.isfinite() for value in losses.values())


def test_bands_that_contradict_each_other():
    config = cmid_config(bands=4)
    config['backbone']['in_channels'] = 3
    with pytest.raises(ValueError, match=r'ResNet\.in_channels=3, but the data preprocessor has .* for 4 bands'):
        MODELS.build(config)
    with pytest.raises(ValueError, match='does not have the 4 bands'):
        losses_of(build_cmid(bands=4), make_batch(bands=3))
    config['data_preprocessor']['std'] = [50.0] * 3
    with pytest.raises(ValueError, match='expected a list of 4 numbers'):
        MODELS.build(config)


def test_normalization_keeps_the_input_and_is_channels_last():
    model = build_cmid()
    batch = make_batch()
    before = batch['inputs'][0].clone()
    out = model.data_preprocessor(batch, True)['inputs'][0]
    torch.testing.assert_close(out, (before.float() - 100) / 50)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch['inputs'][0], before)
    single = model.data_preprocessor(dict(inputs=before.float()), False)
    torch.testing.assert_close(single['inputs'], out)


def test_needs_feature_maps():
    config = cmid_config('vit')
    config['backbone'] = {**config['backbone'], 'out_type': 'cls_token'}
    with pytest.raises(ValueError, match="out_type='featmap'"):
        MODELS.build(config)
    config = cmid_config('convnext')
    config['backbone'] = {**config['backbone'], 'gap_before_final_norm': True}
    with pytest.raises(ValueError, match='gap_before_final_norm=False'):
        MODELS.build(config)


def test_loss_weights_scale_and_masks_are_drawn_anew():
    plain, weighted = build_cmid().train(), build_cmid(loss_weights=dict(loss_spatial=2.0)).train()
    torch.manual_seed(1)
    first = losses_of(plain, make_batch())
    torch.manual_seed(1)
    second = losses_of(weighted, make_batch())
    torch.testing.assert_close(second['loss_spatial'], 2 * first['loss_spatial'])
    torch.testing.assert_close(second['loss_spectral'], first['loss_spectral'])
    assert losses_of(plain, make_batch())['loss_spatial'] != first['loss_spatial']


def test_student_sees_masks_and_teacher_does_not():
    model = build_cmid('vit').train()
    seen = {'student': [], 'teacher': []}
    model.backbone.register_forward_pre_hook(lambda m, args: seen['student'].append(args[0]))
    model.teacher.module['backbone'].register_forward_pre_hook(lambda m, args: seen['teacher'].append(args[0]))
    data = model.data_preprocessor(make_batch(), True)
    model.loss(**data)
    for view, student, teacher in zip(data['inputs'], seen['student'], seen['teacher'], strict=True):
        assert torch.equal(teacher, view)
        # 3 of 4 blocks of 32 x 32 are masked; there a channel has one value, its mean
        changed = (student != view).any(1).float().mean((1, 2))
        torch.testing.assert_close(changed, torch.full((4,), 0.75), atol=0.01, rtol=0)


def test_trains_without_an_update_hook_never():
    model = build_cmid().train()
    model.teacher_is_updated = False
    with pytest.raises(RuntimeError, match='TeacherUpdateHook'):
        losses_of(model, make_batch())


def test_checkpoint_of_another_backbone(tmp_path):
    other = build_cmid('vit')
    torch.save(dict(state_dict=other.state_dict(), meta={}), tmp_path / 'vit.pth')
    before = copy.deepcopy(build_cmid().state_dict())
    model = build_cmid()
    with pytest.raises(ValueError, match=r'not fit the ResNet of the config[^(]*\(missing backbone\.conv1\.weight'):
        load_checkpoint(model, str(tmp_path / 'vit.pth'))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r'conv1.weight is \(8, 5, 7, 7\), not \(8, 3, 7, 7\)'):
        load_state_dict(model, build_cmid(bands=5).state_dict())


def test_checkpoint_without_a_teacher_starts_it_from_the_student():
    source, model = build_cmid(seed=1), build_cmid(seed=2)
    weights = {key: value for key, value in source.state_dict().items() if not key.startswith('teacher.')}
    load_state_dict(model, weights)
    for key, value in model.teacher.module.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


@pytest.mark.parametrize('family', FAMILIES)
def test_extract_feat_gives_backbone_features(family):
    model = build_cmid(family).eval()
    view = model.data_preprocessor(make_batch(), False)['inputs'][0]
    assert torch.equal(model(view, mode='tensor')[-1], model.backbone(view)[-1])
