"""Where the backbone is in the files of each program, and files that must not be read."""

import argparse
import collections

import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from mmrs_ssl.transfer import key_maps, load_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.key_maps import LAYOUTS
from mmrs_ssl.transfer.sources import read_backbone, read_file
from tests.conftest import build_cmid, build_dino, build_mssdf, cmid_config, dino_config, mssdf_config
from tests.transfer.backbones import mine, same, save, scramble, torchvisions, under, weights_of
from tests.transfer.test_safe_types import ATTACKS, Call, attack


def training(model, config, path):
    """The checkpoint of a training run of this project: with a config, and a log."""
    logged = dict(log_scalars={'train/loss': HistoryBuffer([1.0], [1])})
    return save(scramble(model, 0).state_dict(), path, meta=dict(cfg=f'model = {config!r}'), message_hub=logged)


def loaded(path, backbone, **options):
    """The weights that a backbone has after loading."""
    report = load_backbone(backbone, path, **options)
    assert not report.adapted
    return weights_of(backbone)


# This project's


@pytest.mark.parametrize(
    ('make', 'config', 'evaluated'), [(build_cmid, cmid_config, 'student'), (build_dino, dino_config, 'teacher')]
)
def test_the_branch_that_the_authors_evaluate(make, config, evaluated, tmp_path):
    """Of a training checkpoint and of the exported file."""
    model = make()
    path = training(model, config(), tmp_path / 'run.pth')
    branches = dict(student=weights_of(model.backbone), teacher=weights_of(model.teacher.module['backbone']))
    assert not same(branches['student'], branches['teacher'])
    assert same(loaded(path, mine('resnet', seed=1)), branches[evaluated])
    for branch, weights in branches.items():
        assert same(loaded(path, mine('resnet', seed=1), branch=branch), weights)
        export_backbone(path, tmp_path / 'exported.pth', branch=branch)
        assert same(loaded(tmp_path / 'exported.pth', mine('resnet', seed=1)), weights)
        assert same(loaded(tmp_path / 'exported.pth', mine('resnet', seed=1), branch=branch), weights)
    with pytest.raises(ValueError, match='holds the teacher alone, not the student'):
        load_backbone(mine('resnet'), tmp_path / 'exported.pth', branch='student')


@pytest.mark.parametrize('share', [True, False])
def test_modalities(share, tmp_path):
    """The shared encoder with the patch embedding of one modality, of either branch; of a repeated band summed up."""
    options = dict(share_patch_embed=share)
    model = build_mssdf(dict(rgb=3, irc=3, dsm=1), **options)
    path = training(model, mssdf_config(dict(rgb=3, irc=3, dsm=1), **options), tmp_path / 'run.pth')
    for branch, part in (('student', model), ('teacher', model.teacher.module)):
        backbone, own = (
            (part.backbone, part.patch_embeds) if part is model else (part['backbone'], part['patch_embeds'])
        )
        for modality, bands in (('rgb', 3), ('irc', 3), ('dsm', 1)):
            expected = weights_of(backbone)
            if modality != 'rgb' and not share:
                expected |= under('patch_embed.', weights_of(own[modality]))
            elif modality == 'dsm':
                kernel = expected['patch_embed.projection.weight']
                expected |= {'patch_embed.projection.weight': kernel[:, :1] + kernel[:, 1:2] + kernel[:, 2:]}
            options = dict(branch=branch, modality=modality)
            assert same(loaded(path, mine('vit', seed=1, in_channels=bands), **options), expected)
    first = weights_of(model.backbone)
    assert same(loaded(path, mine('vit', seed=1)), first)
    with pytest.raises(ValueError, match="no modality 'nir', the model has rgb, irc, dsm"):
        load_backbone(mine('vit'), path, modality='nir')
    export_backbone(path, tmp_path / 'dsm.pth', modality='dsm')
    assert 'dsm' in str(torch.load(tmp_path / 'dsm.pth', weights_only=True)['meta'])
    loaded(tmp_path / 'dsm.pth', mine('vit', seed=1, in_channels=1), modality='dsm')
    with pytest.raises(ValueError, match=r"does not say that it holds modality 'rgb' \(but 'dsm'\)"):
        load_backbone(mine('vit'), tmp_path / 'dsm.pth', modality='rgb')


def test_no_modalities_no_teacher(tmp_path):
    path = training(build_cmid(), cmid_config(), tmp_path / 'run.pth')
    with pytest.raises(ValueError, match="no modality 'rgb', the model has none of its own"):
        load_backbone(mine('resnet'), path, modality='rgb')
    save(mine('resnet').state_dict(), tmp_path / 'plain.pth')
    with pytest.raises(ValueError, match='holds no teacher'):
        load_backbone(mine('resnet'), tmp_path / 'plain.pth', branch='teacher')
    with pytest.raises(ValueError, match="branch='tutor', expected 'student', 'teacher' or None"):
        load_backbone(mine('resnet'), path, branch='tutor')


