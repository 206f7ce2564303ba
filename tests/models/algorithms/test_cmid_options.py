"""Every option of CMID and of its heads: from one and the same state it changes its own terms and no other."""

import copy
from functools import cache

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from tests.conftest import build, cmid_config
from tests.models.algorithms.cmid_step import Step, build_stirred, make_config, make_views, take_step

SPATIAL, SPECTRAL, GLOBAL, LOCAL = 'loss_spatial', 'loss_spectral', 'loss_global', 'loss_local'
ALL = {SPATIAL, SPECTRAL, GLOBAL, LOCAL}
BASE = dict(mask_block=16, num_matches=4, global_head__queue_length=13)
BYOL = dict(mask_block=16, num_matches=4)


@cache
def start(byol: bool = False) -> nn.Module:
    """The model that all others start from."""
    return build_stirred(make_config(byol=byol, **(BYOL if byol else BASE)))


def changed_model(byol: bool = False, **options) -> nn.Module:
    """A model of other options with the weights and states of :func:`start`, but for those of another shape."""
    start(byol)  # sets the default scope
    model = MODELS.build(make_config(byol=byol, **{**(BYOL if byol else BASE), **options})).train()
    model.teacher_is_updated = True
    own = model.state_dict()
    for name, value in start(byol).state_dict().items():
        if name in own and own[name].shape == value.shape:
            own[name].copy_(value)
    return model


@cache
def plain_step(byol: bool = False) -> Step:
    """A step without any change."""
    return take_step(copy.deepcopy(start(byol)), make_views())


def changed_terms(step: Step, byol: bool = False) -> set[str]:
    """The terms that are not bit for bit those of the plain step."""
    return {name for name, value in step.losses.items() if not torch.equal(value, plain_step(byol).losses[name])}


def test_the_same_options_change_nothing():
    step = take_step(changed_model(), make_views())
    assert changed_terms(step) == set()
    for name, value in step.model.state_dict().items():
        assert torch.equal(value, plain_step().model.state_dict()[name]), name


CHANGES = [
    (dict(mask_block=32), ALL),
    (dict(mask_ratio=0.8), ALL),
    (dict(mask_token_mode='replace'), ALL),
    (dict(num_matches=5), {LOCAL}),
    (dict(student_temperature=0.11), {LOCAL}),
    (dict(teacher_temperature=0.041), {LOCAL}),
    (dict(data_preprocessor__mean=[99.0] * 3), ALL),
    (dict(data_preprocessor__std=[49.0] * 3), ALL),
    (dict(reconstruction_head__spectral_weight=1.01), {SPECTRAL}),
    (dict(global_head__temperature=0.21), {GLOBAL}),
    (dict(global_head__queue_length=14), {GLOBAL}),
    (dict(global_head__channels=8, neck__out_channels=8), {GLOBAL}),
    (dict(neck__hid_channels=24), {GLOBAL}),
    (dict(local_head__hidden_channels=24), {LOCAL}),
    (dict(local_head__bottleneck_channels=8), {LOCAL}),
    (dict(local_head__num_prototypes=20), {LOCAL}),
    (dict(local_head__batch_norm=False), {LOCAL}),
    (dict(teacher_momentum=0.5), set()),  # its turn comes below
    (dict(local_head__learn_gain=True), set()),
]


@pytest.mark.parametrize(('options', 'terms'), CHANGES, ids=[next(iter(each)) for each, _ in CHANGES])
def test_an_option_changes_its_terms_and_no_other(options, terms):
    step = take_step(changed_model(**options), make_views())
    assert changed_terms(step) == terms
    if terms != ALL:  # what the backbones saw and said is the same too
        for name in ('students', 'student_maps', 'teachers', 'teacher_maps'):
            assert all(map(torch.equal, getattr(step, name), getattr(plain_step(), name))), name
    if LOCAL not in terms:
        assert torch.equal(step.model.center.value, plain_step().model.center.value)


@pytest.mark.parametrize('options', [dict(hid_channels=12), dict(with_last_bn=True)], ids=lambda each: next(iter(each)))
@pytest.mark.parametrize('part', ['neck', 'predictor'])
def test_byols_projector_and_predictor_change_the_global_term_alone(part, options):
    if part == 'predictor':
        predictor = cmid_config(byol=True)['global_head']['predictor'] | options
        model = changed_model(byol=True, global_head__predictor=predictor)
    else:
        model = changed_model(byol=True, **{f'neck__{name}': value for name, value in options.items()})
    assert changed_terms(take_step(model, make_views()), byol=True) == {GLOBAL}


