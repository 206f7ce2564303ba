"""Published programs' files in their exact forms: they load, compute what the program computes, and convert."""

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmrs_ssl.transfer import key_maps, load_backbone
from mmrs_ssl.transfer.convert import UNKNOWN, convert_checkpoint
from mmrs_ssl.transfer.inspect import inspect_checkpoint
from mmrs_ssl.transfer.published_vits import add_positions, restore_names
from mmrs_ssl.transfer.sources import read_backbone
from tests.transfer.backbones import (
    agree,
    counterpart,
    last_map,
    mine,
    same,
    save,
    scramble,
    torchvisions,
    under,
    weights_of,
)
from tests.transfer.foreign import (
    MssdfEncoder,
    cmid_training,
    dino_head,
    dino_names,
    dino_training,
    modules,
    mssdf_training,
    sines,
)


def image(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(8))


def loaded(path, backbone, **options):
    """A backbone with the weights of a file, of which all have a place."""
    report = load_backbone(backbone, path, **options)
    assert not report.unplaced
    return backbone


def names_of(network):
    """The state dict of torchvision's ResNet without its classifier."""
    return {key: value for key, value in network.state_dict().items() if not key.startswith('fc.')}


def convert_both_ways(tmp_path, to, run_tool=None):
    """Convert ``published.pth`` to this project's file, and that back; what was printed of the first."""
    printed = ''
    if run_tool is None:
        convert_checkpoint(tmp_path / 'published.pth', tmp_path / 'mine.pth', 'mmrs')
    else:
        code, printed = run_tool(
            'convert_checkpoint.py', tmp_path / 'published.pth', tmp_path / 'mine.pth', '--to', 'mmrs'
        )
        assert code == 0, printed
    convert_checkpoint(tmp_path / 'mine.pth', tmp_path / 'back.pth', to)
    return printed


@pytest.mark.parametrize('family', ['resnet', 'swin'])
def test_cmids_training_checkpoint(family, run_tool, tmp_path):
    student, teacher = cmid_training(tmp_path / 'published.pth', family)
    agree(loaded(tmp_path / 'published.pth', mine(family, seed=2)), student, image(), 1e-6)
    agree(loaded(tmp_path / 'published.pth', mine(family, seed=2), branch='teacher'), teacher, image(), 1e-6)
    MMLogger.get_instance(f'test_{tmp_path.name}', log_file=str(tmp_path / 'log.txt'))
    code, said = run_tool('inspect_checkpoint.py', tmp_path / 'published.pth')
    assert code == 0, said
    said += (tmp_path / 'log.txt').read_text()
    for line in (
        'placeholders stand for objects of Exploring.utils.metric.MetricStroge, ',
        'program   CMID\n',
        'branches  student, teacher (here: the student)',
        "prefix    'online_encoder.model.' in 'model'",
        "beside    another backbone in 'branch_encoder.'",
        'epoch     199',
    ):
        assert line in said, line
    printed = convert_both_ways(tmp_path, 'cmid', run_tool)
    assert 'optimizer 1, metric_storage 1, hooks 1' in printed
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['model']
    expected = under('online_encoder.model.', student.state_dict()) | under('branch_encoder.', teacher.state_dict())
    assert same(back, expected)
    agree(loaded(tmp_path / 'mine.pth', mine(family, seed=2)), student, image(), 1e-6)