# Published ones


@pytest.mark.parametrize('family', ['resnet', 'swin'])
def test_published_cmid(family, tmp_path):
    """All of its training checkpoint, and the backbone alone."""
    student, teacher = mine(family), mine(family, seed=1)
    weights = under('online_encoder.model.', student.state_dict()) | under('branch_encoder.', teacher.state_dict())
    others = {
        'online_encoder.mask_token': torch.zeros(1),
        'branch_projector.0.weight': torch.zeros(1),
        'queue': torch.zeros(2),
    }
    torch.save(dict(epoch=199, model=weights | others, optimizer={}), tmp_path / 'cmid.pth')
    path = tmp_path / 'cmid.pth'
    assert same(loaded(path, mine(family, seed=2)), weights_of(student))
    assert same(loaded(path, mine(family, seed=2), branch='teacher'), weights_of(teacher))
    report = load_backbone(mine(family, seed=2), path)
    assert report.ignored == list(others)
    torch.save(student.state_dict(), tmp_path / 'backbone.pth')
    assert same(loaded(tmp_path / 'backbone.pth', mine(family, seed=2)), weights_of(student))


@pytest.mark.parametrize('family', ['resnet', 'swin', 'vit'])
def test_published_dino_mc(family, tmp_path):
    """Student and teacher, with and without a data-parallel wrapper, and the options of the command line."""
    if family == 'vit':
        student, teacher = (key_maps.VIT_TIMM.from_mmpretrain(weights_of(mine('vit', seed))) for seed in (0, 1))
        layout = key_maps.VIT_TIMM
    else:
        student, teacher = (weights_of(torchvisions(family, seed)) for seed in (0, 1))
        layout = key_maps.RESNET if family == 'resnet' else key_maps.SWIN_TORCHVISION
    heads = {'module.head.mlp.0.weight': torch.zeros(1), 'module.head.last_layer.weight_g': torch.zeros(1)}
    content = dict(
        student=under('module.backbone.', student) | heads,
        teacher=under('backbone.', teacher),
        optimizer=dict(state={}),
        epoch=300,
        args=argparse.Namespace(arch='resnet50', lr=0.0005, size_crops=[184, 164], use_fp16=True),
        dino_loss=dict(center=torch.zeros(1, 8)),
    )
    torch.save(content, tmp_path / 'checkpoint.pth')
    for branch, weights in (('student', student), ('teacher', teacher), (None, teacher)):
        found = read_backbone(tmp_path / 'checkpoint.pth', LAYOUTS[0], branch)
        assert found.layout is layout
        assert found.branch == (branch or 'teacher')
        assert same(found.weights, weights)
        assert found.others == (list(heads) if branch == 'student' else [])
    torch.save(dict(student=content['student'], args=content['args']), tmp_path / 'half.pth')
    with pytest.raises(ValueError, match=r'half.pth \(teacher\) holds no weights'):
        read_backbone(tmp_path / 'half.pth', LAYOUTS[0], 'teacher')
    assert same(read_backbone(tmp_path / 'half.pth', LAYOUTS[0]).weights, student)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.', 'encoder.'])
@pytest.mark.parametrize('part', [None, 'state_dict', 'model'])
def test_backbones_alone(prefix, part, tmp_path):
    """The published MSSDF's is mmpretrain's ViT; whatever stands before the names, and around them, is found."""
    source = mine('vit')
    weights = under(prefix, source.state_dict()) | {f'{prefix}mask_token': torch.zeros(1), 'epoch': 3}
    torch.save({part: weights} if part else weights, tmp_path / 'mssdf.pth')
    assert same(loaded(tmp_path / 'mssdf.pth', mine('vit', seed=1)), weights_of(source))


def test_safetensors(tmp_path):
    source = torchvisions('convnext')
    save_file(weights_of(source), tmp_path / 'model.safetensors')
    torch.save(source.state_dict(), tmp_path / 'model.pth')
    paths = (tmp_path / 'model.safetensors', tmp_path / 'model.pth')
    assert same(*(loaded(path, mine('convnext', seed=1)) for path in paths))


