"""The teacher's momentum: as published where the training is as long, lower at the start of short ones."""

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import HOOKS

from mmrs_ssl import get_config
from mmrs_ssl.engine.hooks import ScheduleHook, TeacherMomentumHook
from tests.conftest import ROOT, log_of, train
from tests.engine.test_hooks import option, without

# images or windows of an epoch: MillionAID's test set, 38 scenes of Potsdam in windows of 512 pixels, places of SeCo
IMAGES = dict(millionaid=990_848, potsdam=38 * 11**2, seco=200_000)
PUBLISHED = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for method in ('cmid', 'dino_mc')
    for path in (ROOT / 'configs' / method).glob('*.py')
    if any(name in path.name for name in IMAGES)
)


def planned(hook, iterations, every=1):
    """A hook that has seen how long a training is."""
    runner = SimpleNamespace(
        model=SimpleNamespace(get_submodule=lambda path: SimpleNamespace(momentum=0.5)),
        max_iters=iterations,
        train_loop=None,
        optim_wrapper=SimpleNamespace(_accumulative_counts=every),
        logger=logging.getLogger('momentum'),
    )
    hook.before_train(runner)
    return hook


def momenta(hook, iterations, every=1):
    """The momentum of every update."""
    steps = [i for i in range(iterations) if (i + 1) % every == 0 or i == iterations - 1]
    return [hook.value(step, iterations) for step in steps]


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_configs_have_the_published_momenta(name, caplog):
    cfg = get_config(name)
    caplog.set_level(logging.INFO)
    (config,) = [hook for hook in cfg.custom_hooks if hook.type.endswith('TeacherMomentumHook')]
    (images,) = [count for data, count in IMAGES.items() if data in name]
    batch = 4 * cfg.train_dataloader.batch_size
    assert batch == 256
    total = cfg.train_cfg.max_epochs * (images // batch)
    hook, plain = planned(HOOKS.build(config), total), ScheduleHook('teacher.momentum', 0.996, 1.0)
    for step in range(0, total + 1, total // 50):
        assert hook.value(step, total) == plain.value(step, total)
    assert f'as published: after the {total} updates of this training less than 0.001 % of the random' in caplog.text


@pytest.mark.parametrize(
    ('iterations', 'every', 'options'),
    [
        (2297, 1, {}),
        (800, 1, {}),
        (800, 1, dict(start_left=0.1)),
        (801, 4, {}),  # the last update has a single batch
        (700, 1, dict(start=0.999, end=0.9999)),
        (300, 1, dict(schedule='linear')),
        (5, 1, {}),
        (1, 1, {}),
    ],
)
def test_a_short_training_keeps_exactly_the_share_that_is_asked_for(iterations, every, options, caplog):
    caplog.set_level(logging.INFO)
    plain = TeacherMomentumHook(**options)  # which does not know the length
    left = options.get('start_left', 0.01)
    assert math.prod(momenta(plain, iterations, every)) > left
    hook = planned(TeacherMomentumHook(**options), iterations, every)
    values = momenta(hook, iterations, every)
    assert math.prod(values) == pytest.approx(left, rel=1e-9)
    assert 0 <= hook.start < plain.start
    assert hook.end == plain.end
    assert values == sorted(values)
    assert 'instead of' in caplog.text


@pytest.mark.parametrize('options', [{}, dict(start=0.9, end=0.99), dict(start_left=0.05, schedule='linear')])
def test_a_momentum_that_leaves_less_is_kept(options, caplog):
    caplog.set_level(logging.INFO)
    hook = planned(TeacherMomentumHook(**options), 2303)
    assert math.prod(momenta(hook, 2303)) <= options.get('start_left', 0.01)
    assert hook.start == options.get('start', 0.996)
    assert f'as {"configured" if "start" in options else "published"}: after' in caplog.text


def test_the_reason_is_said_with_its_numbers(caplog):
    caplog.set_level(logging.INFO)
    hook = planned(TeacherMomentumHook(), 800)
    half = math.log(0.5) / math.log(hook.start)
    assert caplog.messages == [
        f'Teacher momentum {hook.start:.4g} rising to 1 instead of 0.996 rising to 1, which would leave 20.1 % of the '
        'random start in the teacher after the 800 updates of this training; now 1 % is left. At the start half of it '
        f'is renewed in {half:.4g} updates, {100 * half / 800:.3g} % of the training, instead of 172.9, 21.6 %.'
    ]
    assert hook.start == pytest.approx(0.98855, abs=1e-5)
    planned(hook, 4000)  # another training of the same hook
    assert hook.start == 0.996
    assert caplog.messages[1] == (
        'Teacher momentum 0.996 rising to 1, as published: after the 4000 updates of this training 0.0331 % of the '
        'random start is left in the teacher (limit 1 %). At the start half of it is renewed in 172.9 updates, 4.32 % '
        'of the training.'
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(start_left=0.0), r'start_left=0\.0, expected a number above 0 and below 1'),
        (dict(start_left=1.0), r'start_left=1\.0, expected a number above 0 and below 1'),
        (dict(start=1.2), r'start=1\.2, expected a number of at least 0 and at most 1'),
        (dict(start=0.9, end=0.8), r'start=0\.9, expected at most end=0\.8; the papers use 0\.996 and 1'),
        (dict(schedule='step'), r"schedule of TeacherMomentumHook='step' is not one of cosine, linear"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        TeacherMomentumHook(**options)


def test_a_training_that_is_too_short_for_any_momentum():
    with pytest.raises(ValueError, match=r'of 3 updates of the teacher is too short: .* of 0 .* leaves 9\.\d+ %'):
        planned(TeacherMomentumHook(), 8, every=3)


@pytest.mark.parametrize(('every', 'left'), [(1, 0.01), (3, 0.2)])
def test_that_much_of_the_start_is_left_in_a_real_teacher(every, left, make_config):
    """A student that never moves, and a teacher that starts elsewhere."""
    cfg = without(make_config(), 'PictureHook', 'CollapseMonitorHook')
    cfg.optim_wrapper.update(accumulative_counts=every)
    cfg.optim_wrapper.optimizer.lr = 0.0
    option(cfg, 'TeacherMomentumHook', start_left=left)

    def move(runner, batch):
        if runner.iter == 0:
            runner.model.teacher.module['backbone'].conv1.weight.data += 1

    runner = train(cfg, before_train_iter=move)
    model = runner.model
    found = model.teacher.module['backbone'].conv1.weight - model.backbone.conv1.weight
    torch.testing.assert_close(found, torch.full_like(found, left), rtol=1e-4, atol=1e-6)
    assert log_of(cfg.work_dir).count('Teacher momentum') == 1
