"""What was pre-trained together goes into one backbone together, by names and never by the order of a file."""

import copy
from collections import OrderedDict

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmrs_ssl.models.backbones.modality_embeds import embed_modality
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.export import export_backbone
from tests.conftest import BACKBONES, build_mssdf, mssdf_config
from tests.transfer.backbones import mine, same, save, scramble, weights_of
from tests.transfer.checkpoints import training

STATISTICS = dict(
    rgb=dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0]),
    dsm=dict(mean=[5.0], std=[4.0]),
    irc=dict(mean=[90.0, 91.0, 92.0], std=[30.0, 31.0, 32.0]),
    msi=dict(mean=[1.0, 2.0, 3.0, 4.0, 5.0], std=[1.0, 2.0, 3.0, 4.0, 5.0]),
)
PAIR = [('rgb', 3), ('dsm', 1)]


def pretrain(path, modalities=PAIR, seed=0, share=None):
    """Write what pre-training with these modalities saves; returns the model."""
    model = scramble(build_mssdf(dict(modalities), share_patch_embed=share), seed)
    config = mssdf_config(dict(modalities), share_patch_embed=share)
    config['data_preprocessor']['modalities'] = {name: STATISTICS[name] for name, _ in modalities}
    text = Config(dict(model=config)).pretty_text  # whose keys are sorted
    save(model.state_dict(), path, meta=dict(cfg=text, epoch=1, iter=1, evaluated='student'))
    return model


def downstream(modalities=PAIR, seed=1, **options):
    init_default_scope('mmseg')
    settings = {**BACKBONES['vit'][0], 'type': 'mmrs_ssl.ModalityVisionTransformer', 'modalities': modalities}
    return scramble(MODELS.build({**settings, **options}), seed)


def pretrained_maps(model, images, parts=None):
    """The encoder's maps of each modality, as pre-training computes them of whole images."""
    parts = parts or model
    found = []
    for name, image in images.items():
        tokens = embed_modality(parts['backbone'], parts['patch_embeds'], name, image)
        for layer in parts['backbone'].layers:
            tokens = layer(tokens)
        found.append(parts['backbone'].ln1(tokens)[:, 1:].mT.unflatten(2, (4, 4)))
    return found


def parts_of(model, branch='student'):
    names = ('backbone', 'patch_embeds')
    return {name: getattr(model, name) if branch == 'student' else model.teacher.module[name] for name in names}


def agrees(backbone, model, bands, branch='student'):
    """The backbone's map of an image is the mean of the pre-training's, of each modality."""
    images = {name: torch.randn(2, count, 64, 64, dtype=torch.float64) for name, count in bands}
    model, backbone = copy.deepcopy(model).double(), copy.deepcopy(backbone).double()
    expected = torch.stack(pretrained_maps(model, images, parts_of(model, branch))).mean(0)
    found = backbone(torch.cat(list(images.values()), 1))[-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)  # the sum of three kernels is rounded


@pytest.mark.parametrize(
    ('trained', 'share', 'taken', 'branch'),
    [
        (PAIR, None, PAIR, 'student'),
        (PAIR, False, PAIR, 'student'),
        (PAIR, False, PAIR[::-1], 'teacher'),
        (PAIR, None, PAIR[::-1], 'teacher'),
        ([('rgb', 3), ('irc', 3), ('dsm', 1)], None, PAIR, 'student'),
        ([('rgb', 3), ('irc', 3), ('dsm', 1)], False, [('dsm', 1), ('irc', 3)], 'student'),
        ([('rgb', 3), ('msi', 5), ('dsm', 1)], None, [('dsm', 1), ('msi', 5), ('rgb', 3)], 'student'),
        (PAIR, None, [('dsm', 1)], 'student'),
        (PAIR, False, [('dsm', 1)], 'teacher'),
    ],
)
def test_features_are_those_of_the_pre_training(trained, share, taken, branch, tmp_path):
    model = pretrain(tmp_path / 'run.pth', trained, share=share)
    shared = share is not False and ('msi', 5) not in trained
    backbone = downstream(taken, share_patch_embed=None if shared else False)
    report = load_backbone(backbone, tmp_path / 'run.pth', branch=branch)
    agrees(backbone, model, taken, branch)
    assert (report.missing, report.fresh, report.mismatch, report.unplaced) == ([], [], {}, [])
    # what is taken is not called ignored; what is left is
    ignored = {key.split('.')[1] for key in report.ignored if 'patch_embed' in key}
    assert ignored == (set() if shared else {name for name, _ in trained[1:]} - {name for name, _ in taken})
    # normalization, in the order of this backbone's channels
    bands = [name for name, _ in taken]
    for key in ('mean', 'std'):
        assert getattr(report.record, key) == [value for name in bands for value in STATISTICS[name][key]]
    assert report.record.bands == sum(count for _, count in taken)
    assert report.record.channel_order == ('rgb' if taken[0][1] == 3 else None)
    assert (list(report.adapted) == ['patch_embed.projection.weight']) == (shared and len(taken) == 1)