@pytest.mark.parametrize('name', sorted(ALL))
def test_a_weight_scales_its_term(name):
    step = take_step(changed_model(loss_weights={name: 0.3}), make_views())
    assert changed_terms(step) == {name}
    assert torch.equal(step.losses[name], 0.3 * plain_step().losses[name])


def test_the_teachers_momentum_acts_after_the_first_update():
    """The next step's teacher is another, and with it the terms that ask the teacher."""
    steps = []
    for momentum in (0.996, 0.5):
        model = changed_model(teacher_momentum=momentum)
        take_step(model, make_views())
        model.update_teacher()
        steps.append(take_step(model, make_views()))
    first, second = steps
    assert {name for name in ALL if not torch.equal(first.losses[name], second.losses[name])} == {GLOBAL, LOCAL}


@pytest.mark.parametrize('learned', [False, True])
def test_the_prototypes_gain_trains_if_it_is_to(learned):
    step = take_step(changed_model(local_head__learn_gain=learned), make_views())
    sum(step.losses.values()).backward()
    gain = step.model.local_head.last_layer.parametrizations.weight.original0
    assert (gain.grad is not None and bool(gain.grad.abs().min() > 0)) == learned


def test_init_cfg_starts_student_and_teacher_from_a_checkpoint(tmp_path):
    torch.save(dict(state_dict=start().state_dict(), meta={}), tmp_path / 'start.pth')
    config = make_config(**BASE, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'start.pth')))
    model = build(config, seed=1).train()
    for name, value in model.student_parts().state_dict().items():
        assert torch.equal(model.teacher.module.state_dict()[name], value), name
    assert changed_terms(take_step(model, make_views())) == {GLOBAL, LOCAL}  # they ask the teacher, now another


REFUSED = [
    (dict(mask_block=48), ValueError, r'64 x 96 pixels cannot be cut into mask blocks of 48'),
    (dict(mask_ratio=1.0), ValueError, r'mask_ratio=1\.0, expected a number above 0 and below 1'),
    (dict(mask_ratio=0.0), ValueError, r'mask_ratio=0\.0, expected a number above 0 and below 1'),
    (dict(mask_token_mode='blend'), ValueError, "'blend' is not one of"),
    (dict(num_matches=0), ValueError, 'num_matches=0'),
    (dict(student_temperature=0.0), ValueError, r'student_temperature=0\.0'),
    (dict(teacher_temperature=-0.04), ValueError, r'teacher_temperature=-0\.04'),
    (dict(teacher_momentum=1.5), ValueError, r'teacher_momentum=1\.5, expected'),
    (
        dict(loss_weights=dict(loss_locl=2.0)),
        ValueError,
        "a term of loss_weights='loss_locl' is not one of loss_spatial",
    ),
    (dict(backbone__in_channels=4), ValueError, r'in_channels=4, but the data preprocessor'),
    (dict(reconstruction_head__bands=4), ValueError, r'bands=4, but the data preprocessor'),
    (dict(reconstruction_head__stride=16), ValueError, r'head\.stride=16, but the stride of the last map of \w+ is 32'),
    (dict(reconstruction_head__in_channels=32), ValueError, r'reconstruction_head\.in_channels=32, but .* are 64'),
    (dict(global_head__temperature=0.0), ValueError, r'temperature=0\.0'),
    (dict(global_head__queue_length=0), ValueError, 'queue_length=0'),
    (dict(global_head__channels=8), ValueError, r'global_head\.channels=8, but the width of what the neck gives is 16'),
    (dict(neck__in_channels=32), ValueError, r'model\.neck\.in_channels=32, but the channels of .* are 64: give that'),
    (dict(local_head__in_channels=32), ValueError, r'local_head\.in_channels=32, but .* are 64'),
]


@pytest.mark.parametrize(('options', 'error', 'words'), REFUSED, ids=[next(iter(each[0])) for each in REFUSED])
def test_what_cannot_be_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        take_step(build_stirred(make_config(**{**BASE, **options})), make_views())