@pytest.mark.parametrize('family', ['resnet', 'swin', 'vit'])
def test_dino_mcs_training_checkpoint(family, tmp_path):
    """Launched by submitit; and its teacher alone, with and without its head, of which the same comes."""
    content, network = dino_training(tmp_path / 'published.pth', family)
    fresh = counterpart if family == 'swin' else mine
    agree(loaded(tmp_path / 'published.pth', fresh(family, 4)), network, image(), 1e-6)
    agree(
        loaded(tmp_path / 'published.pth', fresh(family, 4), branch='student'), dino_names(family, 0)[1], image(), 1e-6
    )
    convert_both_ways(tmp_path, 'dino-mc')
    agree(loaded(tmp_path / 'mine.pth', fresh(family, 4)), network, image(), 1e-6)
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    kept = {branch: {k: v for k, v in content[branch].items() if 'head.' not in k} for branch in ('student', 'teacher')}
    assert back.keys() == kept.keys()
    assert all(same(back[branch], kept[branch]) for branch in kept)

    torch.save(content['teacher'], tmp_path / 'published.pth')
    report = load_backbone(alone := fresh(family, 4), tmp_path / 'published.pth')
    agree(alone, network, image(), 1e-6)
    assert f'{tmp_path}/published.pth (teacher, ' in report.source
    assert report.ignored == [key for key in content['teacher'] if 'head.' in key]
    convert_both_ways(tmp_path, 'dino-mc')
    assert torch.load(tmp_path / 'mine.pth', weights_only=True)['meta']['evaluated'] == 'teacher'
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert back.keys() == {'teacher'}
    assert same(back['teacher'], kept['teacher'])
    assert inspect_checkpoint(tmp_path / 'published.pth').branches == ['teacher']

    torch.save(kept['teacher'], tmp_path / 'published.pth')
    agree(loaded(tmp_path / 'published.pth', fresh(family, 4)), network, image(), 1e-6)
    if family != 'resnet':  # OpenMMLab's files have the same names
        program = inspect_checkpoint(tmp_path / 'published.pth').program
        assert program == 'DINO-MC or DINO-TP, by its names alone'


@pytest.mark.parametrize('wrapped', [True, False])
def test_a_teacher_alone_may_be_wrapped(wrapped, tmp_path):
    """As it is where it has BatchNorm; the student alone has the same names, and the same weights are taken."""
    names, network = dino_names('resnet', 1)
    weights = under('module.' if wrapped else '', under('backbone.', names) | dino_head())
    torch.save(weights, tmp_path / 'alone.pth')
    for branch in (None, 'teacher', 'student'):
        agree(loaded(tmp_path / 'alone.pth', mine('resnet', 4), branch=branch), network, image(), 1e-6)


# MSSDF


def test_mssdfs_training_checkpoint(run_tool, tmp_path):
    encoder, teacher = mssdf_training(tmp_path / 'published.pth')
    assert torch.equal(encoder.sines, sines(16, 64))
    report = load_backbone(backbone := mine('vit', seed=2), tmp_path / 'published.pth')
    agree(backbone, encoder, image(), 1e-6)
    assert report.source.endswith(
        "(student, ViT of timm and DINO, names after 'encoder.' in 'model', not the backbone in 'ema_teacher.', "
        'position embeddings: 1-D sines of 16 patches)'
    )
    assert not report.unplaced
    agree(loaded(tmp_path / 'published.pth', mine('vit', seed=2), branch='teacher'), teacher, image(), 1e-6)
    found = inspect_checkpoint(tmp_path / 'published.pth')
    assert (found.program, found.branches, found.branch) == ('MSSDF', ['student', 'teacher'], 'student')

    printed = convert_both_ways(tmp_path, 'mssdf', run_tool)
    assert 'not in the file, computed as its program does: position embeddings: 1-D sines of 16 patches' in printed
    heads = ('encoder_to_decoder.* 1', 'mask1_token 1', 'decoder.* 2')
    left = ', '.join([f'{branch}: {name}' for branch in ('student', 'teacher') for name in heads])
    assert f'left out, no part of a backbone: {left}, optimizer 1, epoch 1, scaler 1, args 1\n' in printed
    for branch, network in (('student', encoder), ('teacher', teacher)):
        agree(loaded(tmp_path / 'mine.pth', mine('vit', seed=2), branch=branch), network, image(), 1e-6)
    network = mine('vit', seed=2)
    network.load_state_dict(torch.load(tmp_path / 'back.pth', weights_only=True), strict=True)
    agree(network, encoder, image(), 1e-6)


