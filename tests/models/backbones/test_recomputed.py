"""Blocks that are computed twice: losses, gradients, statistics and draws of a plain step; less is kept."""

import copy

import pytest
import torch
from mmpretrain.models import MoCo
from torch import nn

from mmrs_ssl import get_config
from mmrs_ssl.models.backbones.recomputed import blocks_of, recompute_blocks
from tests.conftest import (
    BACKBONES,
    build,
    build_mssdf,
    cmid_config,
    dino_config,
    log_of,
    make_batch,
    make_crops,
    make_modalities,
    train,
)
from tests.fourth import fourth_run

MODALITIES = dict(rgb=3, dsm=1)
CASES = {
    'cmid-resnet': (cmid_config('resnet'), make_batch()),
    'cmid-convnext': (cmid_config('convnext'), make_batch()),
    'cmid-swin': (cmid_config('swin'), make_batch()),
    'dino-resnet': (dino_config('resnet'), make_crops((64, 64, 40))),
    'dino-swin': (dino_config('swin'), make_crops((64, 64, 40))),
}


def two_steps(model, batch):
    """Losses, gradients and all that the model keeps, of two steps; the saved bytes of the second."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    found, held = {}, []
    for step in range(2):
        torch.manual_seed(step)
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (held.append(t.nbytes), t)[1], lambda t: t):
            data = model.data_preprocessor(copy.deepcopy(batch), True)
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        found[f'{step}.loss'] = loss.detach()
        found |= {f'{step}.grad.{n}': p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found[f'{step}.drawn'] = torch.rand(3)  # where the generator stands
        optimizer.step()
        optimizer.zero_grad()
        model.update_teacher()
        found |= {f'{step}.state.{name}': value.clone() for name, value in model.state_dict().items()}
    return found, sum(held)


def assert_same(found, plain):
    assert found.keys() == plain.keys()
    for key in plain:
        torch.testing.assert_close(found[key], plain[key], rtol=1e-5, atol=1e-6, msg=lambda m, k=key: f'{k}: {m}')
        if 'running' in key or 'tracked' in key or 'drawn' in key:
            assert torch.equal(found[key], plain[key]), key


@pytest.mark.parametrize(
    'case', [pytest.param(case, marks=[] if 'resnet' in case else pytest.mark.slow) for case in CASES]
)
def test_with_cp_of_our_methods_changes_no_number(case):
    config, batch = copy.deepcopy(CASES[case])
    drop = {} if 'resnet' in case else dict(drop_path_rate=0.4)
    config['backbone'].update(drop)
    plain, held = two_steps(build(copy.deepcopy(config), 0), batch)
    config['backbone']['with_cp'] = True
    model = build(config, 0)
    blocks = blocks_of(model.backbone)
    runs = []
    kernel = next(part for part in blocks[0].modules() if isinstance(part, nn.Conv2d | nn.Linear))
    kernel.register_forward_hook(lambda *_: runs.append(1))
    found, less = two_steps(model, batch)
    assert_same(found, plain)
    assert len(runs) == 2 * 2 * 2  # two steps of two batches (views, or sizes of crops), forward and backward
    assert less < held


@pytest.mark.parametrize('method', ['dino', 'mssdf'])
def test_packed_layers_are_recomputed_too(method):
    """A ViT has no ``with_cp``; its layers are called part by part."""
    if method == 'dino':
        config, batch = dino_config('vit'), make_crops((64, 64, 40))
        config['backbone']['drop_path_rate'] = 0.4
        models = [build(copy.deepcopy(config), 0) for _ in range(2)]
        assert models[0].packed
    else:
        models, batch = [build_mssdf(MODALITIES) for _ in range(2)], make_modalities(MODALITIES)
    plain, held = two_steps(models[0], batch)
    assert recompute_blocks(models[1].backbone) == 2
    runs = []
    models[1].backbone.layers[0].attn.qkv.register_forward_hook(lambda *_: runs.append(1))
    found, less = two_steps(models[1], batch)
    assert_same(found, plain)
    assert len(runs) == 2 * 2
    assert less < held


def test_a_library_s_own_way_moves_statistics_twice():
    """Else the tests above would show nothing."""
    views = make_batch()
    states = []
    for with_cp, ours in ((False, False), (True, False), (True, True)):
        torch.manual_seed(0)
        model = MoCo(
            backbone=dict(BACKBONES['resnet'][0], with_cp=with_cp, norm_cfg=dict(type='BN')),
            neck=dict(type='MoCoV2Neck', in_channels=64, hid_channels=8, out_channels=8),
            head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2),
            queue_len=16,
            feat_dim=8,
        ).train()
        if ours:
            recompute_blocks(model.backbone)
        inputs = [view.float() / 255 for view in views['inputs']]
        if with_cp and not ours:
            with pytest.warns(UserWarning, match='use_reentrant'):
                loss = model.loss(inputs, [])['loss']
        else:
            loss = model.loss(inputs, [])['loss']
        loss.backward()
        states.append({key: value.clone() for key, value in model.backbone.state_dict().items()})
    plain, library, ours = states
    tracked = 'layer2.0.bn1.num_batches_tracked'
    assert (plain[tracked], library[tracked], ours[tracked]) == (1, 2, 1)
    assert not torch.equal(library['layer2.0.bn1.running_mean'], plain['layer2.0.bn1.running_mean'])
    assert all(torch.equal(ours[key], plain[key]) for key in plain)


def test_names_and_copies():
    config = cmid_config()
    config['backbone']['with_cp'] = True
    model = build(config, 0)
    assert model.state_dict().keys() == build(cmid_config(), 0).state_dict().keys()
    other = copy.deepcopy(model.backbone)
    for parameter in other.layer4.parameters():
        parameter.data.zero_()
    image = torch.rand(2, 3, 64, 64)
    assert other(image)[-1].abs().max() == 0  # computes with its own weights
    assert model.backbone(image)[-1].abs().max() > 0
    with pytest.raises(TypeError, match=r'neck \(Linear\) has no blocks that can be recomputed'):
        recompute_blocks(nn.Linear(2, 2), 'neck')


def test_the_hook_in_a_run(make_config):
    def run(**options):
        cfg = fourth_run(make_config)
        cfg.custom_hooks = [cfg.custom_hooks[0], dict(type='mmrs_ssl.RecomputeHook', **options)]
        return cfg

    runs = []

    def look(runner, batch):
        if runner.iter == 0:
            runner.model.backbone.layer2[1].conv1.register_forward_hook(lambda *_: runs.append(runner.iter))

    cfg = run()
    train(cfg, before_train_iter=look)
    assert '8 blocks of backbone are computed again' in log_of(cfg.work_dir)
    assert runs == [i for i in range(8) for _ in range(2)]
    with pytest.raises(AttributeError, match="RecomputeHook: the model has no 'encoder'"):
        train(run(path='encoder'))
    cfg = run()
    cfg.activation_checkpointing = ['backbone.layer1']
    with pytest.raises(ValueError, match=r"activation_checkpointing=\['backbone.layer1'\] of the config do the same"):
        train(cfg)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cmid/cmid_resnet50_4xb64-amp-coslr-200e_millionaid-224px.py'])
def test_published_networks_by_an_option(name):
    """Every bottleneck, in mixed precision, with statistics that move once a step."""
    states = []
    for with_cp in (False, True):
        cfg = get_config(name)
        cfg.model.backbone.with_cp = with_cp
        model = build(cfg.model, 0).train()
        assert sum(getattr(block, 'recomputed', False) for block in model.backbone.modules()) == 16 * with_cp
        torch.manual_seed(0)
        data = model.data_preprocessor(make_batch(2), True)
        with torch.autocast('cpu', torch.bfloat16):
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        states.append(dict(model.state_dict(), loss=loss.detach(), grad=model.backbone.conv1.weight.grad))
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value), key