def test_safetensors_say_what_they_hold(tmp_path):
    """The branch and the modality of an exported file, as the other format does."""
    model = build_mssdf(share_patch_embed=False)
    path = training(model, mssdf_config(share_patch_embed=False), tmp_path / 'run.pth')
    for name, file_format in (('dsm.pth', 'openmmlab'), ('dsm.safetensors', 'safetensors')):
        out = tmp_path / name
        export_backbone(path, out, branch='teacher', modality='dsm', file_format=file_format)
        expected = weights_of(model.teacher.module['backbone'])
        expected |= under('patch_embed.', weights_of(model.teacher.module['patch_embeds']['dsm']))
        options = dict(branch='teacher', modality='dsm')
        assert same(loaded(out, mine('vit', seed=1, in_channels=1), **options), expected)
        assert '(teacher, ViT of mmpretrain' in load_backbone(mine('vit', in_channels=1), out).source
        with pytest.raises(ValueError, match='holds the teacher alone, not the student'):
            load_backbone(mine('vit', in_channels=1), out, branch='student')
        with pytest.raises(ValueError, match=r"modality 'rgb' \(but 'dsm'\)"):
            load_backbone(mine('vit', in_channels=1), out, modality='rgb')


def test_openmmlab_checkpoints_prefer_the_backbone(tmp_path):
    """A momentum encoder of another method is not mistaken for it; two of which nothing says which are refused."""
    source = mine('resnet')
    keys = under('encoder_k.0.', mine('resnet', seed=5).state_dict())
    path = save(keys | under('backbone.', source.state_dict()), tmp_path / 'moco.pth')
    backbone = mine('resnet', seed=1)
    report = load_backbone(backbone, path)
    assert same(weights_of(backbone), weights_of(source))
    assert "names after 'backbone.', not the backbone in 'encoder_k.0.')" in report.source
    path = save(keys | under('encoder.0.', source.state_dict()), tmp_path / 'moco.pth')
    with pytest.raises(ValueError, match=r"several backbones, under 'encoder\.0\.', 'encoder_k\.0\.': save one"):
        load_backbone(mine('resnet'), path)


# What is refused


@pytest.mark.parametrize('name', ATTACKS)
@pytest.mark.parametrize('archive', [True, False])
def test_crafted_files_run_nothing(name, archive, tmp_path):
    marker, path = tmp_path / 'marker', tmp_path / 'crafted.pth'
    content = dict(state_dict=mine('resnet').state_dict(), meta=attack(name, f'touch {marker}'))
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    target = mine('resnet', seed=1)
    before = weights_of(target)
    with pytest.raises(
        ValueError, match=r'crafted\.pth is refused, nothing in it was run: .*(posix|eval|getattr|__import__)'
    ) as error:
        load_backbone(target, path)
    assert 'weights_only' not in str(error.value)
    assert error.value.__suppress_context__  # torch advises to load it without the check
    assert not marker.exists()
    assert same(weights_of(target), before)


def test_the_types_of_published_files_run_nothing(tmp_path):
    """What the allow-list of this module resolves cannot be called to any effect."""
    marker = tmp_path / 'marker'
    command = Call(argparse.Namespace, attack('system', f'touch {marker}'))
    for content in (command, Call(collections.deque, [attack('eval', f'__import__("os").system("touch {marker}")')])):
        torch.save(content, tmp_path / 'crafted.pth')
        with pytest.raises(ValueError, match='is refused'):
            read_file(tmp_path / 'crafted.pth')
    torch.save(Call(argparse.FileType, 'w'), tmp_path / 'crafted.pth')
    with pytest.raises(ValueError, match=r'asks for argparse\.FileType, which is no plain data'):
        read_file(tmp_path / 'crafted.pth')
    assert not marker.exists()


def test_the_allow_list_is_not_left_open(tmp_path):
    torch.save(dict(args=argparse.Namespace(lr=1)), tmp_path / 'args.pth')
    assert read_file(tmp_path / 'args.pth')['args'].lr == 1
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    assert any('HistoryBuffer' in str(kind) for kind in torch.serialization.get_safe_globals())  # mmengine's stays


def test_damaged_and_missing_files(tmp_path):
    path = save(mine('resnet').state_dict(), tmp_path / 'whole.pth')
    whole = path.read_bytes()
    for content in (b'', b'hello, this is no checkpoint', whole[: len(whole) // 2]):
        for name in ('cut.pth', 'cut.safetensors'):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(
                ValueError, match=rf'{name} is refused, nothing in it was run: it is damaged or no check'
            ):
                load_backbone(mine('resnet'), tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*absent'):
        load_backbone(mine('resnet'), tmp_path / 'absent.pth')


@pytest.mark.parametrize('content', [{}, dict(epoch=3), torch.zeros(2), [1, 2], dict(state_dict=dict(a=1))])
def test_files_without_weights(content, tmp_path):
    torch.save(content, tmp_path / 'empty.pth')
    with pytest.raises(ValueError, match=r'empty\.pth holds no weights but '):
        load_backbone(mine('resnet'), tmp_path / 'empty.pth')
