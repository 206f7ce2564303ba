"""What weights do not show: told by the file, or by what its program does; refused, or a note, and never silent."""

import pytest
import torch

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.behavior import compare_behavior, settings_said
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.key_maps import RESNET, SWIN, VIT, VIT_MMSEG, VIT_TIMM
from tests.conftest import BACKBONES
from tests.transfer.backbones import COUNTERPARTS, build, last_map, mine, same, save, under, weights_of
from tests.transfer.backbones import SWIN as PLAIN_SWIN
from tests.transfer.checkpoints import training
from tests.transfer.references import PAIRS

ARCH = BACKBONES['vit'][0]['arch']
LIBRARIES = ('mmpretrain', 'mmseg', 'mmdet')
FORMS = [(library, 'training') for library in LIBRARIES] + [('mmpretrain', 'pth'), ('mmseg', 'safetensors')]


def model_of(library, family, seed=1, **changes):
    """A library's own class of a family; mmpretrain's in mmdetection, which has no ViT."""
    if library == 'mmpretrain' or (library, family) == ('mmdet', 'vit'):
        config = BACKBONES[family][0]
        return build(library, config, seed, **{'type': f'mmpretrain.{config["type"]}', **changes})
    return build(library, COUNTERPARTS[family], seed, **changes)


def written(form, folder, family, **changes):
    """A training checkpoint, or what is exported from one."""
    path, student, _ = training(folder / 'run.pth', family, **changes)
    if form == 'training':
        return path, student
    out = folder / f'out.{form}'
    export_backbone(path, out, file_format='safetensors' if form == 'safetensors' else 'openmmlab')
    return out, student


def refused(module, path, *messages):
    """Nothing is loaded, and the table says why."""
    before = weights_of(module)
    with pytest.raises(ValueError, match='nothing was loaded') as error:
        load_backbone(module, path)
    assert same(weights_of(module), before)
    for message in messages:
        assert message in str(error.value)


# Of ResNet


@pytest.mark.parametrize(('library', 'form'), FORMS)
def test_another_style_is_refused(library, form, tmp_path):
    """The stride is in the first convolution of a bottleneck, or in the second."""
    path, student = written(form, tmp_path, 'resnet', depth=50)
    caffe, right = (model_of(library, 'resnet', depth=50, style=style) for style in ('caffe', 'pytorch'))
    refused(
        caffe, path, 'differs: the style of its bottlenecks: caffe in the model, pytorch in pre-training', '(style)'
    )
    assert load_backbone(right, path).notes == []
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(last_map(right, image), last_map(student, image), rtol=1e-4, atol=1e-4)


def test_the_style_of_caffe_is_taken_where_the_file_says_it(tmp_path):
    path, _ = written('training', tmp_path, 'resnet', depth=50, style='caffe')
    refused(mine('resnet', depth=50), path, 'pytorch in the model, caffe in pre-training')
    assert load_backbone(mine('resnet', depth=50, style='caffe'), path).notes == []


def test_basic_blocks_have_no_style(tmp_path):
    path, _ = written('training', tmp_path, 'resnet')
    report = load_backbone(mine('resnet', style='caffe'), path)
    assert (report.differs, report.notes) == ([], [])


def test_a_file_that_says_no_style(tmp_path):
    """Whole networks of torchvision and timm have one style; others may be of either."""
    network = PAIRS['torchvision, wide ResNet']
    weights = network.network().state_dict()
    refused(network.backbone(style='caffe'), save(weights, tmp_path / 'whole.pth'), 'the style of its bottlenecks')
    bare = {key: value for key, value in weights.items() if not key.startswith('fc.')}
    (note,) = load_backbone(network.backbone(style='caffe'), save(bare, tmp_path / 'bare.pth')).notes
    assert note == 'the style of its bottlenecks: caffe; of ResNet it is pytorch by default'
    converted = bare | {'conv1.bias': torch.zeros(64)}  # as mmdetection's files of Caffe's networks have
    path = save(converted, tmp_path / 'caffe.pth')
    assert load_backbone(network.backbone(style='caffe'), path).notes == []
    (note,) = load_backbone(network.backbone(), path).notes
    assert note == 'the style of its bottlenecks: pytorch; of ResNet it is caffe by default'


