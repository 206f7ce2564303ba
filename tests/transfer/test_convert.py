"""Published programs' files to this project's and back, bit for bit; and what no tool may run."""

import pytest
import torch

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.convert import PROGRAMS, convert_checkpoint
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.own_checkpoints import BRANCHES
from tests.conftest import build_mssdf, cmid_config, mssdf_config
from tests.transfer.backbones import counterpart, mine, same, save, torchvisions, under, weights_of
from tests.transfer.checkpoints import published_cmid, published_dino, published_mssdf, training
from tests.transfer.test_safe_types import ATTACKS, attack


def read(path):
    """What a file holds."""
    return torch.load(path, weights_only=True)


def branches_in(path):
    """The weights of each branch of this project's file."""
    weights = read(path)['state_dict']
    parts = {
        branch: {key.removeprefix(head): value for key, value in weights.items() if key.startswith(head)}
        for branch, head in BRANCHES.items()
    }
    assert sum(map(len, parts.values())) == len(weights)
    return parts


def test_cmid_there_and_back(run_tool, tmp_path):
    for family in ('resnet', 'swin'):
        original = published_cmid(tmp_path / 'cmid.pth', family)
        code, printed = run_tool('convert_checkpoint.py', tmp_path / 'cmid.pth', tmp_path / 'mine.pth', '--to', 'mmrs')
        assert code == 0, printed
        assert 'of CMID, student' in printed
        heads = 'student: online_encoder.* 1, student: branch_projector.* 2, student: queue 1'
        assert f'left out, no part of a backbone: {heads}, epoch 1, optimizer 1' in printed
        parts = branches_in(tmp_path / 'mine.pth')
        assert same(parts['student'], dict(mine(family).state_dict()))
        assert same(parts['teacher'], dict(mine(family, seed=1).state_dict()))
        meta = read(tmp_path / 'mine.pth')['meta']
        assert (meta['method'], meta['bands'], meta['epoch']) == ('mmrs_ssl.CMID', 3, 199)
        backbone = mine(family, seed=4)
        assert not load_backbone(backbone, tmp_path / 'mine.pth').ignored
        assert same(weights_of(backbone), weights_of(mine(family)))  # the student by default
        convert_checkpoint(tmp_path / 'mine.pth', tmp_path / 'back.pth', 'cmid')
        assert read(tmp_path / 'back.pth').keys() == {'model'}
        assert same(read(tmp_path / 'back.pth')['model'], original['model'])


@pytest.mark.parametrize('family', ['resnet', 'swin', 'vit'])
def test_dino_there_and_back(family, run_tool, tmp_path):
    original = published_dino(tmp_path / 'dino.pth', family)
    code, printed = run_tool('convert_checkpoint.py', tmp_path / 'dino.pth', tmp_path / 'mine.pth', '--to', 'mmrs')
    assert code == 0, printed
    wrapper = 'module.' if family == 'resnet' else ''  # of the teacher, which has BatchNorm there
    expected = f'student: module.head.* 2, teacher: {wrapper}head.* 2, optimizer 1, epoch 1, args 1, dino_loss 1'
    assert f'left out, no part of a backbone: {expected}' in printed
    fresh = mine if family == 'vit' else counterpart
    teacher, student = fresh(family, seed=4), fresh(family, seed=4)
    assert not load_backbone(teacher, tmp_path / 'mine.pth').ignored  # the teacher by default
    load_backbone(student, tmp_path / 'mine.pth', branch='student')
    parts = branches_in(tmp_path / 'mine.pth')
    assert same(parts['teacher'], dict(teacher.state_dict()))
    assert same(parts['student'], dict(student.state_dict()))
    assert not same(parts['student'], parts['teacher'])
    for to in ('dino-mc', 'dino-tp'):
        convert_checkpoint(tmp_path / 'mine.pth', tmp_path / 'back.pth', to)
        back = read(tmp_path / 'back.pth')
        assert back.keys() == {'student', 'teacher'}
        assert all(same(back[branch], original[branch]) for branch in back)
    if family != 'vit':
        network = torchvisions(family, seed=6)
        weights = {key.removeprefix(f'{wrapper}backbone.'): value for key, value in back['teacher'].items()}
        missing, unexpected = network.load_state_dict(weights, strict=False)
        assert {key.split('.')[0] for key in missing} <= {'fc', 'head'}
        assert unexpected == []


def test_mssdf_there_and_back(run_tool, tmp_path):
    original = published_mssdf(tmp_path / 'mssdf.pth')
    code, printed = run_tool('convert_checkpoint.py', tmp_path / 'mssdf.pth', tmp_path / 'mine.pth', '--to', 'mmrs')
    assert code == 0, printed
    assert 'of MSSDF, by its names alone, student' in printed
    assert 'left out, no part of a backbone: student: mask_token 1' in printed
    assert same(branches_in(tmp_path / 'mine.pth')['student'], original)
    convert_checkpoint(tmp_path / 'mine.pth', tmp_path / 'back.pth', 'mssdf')
    assert same(read(tmp_path / 'back.pth'), original)
    mine('vit').load_state_dict(read(tmp_path / 'back.pth'), strict=True)


