"""What stands in no block and takes part in what all of them compute: refused under all its names, by all readers."""

import pytest
import torch

from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.convert import convert_checkpoint
from mmrs_ssl.transfer.key_maps import VIT_TIMM
from mmrs_ssl.transfer.placeless import INSIDE, reasons_of
from tests.transfer.backbones import COUNTERPARTS, SWIN, build, mine, same, save, under, weights_of
from tests.transfer.checkpoints import published_cmid, published_dino, published_mssdf

REASONS = dict.fromkeys(
    (
        'reg_token',
        'reg_tokens',
        'register_token',
        'register_tokens',
        'registers',
        'storage_tokens',
    ),
    'register tokens',
)
REASONS |= dict.fromkeys(('global_tokens', 'prompt_tokens', 'mem_tokens', 'memory_tokens'), 'further tokens')
REASONS |= dict.fromkeys(
    ('rope.freqs', 'rope_embed.periods', 'rope_freqs', 'freqs_cis', 'rotary_pos_emb.inv_freq'), 'rotary positions'
)
REASONS |= dict.fromkeys(('channel_embed', 'temporal_embed'), 'embeddings of more than places')
REASONS |= dict.fromkeys(('pos_embed_spatial', 'cls_pos'), 'positions beside those in pos_embed')
REASONS |= {'rel_pos_bias.relative_position_bias_table': 'relative positions', 'dist_token': "DeiT's second token"}
# Heads, and what pre-training alone has.
HARMLESS = (
    'mask_token',
    'mask_tokens',
    'mask_embed',
    'masked_embed',
    'decoder_pos_embed',
    'decoder_channel_embed',
    'decoder_register_tokens',
    'decoder_embed.weight',
    'predictor_pos_embed',
    'head.weight',
    'head_dist.weight',
    'fc.weight',
    'classifier.bias',
    'global_pool.weight',
    'regressor.weight',
    'memory.queue',
)


def models():
    """One of each family, mmsegmentation's where it has one."""
    return build('mmseg', COUNTERPARTS['vit']), build('mmseg', SWIN), mine('resnet'), mine('convnext')


def test_registers_and_their_like_are_refused_whatever_they_are_called(tmp_path):
    for model in models():
        before = weights_of(model)
        extra = {name: torch.full((1, 4, 8), 0.5) for name in REASONS}
        with pytest.raises(ValueError, match=f'no place for {len(extra)} weights of the backbone'):
            load_backbone(model, save(before | extra, tmp_path / 'all.pth'))
        for name, reason in REASONS.items():
            (line,) = reasons_of([name], [])
            assert line.startswith(f'the file has {reason}')
        assert same(weights_of(model), before)
    assert [name for name in REASONS if not INSIDE.fullmatch(name)] == []


def test_what_pre_training_alone_has_needs_no_place(tmp_path):
    for model in models():
        extra = {name: torch.full((1, 4, 8), 0.5) for name in HARMLESS}
        report = load_backbone(model, save(weights_of(model) | extra, tmp_path / 'all.pth'))
        assert set(report.ignored) == set(HARMLESS)


@pytest.mark.parametrize(
    ('name', 'place'),
    [
        ('reg_token', 'teacher'),
        ('register_tokens', 'teacher'),
        ('storage_tokens', 'student'),
        ('dist_token', 'student'),
        ('rope.freqs', 'teacher'),
        ('rope_embed.periods', 'student'),
    ],
)
def test_converting_leaves_out_nothing_that_loading_refuses(name, place, tmp_path):
    published_dino(tmp_path / 'dino.pth', 'vit')
    content = torch.load(tmp_path / 'dino.pth', weights_only=False)
    content[place][f'{"module." if place == "student" else ""}backbone.{name}'] = torch.ones(1, 4, 64)
    torch.save(content, tmp_path / 'more.pth')
    with pytest.raises(ValueError, match=rf'more\.pth \({place}\) has {REASONS[name]}.* \({name}\), which no file'):
        convert_checkpoint(tmp_path / 'more.pth', tmp_path / 'out.pth', 'mmrs')
    assert not (tmp_path / 'out.pth').exists()


def test_converting_this_projects_files_does_not_either(tmp_path):
    weights = under('backbone.', mine('vit').state_dict()) | {'backbone.registers': torch.ones(1, 4, 64)}
    path = save(weights, tmp_path / 'run.pth', meta=dict(method='mmrs_ssl.MSSDF'))
    with pytest.raises(ValueError, match=r'has register tokens.* \(registers\)'):
        convert_checkpoint(path, tmp_path / 'out.pth', 'mssdf')


def test_names_that_are_no_strings_are_told(tmp_path):
    for publish in (lambda path: published_cmid(path, 'resnet'), published_mssdf):
        publish(tmp_path / 'file.pth')
        content = torch.load(tmp_path / 'file.pth', weights_only=True)
        torch.save(content | {3: 'three', None: 1}, tmp_path / 'file.pth')
        left_out = convert_checkpoint(tmp_path / 'file.pth', tmp_path / 'out.pth', 'mmrs').left_out
        assert {'3', 'None'} <= set(left_out)


@pytest.mark.parametrize(
    ('what', 'noted'),
    [('gamma_1', True), ('q_bias', True), ('q_bias, sines', False), ('ls1.gamma', False), ('', False)],
)
def test_rotary_positions_that_no_weight_shows_are_noted(what, noted, tmp_path):
    """EVA's names, as timm's Perception Encoders have them, beside learned positions."""
    scaled = what in ('gamma_1', 'ls1.gamma')
    source, target = (mine('vit', seed, layer_scale_init_value=0.1 if scaled else 0.0) for seed in (0, 1))
    weights = VIT_TIMM.from_mmpretrain(weights_of(source))
    if what == 'gamma_1':
        weights = {k.replace('ls1.gamma', 'gamma_1').replace('ls2.gamma', 'gamma_2'): w for k, w in weights.items()}
    if what == 'q_bias, sines':  # MSSDF's
        del weights['pos_embed']
    if what.startswith('q_bias'):
        for key in [key for key in weights if key.endswith('qkv.bias')]:
            bias, block = weights.pop(key), key.removesuffix('qkv.bias')
            weights |= {f'{block}q_bias': bias[:64].clone(), f'{block}v_bias': bias[128:].clone()}
    notes = load_backbone(target, save(weights, tmp_path / 'file.pth')).notes
    assert ['by rotary positions, which the file does not tell' in note for note in notes] == [True] * noted
