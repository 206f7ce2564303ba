"""Whose backbone a method's authors evaluate: the class says it, the checkpoint keeps it, all readers follow."""

import sys

import pytest
import torch

from mmrs_ssl.registry import MODELS
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.convert import convert_checkpoint
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.inspect import inspect_checkpoint
from mmrs_ssl.transfer.own_checkpoints import evaluated_branch, evaluated_by
from tests.conftest import cmid_config, dino_config, mssdf_config, train
from tests.fourth import fourth_run
from tests.transfer.backbones import mine, same, weights_of
from tests.transfer.checkpoints import published_cmid, published_dino, training


def exported(path, out, **options):
    """The weights in the exported file."""
    export_backbone(path, out, **options)
    content = torch.load(out, weights_only=True)
    return {key.removeprefix('backbone.'): value for key, value in content['state_dict'].items()}


def rewritten(path, **meta):
    """A checkpoint whose meta data has other values; None takes one away."""
    content = torch.load(path, weights_only=True)
    content['meta'] = {key: value for key, value in (content['meta'] | meta).items() if value is not None}
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ('config', 'branch'), [(cmid_config(), 'student'), (dino_config(), 'teacher'), (mssdf_config(), 'student')]
)
def test_a_run_writes_what_the_class_says(config, branch, make_config):
    cfg = make_config(model=config)
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type.endswith('TeacherUpdateHook')]
    cfg.param_scheduler = []
    runner = train(cfg)
    meta = torch.load(f'{cfg.work_dir}/epoch_1.pth', weights_only=True)['meta']
    assert meta['evaluated'] == branch == type(runner.model).evaluated


def test_a_fourth_method_needs_no_list(make_config, run_tool, tmp_path, monkeypatch):
    cfg = fourth_run(make_config)
    cfg.optim_wrapper.optimizer.lr = 0.05  # so that the branches differ
    model = train(cfg).model
    path, out = f'{cfg.work_dir}/epoch_2.pth', tmp_path / 'out.pth'
    branches = dict(student=weights_of(model.backbone), teacher=weights_of(model.teacher.module['backbone']))
    assert not same(branches['student'], branches['teacher'])

    def agree(wanted, **options):
        assert same(exported(path, out, **options), branches[wanted])
        assert same(exported(path, tmp_path / 'named.pth', branch='student'), branches['student'])
        backbone = mine('resnet')
        load_backbone(backbone, path, **options)
        assert same(weights_of(backbone), branches[wanted])

    agree('teacher')
    assert inspect_checkpoint(path).branch == 'teacher'
    # where its class is not at hand the file says it alone
    monkeypatch.delitem(MODELS.module_dict, 'Fourth')
    agree('teacher')
    rewritten(path, evaluated='student')
    agree('student')
    rewritten(path, evaluated=None)
    for read in (lambda: export_backbone(path, out), lambda: load_backbone(mine('resnet'), path)):
        with pytest.raises(ValueError, match=r'holds a student and a teacher and does not say .*--branch student or'):
            read()
    code, printed = run_tool('export_backbone.py', path, out)
    assert (code, '--branch teacher' in printed.rstrip().splitlines()[-1]) == (1, True)
    agree('teacher', branch='teacher')
    assert run_tool('export_backbone.py', path, out, '--branch', 'teacher')[0] == 0
    code, printed = run_tool('inspect_checkpoint.py', path)
    assert code == 0
    assert 'evaluated not said' in printed
    assert "branch='student'" in printed


@pytest.mark.parametrize(('method', 'branch'), [('CMID', 'student'), ('DINOMC', 'teacher'), ('MSSDF', 'student')])
def test_older_files_are_recognised(method, branch, tmp_path):
    family = 'vit' if method == 'MSSDF' else 'resnet'
    path, *networks = training(tmp_path / 'run.pth', family, method)
    assert 'evaluated' not in torch.load(path, weights_only=True)['meta']
    wanted = weights_of(dict(zip(('student', 'teacher'), networks, strict=True))[branch])
    backbone = mine(family, seed=5)
    load_backbone(backbone, path)
    assert same(weights_of(backbone), wanted)


def test_the_file_outweighs_the_class(tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', 'resnet', 'DINOMC')
    assert same(exported(rewritten(path, evaluated='student'), tmp_path / 'out.pth'), weights_of(student))


def test_published_files(tmp_path):
    for make, method in ((published_cmid, 'CMID'), (published_dino, 'DINOMC')):
        make(tmp_path / 'file.pth', 'resnet')
        branch = MODELS.get(f'mmrs_ssl.{method}').evaluated
        assert inspect_checkpoint(tmp_path / 'file.pth').branch == branch
        convert_checkpoint(tmp_path / 'file.pth', tmp_path / 'mine.pth', 'mmrs')
        assert torch.load(tmp_path / 'mine.pth', weights_only=True)['meta']['evaluated'] == branch


@pytest.mark.parametrize('said', ['both', ['teacher'], 1])
def test_what_is_no_branch_is_refused(said, tmp_path):
    path, *_ = training(tmp_path / 'run.pth')
    rewritten(path, evaluated=said)
    with pytest.raises(ValueError, match=r'has meta\.evaluated=.* expected student or teacher'):
        load_backbone(mine('resnet'), path)


@pytest.mark.parametrize('name', ['antigravity.CMID', 'antigravity', 'mmrs_sslx.CMID', 'mmrs_ssl.BandPreprocessor', ''])
def test_names_of_a_file_are_looked_up_and_not_imported(name):
    assert evaluated_by(name) is None
    assert evaluated_branch(dict(method=name)) is None
    assert 'antigravity' not in sys.modules


def test_names_in_full():
    assert evaluated_by('mmrs_ssl.models.algorithms.dino_mc.DINOMC') == evaluated_by('DINOMC') == 'teacher'