@pytest.mark.parametrize(
    ('family', 'to'),
    [('resnet', 'cmid'), ('swin', 'cmid'), ('resnet', 'dino-mc'), ('swin', 'dino-tp'), ('vit', 'dino-mc')],
)
def test_a_training_checkpoint_there_and_back(family, to, run_tool, tmp_path):
    method = dict(cmid='CMID').get(to, 'DINOMC')
    path, student, teacher = training(tmp_path / 'run.pth', family, method=method)
    code, printed = run_tool('convert_checkpoint.py', path, tmp_path / 'reference.pth', '--to', to)
    assert code == 0, printed
    assert 'left out, no part of a backbone: student: neck.* 2, student: queue 1, optimizer 1' in printed
    convert_checkpoint(tmp_path / 'reference.pth', tmp_path / 'again.pth', 'mmrs')
    parts = branches_in(tmp_path / 'again.pth')
    assert same(parts['student'], dict(student.state_dict()))
    assert same(parts['teacher'], dict(teacher.state_dict()))


def test_mssdfs_first_modality(run_tool, tmp_path):
    """The published layout has one branch and one patch embedding; the rest is said to be left out."""
    options = dict(share_patch_embed=False)
    model = build_mssdf(**options)
    meta = dict(cfg=f'model = {mssdf_config(**options)!r}')
    path = save(model.state_dict(), tmp_path / 'run.pth', meta=meta)
    code, printed = run_tool('convert_checkpoint.py', path, tmp_path / 'mssdf.pth', '--to', 'mssdf')
    assert code == 0, printed
    assert same(read(tmp_path / 'mssdf.pth'), dict(model.backbone.state_dict()))
    for name in (
        'student: patch_embeds.* 2',
        'student: decoder.* 54',
        f'teacher: backbone.* {len(weights_of(model.backbone))}',
    ):
        assert name in printed


@pytest.mark.parametrize(
    ('name', 'file_format'), [('teacher.pth', 'openmmlab'), ('teacher.safetensors', 'safetensors')]
)
def test_one_branch_alone(name, file_format, tmp_path):
    path, _, teacher = training(tmp_path / 'run.pth', method='DINOMC')
    export_backbone(path, tmp_path / name, file_format=file_format)
    convert_checkpoint(tmp_path / name, tmp_path / 'dino.pth', 'dino-mc')
    assert read(tmp_path / 'dino.pth').keys() == {'teacher'}
    assert same(read(tmp_path / 'dino.pth')['teacher'], under('module.backbone.', dict(teacher.state_dict())))
    path, _, _ = training(tmp_path / 'run.pth', 'vit')
    export_backbone(path, tmp_path / 'teacher.pth', branch='teacher')
    with pytest.raises(ValueError, match='holds the teacher alone, files of MSSDF have the student: give a file'):
        convert_checkpoint(tmp_path / 'teacher.pth', tmp_path / 'mssdf.pth', 'mssdf')
    assert not (tmp_path / 'mssdf.pth').exists()


def test_what_is_not_converted(tmp_path):
    out = tmp_path / 'out.pth'
    run, _, _ = training(tmp_path / 'run.pth', 'convnext')
    deep, _, _ = training(tmp_path / 'deep.pth', deep_stem=True)
    published_cmid(tmp_path / 'cmid.pth', 'resnet')
    torch.save(torchvisions('convnext').state_dict(), tmp_path / 'other.pth')
    torch.save(torchvisions('resnet').state_dict(), tmp_path / 'imagenet.pth')  # CMID's names, but with a classifier
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    torch.save(dict(student=None, epoch=3), tmp_path / 'dino.pth')
    crafted = save(
        {'backbone.conv1.weight': torch.ones(1)}, tmp_path / 'crafted.pth', meta=dict(cfg='model = print(1)')
    )
    for path, to, message in (
        (run, 'cmid', 'the student is ConvNeXt of mmpretrain; CMID has ResNet, Swin of OpenMMLab'),
        (deep, 'dino-mc', 'is ResNet of mmpretrain, deep stem; DINO-MC or DINO-TP has ResNet, Swin of torchvision'),
        (run, 'mmrs', 'is a file of this project already'),
        (tmp_path / 'cmid.pth', 'dino-mc', 'is of another program already'),
        (tmp_path / 'other.pth', 'mmrs', rf'not of a program that is known here \({", ".join(PROGRAMS)}\)'),
        (run, 'moco', 'expected one of mmrs, cmid'),
        (tmp_path / 'imagenet.pth', 'mmrs', 'not of a program that is known here'),
        (tmp_path / 'list.pth', 'mmrs', 'holds no weights but list'),
        (tmp_path / 'dino.pth', 'mmrs', r'dino\.pth holds no weights of a student or teacher'),
        (crafted, 'cmid', 'is not plain data and is not read'),
    ):
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(path, out, to)
    with pytest.raises(ValueError, match=r'give it the ending \.pth'):
        convert_checkpoint(run, tmp_path / 'out.safetensors', 'cmid')
    before = (tmp_path / 'cmid.pth').read_bytes()
    with pytest.raises(ValueError, match=r'cmid\.pth is the checkpoint itself, give the new file another name'):
        convert_checkpoint(tmp_path / 'cmid.pth', tmp_path / 'cmid.pth', 'mmrs')
    assert (tmp_path / 'cmid.pth').read_bytes() == before
    assert not out.exists()


