"""A backbone file of its own: what is in it, that OpenMMLab loads it, and what is refused."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.models.backbones.modality_embeds import embed_modality
from mmrs_ssl.models.backbones.packed_vit import packed_layers
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.safe_types import allow_checkpoint_types
from tests.conftest import build_mssdf, cmid_config, dino_config, mssdf_config, train
from tests.transfer.backbones import mine, save


@pytest.fixture
def checkpoint(make_config, tmp_path):
    """Of a run with four bands that are no colors."""
    folder = tmp_path / 'bands'
    folder.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (80, 80, 4), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f'{i}.png'), pixels)
    cfg = make_config(model=cmid_config(bands=4), data_root=folder)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'mmrs_ssl.PictureHook']
    cfg.train_dataloader.dataset.pipeline[0].bands = 4
    cfg.train_dataloader.dataset.pipeline[1].colors = False
    runner = train(cfg)
    return f'{cfg.work_dir}/epoch_2.pth', runner.model


def test_exported_backbone_loads_without_this_package(checkpoint, run_tool, tmp_path):
    path, model = checkpoint
    out = tmp_path / 'backbone.pth'
    code, printed = run_tool('export_backbone.py', path, out)
    assert code == 0, printed
    settings = {}
    exec(printed.split('config:')[-1], {'dict': dict}, settings)  # what it prints can be pasted
    assert settings['backbone']['in_channels'] == 4
    assert (settings['mean'], settings['std']) == ([100.0] * 4, [50.0] * 4)
    init_default_scope('mmpretrain')
    backbone = MODELS.build(settings['backbone'])
    backbone.init_weights()
    source = model.backbone.state_dict()
    assert set(backbone.state_dict()) == set(source)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, source[key]), key
    image = torch.randn(2, 4, 64, 64)
    backbone.eval(), model.backbone.eval()
    torch.testing.assert_close(backbone(image)[-1], model.backbone(image)[-1], rtol=1e-5, atol=1e-5)
    with torch.serialization.safe_globals([]):
        torch.serialization.clear_safe_globals()
        try:
            content = torch.load(out, weights_only=True)  # without the allow-list of mmrs_ssl
        finally:
            allow_checkpoint_types()
    assert content['meta']['bands'] == 4
    assert content['meta']['method'] == 'mmrs_ssl.CMID'
    assert all(key.startswith('backbone.') for key in content['state_dict'])


def test_the_branch_that_the_authors_evaluate(make_config, run_tool, tmp_path):
    """DINO-MC's teacher by default, the student if asked; a file without a teacher says so."""
    cfg = make_config(model=dino_config())
    cfg.optim_wrapper.optimizer.lr = 0.05  # so that they differ
    model = train(cfg).model
    path = f'{cfg.work_dir}/epoch_2.pth'
    exported = {}
    for branch, options in (('teacher', []), ('student', ['--branch', 'student'])):
        code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', *options)
        assert code == 0, printed
        assert f'the {branch}, 3 bands' in printed
        content = torch.load(tmp_path / 'out.pth', weights_only=True)
        assert content['meta']['branch'] == branch
        exported[branch] = content['state_dict']
    sources = dict(student=model.backbone, teacher=model.evaluated_backbone)
    for branch, source in sources.items():
        state = source.state_dict()
        assert set(exported[branch]) == {f'backbone.{key}' for key in state}
        assert all(torch.equal(value, state[key.removeprefix('backbone.')]) for key, value in exported[branch].items())
    assert not torch.equal(exported['student']['backbone.conv1.weight'], exported['teacher']['backbone.conv1.weight'])
    content = torch.load(path, weights_only=True)
    content['state_dict'] = {k: v for k, v in content['state_dict'].items() if not k.startswith('teacher.')}
    torch.save(dict(state_dict=content['state_dict'], meta=dict(cfg=content['meta']['cfg'])), tmp_path / 'lone.pth')
    code, printed = run_tool('export_backbone.py', tmp_path / 'lone.pth', tmp_path / 'none.pth')
    assert code != 0
    assert 'holds no teacher' in printed.rstrip().splitlines()[-1]


