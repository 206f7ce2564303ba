"""Networks of the libraries that are none of mine, or mine of reference: refused, or said, and never passed over."""

import pytest
import timm.models.deit
import timm.models.eva
import torch
from mmengine.logging import MMLogger

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.export import export_backbone
from mmrs_ssl.transfer.targets import remarks
from tests.transfer.backbones import build, mine, same, scramble, weights_of
from tests.transfer.checkpoints import training
from tests.transfer.references import (
    DEPTHS,
    PAIRS,
    deviation,
    features,
    images,
    swin_changes,
    timm_convnext_of,
    timm_resnet_of,
    timm_swin_of,
    timm_vit_of,
    torchvision_swin,
)
from tests.transfer.test_real_downstream import CASES

EXACT = 1e-10


@pytest.fixture
def log(tmp_path):
    """What is printed while a test runs."""
    MMLogger.get_instance(f'test_{tmp_path.name}', log_file=str(tmp_path / 'log.txt'))
    return lambda: (tmp_path / 'log.txt').read_text()


def distilled(bands):
    """timm's ViT with a second token."""
    sizes = dict(img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=5)
    return timm.models.deit.VisionTransformerDistilled(in_chans=bands, **sizes)


R18 = PAIRS['timm, ResNet of basic blocks']
VIT = PAIRS['timm, ViT']
SWIN = PAIRS['timm, Swin']


@pytest.mark.parametrize(
    ('reference', 'like', 'message'),
    [
        (
            timm_resnet_of('BasicBlock', (2, 2, 2, 2), stem_type='deep', stem_width=32),
            R18,
            r'missing +1  conv1\.weight',
        ),
        (timm_resnet_of('BasicBlock', DEPTHS, avg_down=True), R18, r'missing +\d+  layer1\.0\.downsample\.0'),
        (timm_resnet_of('BasicBlock', (2, 2, 2, 3)), R18, r'of a block that the model has not'),
        (timm_vit_of(reg_tokens=4), VIT, r'mismatch +1  pos_embed \(20 positions are no square'),
        (timm_vit_of(pos_embed='none'), VIT, r'missing +1  pos_embed'),
        (timm_vit_of(global_pool='avg'), VIT, r'missing +2  ln1\.weight'),
        (timm_vit_of(qkv_bias=False), VIT, r'missing +2  layers\.0\.attn\.qkv\.bias'),
        (timm_vit_of(class_token=False, global_pool='avg', fc_norm=False), VIT, r'missing +1  cls_token'),
        (timm_vit_of(patch_size=8), VIT, r'mismatch +1  patch_embed\.projection\.weight'),
        (distilled, VIT, r'mismatch +1  pos_embed \(17 positions are no square'),
        (timm_swin_of((64, 64), window_size=2, depths=(2, 2, 3, 2)), SWIN, r'of a block that the model has not'),
        (timm_convnext_of(head_norm_first=True), PAIRS['timm, ConvNeXt'], r'missing +2  norm3\.weight'),
        (timm_convnext_of(ls_init_value=None), PAIRS['timm, ConvNeXt'], r'missing +5  stages\.0\.0\.gamma'),
    ],
)
def test_networks_that_are_none_of_ours_are_refused(reference, like, message, tmp_path):
    backbone = like.backbone()
    before = weights_of(backbone)
    torch.save(scramble(reference(3), 0).state_dict(), tmp_path / 'reference.pth')
    with pytest.raises(ValueError, match=message):
        load_backbone(backbone, tmp_path / 'reference.pth')
    assert same(weights_of(backbone), before)


