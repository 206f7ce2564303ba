"""What is said of each kind of file."""

import pytest
import torch
from safetensors.torch import save_file

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.convert import convert_checkpoint
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.inspect import count_by_prefix, inspect_checkpoint
from tests.conftest import build_mssdf, mssdf_config
from tests.transfer.backbones import mine, same, save, torchvisions, under, weights_of
from tests.transfer.checkpoints import published_cmid, published_dino, published_mssdf, training


def parameters_of(module):
    """Counted by torch."""
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize('family', ['resnet', 'swin', 'vit', 'convnext'])
def test_a_training_checkpoint(family, run_tool, tmp_path):
    path, student, _ = training(tmp_path / 'run.pth', family, bands=4)
    code, printed = run_tool('inspect_checkpoint.py', path)
    assert code == 0, printed
    for line in (
        'format    torch, zip archive',
        'program   mmrs_ssl, training (mmrs_ssl.CMID)',
        'branches  student, teacher (here: the student)',
        "prefix    'backbone.'",
        f'backbone  {len(student.state_dict())} tensors, {parameters_of(student)} parameters',
        'bands     4',
        'method    mmrs_ssl.CMID',
        'epoch     7',
        'iter      70',
        'mean      [100.0, 101.0, 102.0, 103.0]',
        'std       [50.0, 51.0, 52.0, 53.0]',
        'others    neck.* 2, queue 1',
    ):
        assert f'  {line}' in printed, line
    assert f'(family {family})' in printed


@pytest.mark.parametrize('branch', ['student', 'teacher'])
def test_the_printed_line_loads_the_branch(branch, run_tool, tmp_path):
    path, *branches = training(tmp_path / 'run.pth', method='DINOMC')
    options = [] if branch == 'teacher' else ['--branch', branch]
    code, printed = run_tool('inspect_checkpoint.py', path, *options)
    assert code == 0, printed
    line = printed.split('to use it: mmrs_ssl.transfer.')[1].splitlines()[0]
    target = mine('resnet', seed=4)
    model = type('Model', (), dict(backbone=target))
    eval(line, dict(load_backbone=load_backbone, model=model))
    assert same(weights_of(target), weights_of(branches[branch == 'teacher']))
    settings = {}
    exec(printed.split('in a config: ')[1], {'dict': dict}, settings)
    assert settings['custom_hooks'] == [
        dict(type='mmrs_ssl.PretrainedBackboneHook', checkpoint=str(path), branch=branch)
    ]


def test_published_files(tmp_path):
    published_cmid(tmp_path / 'cmid.pth', 'swin')
    found = inspect_checkpoint(tmp_path / 'cmid.pth', 'teacher')
    assert (found.program, found.prefix, found.branch) == ('CMID', '', 'teacher')
    assert (found.branches, found.bands, found.meta) == (['student', 'teacher'], 3, dict(epoch=199))
    assert count_by_prefix(inspect_checkpoint(tmp_path / 'cmid.pth').others) == (
        'online_encoder.* 1, branch_projector.* 2, queue 1'
    )
    published_dino(tmp_path / 'dino.pth', 'vit')
    found = inspect_checkpoint(tmp_path / 'dino.pth')
    assert (found.program, found.prefix, found.branch) == ('DINO-MC or DINO-TP', 'backbone.', 'teacher')
    assert found.layout == 'ViT of timm and DINO (family vit)'
    assert found.parameters == parameters_of(mine('vit'))
    assert count_by_prefix(found.others) == 'head.* 2'
    published_mssdf(tmp_path / 'mssdf.pth')
    found = inspect_checkpoint(tmp_path / 'mssdf.pth')
    assert (found.program, found.branches, found.others) == ('MSSDF, by its names alone', ['student'], ['mask_token'])
    convert_checkpoint(tmp_path / 'dino.pth', tmp_path / 'mine.pth', 'mmrs')
    found = inspect_checkpoint(tmp_path / 'mine.pth')
    assert found.program == 'mmrs_ssl, converted from DINO-MC or DINO-TP (mmrs_ssl.DINOMC)'
    assert (found.branch, found.meta) == (
        'teacher',
        dict(method='mmrs_ssl.DINOMC', evaluated='teacher', epoch=300),
    )