def test_another_order_of_names_in_the_file_changes_nothing(tmp_path):
    """Neither that of its weights nor that of the modalities in the text of its config."""
    model = pretrain(tmp_path / 'run.pth', PAIR, share=False)
    content = torch.load(tmp_path / 'run.pth', weights_only=True)
    turned = OrderedDict(reversed(content['state_dict'].items()))
    text = content['meta']['cfg']
    assert text.index('dsm=') < text.index('rgb=')  # though rgb is the first
    config = Config.fromstring(text, '.py').model.to_dict()
    config['data_preprocessor']['modalities'] = {name: STATISTICS[name] for name, _ in PAIR}
    torch.save(dict(state_dict=turned, meta={**content['meta'], 'cfg': f'model = {config!r}'}), tmp_path / 'other.pth')
    backbones = [downstream(share_patch_embed=False, seed=seed) for seed in (1, 2)]
    for backbone, name in zip(backbones, ('run.pth', 'other.pth'), strict=True):
        load_backbone(backbone, tmp_path / name)
        agrees(backbone, model, PAIR)


def test_a_new_fusion_is_fresh_and_images_may_be_larger(tmp_path):
    model = pretrain(tmp_path / 'run.pth')
    backbone = downstream(fuse='linear', img_size=96, out_indices=(0, 1))
    before = weights_of(backbone.fusions)
    report = load_backbone(backbone, tmp_path / 'run.pth')
    assert report.fresh == [f'fusions.{i}.{key}' for i in (0, 1) for key in ('weight', 'bias')]
    assert (report.missing, list(report.adapted)) == ([], ['pos_embed'])
    assert same(weights_of(backbone.fusions), before)
    assert torch.equal(backbone.patch_embed.projection.weight, model.backbone.patch_embed.projection.weight)


@pytest.mark.parametrize(
    ('trained', 'share', 'options', 'match'),
    [
        (PAIR, None, dict(modalities=[('rgb', 3), ('sar', 1)]), r': dsm 1, rgb 3; .* takes rgb 3, sar 1: sar is not'),
        (PAIR, None, dict(modalities=[('rgb', 4), ('sar', 1)]), r'rgb, sar are not there, or of other bands'),
        (PAIR, False, {}, r'a patch embedding for each of .*one for all: set share_patch_embed=False'),
        (PAIR, None, dict(share_patch_embed=False), r'one patch embedding for .*one for each: .*_patch_embed=True'),
    ],
)
def test_what_does_not_fit_is_refused(trained, share, options, match, tmp_path):
    pretrain(tmp_path / 'run.pth', trained, share=share)
    backbone = downstream(**options)
    before = weights_of(backbone)
    with pytest.raises(ValueError, match=match):
        load_backbone(backbone, tmp_path / 'run.pth')
    assert same(weights_of(backbone), before)


def test_names_of_modalities_are_no_matter_of_choice_here(tmp_path):
    pretrain(tmp_path / 'run.pth')
    for options in (dict(modality='rgb'), dict(bands=(2, 1, 0, 3))):
        with pytest.raises(ValueError, match=r'ModalityVisionTransformer takes rgb, dsm, by their names'):
            load_backbone(downstream(), tmp_path / 'run.pth', **options)


def test_files_without_modalities_are_refused(tmp_path):
    """Of other methods, and a single modality's export."""
    pretrain(tmp_path / 'run.pth')
    export_backbone(tmp_path / 'run.pth', tmp_path / 'rgb.pth', modality='rgb')
    training(tmp_path / 'cmid.pth', 'vit')
    save(mine('vit').state_dict(), tmp_path / 'bare.pth')
    for name in ('rgb', 'cmid', 'bare'):
        with pytest.raises(ValueError, match='does not say that it was pre-trained with several modalities'):
            load_backbone(downstream(), tmp_path / f'{name}.pth', branch='student' if name == 'cmid' else None)


def test_a_file_without_one_of_its_patch_embeddings_is_refused(tmp_path):
    pretrain(tmp_path / 'run.pth', [('rgb', 3), ('irc', 3), ('dsm', 1)], share=False)
    content = torch.load(tmp_path / 'run.pth', weights_only=True)
    weights = {key: each for key, each in content['state_dict'].items() if 'patch_embeds.dsm' not in key}
    torch.save({**content, 'state_dict': weights}, tmp_path / 'run.pth')
    with pytest.raises(ValueError, match='missing are dsm, rgb: the file was edited'):
        load_backbone(downstream(share_patch_embed=False), tmp_path / 'run.pth')


def test_what_was_trained_downstream_is_exported_by_no_other_class(tmp_path):
    backbone = dict(type='mmrs_ssl.ModalityVisionTransformer', modalities=PAIR)
    model = dict(type='mmseg.EncoderDecoder', backbone=backbone, data_preprocessor=dict(mean=[0.0] * 4, std=[1.0] * 4))
    weights = {f'backbone.{key}': each for key, each in downstream().state_dict().items()}
    save(weights, tmp_path / 'run.pth', meta=dict(cfg=f'model = {model!r}'))
    with pytest.raises(ValueError, match='ModalityVisionTransformer takes several modalities, which no class'):
        export_backbone(tmp_path / 'run.pth', tmp_path / 'out.pth')