NO_TOKEN = dict(with_cls_token=False)
WITHOUT_PLACE = {
    'qk norm': (timm_vit_of(qk_norm=True), VIT, {}, 'blocks.0.attn.q_norm.weight', 'QK-norm'),
    'biases of qkv': (timm_vit_of(), VIT, dict(qkv_bias=False), 'blocks.0.attn.qkv.bias', 'qkv_bias=True'),
    'layer scale': (timm_vit_of(init_values=0.1), VIT, {}, 'blocks.0.ls1.gamma', 'layer_scale_init_value above 0'),
    'class token': (timm_vit_of(), VIT, NO_TOKEN, 'cls_token', 'with_cls_token=True'),
    'class token without a position': (
        timm_vit_of(no_embed_class=True),
        VIT,
        NO_TOKEN,
        'cls_token',
        'with_cls_token=True',
    ),
    'registers': (timm_vit_of(reg_tokens=4, no_embed_class=True), VIT, {}, 'reg_token', 'register tokens'),
    'registers with positions': (timm_vit_of(reg_tokens=4), VIT, {}, 'reg_token', 'register tokens'),
    'a second token': (distilled, VIT, {}, 'dist_token', "DeiT's second token"),
    'norm before': (
        timm_vit_of(pre_norm=True),
        VIT,
        dict(patch_cfg=dict(padding=0, bias=False)),
        'norm_pre.weight',
        'pre_norm=True',
    ),
    'norms within': (timm_vit_of(scale_attn_norm=True), VIT, {}, 'blocks.0.attn.norm.weight', ''),
    'squeeze and excitation': (
        timm_resnet_of('BasicBlock', DEPTHS, block_args=dict(attn_layer='se')),
        R18,
        {},
        'layer1.0.se.fc1.weight',
        '',
    ),
    'layer scale of ConvNeXt': (
        timm_convnext_of(),
        PAIRS['timm, ConvNeXt'],
        dict(layer_scale_init_value=0.0),
        'stages.0.blocks.0.gamma',
        'layer_scale_init_value above 0',
    ),
}


@pytest.mark.parametrize('what', WITHOUT_PLACE)
def test_weights_that_change_what_others_compute_are_not_left_out(what, tmp_path):
    reference, like, changes, name, reason = WITHOUT_PLACE[what]
    backbone = like.backbone(**changes)
    before = weights_of(backbone)
    torch.save(scramble(reference(3), 0).state_dict(), tmp_path / 'reference.pth')
    with pytest.raises(ValueError, match='the model has no place for') as error:
        load_backbone(backbone, tmp_path / 'reference.pth')
    rows = [line.strip() for line in str(error.value).splitlines()]
    (row,) = [row for row in rows if row.startswith('unplaced')]
    assert name in row
    assert any(row.startswith('why: the file has') and reason in row for row in rows) or not reason
    assert same(weights_of(backbone), before)


def test_positions_of_swin_that_the_model_has_not(tmp_path):
    source, target = mine('swin', use_abs_pos_embed=True), mine('swin', seed=1)
    torch.save(source.state_dict(), tmp_path / 'mine.pth')
    with pytest.raises(ValueError, match=r'unplaced +1  absolute_pos_embed\n.*use_abs_pos_embed=True'):
        load_backbone(target, tmp_path / 'mine.pth')


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(use_abs_pos_emb=False, use_rot_pos_emb=True, attn_type='rope'), 'which no class of OpenMMLab does'),
        (dict(use_abs_pos_emb=False, use_rot_pos_emb=True, num_reg_tokens=4, init_values=0.1), 'register tokens'),
        (
            dict(use_rot_pos_emb=True, rope_type='mixed', attn_type='rope', ref_feat_shape=(4, 4)),
            'the file has rotary positions',
        ),
        (dict(init_values=0.1), 'the file has LayerScale'),
        (dict(scale_attn_inner=True), 'no place for'),
    ],
)
def test_the_eva_of_timm_and_dinov3_are_refused(options, reason, tmp_path):
    """They have ViT's names."""
    sizes = dict(img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=5)
    network = scramble(timm.models.eva.Eva(**sizes, **options), 0)
    backbone = VIT.backbone()
    before = weights_of(backbone)
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    with pytest.raises(ValueError, match=reason):
        load_backbone(backbone, tmp_path / 'reference.pth')
    assert same(weights_of(backbone), before)


