"""What a file says of itself may be anything: it is read as far as it is plain, or refused in a sentence."""

import argparse
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch

from mmrs_ssl.engine.checkpoint_files import read_checkpoint
from mmrs_ssl.transfer import load_backbone
from mmrs_ssl.transfer.inspect import facts, inspect_checkpoint
from mmrs_ssl.transfer.networks import meta_of
from mmrs_ssl.transfer.own_checkpoints import evaluated_branch, read_model, read_settings
from mmrs_ssl.transfer.published_vits import restore_names, size_said
from mmrs_ssl.transfer.records import Record, read_record
from mmrs_ssl.transfer.sources import modality_of, read_file, read_strictly, why_refused
from tests.transfer.backbones import mine, same, save, weights_of
from tests.transfer.foreign import archive, mssdf_training

TEXTS = {
    'a list as a key': 'model = {[]: 1}',
    'signs': f'model = {"-" * 100_000}1',
    'attributes': f'model = {"a." * 100_000}a',
    'brackets': f'model = {"[" * 100_000}{"]" * 100_000}',
    'null': 'model = "\0"',
}


@pytest.mark.parametrize('text', TEXTS.values(), ids=TEXTS)
def test_configs_that_cannot_be_read(text, tmp_path):
    with pytest.raises(ValueError, match='is not plain data and is not read'):
        read_model(text)
    assert read_settings(text) == {}
    assert read_record(dict(meta=dict(cfg=text))) == Record()
    source = mine('resnet')
    path = save(source.state_dict(), tmp_path / 'run.pth', meta=dict(cfg=text))
    load_backbone(backbone := mine('resnet', seed=1), path)
    assert same(weights_of(backbone), weights_of(source))


def test_settings_beside_one_that_cannot_be_read():
    assert read_settings('a = {[]: 1}\nb = 2') == dict(b=2)


@pytest.mark.parametrize('branch', [3, 'both', ['student'], np.zeros(2), torch.zeros(2)])
def test_branches_that_there_are_not(branch, tmp_path):
    assert meta_of(dict(meta=dict(branch=branch, epoch=1))) == dict(epoch=1)
    with pytest.raises(ValueError, match=r'meta\.evaluated=.*, expected student or teacher'):
        evaluated_branch(dict(evaluated=branch))
    if isinstance(branch, int | str):
        path = save(mine('resnet').state_dict(), tmp_path / 'run.pth', meta=dict(branch=branch))
        assert inspect_checkpoint(path).branches == ['student']
        load_backbone(backbone := mine('resnet', seed=1), path)
        assert same(weights_of(backbone), weights_of(mine('resnet')))
    assert meta_of(dict(meta=dict(branch='teacher'))) == dict(branch='teacher')


@pytest.mark.parametrize(
    ('model', 'expected'),
    [
        (dict(backbone=dict(type='MAEViT', patch_cfg=3)), Record()),
        (dict(data_preprocessor=dict(mean=[10**400], std=[1])), Record()),
        (dict(data_preprocessor=dict(mean=[2], std=[1])), Record(mean=[2.0], std=[1.0], bands=1)),
        (dict(data_preprocessor=3), Record()),
        (dict(data_preprocessor=dict(modalities=[1])), Record()),
        (dict(data_preprocessor=dict(modalities=dict(a=3))), Record()),
    ],
)
def test_settings_of_other_kinds(model, expected):
    text = f'model = {model!r}'
    content = dict(meta=dict(cfg=text), state_dict={3: 1})
    assert read_record(content) == expected
    assert facts(content, content['meta'])['method'] is None
    with pytest.raises(ValueError, match=r"there is no modality 'b', the model has"):
        modality_of(content, pathlib.Path('run.pth'), None, 'b')


def test_small_files_that_are_large(tmp_path):
    """A deflated archive, also to the strict reader, which nothing else warns."""
    torch.save(dict(weight=torch.zeros(2**18)), tmp_path / 'plain.pth')
    small = zipfile.ZipFile(tmp_path / 'small.pth', 'w', zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / 'plain.pth') as plain, small:
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / 'small.pth').stat().st_size < 2**13
    for read in (read_strictly, read_file, read_checkpoint):
        with pytest.raises(ValueError, match=r'small\.pth is refused, nothing in it was run: its entries are compress'):
            read(tmp_path / 'small.pth')
    assert read_strictly(tmp_path / 'plain.pth')['weight'].shape == (2**18,)


@pytest.mark.parametrize('name', ['q_bias', 'v_bias'])
def test_numbers_that_are_repeated(name, tmp_path):
    """A terabyte of one number, which joining it with others would make."""
    mssdf_training(tmp_path / 'run.pth')
    content = torch.load(tmp_path / 'run.pth', weights_only=False)
    key = f'encoder.blocks.0.attn.{name}'
    content['model'][key] = torch.zeros(1).expand(2**40)
    torch.save(content, tmp_path / 'large.pth')
    with pytest.raises(ValueError, match=rf'blocks\.0\.attn\.{name} has {2**40} elements, but the file not so many'):
        load_backbone(mine('vit'), tmp_path / 'large.pth')
    parts = {f'blocks.0.attn.{part}_bias': torch.ones(4)[::2] for part in 'qv'}  # strides alone are fine
    assert restore_names(parts)[0]['blocks.0.attn.qkv.bias'].tolist() == [1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ('said', 'size'),
    [
        (64, 64),
        ('224', 224),
        ([224, 224], 224),
        (('192', 192), 192),
        ([96], 96),
        ([224, 192], None),
        ([3, 224, 224], None),
        ('224px', None),
        ('²', None),
        (True, None),
        (0, None),
        (10**9, None),
        ([], None),
        ([[1]], None),
        (224.0, None),
    ],
)
def test_sizes_that_are_said(said, size):
    for options in (dict(input_size=said), argparse.Namespace(input_size=said)):
        assert size_said(dict(args=options)) == size


def test_sizes_that_unknown_classes_say(tmp_path):
    archive(tmp_path / 'a.pth', b'}Vargs\ncother\nArgs\n)\x81}Vinput_size\nV96\nsbs.')
    archive(tmp_path / 'b.pth', b'}Vargs\ncother\nArgs\n)\x81Vinput_size\nI96\nss.')
    assert [size_said(read_file(tmp_path / name)) for name in ('a.pth', 'b.pth')] == [96, 96]


def test_reasons_name_what_is_asked_for(tmp_path):
    """Names that are no texts are none that it asks for."""
    archive(tmp_path / 'odd.pth', b'\x80\x04K\x01K\x02\x93.')
    for read in (read_strictly, read_file):
        with pytest.raises(ValueError, match=r'odd\.pth is refused, nothing in it was run: it is damaged'):
            read(tmp_path / 'odd.pth')
    text = 'Unsupported global: GLOBAL other.Name was not an allowed global'
    assert why_refused(pickle.UnpicklingError(text)).startswith('it asks for other.Name, which')