def test_mssdfs_encoder_alone(tmp_path):
    """Which says no size: the positions are computed for the model's, as the program does; or for 320 pixels."""
    for size in (64, 96):
        encoder = scramble(MssdfEncoder(size), 3)
        torch.save(encoder.state_dict(), tmp_path / 'published.pth')
        backbone = loaded(tmp_path / 'published.pth', mine('vit', seed=2, img_size=size))
        agree(backbone, encoder, image(size), 1e-6)
    convert_checkpoint(tmp_path / 'published.pth', tmp_path / 'mine.pth', 'mmrs')
    weights = torch.load(tmp_path / 'mine.pth', weights_only=True)['state_dict']
    positions = weights['backbone.pos_embed']
    assert torch.equal(positions[0, 0], encoder.cls_embed.weight[0])
    torch.testing.assert_close(positions[0, 1:], sines(400, 64))
    bias = weights['backbone.layers.1.attn.qkv.bias']
    attention = encoder.blocks[1].attn
    assert torch.equal(bias, torch.cat([attention.q_bias, torch.zeros(64), attention.v_bias]).detach())
    encoder = scramble(MssdfEncoder(320), 3)
    agree(loaded(tmp_path / 'mine.pth', mine('vit', seed=2, img_size=320)), encoder, image(320), 1e-6)


def test_sizes_that_a_file_says_are_resized(tmp_path):
    """The positions are those of the pre-training, brought to another grid as learned ones are."""
    mssdf_training(tmp_path / 'published.pth', size=96)
    report = load_backbone(mine('vit', seed=2), tmp_path / 'published.pth')
    assert report.adapted == {'pos_embed': '6x6 -> 4x4 patches'}
    assert report.source.endswith('1-D sines of 36 patches)')


def test_mssdf_with_what_a_model_has_not(tmp_path):
    """Factors of its layers' outputs have a place in a model with LayerScale alone, positions in one that has them."""
    encoder = scramble(MssdfEncoder(), 3)
    factors = {f'blocks.{n}.gamma_{k}': torch.full((64,), 0.1 * (n + k)) for n in (0, 1) for k in (1, 2)}
    torch.save(encoder.state_dict() | factors, tmp_path / 'published.pth')
    with pytest.raises(ValueError, match='LayerScale'):
        load_backbone(mine('vit'), tmp_path / 'published.pth')
    scaled = loaded(tmp_path / 'published.pth', mine('vit', seed=2, layer_scale_init_value=1.0))
    for n, block in enumerate(scaled.layers):
        assert torch.equal(block.attn.gamma1.weight.detach(), factors[f'blocks.{n}.gamma_1'])
        assert torch.equal(block.ffn.gamma2.weight.detach(), factors[f'blocks.{n}.gamma_2'])


def test_beit_is_left_as_it_is():
    """It has biases of queries and values, too, and relative positions that make it another network."""
    weights = {'blocks.0.attn.q_bias': torch.ones(2), 'blocks.0.attn.v_bias': torch.ones(2)}
    weights |= {'blocks.0.attn.qkv.weight': torch.ones(6, 2), 'cls_token': torch.ones(1, 1, 2)}
    others = (
        'rel_pos_bias.relative_position_bias_table',
        'blocks.0.attn.relative_position_bias_table',
        'rope.freqs_cos',
    )
    for name in others:
        assert restore_names(weights | {name: torch.ones(1)}) == (weights | {name: torch.ones(1)}, False)
    restored, computed = restore_names(weights)
    assert computed
    assert restored['blocks.0.attn.qkv.bias'].tolist() == [1, 1, 0, 0, 1, 1]
    learned = restore_names(weights | dict(pos_embed=torch.ones(1, 3, 2)))
    assert learned[0]['pos_embed'].tolist() == [[[1, 1]] * 3]
    assert not learned[1]
    assert add_positions(restored, 2)['pos_embed'][0, 0].tolist() == [0, 0]  # of a class token without one of its own


# Names and places of others


