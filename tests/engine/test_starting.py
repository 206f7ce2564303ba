"""Every method starts from a backbone with all that it has beside it: momentum encoders, patch embeddings, tokens."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmrs_ssl.cli.starting import rehearse
from mmrs_ssl.engine.hooks import PretrainedBackboneHook
from mmrs_ssl.transfer.targets import as_plain_backbone
from tests.conftest import BACKBONES, build_mssdf, cmid_config, dino_config, mssdf_config
from tests.downstream import pretrained_file
from tests.test_mmpretrain_configs import CONFIGS, method_of, small
from tests.transfer.backbones import build, mine, same, save, scramble, under, weights_of
from tests.transfer.test_modalities import pretrain

OWN = {
    'CMID ResNet': cmid_config(),
    'CMID ResNet, BYOL': cmid_config(byol=True),
    'CMID Swin': cmid_config('swin'),
    'CMID ViT': cmid_config('vit'),
    'DINO-MC ResNet': dino_config(),
    'DINO-MC ViT': dino_config('vit'),
    'DINO-TP Swin': dino_config('swin', num_global=3),
    'MSSDF': mssdf_config(),
}
FOLDERS = {method_of(name): name for name in CONFIGS if 'folder' in name}


def initialized(config, seed=1):
    """A model as a run has it when its weights are initialized."""
    init_default_scope('mmpretrain')
    torch.manual_seed(seed)
    model = MODELS.build(config)
    model.init_weights()
    return model


def started(model, path, **options):
    """What the hook does before the first step; returns what it prints."""
    hook = PretrainedBackboneHook(str(path), normalization='keep', **options)
    rows, report = [], hook._report

    def keep(result, source):
        rows.extend(result.rows)
        report(result, source)

    hook._report = keep
    rehearse(Config(dict()), model, hook)
    return rows


def students_of(model):
    """Each momentum encoder of a model, and what it averages, by the methods' own definitions."""
    if hasattr(model, 'student_parts'):
        return [(model.teacher.module, model.student_parts())]
    averages = [getattr(model, name) for name in ('encoder_k', 'target_net') if hasattr(model, name)]
    return [(each.module, nn.Sequential(model.backbone, model.neck)) for each in averages]


@pytest.mark.parametrize('name', [*OWN, *FOLDERS])
def test_student_and_teacher_start_from_the_file(name, tmp_path, image_folder):
    config = OWN[name] if name in OWN else small(FOLDERS[name], image_folder, tmp_path).model
    model = initialized(config)
    plain = dict(as_plain_backbone(config['backbone'])[0], in_channels=3)
    source = build('mmpretrain', plain, seed=7)
    assert not same(weights_of(source), weights_of(model.backbone))
    path = save(under('backbone.', source.state_dict()), tmp_path / 'pretrained.pth')
    before = weights_of(model.backbone).get('mask_token')
    before = None if before is None else before.clone()
    rows = started(model, path)
    own = weights_of(model.backbone)
    token = own.pop('mask_token', None)  # which only SimMIM's own files have
    assert same(own, weights_of(source))
    for average, student in students_of(model):
        assert same(weights_of(average), weights_of(student))
    copied = [row[0] for row in rows if row[3] == 'copied']
    expected = dict(mocov2=['encoder_k'], byol=['target_net'])
    assert copied == (['teacher'] if name in OWN else expected.get(name, []))
    assert (token is not None) == (name == 'simmim')
    assert token is None or torch.equal(token, before)


def test_momentum_encoders_of_libraries_differ_before(tmp_path, image_folder):
    """They are copied before the weights are initialized: what is tested above is no accident."""
    model = initialized(small(FOLDERS['byol'], image_folder, tmp_path).model)
    ((average, student),) = students_of(model)
    assert not same(weights_of(average), weights_of(student))


def test_simmim_goes_on_with_its_own_mask_token(tmp_path, image_folder):
    config = small(FOLDERS['simmim'], image_folder, tmp_path).model
    trained, model = (scramble(initialized(config), seed) for seed in (3, 4))
    assert not torch.equal(model.backbone.mask_token, trained.backbone.mask_token)
    started(model, save(trained.state_dict(), tmp_path / 'trained.pth'))
    assert same(weights_of(model.backbone), weights_of(trained.backbone))
    assert torch.equal(model.backbone.mask_token, trained.backbone.mask_token)


@pytest.mark.parametrize('name', ['MSSDF', 'mae'])
def test_fixed_positions_of_another_size(name, tmp_path, image_folder):
    """They are resized and stay as they are, which is no mistake of these methods."""
    config = OWN[name] if name in OWN else small(FOLDERS[name], image_folder, tmp_path).model
    plain = dict(as_plain_backbone(config['backbone'])[0], in_channels=3, img_size=96)
    path = save(build('mmpretrain', plain, seed=7).state_dict(), tmp_path / 'vit.pth')
    model = initialized(config)
    before = model.backbone.pos_embed.clone()
    rows = started(model, path)
    assert ('frozen', '', f'1 of {len(list(model.backbone.parameters()))} weights', 'as the config says') in rows
    assert not torch.equal(model.backbone.pos_embed, before)


def test_a_run_that_goes_on_at_its_first_iteration_keeps_its_weights(tmp_path):
    """As one does that was saved before a step of a longer epoch was full."""
    said = []
    runner = SimpleNamespace(iter=0, _resume=True, _has_loaded=True, logger=SimpleNamespace(info=said.append))
    PretrainedBackboneHook(str(tmp_path / 'absent.pth')).before_train(runner)
    assert said == ['PretrainedBackboneHook: the run goes on at iteration 0, nothing to load']


