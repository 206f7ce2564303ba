"""tools/train.py --init: a training that starts from weights that exist, is interrupted, and goes on without them."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmrs_ssl.transfer.own_checkpoints import read_setting
from tests.conftest import TestProbe, build_cmid, log_of
from tests.engine.test_checkpoint_files import flipped
from tests.forked import differences, load
from tests.test_mmpretrain_configs import small
from tests.tools.test_train import PROBED, error_of
from tests.transfer.backbones import mine, same, save, under, weights_of

BYOL = 'mmpretrain/byol_resnet50_1xb64-coslr-200e_folder-224px.py'


@pytest.fixture
def pretrained(tmp_path):
    """A backbone, and the file of it."""
    source = mine('resnet', seed=7)
    return source, save(under('backbone.', source.state_dict()), tmp_path / 'pretrained.pth')


def looking(found, parts):
    """Remember the weights of these parts of the model as the first step finds them."""

    def look(runner, batch):
        if not found:
            found.extend([runner.iter, *(weights_of(part) for part in parts(runner.model))])

    TestProbe.calls = dict(before_train_iter=look)


def student_and_teacher(model):
    return model.backbone, model.teacher.module['backbone']


def recorded(checkpoint):
    """What a checkpoint says that its training started from."""
    hooks = read_setting(load(checkpoint)['meta']['cfg'], 'custom_hooks')
    return [hook for hook in hooks if hook['type'] == 'mmrs_ssl.PretrainedBackboneHook']


def test_the_same_command_line_starts_and_goes_on(make_config, run_tool, pretrained, tmp_path):
    """As a job on a cluster gives it, again and again; the file need not be there any more.

    Without the option it is the same: see tests/cli/test_starting.py.
    """
    source, path = pretrained
    whole = tmp_path / 'whole'
    command = ['--init', path, '--resume']
    looking(found := [], student_and_teacher)
    code, output = run_tool('train.py', make_config(PROBED).filename, *command, '--work-dir', whole)
    assert code == 0, output
    assert found[0] == 0
    assert same(found[1], weights_of(source))
    assert same(found[2], weights_of(source))
    assert output.count('matched    120') == 1
    assert re.search(r'teacher +as the student +copied', output)
    record = dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint=str(path), branch=None, normalization='keep')
    assert recorded(whole / 'epoch_1.pth') == [record]
    assert Config.fromfile(next(whole.glob('*.py'))).custom_hooks[-1] == record

    path.unlink()
    work = tmp_path / 'again'
    work.mkdir()
    (work / 'epoch_1.pth').hardlink_to(whole / 'epoch_1.pth')
    looking(found := [], student_and_teacher)
    code, output = run_tool('train.py', make_config(PROBED).filename, *command, '--work-dir', work)
    assert code == 0, output
    assert found[0] == 4
    assert f'--init {path}: not loaded, the run goes on from {work / "epoch_1.pth"}\n' in output
    assert 'was made with other settings' not in output
    assert 'nothing to load' in log_of(work)
    assert recorded(work / 'epoch_2.pth') == [record]
    assert differences(load(whole / 'epoch_2.pth'), load(work / 'epoch_2.pth')) == []


def test_a_method_of_mmpretrain(run_tool, pretrained, image_folder, tmp_path):
    """The momentum encoder, which it would fill in its first step alone."""
    cfg = small(BYOL, image_folder, tmp_path / 'work')
    cfg.custom_hooks = [each for each in cfg.custom_hooks if 'Picture' not in each.type] + [dict(type='TestProbe')]
    cfg.dump(tmp_path / 'byol.py')
    looking(
        found := [], lambda model: (model.backbone, model.target_net.module[0], model.neck, model.target_net.module[1])
    )
    code, output = run_tool('train.py', tmp_path / 'byol.py', '--init', pretrained[1])
    assert code == 0, output
    assert same(found[1], weights_of(pretrained[0]))
    assert same(found[2], found[1])
    assert same(found[4], found[3])


def broken(tmp_path, kind):
    """What somebody gives in the place of a backbone that fits."""
    path = tmp_path / f'{kind}.pth'
    weights = under('backbone.', mine('vit' if kind == 'other' else 'resnet', seed=7).state_dict())
    if kind == 'nan':
        weights['backbone.layer2.0.conv1.weight'][0, 0, 0, 0] = float('nan')
    if kind == 'folder':
        path.mkdir()
        save(weights, path / 'epoch_3.pth')
    elif kind != 'absent':
        save(weights, path)
    if kind == 'damaged':
        flipped(path)
    return path


@pytest.mark.parametrize(
    ('kind', 'match'),
    [
        ('absent', r'--init \S+absent\.pth: no such file; .*addresses are not fetched'),
        ('folder', r'--init \S+folder\.pth is a folder, expected a file; in it: epoch_3\.pth'),
        ('damaged', r'\S+damaged\.pth is damaged'),
        ('other', r'(?s).*weights of the model are not in the file.*Give the checkpoint of the same architecture'),
        ('nan', r'(?s).*layer2\.0\.conv1\.weight \(1 of \d+ values are NaN or inf'),
        ('both', r'--init \S+ and load_from=x\.pth both give weights: remove one'),
        ('hook', r'--init \S+ and the PretrainedBackboneHook of the config \(y\.pth\) both give weights'),
    ],
)
def test_what_cannot_be_started_from_leaves_the_work_dir_as_it_was(make_config, run_tool, tmp_path, kind, match):
    """Also with --overwrite, which would remove what an earlier training left."""
    path = broken(tmp_path, kind)
    hook = "custom_hooks = [dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint='y.pth')]\n"
    cfg = make_config({'both': "load_from = 'x.pth'\n", 'hook': hook}.get(kind, ''))
    work = Path(cfg.work_dir)
    work.mkdir()
    earlier = save(
        build_cmid().state_dict(), work / 'epoch_1.pth', optimizer={}, message_hub={}, meta=dict(iter=4, epoch=1)
    )
    code, output = run_tool('train.py', cfg.filename, '--init', path, '--overwrite')
    assert code == 1
    assert re.match(match, error_of(output))
    assert [each.name for each in work.iterdir() if not each.name.startswith('.')] == [earlier.name]