def test_secos_children_by_number(tmp_path):
    """A Lightning checkpoint: query and key encoders without a classifier, in a row; of lightly, too."""
    networks = [torchvisions('resnet', seed) for seed in (0, 1)]
    rows = [nn.Sequential(*list(network.children())[:-1], nn.Flatten()) for network in networks]
    weights = under('encoder_q.', rows[0].state_dict()) | under('encoder_k.', rows[1].state_dict())
    path = tmp_path / 'seco.ckpt'

    class AttributeDict(dict):
        """Of Lightning's parsing."""

    class ModelCheckpoint:
        """Of Lightning's callbacks, whose class is a key."""

    with modules({'pytorch_lightning.parsing': [AttributeDict], 'pytorch_lightning.callbacks': [ModelCheckpoint]}):
        options = dict(hyper_parameters=AttributeDict(lr=0.1), callbacks={ModelCheckpoint: dict(monitor='loss')})
        options['torch'] = torch.__version__
        heads = {'queue': torch.zeros(2), 'heads_q.0.0.weight': torch.zeros(1)}
        torch.save(dict(state_dict=weights | heads, **options), path)
    report = load_backbone(query := counterpart('resnet', 4), path)
    agree(query, networks[0], image(), 1e-6)
    assert (
        "(student, ResNet, children by number, names after 'encoder_q.', not the backbone in 'encoder_k.')"
        in report.source
    )
    key = read_backbone(path, UNKNOWN, 'teacher')
    assert key.prefix == 'encoder_k.'
    assert same(key.weights, dict(rows[1].state_dict()))
    path = save(under('backbone.', rows[1].state_dict()), tmp_path / 'lightly.pth')
    assert same(key.layout.to_mmpretrain(read_backbone(path, UNKNOWN).weights), names_of(networks[1]))
    torch.save(rows[0].state_dict(), tmp_path / 'row.pth')
    assert read_backbone(tmp_path / 'row.pth', UNKNOWN).layout is key_maps.RESNET_SEQUENTIAL


@pytest.mark.parametrize(
    ('student', 'teacher', 'evaluated'),
    [
        ('module.encoder_q.', 'module.encoder_k.', 'student'),
        ('module.base_encoder.', 'module.momentum_encoder.', 'student'),
        ('online_network.encoder.', 'target_network.encoder.', 'student'),
        ('model.online_encoder.net.', 'model.target_encoder.net.', 'student'),
        ('backbone.', 'backbone_momentum.', 'student'),
        ('student.backbone.', 'teacher.backbone.', 'teacher'),
        ('student_backbone.', 'teacher_backbone.', 'teacher'),
    ],
)
def test_pairs_in_one_dictionary(student, teacher, evaluated, tmp_path):
    networks = dict(student=mine('resnet'), teacher=mine('resnet', seed=1))
    weights = under(teacher, networks['teacher'].state_dict()) | under(student, networks['student'].state_dict())
    path = save(weights, tmp_path / 'pair.pth')
    for branch in (None, 'student', 'teacher'):
        backbone = mine('resnet', seed=2)
        report = load_backbone(backbone, path, branch=branch)
        assert same(weights_of(backbone), weights_of(networks[branch or evaluated]))
        other = student if (branch or evaluated) == 'teacher' else teacher
        assert f'({branch or evaluated}, ResNet, ' in report.source
        assert f'not the backbone in {other!r})' in report.source
    assert inspect_checkpoint(path).branches == ['student', 'teacher']


@pytest.mark.parametrize(
    ('plain', 'average'),
    [
        ('model', 'model_ema'),
        ('state_dict', 'state_dict_ema'),
        ('net', 'ema'),
        ('encoder', 'target_encoder'),
        ('model', 'teacher'),
    ],
)
def test_an_average_beside_a_network(plain, average, tmp_path):
    """It is taken, whichever comes first, and what is not taken is said."""
    networks = {plain: mine('resnet'), average: mine('resnet', seed=1)}
    for order in ((plain, average), (average, plain)):
        content = {name: under('module.', networks[name].state_dict()) for name in order}
        torch.save(dict(epoch=3, **content, optimizer=dict(state={})), tmp_path / 'two.pth')
        for branch, entry, other in ((None, average, plain), ('teacher', average, plain), ('student', plain, average)):
            backbone = mine('resnet', seed=2)
            report = load_backbone(backbone, tmp_path / 'two.pth', branch=branch)
            assert same(weights_of(backbone), weights_of(networks[entry]))
            assert f'not the backbone in the entry {other!r})' in report.source
    found = inspect_checkpoint(tmp_path / 'two.pth')
    assert (found.entry, found.branches) == (average, ['student', 'teacher'])
    torch.save({average: networks[average].state_dict()}, tmp_path / 'one.pth')
    for branch in (None, 'teacher'):
        assert same(
            weights_of(loaded(tmp_path / 'one.pth', mine('resnet', 2), branch=branch)), weights_of(networks[average])
        )
    with pytest.raises(ValueError, match=rf'one\.pth holds the average {average!r} alone, no student'):
        load_backbone(mine('resnet'), tmp_path / 'one.pth', branch='student')


