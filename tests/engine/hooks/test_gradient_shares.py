"""How much of the backbone's gradient each term makes up, against plain backward passes; nothing else changes."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmrs_ssl.cli.errors import explain
from mmrs_ssl.engine.hooks import GradientShareHook
from mmrs_ssl.engine.hooks.gradient_shares import gradient_norms, share_names
from tests.conftest import cmid_config, log_of, mssdf_config, train
from tests.engine.test_hooks import scalars, without
from tests.fourth import Fourth, fourth_config, fourth_run


@MODELS.register_module(force=True)
class TwoTerms(Fourth):
    """Two terms that pull in different directions, and one without a gradient."""

    def loss(self, inputs, data_samples):
        self.require_teacher_updates()
        student, other = (self.backbone(view)[-1].mean(dim=(2, 3)) for view in inputs)
        wanted = torch.linspace(0, 1, student.shape[1]).expand_as(student)
        terms = dict(loss_near=F.mse_loss(student, other), far_loss=0.3 * F.mse_loss(student, wanted))
        return dict(terms, loss_off=torch.zeros(()), distance=(student - other).norm())


CONFIGS = dict(
    two=dict(fourth_config(), type='TwoTerms'),
    mssdf=mssdf_config(),
    cmid=cmid_config(),
)


def run(make_config, model, interval=3, hooks=(), **changes):
    """A run of two epochs of four iterations with the hook; None leaves it out."""
    cfg = without(make_config(model=dict(CONFIGS[model])), 'PictureHook', 'CollapseMonitorHook', 'GradientShareHook')
    if model == 'two':
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.get('path') is None]
    cfg.custom_hooks += hooks
    if interval:
        cfg.custom_hooks.append(dict(type='mmrs_ssl.GradientShareHook', interval=interval))
    cfg.merge_from_dict(changes)
    return cfg


def shares(runner):
    hub = runner.message_hub.log_scalars
    names = [name for name in hub if 'share_' in name or 'gradient_norm' in name]
    return {name.removeprefix('train/'): hub[name].data[0].tolist() for name in names}


def plain_norms(model, batch):
    """The norms of the gradients of each term, of a backward pass of its own from the same state and draws."""
    drawn = torch.get_rng_state()
    found, gradients = {}, []
    names = None
    while names is None or len(found) < len(names):
        torch.set_rng_state(drawn)
        fresh = deepcopy(model)
        losses = fresh.loss(**fresh.data_preprocessor(batch, True))
        terms = {key: each for key, each in losses.items() if 'loss' in key}
        names = list(terms)
        name = names[len(found)]
        if terms[name].requires_grad:
            terms[name].backward()
        params = [param for param in fresh.backbone.parameters() if param.requires_grad]
        own = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in params]).double()
        gradients.append(own)
        found[name] = float(own.square().sum().sqrt())
    torch.set_rng_state(drawn)
    return found, float(sum(gradients).square().sum().sqrt())


@pytest.mark.parametrize('model', ['two', 'mssdf'])
def test_shares_are_those_of_plain_backward_passes(model, make_config):
    cfg = run(make_config, model)
    expected = []

    def look(runner, batch):
        if runner.iter in (0, 2, 5):  # the first, and every third
            expected.append(plain_norms(runner.model, batch))

    runner = train(cfg, before_train_iter=look)
    found = shares(runner)
    terms = list(expected[0][0])
    assert len(terms) == (3 if model == 'two' else 4)
    assert found.keys() == {*share_names(terms), 'share_together', 'gradient_norm'}
    for step, (norms, together) in enumerate(expected):
        for term, name in zip(terms, share_names(terms), strict=True):
            assert found[name][step] == pytest.approx(norms[term] / sum(norms.values()), rel=1e-4), term
        assert found['share_together'][step] == pytest.approx(together / sum(norms.values()), rel=1e-4)
        assert found['gradient_norm'][step] == pytest.approx(together, rel=1e-4)
    assert {len(values) for values in found.values()} == {3}
    if model == 'two':
        assert found['share_off'] == [0, 0, 0]
        lines = scalars(runner)  # each has what was measured last
        assert [line['share_near'] for line in lines] == [found['share_near'][i] for i in (0, 0, 1, 1, 1, 2, 2, 2)]
        assert 'share_near: 0.' in log_of(runner.work_dir)


def test_names_in_the_log():
    """mmengine averages over lines what is named loss."""
    assert share_names(['loss_a', 'loss', 'b_loss', 'decode.loss_ce', 'loss_rpn_cls']) == [
        'share_a',
        'share_main',
        'share_b',
        'share_decode.ce',
        'share_rpn_cls',
    ]
    assert share_names(['loss_a', 'a_loss']) == ['share_loss_a', 'share_a_loss']


BFLOAT16 = {'optim_wrapper.type': 'mmrs_ssl.CPUAmpOptimWrapper'}


@pytest.mark.parametrize(
    ('model', 'hooks', 'changes'),
    [
        ('cmid', [], {'model.backbone.with_cp': True}),
        ('mssdf', [dict(type='mmrs_ssl.RecomputeHook')], {**BFLOAT16, 'optim_wrapper.accumulative_counts': 2}),
    ],
    ids=['cmid of recomputed blocks', 'mssdf of recomputed blocks in bfloat16, accumulated'],
)
def test_nothing_else_changes_and_a_resumed_run_logs_the_same(model, hooks, changes, make_config, tmp_path):
    def ended(interval, **more):
        cfg = run(make_config, model, interval, hooks, **changes, **more)
        cfg.train_cfg.type = 'mmrs_ssl.ResumableTrainLoop'
        cfg.work_dir = str(tmp_path / f'work{len(states)}')
        drawn = []

        def after(runner):
            drawn.append(torch.get_rng_state())
            assert not {'train_step', 'parse_losses'} & vars(runner.model).keys()
            if runner.iter == 3 and not more:
                runner.save_checkpoint(str(tmp_path), f'{interval}.pth', by_epoch=False)

        runner = train(cfg, after_train_iter=after)
        states.append((runner.model.state_dict(), runner.optim_wrapper.state_dict()['state'], drawn))
        losses.append(runner.message_hub.get_scalar('train/loss').data[0].tolist())
        return shares(runner)

    states, losses = [], []
    assert ended(None) == {}
    found = ended(3)
    if model == 'mssdf':
        assert ended(3, load_from=str(tmp_path / '3.pth'), resume=True) == found
    assert len(found['share_together']) == 3
    assert all(0 < value < 1 for value in found['share_together'])
    for other in losses[1:]:
        assert other == losses[0]
    for other in states[1:]:
        torch.testing.assert_close(other[:2], states[0][:2], rtol=0, atol=0)
        assert all(torch.equal(*pair) for pair in zip(other[2][-4:], states[0][2][-4:], strict=True))
    assert len(states[1][2]) == 8


def test_small_gradients_of_float16_are_scaled_and_the_scale_is_taken_out():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))

    def terms():
        half = weight.half()
        return [(1e-3 * half).float().sum() * 1e-6, (half * half).float().sum() * 1e-9]

    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**20)
    expected = torch.tensor([2**0.5 * 1e-9, 1e-8, ((6e-9 + 1e-9) ** 2 + (8e-9 + 1e-9) ** 2) ** 0.5])
    torch.testing.assert_close(gradient_norms(terms(), [weight], scaler.scale), expected, rtol=2e-3, atol=0)
    assert gradient_norms(terms(), [weight]).tolist() == [0, 0, 0]
    losses = dict(zip(('loss_a', 'loss_b'), terms(), strict=True))
    hook = GradientShareHook(module='weight')
    hook._parameters = [weight]
    runner = SimpleNamespace(optim_wrapper=SimpleNamespace(loss_scaler=scaler))
    _, log = hook._measured(runner, losses, (sum(losses.values()), losses))
    whole = float(expected[:2].sum())
    assert float(log['share_a']) == pytest.approx(float(expected[0]) / whole, rel=2e-3)
    assert float(log['gradient_norm']) == pytest.approx(float(expected[2]), rel=2e-3)
    assert weight.grad is None


def test_a_library_s_own_way_of_recomputing_says_what_to_use():
    layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    out = checkpoint(layers[1], layers[0](torch.randn(2, 3)), use_reentrant=True)
    with pytest.raises(RuntimeError) as caught:
        gradient_norms([out.sum(), out.square().sum()], list(layers.parameters()))
    assert "set it to False and add custom_hooks=[dict(type='mmrs_ssl.RecomputeHook')]" in explain(caught.value)


def test_a_single_term_has_no_share(make_config):
    cfg = fourth_run(make_config)
    cfg.custom_hooks.append(dict(type='mmrs_ssl.GradientShareHook', interval=1))
    runner = train(cfg)
    assert shares(runner) == {}
    assert log_of(cfg.work_dir).count('GradientShareHook: the loss has no terms to compare (loss)') == 1


def test_a_step_that_fails_leaves_the_model_as_it_was(make_config, monkeypatch):
    models = []

    def loss(model, inputs, data_samples):
        models.append(model)
        assert 'parse_losses' in vars(model)
        raise OSError('no such image')

    monkeypatch.setattr(TwoTerms, 'loss', loss)
    with pytest.raises(OSError, match='no such image'):
        train(run(make_config, 'two'))
    assert not {'train_step', 'parse_losses'} & vars(models[0]).keys()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(interval=0), r'interval=0, expected a whole number of at least 1'),
        (dict(module='encoder'), r"the model has no 'encoder'"),
        (dict(module='teacher'), r"no parameter of 'teacher' is trained"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message, make_config):
    cfg = run(make_config, 'two', interval=None, hooks=[dict(type='mmrs_ssl.GradientShareHook', **options)])
    with pytest.raises((ValueError, AttributeError), match=message):
        train(cfg)