def test_a_converted_file_has_no_config_to_export(run_tool, tmp_path):
    published_cmid(tmp_path / 'cmid.pth', 'resnet')
    convert_checkpoint(tmp_path / 'cmid.pth', tmp_path / 'mine.pth', 'mmrs')
    code, printed = run_tool('export_backbone.py', tmp_path / 'mine.pth', tmp_path / 'out.pth')
    assert code != 0
    assert 'holds no config (meta.cfg) of a model' in printed.rstrip().splitlines()[-1]


# No tool runs anything in a file


@pytest.fixture
def test_config(image_folder, tmp_path):
    """Of a classifier, for tools/test.py."""
    path = tmp_path / 'classifier.py'
    path.write_text(f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=64),
)
test_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root={str(image_folder)!r},
        pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')],
    ),
)
test_cfg = dict()
test_evaluator = dict(type='Accuracy')
""")
    return path


TOOLS = ('export_backbone.py', 'convert_checkpoint.py', 'inspect_checkpoint.py', 'train.py', 'test.py')


def arguments(tool, checkpoint, tmp_path, config):
    """The command line that gives a checkpoint to a tool."""
    return {
        'export_backbone.py': (checkpoint, tmp_path / 'out.pth'),
        'convert_checkpoint.py': (checkpoint, tmp_path / 'out.pth', '--to', 'mmrs'),
        'inspect_checkpoint.py': (checkpoint,),
        'train.py': (config, '--resume', checkpoint),
        'test.py': (config, checkpoint, '--work-dir', tmp_path / 'work'),
    }[tool]


@pytest.mark.parametrize('name', ATTACKS)
@pytest.mark.parametrize('tool', TOOLS)
def test_crafted_files_run_nothing_in_any_tool(tool, name, make_config, test_config, run_tool, tmp_path):
    marker, crafted = tmp_path / 'marker', tmp_path / 'crafted.pth'
    torch.save(dict(state_dict=mine('resnet').state_dict(), meta=attack(name, f'touch {marker}')), crafted)
    config = make_config(model=cmid_config()).filename if tool == 'train.py' else test_config
    code, printed = run_tool(tool, *arguments(tool, crafted, tmp_path, config))
    assert code != 0
    assert not marker.exists()
    assert not (tmp_path / 'out.pth').exists()
    error = printed.rsplit('\nerror: ', 1)[1].strip()
    assert '\n' not in error
    assert any(word in error for word in ('posix.system', 'eval', 'getattr', '__import__'))
    assert any(word in error for word in ('is refused', 'is not loaded'))
    assert 'weights_only' not in error


def test_the_classifiers_config_works(test_config, run_tool, tmp_path):
    """Else the test above would show nothing of tools/test.py."""
    path = save(under('backbone.', mine('resnet').state_dict()), tmp_path / 'fine.pth')
    options = ['--work-dir', tmp_path / 'work', '--allow-missing', 'head.*']
    code, printed = run_tool('test.py', test_config, path, *options)
    assert code == 0, printed


def test_networks_in_an_entry_of_an_entry_are_converted_and_the_rest_of_it_is_said(tmp_path):
    """A network and its average, as student and teacher."""
    trained, averaged = mine('resnet').state_dict(), mine('resnet', seed=1).state_dict()
    content = dict(checkpoint=dict(model=trained, ema_model=averaged, steps=7), epoch=3)
    torch.save(content, tmp_path / 'a.pth')
    conversion = convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', 'mmrs')
    assert conversion.left_out == ['epoch', 'checkpoint.steps']
    written = torch.load(tmp_path / 'b.pth', weights_only=True)['state_dict']
    torch.testing.assert_close(written['backbone.conv1.weight'], trained['conv1.weight'])
    torch.testing.assert_close(written['teacher.module.backbone.conv1.weight'], averaged['conv1.weight'])