def test_mmengines_average_is_in_its_state_dict(tmp_path):
    networks = [mine('resnet', seed) for seed in (0, 1)]
    content = dict(
        meta=dict(mmengine_version='0.10.7', epoch=1),
        state_dict=under('backbone.', networks[0].state_dict()),
        ema_state_dict=under('module.backbone.', networks[1].state_dict()),
    )
    torch.save(content, tmp_path / 'run.pth')
    backbone = mine('resnet', seed=2)
    report = load_backbone(backbone, tmp_path / 'run.pth')
    assert same(weights_of(backbone), weights_of(networks[0]))
    assert "not the backbone in 'ema_state_dict', which is not averaged)" in report.source


@pytest.mark.parametrize(
    ('entries', 'prefix'),
    [
        (('net',), ''),
        (('model_state_dict',), 'module.'),
        (('model_state',), 'model.'),
        (('network', 'state_dict'), 'backbone.'),
        (('module',), '_orig_mod.'),
        (('state_dict',), 'net.encoder.'),
    ],
)
def test_entries_of_many_names(entries, prefix, tmp_path):
    source = mine('vit')
    content = under(prefix, source.state_dict())
    for entry in reversed(entries):
        content = {entry: content, 'epoch': 3, 'optimizer_state_dict': {'a': torch.zeros(1)}}
    torch.save(content, tmp_path / 'other.pth')
    agree(loaded(tmp_path / 'other.pth', mine('vit', seed=1)), source, image(), 1e-6)
    found = inspect_checkpoint(tmp_path / 'other.pth')
    assert (found.entry, found.prefix, found.beside) == (entries[0], prefix, '')


def test_an_average_of_a_pair(tmp_path):
    """MSSDF's program may keep one of all its networks: the branch names the entry."""
    weights = {}
    for seed, entry in enumerate(('model', 'model_ema')):
        parts = (mine('resnet', 2 * seed + part) for part in (0, 1))
        weights[entry] = under('encoder.', next(parts).state_dict()) | under('ema_teacher.', next(parts).state_dict())
    torch.save(weights, tmp_path / 'four.pth')
    for branch, seed in ((None, 2), ('teacher', 2), ('student', 0)):
        backbone = mine('resnet', 9)
        report = load_backbone(backbone, tmp_path / 'four.pth', branch=branch)
        assert same(weights_of(backbone), weights_of(mine('resnet', seed)))
        assert "' and in 'ema_teacher.')" in report.source


def test_weights_in_a_class_of_dictionaries(tmp_path):
    """They are read as in a plain dictionary; of a whole model of unknown classes it is said what it is."""

    class Weights(dict):
        """Of another program."""

    class Model:
        """Of another program, pickled whole."""

    source = mine('vit')
    with modules({'other.parts': [Weights, Model]}):
        torch.save(dict(state_dict=Weights(source.state_dict())), tmp_path / 'weights.pth')
        model = Model()
        model.layers = [torch.ones(1)]
        torch.save(dict(model=model), tmp_path / 'model.pth')
    assert same(weights_of(loaded(tmp_path / 'weights.pth', mine('vit', 1))), weights_of(source))
    with pytest.raises(ValueError, match=r'model\.pth holds no weights but <other\.parts\.Model, not read>; expected'):
        load_backbone(mine('vit'), tmp_path / 'model.pth')


def test_several_networks_are_refused(tmp_path):
    content = {name: mine('resnet', seed).state_dict() for seed, name in enumerate(('first', 'second'))}
    torch.save(content, tmp_path / 'two.pth')
    with pytest.raises(ValueError, match="holds several backbones, in 'first', 'second': save one"):
        load_backbone(mine('resnet'), tmp_path / 'two.pth')
    with pytest.raises(ValueError, match=r"two\.pth holds several backbones, in 'first', 'second'"):
        inspect_checkpoint(tmp_path / 'two.pth')


def test_maps_are_of_what_was_loaded():
    """Else the comparisons above would show nothing."""
    assert not torch.equal(last_map(MssdfEncoder(), image()), last_map(scramble(MssdfEncoder(), 1), image()))