@pytest.mark.parametrize('library', LIBRARIES)
def test_dilations_and_strides_change_on_purpose(library, tmp_path):
    path, _ = written('training', tmp_path, 'resnet')
    model = model_of(library, 'resnet', strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    assert load_backbone(model, path).notes == [
        'the strides of its stages: 1, 2, 1, 1; in pre-training it was 1, 2, 2, 2',
        'the dilations of its stages: 1, 1, 2, 4; in pre-training it was 1, 1, 1, 1',
    ]


def test_fewer_stages_are_no_other_strides(tmp_path):
    path, _ = written('training', tmp_path, 'resnet')
    model = mine('resnet', num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    assert load_backbone(model, path).notes == []


def test_other_convolutions_and_eps(tmp_path):
    path, _ = written('training', tmp_path, 'resnet')
    refused(mine('resnet', conv_cfg=dict(type='ConvWS')), path, 'ConvWS in the model, Conv2d in pre-training')
    same_kind = mine('resnet', conv_cfg=dict(type='Conv'))  # another name of it
    assert load_backbone(same_kind, path).notes == []
    model = mine('resnet', norm_cfg=dict(type='BN', eps=1e-3))
    assert load_backbone(model, path).notes == ["the norms' eps: 0.001; in pre-training it was 1e-05"]
    path, _ = written('training', tmp_path, 'resnet', norm_cfg=dict(type='BN', eps=1e-3))
    assert load_backbone(model, path).notes == []
    assert load_backbone(same_kind, path).notes == ["the norms' eps: 1e-05; in pre-training it was 0.001"]


def said_by(backbone, path):
    """A file of mmpretrain's own training, and the backbone in it."""
    source = build('mmpretrain', backbone)
    text = f'model = {dict(type="ImageClassifier", backbone=backbone)}'
    return save(under('backbone.', source.state_dict()), path, meta=dict(cfg=text))


@pytest.mark.parametrize('kind', ['ResNeXt', 'SEResNet', 'SEResNeXt'])
def test_the_kin_of_resnet_say_theirs_too(kind, tmp_path):
    groups = dict(groups=2, width_per_group=4) if 'NeXt' in kind else {}
    config = dict(type=kind, depth=50, stem_channels=8, base_channels=8, **groups)
    path = said_by(config, tmp_path / 'file.pth')
    refused(build('mmpretrain', config, 1, style='caffe'), path, 'caffe in the model, pytorch in pre-training')
    other = build('mmpretrain', config, 1, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    assert load_backbone(other, path).notes == [
        'the strides of its stages: 1, 2, 1, 1; in pre-training it was 1, 2, 2, 2',
        'the dilations of its stages: 1, 1, 2, 4; in pre-training it was 1, 1, 1, 1',
    ]
    assert load_backbone(build('mmpretrain', config, 1), path).notes == []


# Of ViT


@pytest.mark.filterwarnings('ignore:The `use_layer_scale` in')  # mmpretrain's DeiT3 itself
@pytest.mark.parametrize('kind', ['DeiT3', 'DistilledVisionTransformer'])
def test_the_kin_of_vit_say_their_heads(kind, tmp_path):
    config = dict(type=kind, arch=ARCH, img_size=64)
    path = said_by(config, tmp_path / 'file.pth')
    wrong, right = (build('mmpretrain', config, 1, arch=dict(ARCH, num_heads=heads)) for heads in (4, 2))
    refused(wrong, path, 'the number of attention heads: 4 in the model, 2 in pre-training')
    assert load_backbone(right, path).notes == []


@pytest.mark.parametrize(('library', 'form'), FORMS)
def test_another_number_of_heads_is_refused(library, form, tmp_path):
    path, student = written(form, tmp_path, 'vit')
    changes = dict(num_heads=4) if library == 'mmseg' else dict(arch=dict(ARCH, num_heads=4))
    wrong, right = model_of(library, 'vit', **changes), model_of(library, 'vit')
    refused(wrong, path, 'the number of attention heads: 4 in the model, 2 in pre-training', '(num_heads)')
    report = load_backbone(right, path)
    assert report.differs == []
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(last_map(right, image), last_map(student, image), rtol=1e-4, atol=1e-4)


def test_heads_of_mmsegs_own_checkpoints(tmp_path):
    """Whose config has the library's own arguments."""
    config = COUNTERPARTS['vit']
    source = build('mmseg', config)
    text = f'model = {dict(type="EncoderDecoder", backbone=config)}'
    path = save(under('backbone.', source.state_dict()), tmp_path / 'mmseg.pth', meta=dict(cfg=text))
    refused(mine('vit', arch=dict(ARCH, num_heads=8)), path, '8 in the model, 2 in pre-training')
    refused(build('mmseg', config, num_heads=1), path, '1 in the model, 2 in pre-training')
    assert load_backbone(mine('vit'), path).differs == []


def test_heads_of_a_layers_settings(tmp_path):
    path, _ = written('training', tmp_path, 'vit', layer_cfgs=dict(num_heads=8))
    refused(mine('vit'), path, '2 in the model, 8 in pre-training')
    assert load_backbone(mine('vit', arch=dict(ARCH, num_heads=8)), path).differs == []
    mixed = mine('vit', layer_cfgs=[dict(num_heads=8), dict(num_heads=4)])
    refused(mixed, path, '4, 8 in the model, 8 in pre-training')


@pytest.mark.parametrize(('heads', 'notes'), [(3, 0), (6, 1)])
def test_heads_of_published_vits_follow_from_the_width(heads, notes, tmp_path):
    arch = dict(embed_dims=192, num_layers=1, num_heads=heads, feedforward_channels=192)
    model = mine('vit', arch=arch)
    found = load_backbone(model, save(model.state_dict(), tmp_path / 'plain.pth')).notes
    expected = 'the number of attention heads: 6; of ViT of mmpretrain it is 3 by default'
    assert found == [expected] * notes


def test_another_activation(tmp_path):
    path, _ = written('training', tmp_path, 'vit')
    layers = {kind: dict(act_cfg=dict(type=kind)) for kind in ('ReLU', 'QuickGELU', 'GELU')}
    refused(mine('vit', layer_cfgs=layers['ReLU']), path, 'the activation: ReLU in the model, GELU in pre-training')
    assert load_backbone(mine('vit', layer_cfgs=layers['GELU']), path).notes == []
    nearly = mine('vit', layer_cfgs=dict(act_cfg=dict(type='GELU', approximate='tanh')))
    assert load_backbone(nearly, path).notes == ['the activation: GELU of tanh; in pre-training it was GELU']
    other, _ = written('training', tmp_path, 'vit', layer_cfgs=layers['ReLU'])
    refused(build('mmseg', COUNTERPARTS['vit']), other, 'the activation: GELU in the model, ReLU in pre-training')


def test_a_model_that_has_more_than_the_file(tmp_path):
    path, _ = written('training', tmp_path, 'vit')
    refused(mine('vit', layer_scale_init_value=0.1), path, 'why: the model has LayerScale, the file has not: ')
    refused(mine('vit', pre_norm=True), path, 'why: the model has a norm before the layers', 'pre_norm=True')
    path, _ = written('training', tmp_path, 'convnext')
    refused(mine('convnext', use_grn=True), path, 'why: the model has global response normalization')


def test_mmsegs_vit_that_drops_its_class_token(tmp_path):
    """It keeps the weight, so that all fit."""
    path, _ = written('training', tmp_path, 'vit')
    model = build('mmseg', COUNTERPARTS['vit'], with_cls_token=False)
    refused(model, path, 'attention to a class token: False in the model, True in pre-training')
    timms = VIT_TIMM.from_mmpretrain(weights_of(mine('vit')))
    refused(model, save(timms, tmp_path / 'timm.pth'), 'attention to a class token')
    source = build('mmseg', COUNTERPARTS['vit'])  # of which only the config would say it
    assert load_backbone(model, save(source.state_dict(), tmp_path / 'mmseg.pth')).differs == []


def test_padding_eps_and_stride_of_patches_are_notes(tmp_path):
    path, _ = written('training', tmp_path, 'vit')
    for model in (mine('vit', patch_cfg={}), build('mmseg', COUNTERPARTS['vit'])):
        (note,) = load_backbone(model, path).notes
        assert note == 'the padding of images that are no whole number of patches: corner; in pre-training it was 0'
    model = mine('vit', patch_cfg=dict(padding=0, stride=8), norm_cfg=dict(type='LN', eps=1e-5))
    assert load_backbone(model, path).notes == [
        "the norms' eps: 1e-05; in pre-training it was 1e-06",
        'the stride of patches: 8; in pre-training it was 16',
    ]


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('blocks.0.ls1.gamma', 'LayerScale'),
        ('blocks.0.attn.q_norm.weight', 'QK-norm'),
        ('reg_token', 'register tokens'),
        ('register_tokens', 'register tokens'),
    ],
)
def test_registers_layer_scale_and_norms_have_no_place_in_any_library(library, name, message, tmp_path):
    weights = VIT_TIMM.from_mmpretrain(weights_of(mine('vit'))) | {name: torch.full((1, 4, 64), 0.5)}
    refused(model_of(library, 'vit'), save(weights, tmp_path / 'timm.pth'), f'why: the file has {message}')


# Of Swin


def small_map_notes(record, model, tmp_path):
    path, *_ = training(tmp_path / 'run.pth', 'swin', **record)
    return load_backbone(model, path).notes


WHOLE, SHIFTED = dict(pad_small_map=False), dict(pad_small_map=True)


def padded(**changes):
    return mine('swin', 1, type='mmrs_ssl.PaddedSwinTransformer', **changes)


def test_small_maps_of_swin_as_the_file_says(tmp_path):
    """Of a file with the names of OpenMMLab nothing else tells."""
    text = 'on maps no larger than a window pre-training attends to {}, this model to {}: there the features are others'
    ways = ('the whole map', 'shifted windows of it')
    shifted, whole = [text.format(*ways)], [text.format(*ways[::-1])]
    for model in (mine('swin', **SHIFTED), build('mmdet', PLAIN_SWIN)):
        assert small_map_notes(WHOLE, model, tmp_path) == shifted
        assert small_map_notes(dict(SHIFTED, type='mmrs_ssl.PaddedSwinTransformer'), model, tmp_path) == shifted
        assert small_map_notes(SHIFTED, model, tmp_path) == []
    for model in (padded(), mine('swin', **WHOLE)):
        assert small_map_notes(SHIFTED, model, tmp_path) == whole
        assert small_map_notes(WHOLE, model, tmp_path) == []
        assert small_map_notes(dict(type='mmrs_ssl.PaddedSwinTransformer'), model, tmp_path) == []


def test_another_scale_of_attention(tmp_path):
    path, *_ = training(tmp_path / 'run.pth', 'swin')
    refused(build('mmdet', PLAIN_SWIN, qk_scale=0.5), path, 'the scale of attention', '1.0 in pre-training')


# Of anyone


def test_configs_of_anyone_say_what_can_be_read():
    """No class that is not known, nothing that is built, and no error of what is no setting."""
    for settings in (
        dict(type='os.system', depth=50),
        dict(type='ResNet', style=3, strides='ab', conv_cfg=[1], norm_cfg='BN'),
        dict(type='mmpretrain.ResNet'),
    ):
        settings_said(settings, RESNET)
    assert settings_said(dict(type='os.system'), RESNET) == {}
    assert settings_said(dict(type='ResNet', strides='ab'), RESNET).keys() == {
        'style',
        'dilations',
        'convolution',
        'eps',
    }
    for arch in ('nowhere', 3, dict(num_heads=['a']), None, ['base']):
        for others in (3, [2], dict(num_heads=[{}], padding=[{}, 'a'], stride=[8, {}], act_cfg=dict(type=[1]))):
            settings = dict(type='VisionTransformer', arch=arch, layer_cfgs=others, patch_cfg=others)
            compare_behavior(mine('vit'), VIT, {}, settings)
    assert settings_said(dict(type='VisionTransformer'), VIT)['heads'] == 12
    assert settings_said(dict(type='MoCoV3ViT', arch='mocov3-small'), VIT)['heads'] == 12
    assert settings_said(dict(type='mmpretrain.DeiT3', arch='medium'), VIT)['heads'] == 8
    assert settings_said(dict(type='DistilledVisionTransformer', arch='deit-base'), VIT)['heads'] == 12
    assert settings_said(dict(type='VisionTransformer', num_heads=3), VIT_MMSEG)['heads'] == 3
    assert 'small_maps' not in settings_said(dict(type='SwinTransformer'), SWIN)
