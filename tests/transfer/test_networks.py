"""Which network of a file is taken where its entries, its wrappers or a missing half make that less than plain."""

import pytest
import torch
from mmengine.logging import MMLogger

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.inspect import inspect_checkpoint
from mmrs_ssl.transfer.networks import is_dino_network, wrapper_of
from tests.conftest import build_cmid
from tests.transfer.backbones import mine, same, save, under, weights_of
from tests.transfer.foreign import dino_head


def taken(path, **options):
    """Which of the networks that are made here a file gives, by its seed, and what is said of it."""
    backbone = mine('resnet', seed=9)
    source = load_backbone(backbone, path, **options).source
    return next(seed for seed in range(4) if same(weights_of(backbone), weights_of(mine('resnet', seed)))), source


@pytest.mark.parametrize(
    ('plain', 'average'),
    [
        (('model',), ('ema', 'ema_model')),
        (('model',), ('shadow',)),
        (('state_dict', 'model'), ('state_dict', 'model_ema')),
        (('encoder', 'model_state_dict'), ('encoder_ema', 'model_state_dict')),
    ],
)
def test_averages_within_entries(plain, average, tmp_path):
    content = dict(epoch=3, optimizer=dict(module=mine('resnet', 3).state_dict()))
    for seed, (name, *inner) in enumerate((plain, average)):
        weights = mine('resnet', seed).state_dict()
        content.setdefault(name, {}).update({inner[0]: weights, 'updates': 3} if inner else weights)
    torch.save(content, tmp_path / 'two.pth')
    for branch, seed in ((None, 1), ('student', 0)):
        found, source = taken(tmp_path / 'two.pth', branch=branch)
        assert found == seed
        assert 'not the backbone in the entry ' in source
    assert inspect_checkpoint(tmp_path / 'two.pth').branches == ['student', 'teacher']


@pytest.mark.parametrize('entries', [('encoder', 'model_state_dict'), ('state_dict', 'net'), ('checkpoint', 'weights')])
def test_weights_within_an_entry(entries, tmp_path):
    outer, inner = entries
    torch.save({outer: {inner: mine('resnet').state_dict(), 'step': 1}}, tmp_path / 'one.pth')
    assert taken(tmp_path / 'one.pth')[0] == 0
    assert inspect_checkpoint(tmp_path / 'one.pth').entry == outer


def test_several_within_an_entry(tmp_path):
    parts = {name: mine('resnet', seed).state_dict() for seed, name in enumerate(('first', 'second'))}
    torch.save(dict(state_dict=parts), tmp_path / 'two.pth')
    with pytest.raises(ValueError, match=r"several backbones, in 'state_dict\.first', 'state_dict\.second': save one"):
        taken(tmp_path / 'two.pth')


def test_a_wrapped_cmid(tmp_path):
    """The published program's, and this project's."""
    wrapper = 'module._orig_mod.'
    parts = under('online_encoder.model.', mine('resnet', 0).state_dict())
    parts |= under('branch_encoder.', mine('resnet', 1).state_dict()) | {'queue': torch.zeros(2)}
    torch.save(dict(model=under(wrapper, parts)), tmp_path / 'cmid.pth')
    model = build_cmid()
    model.backbone.load_state_dict(mine('resnet', 0).state_dict())
    model.teacher.module['backbone'].load_state_dict(mine('resnet', 1).state_dict())
    own = under(wrapper, model.state_dict())
    save(own, tmp_path / 'own.pth', meta=dict(evaluated='student'))
    for name, teachers in (('cmid.pth', 'branch_encoder.'), ('own.pth', 'teacher.module.')):
        for branch, seed in ((None, 0), ('teacher', 1)):
            found, source = taken(tmp_path / name, branch=branch)
            assert found == seed
            assert (f'not the backbone in {wrapper + teachers!r}' in source) == (seed == 0)
            assert 'not the backbone in ' in source


def test_wrappers():
    assert wrapper_of(['module._orig_mod.a', 'module._orig_mod.b']) == 'module._orig_mod.'
    assert wrapper_of(['module.a', 'b']) == wrapper_of(['modules.a']) == wrapper_of([]) == ''
    for wrapper in ('', 'module.', '_orig_mod.'):
        assert is_dino_network(under(wrapper, under('backbone.', dict(a=1)) | dino_head()))
    assert not is_dino_network(dino_head())


@pytest.mark.parametrize('half', ['student', 'teacher'])
@pytest.mark.parametrize('other', [{}, None])
def test_half_of_a_dino_file(half, other, tmp_path):
    """The other is missing, or nothing."""
    MMLogger.get_instance(f'test_{tmp_path.name}', log_file=str(tmp_path / 'log.txt'))
    missing = dict(student='teacher', teacher='student')[half]
    content = {half: under('module.backbone.', mine('resnet', 2).state_dict()), 'epoch': 1}
    torch.save(content if other == {} else {**content, missing: None}, tmp_path / 'half.pth')
    found, source = taken(tmp_path / 'half.pth')
    assert (found, f'({half}, ' in source) == (2, True)
    said = 'holds no teacher, which its authors evaluate: the student is taken'
    assert (said in (tmp_path / 'log.txt').read_text()) == (half == 'student')
    assert inspect_checkpoint(tmp_path / 'half.pth').branches == [half]
    with pytest.raises(ValueError, match=r'half\.pth .*(holds no weights but|alone, no student)'):
        taken(tmp_path / 'half.pth', branch=missing)