@pytest.mark.parametrize(
    ('name', 'shape', 'reason'),
    [
        ('register_tokens', (1, 4, 32), 'register tokens'),
        ('storage_tokens', (1, 4, 32), 'register tokens'),
        ('rope_embed.periods', (4,), 'rotary positions'),
        ('blocks.0.attn.qkv.bias_mask', (96,), 'no place for 1 weights'),
        ('blocks.0.mlp.norm.weight', (64,), 'no place for 1 weights'),  # a name that no map has
    ],
)
def test_what_dinov2_and_dinov3_add_to_timms_names_is_refused(name, shape, reason, tmp_path):
    weights = VIT.network().state_dict() | {'mask_token': torch.zeros(1, 32), name: torch.ones(shape)}
    torch.save(weights, tmp_path / 'reference.pth')
    with pytest.raises(ValueError, match=reason):
        load_backbone(VIT.backbone(), tmp_path / 'reference.pth')


# What weights do not show


SMALL = {
    'timm': SWIN,
    'torchvision': PAIRS['torchvision, Swin'],
}


@pytest.mark.parametrize('name', SMALL)
def test_small_maps_of_swin(name, log, tmp_path):
    """The last map is a single window, which the libraries do not shift; OpenMMLab does where it pads small maps."""
    pair = SMALL[name]
    network = pair.network()
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    backbones = [pair.backbone(pad_small_map=True)]
    backbones += [build(library, dict(CASES['torchvision, Swin'][0])) for library in ('mmseg', 'mmdet')]
    for backbone in backbones:
        (note,) = load_backbone(backbone, tmp_path / 'reference.pth').notes
        assert note.startswith(
            f'on maps no larger than a window Swin of {name} attends to the whole map, this model to'
        )
        assert deviation(backbone, network, pair.image()) > 0.1
        larger = images(3, (128, 192))
        if name == 'torchvision':  # timm's is made for one size
            assert deviation(backbone, network, larger) < EXACT
    assert f'  note: {note}' in log()
    plain = pair.backbone(seed=2)
    assert not load_backbone(plain, tmp_path / 'reference.pth').notes
    assert deviation(plain, network, pair.image()) < EXACT


def test_the_eps_of_norms(log, tmp_path):
    """mmseg's ViT has another one by default than the program that the weights come from."""
    name = 'timm, ViT of oblong images'
    network, (config, size) = PAIRS[name].network(), CASES[name]
    torch.save(network.state_dict(), tmp_path / 'reference.pth')
    right, other = build('mmseg', config), build('mmseg', config, norm_cfg=dict(type='LN'))
    assert load_backbone(right, tmp_path / 'reference.pth').notes == []
    (note,) = load_backbone(other, tmp_path / 'reference.pth').notes
    assert note == "the norms' eps: 1e-05; of ViT of timm and DINO it is 1e-06 by default"
    assert f'  note: {note}' in log()
    assert deviation(other, right, images(13, size)) > 1e-8
    torch.save(dict(state_dict=other.state_dict()), tmp_path / 'mmseg.pth')
    assert load_backbone(right, tmp_path / 'mmseg.pth').notes == []  # whose own eps may have been any


@pytest.mark.parametrize(
    ('family', 'changes', 'file_format', 'message'),
    [
        ('vit', dict(qkv_bias=False), 'torchvision', r'always has weights like layers\.0\.attn\.qkv\.bias'),
        ('vit', NO_TOKEN, 'torchvision', 'always has weights like cls_token'),
        ('vit', dict(final_norm=False), 'torchvision', r'always has weights like ln1\.weight'),
        ('vit', dict(out_type='avg_featmap'), 'timm', 'before or after it averages, this backbone in both places'),
        ('convnext', dict(layer_scale_init_value=0.0), 'torchvision', r'always has weights like stages\.0\.0\.gamma'),
        ('resnet', dict(depth=50, style='caffe'), 'timm', "has nothing like style='caffe'"),
        ('resnet', dict(depth=50, style='caffe'), 'torchvision', "has nothing like style='caffe'"),
        ('resnet', dict(strides=(1, 2, 2, 1)), 'timm', r'has nothing like strides=\[1, 2, 2, 1\]|\(1, 2, 2, 1\)'),
        ('resnet', dict(dilations=(1, 1, 1, 2)), 'torchvision', 'has nothing like dilations='),
    ],
)
def test_a_backbone_that_a_library_has_not_is_refused(family, changes, file_format, message, tmp_path):
    """Though every one of its weights has a name there: loaded with strict=False it would compute something else."""
    path, _, _ = training(tmp_path / 'run.pth', family, **changes)
    with pytest.raises(ValueError, match=message):
        export_backbone(path, tmp_path / 'out.pth', file_format=file_format)
    assert not (tmp_path / 'out.pth').exists()