@pytest.mark.parametrize(
    ('modality', 'bands', 'options', 'share'),
    [('rgb', 3, [], True), ('dsm', 1, ['--modality', 'dsm'], True), ('dsm', 1, ['--modality', 'dsm'], False)],
)
def test_a_modality_as_a_plain_vision_transformer(modality, bands, options, share, run_tool, capfd, tmp_path):
    """The shared encoder with a modality's patch embedding gives what the model computes for it."""
    model = build_mssdf(share_patch_embed=share)
    text = Config(dict(model=mssdf_config(share_patch_embed=share))).pretty_text  # which sorts what is in it
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=text)), tmp_path / 'run.pth')
    capfd.readouterr()  # what building the model said
    code, printed = run_tool('export_backbone.py', tmp_path / 'run.pth', tmp_path / 'out.pth', *options)
    assert code == 0, printed
    settings = {}
    exec(printed.split('config:')[-1], {'dict': dict}, settings)
    assert len(settings['mean']) == bands
    init_default_scope('mmpretrain')
    backbone = MODELS.build(settings['backbone'])
    backbone.init_weights()
    image = torch.randn(2, bands, 64, 64)
    backbone.eval()
    alone = backbone(image)[-1]
    embedded = embed_modality(model.backbone, model.patch_embeds, modality, image)
    tokens = packed_layers(model.backbone, [embedded])[0]
    expected = model.backbone.ln1(tokens)[:, 1:]
    torch.testing.assert_close(alone.flatten(2).mT, expected, rtol=1e-5, atol=1e-5)
    code, printed = run_tool('export_backbone.py', tmp_path / 'run.pth', tmp_path / 'no.pth', '--modality', 'nir')
    assert code != 0
    assert "no modality 'nir', the model has dsm, rgb" in printed.rstrip().splitlines()[-1]


def test_a_config_that_would_run_code_is_not_run(run_tool, tmp_path):
    text = f"model = dict(type='x', data_preprocessor=__import__('pathlib').Path({str(tmp_path / 'harm')!r}).touch())"
    torch.save(dict(state_dict={'backbone.w': torch.zeros(1)}, meta=dict(cfg=text)), tmp_path / 'crafted.pth')
    code, printed = run_tool('export_backbone.py', tmp_path / 'crafted.pth', tmp_path / 'out.pth')
    assert code != 0
    assert 'is not plain data and is not read' in printed.rstrip().splitlines()[-1]
    assert not (tmp_path / 'harm').exists()


def test_what_cannot_be_exported(run_tool, tmp_path):
    torch.save(dict(state_dict={'head.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    torch.save(dict(state_dict={'backbone.weight': torch.zeros(1)}), tmp_path / 'bare.pth')
    for name, message in (
        ('missing.pth', 'no checkpoint'),
        ('other.pth', "no key that begins with 'backbone.'; it has head.weight"),
        ('bare.pth', 'holds no config'),
    ):
        code, printed = run_tool('export_backbone.py', tmp_path / name, tmp_path / 'out.pth')
        assert code != 0
        assert message in printed.rstrip().splitlines()[-1]
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize(
    ('changes', 'out', 'options', 'message'),
    [
        (dict(data_preprocessor=dict(type='x')), 'out.pth', {}, "data_preprocessor={'type': 'x'}, expected the mean"),
        (dict(data_preprocessor=None), 'out.pth', {}, 'data_preprocessor=None, expected the mean and std of each band'),
        ({}, 'run.pth', {}, r'run\.pth is the checkpoint itself, give the new file another name'),
        ({}, 'folder', {}, 'folder is a folder, expected the name of a file'),
        ({}, 'out.pth', dict(branch='tutor'), "branch='tutor', expected student or teacher"),
    ],
)
def test_what_export_refuses(changes, out, options, message, tmp_path):
    (tmp_path / 'folder').mkdir()
    weights = {f'backbone.{key}': value for key, value in mine('resnet').state_dict().items()}
    config = f'model = {dict(cmid_config(), **changes)!r}'
    path = save(weights, tmp_path / 'run.pth', meta=dict(cfg=config), optimizer=dict(state={}))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        export_backbone(path, tmp_path / out, **options)
    assert path.read_bytes() == before
    assert not (tmp_path / 'out.pth').exists()