# Modalities


def embedding(model, name):
    return dict(model.patch_embeds.items()).get(name, model.backbone.patch_embed).projection


def test_one_embedding_for_all_modalities_takes_the_file(tmp_path):
    source = mine('vit', seed=7)
    model = initialized(mssdf_config(dict(rgb=3, dsm=1)))
    rows = started(model, save(source.state_dict(), tmp_path / 'rgb.pth'))
    assert torch.equal(model.backbone.patch_embed.projection.weight, source.patch_embed.projection.weight)
    assert ('patch embedding', '', 'one for rgb, dsm', 'shared') in rows


def test_an_embedding_each_from_a_file_of_one_modality(tmp_path):
    """By the rule of other bands: kernels whose sum over the bands is the file's."""
    source = mine('vit', seed=7)
    model = initialized(mssdf_config(dict(rgb=3, dsm=1, msi=5), share_patch_embed=False))
    rows = started(model, save(source.state_dict(), tmp_path / 'rgb.pth'))
    kernel, bias = source.patch_embed.projection.weight, source.patch_embed.projection.bias
    assert torch.equal(embedding(model, 'rgb').weight, kernel)
    for name, bands in (('dsm', 1), ('msi', 5)):
        expected = kernel.sum(dim=1, keepdim=True).div(bands).expand(-1, bands, -1, -1)
        torch.testing.assert_close(embedding(model, name).weight, expected)
        assert torch.equal(embedding(model, name).bias, bias)
        note = f'3 -> {bands} bands, the mean kernel in each'
        assert (f'patch embedding of {name}', "the backbone's", note, 'adapted') in rows
    assert same(weights_of(model.teacher.module), weights_of(model.student_parts()))


def test_an_embedding_each_from_those_of_the_same_names(tmp_path):
    trained = pretrain(tmp_path / 'trained.pth', [('rgb', 3), ('dsm', 1), ('msi', 5)], share=False)
    model = initialized(mssdf_config(dict(dsm=1, msi=5, irc=3), share_patch_embed=False))
    rows = started(model, tmp_path / 'trained.pth')
    for name in ('dsm', 'msi'):
        assert torch.equal(embedding(model, name).weight, embedding(trained, name).weight)
    assert torch.equal(embedding(model, 'irc').weight, embedding(trained, 'rgb').weight)
    assert ('patch embedding of msi', "msi's", 'the same', 'matched') in rows
    assert ('patch embedding of irc', "the backbone's", 'the same', 'matched') in rows


def test_an_embedding_that_is_broken_is_refused(tmp_path):
    path = tmp_path / 'trained.pth'
    pretrain(path, [('rgb', 3), ('dsm', 1)], share=False)
    content = torch.load(path, weights_only=True)
    content['state_dict']['patch_embeds.dsm.projection.weight'][0, 0, 0, 0] = float('inf')
    torch.save(content, path)
    with pytest.raises(
        ValueError, match=r"patch embedding of 'dsm', projection\.weight: 1 of .* values are NaN or inf"
    ):
        started(build_mssdf(dict(rgb=3, dsm=1), share_patch_embed=False), path)


# What the file records of its images


def test_other_bands_and_statistics_are_said_and_the_configs_count(tmp_path):
    path = tmp_path / 'four.pth'
    pretrained_file(path, dict(BACKBONES['resnet'][0], in_channels=4), mean=[2000.0] * 4, std=[900.0] * 4)
    model = initialized(cmid_config())
    rows = started(model, path)
    assert ('bands', '4', '3', 'as the config says') in rows
    assert model.data_preprocessor.mean.flatten().tolist() == [100.0] * 3
    pretrained_file(path, BACKBONES['resnet'][0], mean=[2000.0] * 3, std=[900.0] * 3)
    rows = started(model, path)
    assert ('mean', '2000, 2000, 2000', '100, 100, 100', 'as the config says') in rows
    with pytest.raises(ValueError, match='a std by a factor of 18'):
        rehearse(Config(dict()), model, PretrainedBackboneHook(str(path)))


def test_another_order_of_colors_is_a_mistake(tmp_path, make_config):
    path = tmp_path / 'rgb.pth'
    pretrained_file(path, BACKBONES['resnet'][0], mean=[120.0] * 3, std=[900.0] * 3)
    cfg = make_config()
    cfg.train_dataloader.dataset.pipeline[0].bands = [2, 1, 0]
    model = initialized(cfg.model)
    with pytest.raises(ValueError, match=r'saw rgb, the model gets bgr: .* by bands=\[2, 1, 0\] of this hook') as error:
        rehearse(cfg, model, PretrainedBackboneHook(str(path), normalization='keep'))
    assert 'a std by' not in str(error.value)
    rehearse(cfg, model, PretrainedBackboneHook(str(path), normalization='keep', bands=[2, 1, 0]))


def test_a_rehearsal_says_nothing(tmp_path, capfd):
    path = save(mine('resnet', seed=7).state_dict(), tmp_path / 'pretrained.pth')
    logger = MMLogger.get_instance('rehearsal', log_level='INFO')
    rehearse(Config(dict()), initialized(cmid_config()), PretrainedBackboneHook(str(path)))
    said = capfd.readouterr()
    assert not re.search('matched|frozen', said.out + said.err)
    logger.info('again')
    assert 'again' in ''.join(capfd.readouterr())