def test_caffes_style_is_that_of_bottlenecks(tmp_path):
    """A ResNet of basic blocks has none."""
    changes = {**R18.changes, 'style': 'caffe'}
    path, student, _ = training(tmp_path / 'run.pth', 'resnet', **changes)
    export_backbone(path, tmp_path / 'out.pth', file_format='timm')
    network = R18.network()
    network.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=False)
    assert deviation(network, student, R18.image()) < EXACT


@pytest.mark.parametrize(
    ('family', 'changes', 'options', 'remark'),
    [
        (
            'swin',
            dict(pad_small_map=True),
            ('--format', 'torchvision'),
            'the whole map, pre-training did to shifted',
        ),
        ('swin', dict(pad_small_map=True), ('--format', 'timm'), 'the whole map, pre-training did to shifted'),
        (
            'swin',
            dict(pad_small_map=False),
            ('--for', 'mmseg'),
            'shifted windows of it, pre-training did to the',
        ),
        ('convnext', dict(gap_before_final_norm=False), ('--format', 'timm'), "timm's last norm comes after"),
        ('swin', dict(pad_small_map=False), ('--format', 'timm'), None),
        ('swin', dict(pad_small_map=True), ('--for', 'mmdet'), None),
        ('swin', dict(pad_small_map=False, use_abs_pos_embed=True), ('--for', 'mmdet'), None),  # mmpretrain's class
        ('convnext', dict(gap_before_final_norm=True), ('--format', 'torchvision'), None),
        ('resnet', {}, ('--format', 'timm'), None),
    ],
)
def test_the_export_says_what_its_target_computes_otherwise(family, changes, options, remark, run_tool, tmp_path):
    path, _, _ = training(tmp_path / 'run.pth', family, **changes)
    code, printed = run_tool('export_backbone.py', path, tmp_path / 'out.pth', *options)
    assert code == 0, printed
    notes = [line for line in printed.splitlines() if line.startswith('# Note: ')]
    assert len(notes) == (remark is not None)
    assert all(remark in note for note in notes)


def test_nothing_is_said_of_what_is_so_by_default():
    for library in ('timm', 'torchvision', 'mmpretrain'):
        assert remarks(dict(type='mmpretrain.ConvNeXt'), library) == []
        assert remarks(dict(type='SwinTransformer'), library) == []


def test_the_remark_on_small_maps_is_true(tmp_path):
    """Pre-trained with padded small maps, in torchvision's: other features on them, the same on larger ones."""
    changes = {**swin_changes(2), 'pad_small_map': True}
    path, student, _ = training(tmp_path / 'run.pth', 'swin', **changes)
    export_backbone(path, tmp_path / 'out.pth', file_format='torchvision')
    network = scramble(torchvision_swin(2, DEPTHS)(3), 5)
    network.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=False)
    assert deviation(network, student, images(3, (64, 64))) > 0.1
    assert deviation(network, student, images(3, (128, 192))) < EXACT


def test_the_remark_on_convnexts_last_norm_is_true(tmp_path):
    """Before it averages, or after."""
    pair = PAIRS['timm, ConvNeXt']
    changes = {**pair.changes, 'gap_before_final_norm': False}
    path, student, _ = training(tmp_path / 'run.pth', 'convnext', **changes)
    export_backbone(path, tmp_path / 'out.pth', file_format='timm')
    network = pair.network()
    network.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=False)
    averaged = features(student, pair.image()).mean((2, 3))
    assert (averaged - features(network, pair.image())).abs().max() > 0.01 * averaged.std()
    student.gap_before_final_norm = True
    assert deviation(student, network, pair.image()) < EXACT