@pytest.mark.parametrize('file_format', ['openmmlab', 'safetensors'])
def test_exported_files(file_format, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', 'swin', bands=4)
    out = tmp_path / ('out.safetensors' if file_format == 'safetensors' else 'out.pth')
    export_backbone(path, out, branch='teacher', file_format=file_format)
    found = inspect_checkpoint(out)
    assert found.file_format == dict(safetensors='safetensors').get(file_format, 'torch, zip archive')
    assert found.program == 'mmrs_ssl, exported (mmrs_ssl.CMID)'
    assert (found.branches, found.branch, found.bands, found.others) == (['teacher'], 'teacher', 4, [])
    assert (found.meta['mean'], found.meta['std']) == ([100.0, 101.0, 102.0, 103.0], [50.0, 51.0, 52.0, 53.0])


@pytest.mark.parametrize(('text', 'message'), [('model = 3', 'has model=3'), ('model = dict(a=1)', None)])
def test_a_config_that_names_no_method(text, message, tmp_path):
    """It says nothing of which branch is evaluated."""
    weights = under('backbone.', mine('resnet').state_dict()) | under('teacher.module.backbone.', {'a': torch.ones(1)})
    path = save(weights, tmp_path / 'run.pth', meta=dict(cfg=text))
    if message is None:
        found = inspect_checkpoint(path)
        assert (found.branch, found.meta['evaluated'][:8]) == ('student', 'not said')
        return
    with pytest.raises(ValueError, match=message):
        inspect_checkpoint(path)


def test_modalities(tmp_path):
    model = build_mssdf()
    save(model.state_dict(), tmp_path / 'run.pth', meta=dict(cfg=f'model = {mssdf_config()!r}'))
    found = inspect_checkpoint(tmp_path / 'run.pth')
    assert found.meta == {
        'method': 'mmrs_ssl.MSSDF',
        'mean rgb': [120.0] * 3,
        'std rgb': [60.0] * 3,
        'mean dsm': [5.0],
        'std dsm': [4.0],
    }


def test_files_of_other_libraries(tmp_path):
    network = torchvisions('resnet')
    torch.save(network.state_dict(), tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    found = inspect_checkpoint(tmp_path / 'old.pth')
    assert (found.file_format, found.others) == ('torch, as before 1.6', ['fc.weight', 'fc.bias'])
    assert found.program == 'unknown'  # CMID's files have no classifier
    save_file(weights_of(torchvisions('convnext')), tmp_path / 'timm.safetensors', {'format': 'pt'})
    found = inspect_checkpoint(tmp_path / 'timm.safetensors')
    assert (found.program, found.layout) == ('unknown', 'ConvNeXt of torchvision (family convnext)')
    assert sorted(found.others) == ['classifier.2.bias', 'classifier.2.weight']
    config = "model = dict(type='EncoderDecoder', data_preprocessor=dict(mean=[1.0], std=[2.0]))"
    save({'backbone.w': torch.ones(2)}, tmp_path / 'mmseg.pth', meta=dict(cfg=config, iter=3))
    found = inspect_checkpoint(tmp_path / 'mmseg.pth')
    assert (found.program, found.bands, found.layout) == ('OpenMMLab', None, 'no known library (family unknown)')
    assert found.meta == dict(method='EncoderDecoder', iter=3, mean=[1.0], std=[2.0])


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('absent.pth', 'no checkpoint'),
        ('damaged.pth', 'it is damaged or no checkpoint'),
        ('damaged.safetensors', 'it is damaged or no checkpoint'),
        ('empty.pth', 'holds no weights but epoch'),
        ('plain.pth --branch teacher', 'holds no teacher'),
        ('crafted.pth', 'is not plain data and is not read'),
        ('number.pth', 'has model=3, expected a dict'),
        ('list.pth', 'holds no weights but list; expected a state dict'),
        ('numbers.pth', 'holds no weights but 0; expected a state dict'),
        ('torch.safetensors', 'expected what torch.save wrote, or safetensors where the name ends with .safetensors'),
        ('safetensors.pth', 'expected what torch.save wrote, or safetensors where the name ends with .safetensors'),
    ],
)
def test_what_cannot_be_inspected(name, message, run_tool, tmp_path):
    for damaged in ('damaged.pth', 'damaged.safetensors'):
        (tmp_path / damaged).write_bytes(b'hello, this is no checkpoint')
    torch.save(dict(epoch=3), tmp_path / 'empty.pth')
    save(mine('resnet').state_dict(), tmp_path / 'plain.pth')
    marker = tmp_path / 'marker'
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    torch.save({0: torch.ones(1)}, tmp_path / 'numbers.pth')
    (tmp_path / 'torch.safetensors').write_bytes((tmp_path / 'plain.pth').read_bytes())
    save_file({'weight': torch.ones(1)}, tmp_path / 'a.safetensors')
    (tmp_path / 'a.safetensors').rename(tmp_path / 'safetensors.pth')
    for file, text in (('crafted.pth', f"model = open({str(marker)!r}, 'w')"), ('number.pth', 'model = 3')):
        save(mine('resnet').state_dict(), tmp_path / file, meta=dict(cfg=text))
    file, *options = name.split()
    code, printed = run_tool('inspect_checkpoint.py', tmp_path / file, *options)
    assert code != 0
    assert message in printed.rstrip().splitlines()[-1]
    assert not marker.exists()
