"""Names and keys of plain data that other programs keep beside their weights: read, and nothing of them is called."""

import collections
import decimal
import fractions
import functools
import http
import os
import pathlib
import pickle
import random
import typing
import uuid

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from mmrs_ssl.transfer import foreign_pickles
from mmrs_ssl.transfer.foreign_names import Name, Placeholder, RefusedError
from mmrs_ssl.transfer.foreign_pickles import read_foreign
from mmrs_ssl.transfer.sources import read_file, tensors_of
from tests.transfer.foreign import archive, write
from tests.transfer.test_safe_types import Call

OBJECTS = [
    functools.partial(int, base=2),
    uuid.UUID(int=3),
    decimal.Decimal('1.5'),
    fractions.Fraction(1, 3),
    collections.UserDict(a=1),
    collections.ChainMap(dict(a=1)),
    http.HTTPStatus.OK,
    random.Random(0),
    np.random.RandomState(0),
    np.random.default_rng(0),
    np.random.MT19937(0),
    type(None),
]


@pytest.mark.parametrize('content', OBJECTS, ids=lambda content: type(content).__name__)
def test_objects_of_python_and_numpy_are_placeholders(content, tmp_path):
    for protocol in (2, 4):
        archive(tmp_path / 'data.pth', pickle.dumps(dict(found=content, epoch=3), protocol))
        found = read_file(tmp_path / 'data.pth')
        assert type(found['found']) is Placeholder
        assert found['epoch'] == 3


def test_names_and_texts_are_data(tmp_path):
    names = [typing.Any, type, ..., NotImplemented, np.float32, np.bool_, np.str_]
    data = [np.str_('aü'), np.str_(''), np.bytes_(b'ab'), bytearray(b'\x00\xff'), bytearray()]
    for protocol in (2, 4):
        content = dict(names=names, data=data, texts=np.array(['a', 'bc']))
        archive(tmp_path / 'data.pth', pickle.dumps(content, protocol))
        found, _ = read_foreign(tmp_path / 'data.pth')
        expected = ['typing.Any', 'builtins.type', 'builtins.Ellipsis', 'builtins.NotImplemented', 'numpy.float32']
        expected += [f'numpy.{np.bool_.__name__}', 'numpy.str_']
        assert found['names'] == [Name(text) for text in expected]
        assert [(type(value), value) for value in found['data']] == [(type(value), value) for value in data]
        assert found['texts'].tolist() == ['a', 'bc']


def test_what_they_are_made_of_is_not_called(tmp_path):
    command = f'touch {tmp_path}/marker'
    for content in (functools.partial(os.system, command), Call(functools.partial(os.system, command))):
        with pytest.raises(RefusedError, match=r'asks for posix\.system, which is no plain data'):
            read_foreign(write(tmp_path / 'crafted.pth', content))
    made = Call(type, 'Kind', (dict,), {}), Call(uuid.UUID, 'no number'), Call(functools.partial(print), 'x')
    assert type(read_foreign(write(tmp_path / 'type.pth', made[0]))[0]) is Placeholder
    assert type(read_foreign(write(tmp_path / 'uuid.pth', made[1]))[0]) is Placeholder  # Python's own would raise
    with pytest.raises(RefusedError, match=r'asks for builtins\.print'):
        read_foreign(write(tmp_path / 'crafted.pth', made[2]))
    for args in ((10**9,), ([1, 2],), ('a', 'utf-8')):
        with pytest.raises(RefusedError, match='of something else'):
            read_foreign(write(tmp_path / 'crafted.pth', Call(bytearray, *args)))
    assert not (tmp_path / 'marker').exists()


def test_keys_that_are_plain(tmp_path):
    content = {((1, 'a'), (2, ())): 1, frozenset([1, 2]): 2, torch.float32: 3, 1j: 4, (frozenset([(1, 2)]),): 5}
    content[collections.OrderedDict] = 6
    found, _ = read_foreign(write(tmp_path / 'keys.pth', [content, pathlib.PosixPath('/')]))
    assert list(found[0].items())[:5] == list(content.items())[:5]
    assert list(found[0].values())[5] == 6


def test_keys_come_to_an_end(tmp_path):
    """A tuple of itself twice, and so on, has 2**n parts; one in one in one overruns what hashes it."""
    for pickled in (b'}I1\n' + b'2\x86' * 60 + b'I1\ns.', b'}I1\n' + b'\x85' * 9 + b'I1\ns.'):
        archive(tmp_path / 'crafted.pth', pickled)
        with pytest.raises(RefusedError, match='a tuple in it is a key'):
            read_foreign(tmp_path / 'crafted.pth')
    wide = b'}(' + b'I1\n' * 5000 + b't'
    archive(tmp_path / 'crafted.pth', wide + b'I1\ns.')
    with pytest.raises(RefusedError, match='a tuple in it is a key'):
        read_foreign(tmp_path / 'crafted.pth')


def test_a_config_of_mmengine_has_its_entries(tmp_path):
    weights = ConfigDict(weight=torch.ones(2))
    content = dict(state_dict=weights, meta=ConfigDict(model=dict(backbone=dict(num_heads=8)), names=['a']))
    torch.save(content, tmp_path / 'config.pth')
    found = read_file(tmp_path / 'config.pth')
    assert found['meta']['model']['backbone']['num_heads'] == 8
    assert found['meta']['names'] == ['a']
    assert tensors_of(found, 'config.pth')['weight'].tolist() == [1, 1]


@pytest.mark.parametrize('made', [b'cother\nDict\nh\x00\x85R', b'cother\nDict\nh\x00\x85\x81'])
def test_copies_of_entries_are_counted(made, tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_pickles, '_COPIED', 2**16)
    pickled = b'](}(' + b''.join(b'I%d\nI1\n' % i for i in range(3000)) + b'uq\x00' + made * 3000 + b'e.'
    archive(tmp_path / 'crafted.pth', pickled)
    with pytest.raises(RefusedError, match='copies the same values again and again'):
        read_foreign(tmp_path / 'crafted.pth')


def test_a_file_may_be_called_code(tmp_path):
    """torch gives the folder within a file the file's name."""
    for name in ('code.pth', 'code', 'constants.pkl.pth'):
        torch.save(dict(weight=torch.ones(2), path=pathlib.PosixPath('/')), tmp_path / name)
        assert read_file(tmp_path / name)['weight'].tolist() == [1, 1]
    unknown = pickle.dumps(pathlib.PosixPath('/'), 2)
    for inner in ('code/code/__torch__.py', 'code/constants.pkl', 'constants.pkl'):
        archive(tmp_path / 'mixed.pth', unknown, entries={inner: b'x'}, root='code')
        with pytest.raises(RefusedError, match='is a TorchScript archive'):
            read_foreign(tmp_path / 'mixed.pth')
