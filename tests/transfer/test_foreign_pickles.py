"""What the reader of other programs' checkpoints builds, value for value, and what it refuses and never runs."""

import argparse
import collections
import copyreg
import datetime
import io
import os
import pathlib
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from mmrs_ssl.engine.checkpoint_files import read_checkpoint
from mmrs_ssl.transfer import foreign_pickles
from mmrs_ssl.transfer.foreign_names import Name, Placeholder, RefusedError
from mmrs_ssl.transfer.foreign_pickles import read_foreign
from mmrs_ssl.transfer.sources import read_file, read_strictly
from tests.transfer.foreign import archive, modules, write
from tests.transfer.test_safe_types import ATTACKS, Call, attack


def equal(found, expected):
    """Whether two contents have the same values, of the same types."""
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected.detach())
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype.newbyteorder('=') and np.array_equal(found, expected)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(equal(found[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(equal, found, expected))
    return type(found) is type(expected) and found == expected


def contents():
    """Tensors and plain data of all kinds that checkpoints have."""
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {str(kind): torch.arange(5).to(kind) for kind in (torch.float16, torch.bfloat16, torch.int8, torch.bool)}
    tensors |= dict(long=torch.tensor(3), empty=torch.zeros(0, 2), complex=torch.tensor([1 + 2j]), turned=base.T)
    return dict(
        tensors=tensors,
        shared=[base[1], base[:, 2:4], base],
        parameter=torch.nn.Parameter(torch.ones(2)),
        numbers=[1, -(2**70), 1.5, True, None, 'ü', b'\x00\xff', float('inf'), 1 + 2j],
        numpy=[np.float64(0.1), np.float32(3), np.int64(-7), np.bool_(True)],
        arrays=[np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)), np.zeros(0)],
        groups=[{3, 4}, frozenset(['a']), (1, (2, 3)), torch.Size([2, 3])],
        ordered=collections.OrderedDict(b=1, a=2),
        kinds=[torch.float32, torch.int64],
    )


@pytest.mark.parametrize('protocol', [2, 4])
def test_data_is_what_it_was(protocol, tmp_path):
    content = contents()
    torch.save(content, tmp_path / 'data.pth', pickle_protocol=protocol)
    found, replaced = read_foreign(tmp_path / 'data.pth')
    assert equal(found, content)
    assert replaced == []
    assert found['shared'][0].data_ptr() == found['shared'][2][1].data_ptr()
    weights = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict()
    torch.save(weights, tmp_path / 'weights.pth', pickle_protocol=protocol)
    assert equal(read_file(tmp_path / 'weights.pth'), dict(weights))


def test_parameters_with_attributes_are_tensors(tmp_path):
    parameter = torch.nn.Parameter(torch.arange(3.0))
    parameter.ignored = 'x'
    tensor = torch.arange(4.0)
    tensor.note = dict(a=1)
    torch.save(dict(a=parameter, b=tensor, byte=torch.ones(3).to(torch.uint16)), tmp_path / 'a.pth')
    found, _ = read_foreign(tmp_path / 'a.pth')
    assert equal(found, dict(a=torch.arange(3.0), b=torch.arange(4.0), byte=torch.ones(3).to(torch.uint16)))


def test_placeholders_hold_what_the_file_gives_them(tmp_path):
    MMLogger.get_instance(f'test_{tmp_path.name}', log_file=str(tmp_path / 'log.txt'))

    class Log(dict):
        """With attributes."""

    class Buffer(collections.deque):
        """Of limited length."""

    class Tags(set):
        """Of texts."""

    class Plain:
        """With __slots__ and without, as its state says."""

    with modules({'other.log': [Log, Buffer, Tags, Plain]}):
        log = Log(loss=Buffer([1.0, 2.0], maxlen=9), tags=Tags(['a']))
        log.window = 20
        plain = Plain()
        plain.inner, plain.kind = log, Buffer
        content = dict(log=log, plain=plain, path={pathlib.PosixPath('/a/b'): 1}, args=argparse.Namespace(lr=0.1))
        content['date'] = datetime.date(2020, 1, 2)
        torch.save(content, tmp_path / 'log.pth')
    found = read_file(tmp_path / 'log.pth')
    said = (tmp_path / 'log.txt').read_text()
    assert 'log.pth: placeholders stand for objects of other.log.Log, other.log.Buffer, ' in said
    log = found['log']
    assert type(log) is Placeholder
    assert (log.kind, log.state) == (Name('other.log.Log'), dict(window=20))
    assert list(log) == ['loss', 'tags']
    assert (log['loss'].elements, log['loss'].args) == ([1.0, 2.0], ((), 9))
    assert log['tags'].args[0] == ['a']
    assert found['plain'].state['inner'] is log
    assert found['plain'].state['kind'] == Name('other.log.Buffer')
    assert found['args'].state == dict(lr=0.1)
    (path,) = found['path']
    assert (path.kind, ''.join(path.args)) == (Name('pathlib.PosixPath'), '/ab')
    assert repr(found['date']) == '<datetime.date, not read>'
    assert found['date'] != read_file(tmp_path / 'log.pth')['date']


# What is refused


def opcodes(command):
    """Pickles made by hand that run a command in a careless reader, each by other opcodes."""
    text = repr(command).encode()
    return dict(
        reduce=b"cos\nsystem\n(V" + command.encode() + b"\ntR.",
        python2=b"ccommands\ngetoutput\n(V" + command.encode() + b"\ntR.",
        stack_global=b'\x80\x04\x8c\tposixpath\x8c\tos.system\x93(V' + command.encode() + b'\ntR.',
        inst=b"(S" + text + b"\nios\nsystem\n.",
        obj=b"(cos\nsystem\nS" + text + b"\no.",
        ext1=b'\x82\xf0(V' + command.encode() + b'\ntR.',
        ext2=b'\x83\xf0\x00(V' + command.encode() + b'\ntR.',
        ext4=b'\x84\xf0\x00\x00\x00(V' + command.encode() + b'\ntR.',
        build=b"cargparse\nNamespace\n)\x81}V__setstate__\ncos\nsystem\nsbV" + command.encode() + b"\nb.",
    )  # fmt: skip


@pytest.fixture
def extension():
    """An extension registry that knows os.system, as a program that is careless with it may have."""
    copyreg.add_extension('os', 'system', 0xF0)
    yield
    copyreg.remove_extension('os', 'system', 0xF0)


@pytest.mark.parametrize('name', opcodes(''))
def test_opcodes_that_call_run_nothing(name, extension, tmp_path):
    command = f'touch {tmp_path}/marker'
    pickled = opcodes(command)[name]
    archive(tmp_path / 'crafted.pth', pickled)
    calls = name in ('inst', 'ext1', 'ext2', 'ext4')
    reason = 'it makes objects in a way that no data needs' if calls else "it asks for '?(os|posix|subprocess)"
    with pytest.raises(RefusedError, match=reason):
        read_foreign(tmp_path / 'crafted.pth')
    with pytest.raises(ValueError, match=rf'crafted\.pth is refused, nothing in it was run: {reason}'):
        read_file(tmp_path / 'crafted.pth')
    assert not (tmp_path / 'marker').exists()
    pickle.loads(pickled)  # else the test would show nothing
    assert (tmp_path / 'marker').exists()


@pytest.mark.parametrize('name', ATTACKS)
@pytest.mark.parametrize('inside', [False, True])
def test_objects_that_call_run_nothing(name, inside, tmp_path):
    """Alone, and as what an object of an unknown class is made of, its state, an entry of it."""

    class Log(dict):
        """Of another program."""

    marker = tmp_path / 'marker'
    content = attack(name, f'touch {marker}')
    with modules({'other.log': [Log]}):
        if inside:
            log = Log(entry=1)
            log.state = content
            content = dict(log=log)
        write(tmp_path / 'crafted.pth', content)
    with pytest.raises(RefusedError, match=r'asks for (posix\.system|builtins\.|getattr)'):
        read_foreign(tmp_path / 'crafted.pth')
    with pytest.raises(ValueError, match=r'crafted\.pth is refused, nothing in it was run: '):
        read_file(tmp_path / 'crafted.pth')
    assert not marker.exists()


BYTES = pickle.dumps(1)
REFUSED = {
    'torch.storage._load_from_bytes': Call(torch.storage._load_from_bytes, BYTES),
    'torch.serialization.load': Call(torch.load, 'x'),
    'torch.hub.load': Call(torch.hub.load, 'x'),
    'torch.jit._serialization.load': Call(torch.jit.load, 'x'),
    'torch.nn.modules.linear.Linear': torch.nn.Linear(1, 1),
    'torch._utils._set_obj_state': Call(torch._utils._set_obj_state, argparse.Namespace(), dict(a=1)),
    'numpy.load': Call(np.load, 'x'),
    'numpy.testing._private.utils.runstring': Call(np.testing.runstring, '1', {}),
    'argparse.FileType': Call(argparse.FileType, 'w'),
    '_io.StringIO': Call(io.StringIO, 'x'),
    'builtins.map': Call(map, len, []),
    r"numpy\.dtype\('O8'\)": np.array([1, None], dtype=object),
    r"numpy\.dtype\('V4'\)": np.zeros(1, dtype=[('a', 'i4')]),
    r'numpy\.core\.multiarray\._reconstruct of something else': Call(
        np._core.multiarray._reconstruct, np.ndarray, (2**20,), b'b'
    ),
    r'numpy(\.rec)?\.recarray': Call(np._core.multiarray._reconstruct, np.recarray, (0,), b'b'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_names_outside_the_table_are_refused(name, tmp_path):
    """Also behind an object of an unknown class, at which the strict reader ends."""
    torch.save(REFUSED[name], tmp_path / 'crafted.pth')
    with pytest.raises(RefusedError, match=f'it asks for {name}'):
        read_foreign(tmp_path / 'crafted.pth')
    torch.save(dict(path=pathlib.PosixPath('/'), content=REFUSED[name]), tmp_path / 'crafted.pth')
    with pytest.raises(ValueError, match=rf'crafted\.pth is refused, nothing in it was run: it asks for {name}'):
        read_file(tmp_path / 'crafted.pth')


def test_getattr_gives_names_alone(tmp_path):
    class Log:
        """Of another program."""

    with modules({'other.log': [Log]}):
        for name in ('a.b', '__globals__', '_hidden', 'mro()'):
            content = Call(getattr, Log, name)
            with pytest.raises(RefusedError, match=r"getattr\(Name\(text='other\.log\.Log'\), .*may be harmful"):
                read_foreign(write(tmp_path / 'crafted.pth', content))
        write(tmp_path / 'fine.pth', Call(getattr, Log, 'mean'))
        for owner in (collections.OrderedDict(), 'text', torch.float32):
            with pytest.raises(RefusedError, match='may be harmful'):
                read_foreign(write(tmp_path / 'crafted.pth', Call(getattr, owner, 'mean')))
    assert read_foreign(tmp_path / 'fine.pth') == (Name('other.log.Log.mean'), ['other.log.Log'])


ORDERED, LIST, NAMESPACE = b'ccollections\nOrderedDict\n', b']', b'cargparse\nNamespace\n'
REBUILD = b'ctorch._utils\n_rebuild_tensor_v2\n('
TENSOR = REBUILD + b'(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x02tQK\x00K\x02\x85K\x01\x85\x89)tR'
MISUSED = {
    'a dictionary with other attributes': (ORDERED + b')R}Vitems\nI1\nsb.', 'gives a OrderedDict other attributes'),
    'the class of a dictionary': (ORDERED + b'}V_metadata\nI1\nsb.', 'gives a Builder other attributes'),
    'a class that is not known': (NAMESPACE + b'}Va\nI1\nsb.', 'gives a Name other attributes'),
    'a tensor': (TENSOR + b'}Vdata\nI1\nsb.', 'gives a Tensor other attributes'),
    'a list': (LIST + b'}Va\nI1\nsb.', 'gives a list other attributes'),
    'a dictionary made of others': (ORDERED + b'(]tR.', 'is not made empty'),
    'elements of a dictionary': (b'}I1\na.', 'puts elements into a dict'),
    'entries of a list': (b']I1\nI2\ns.', 'puts entries into a list'),
    'entries of a tensor': (TENSOR + b'I0\nI1\ns.', 'puts entries into a Tensor'),
    'a call of an object': (NAMESPACE + b')R)R.', 'calls a Placeholder, which is no class'),
    'a call of a text': (b'Vx\n)R.', 'calls a str'),
    'a call without arguments': (NAMESPACE + b']R.', 'calls something with a list'),
    'an object by INST': (b'(iother\nName\n.', 'in a way that no data needs'),
    'an object by OBJ': (b'(cother\nName\no.', 'in a way that no data needs'),
    'bytes that come by another way': (b'\x97.', 'in a way that no data needs'),
    'an object of a builder': (ORDERED + b')\x81.', 'makes an object of a Builder'),
    'a list as a key': (b'}]I1\ns.', 'a list in it is a key'),
    'a list in a tuple as a key': (b'}]\x85\x85I1\ns.', 'a tuple in it is a key'),
    'a list in a frozen set': (b'(]\x85\x85\x91.', 'a tuple in it is a key'),
    'a list in a set': (b'\x8f(]\x85\x85\x90.', 'a tuple in it is a key'),
    'a list in a set that is made': (b'c__builtin__\nset\n(]]\x85\x85atR.', 'a tuple in it is a key'),
    'a negative offset': (TENSOR.replace(b'tQK\x00', b'tQI-1\n') + b'.', 'not made of a storage and whole numbers'),
    'a text for a storage': (REBUILD + b'Vx\nK\x00K\x02\x85K\x01\x85\x89)tR.', 'of a storage'),
    'numbers to negate': (TENSOR.replace(b')tR', b')}Vneg\n\x88stR') + b'.', 'not made of a storage'),
    'a name with a space': (b'cother\nno name\n.', "'other.no name', which is no name of a class"),
    'a module of dots': (b'c..other\nname\n.', 'which is no name of a class'),
    'a function that is no builder': (
        b'ctorch._tensor\n_rebuild_from_type_v2\n(' + NAMESPACE + NAMESPACE + b'))tR.',
        'not made as torch makes tensors',
    ),
    'a scalar of a pickle': (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(VO8\nI0\nI1\ntRC\x04\x80\x02K\x01tR.",
        r"numpy\.dtype\('O8'\)",
    ),
    'an array of the wrong size': (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR(I1\n(I3\ntcnumpy\ndtype\n(Vf8\nI0\nI1\ntRI00\nC\x01xtb.",
        'is not one of plain numbers',
    ),
}  # fmt: skip


@pytest.mark.parametrize('what', MISUSED)
def test_known_types_are_used_as_they_are_meant(what, tmp_path):
    pickled, message = MISUSED[what]
    archive(tmp_path / 'crafted.pth', pickled, {'0': bytes(8)})
    with pytest.raises(RefusedError, match=message):
        read_foreign(tmp_path / 'crafted.pth')
    archive(tmp_path / 'tensor.pth', TENSOR + b'.', {'0': np.arange(2, dtype='<f4').tobytes()})
    assert read_foreign(tmp_path / 'tensor.pth')[0].tolist() == [0, 1]


def storage(kind=b'ctorch\nFloatStorage\n', key=b'V0\n', count=b'K\x02', word=b'Vstorage\n'):
    """A pickle of a storage that lies beside it."""
    return b'(' + word + kind + key + b'Vcpu\n' + count + b'tQ.'


@pytest.mark.parametrize(
    ('pickled', 'message'),
    [
        (storage(kind=b'cother\nFloatStorage\n'), 'a storage that is none of torch'),
        (storage(kind=b'cargparse\nNamespace\n)R'), 'a storage that is none of torch'),
        (storage(kind=b'ctorch\nLostStorage\n'), r'it asks for torch\.LostStorage'),
        (storage(word=b'Vmodule\n'), 'a storage that is none of torch'),
        (storage(count=b'I-2\n'), 'a storage that is none of torch'),
        (storage(key=b']'), 'a storage that is none of torch'),
        (storage(count=b'K\x03'), 'storage 0 has 8 bytes, not 12'),
        (b'Vtext\nQ.', 'a storage that is none of torch'),
        (b'Ptext\n.', 'in a way that no data needs'),
    ],
)
def test_storages_are_those_of_torch(pickled, message, tmp_path):
    archive(tmp_path / 'crafted.pth', pickled, {'0': bytes(8)})
    with pytest.raises(RefusedError, match=message):
        read_foreign(tmp_path / 'crafted.pth')


@pytest.mark.parametrize('key', ['1', '../../secret', '/etc/hostname'])
def test_storages_lie_in_the_file(key, tmp_path):
    (tmp_path / 'secret').write_bytes(bytes(8))
    archive(tmp_path / 'crafted.pth', storage(key=f'V{key}\n'.encode()), {'0': bytes(8)})
    with pytest.raises(KeyError):
        read_foreign(tmp_path / 'crafted.pth')
    archive(tmp_path / 'crafted.pth', b'cother\nName\n0' + storage(key=f'V{key}\n'.encode()), {'0': bytes(8)})
    with pytest.raises(ValueError, match=r'nothing in it was run: it is damaged or no checkpoint \(KeyError\)'):
        read_file(tmp_path / 'crafted.pth')


def test_copies_are_counted(tmp_path, monkeypatch):
    """A file of some kilobytes that would take gigabytes."""
    assert foreign_pickles._COPIED <= 2**24
    monkeypatch.setattr(foreign_pickles, '_COPIED', 2**18)
    pickled = b'](' + b'I1\n' * 30_000 + b'eq\x000](' + b'c__builtin__\nset\n(h\x00tR' * 3_000 + b'e.'
    archive(tmp_path / 'crafted.pth', pickled)
    with pytest.raises(RefusedError, match='copies the same values again and again'):
        read_foreign(tmp_path / 'crafted.pth')


# Other forms


def test_trainings_go_on_from_plain_files_alone(tmp_path):
    """They read their own checkpoints strictly."""
    torch.save(dict(state_dict={}, log=collections.deque([1.0])), tmp_path / 'run.pth')
    assert read_file(tmp_path / 'run.pth')['log'].elements == [1.0]
    for read in (read_strictly, read_checkpoint):
        with pytest.raises(
            ValueError, match=r'run\.pth is refused, .* asks for collections\.deque, which is no plain data'
        ):
            read(tmp_path / 'run.pth')


def test_torchscript_is_refused_before_it_is_read(tmp_path):
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2))).save(tmp_path / 'script.pth')
    with pytest.raises(RefusedError, match='is a TorchScript archive, which holds code'):
        read_foreign(tmp_path / 'script.pth')
    unknown = pickle.dumps(pathlib.PosixPath('/'), 2)
    for name in (
        'archive/constants.pkl',
        'constants.pkl',
        'archive/code/__torch__.py',
        'code/x.py',
        'other/constants.pkl',
    ):
        archive(tmp_path / 'mixed.pth', unknown, entries={name: b'\x80\x02).'})
        with pytest.raises(ValueError, match=r'mixed\.pth is refused, nothing in it was run: '):
            read_file(tmp_path / 'mixed.pth')
        with pytest.raises(RefusedError, match='is a TorchScript archive'):
            read_foreign(tmp_path / 'mixed.pth')
    archive(tmp_path / 'plain.pth', unknown)
    assert read_file(tmp_path / 'plain.pth').kind == Name('pathlib.PosixPath')


def test_older_forms_are_refused(tmp_path):
    """What torch wrote before 1.6 is read by torch's strict reader alone, tar archives not at all."""
    content = dict(weight=torch.ones(2), path=pathlib.PosixPath('/'))
    torch.save(content, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    with pytest.raises(RefusedError, match=r'in which torch saved before 1\.6, and holds more than weights'):
        read_foreign(tmp_path / 'old.pth')
    with pytest.raises(ValueError, match=r'old\.pth is refused, nothing in it was run: it asks for pathlib\.PosixPath'):
        read_file(tmp_path / 'old.pth')
    torch.save(dict(weight=torch.ones(2)), tmp_path / 'fine.pth', _use_new_zipfile_serialization=False)
    assert read_file(tmp_path / 'fine.pth')['weight'].tolist() == [1, 1]
    marker = tmp_path / 'marker'
    pickled = pickle.dumps(Call(os.system, f'touch {marker}'), 2)
    with tarfile.open(tmp_path / 'tar.pth', 'w') as file:
        for name in ('storages', 'tensors', 'pickle'):
            entry = tarfile.TarInfo(name)
            entry.size = len(pickled)
            file.addfile(entry, io.BytesIO(pickled))
    (tmp_path / 'bare.pth').write_bytes(pickled)
    for name in ('tar.pth', 'bare.pth'):
        with pytest.raises(ValueError, match=rf'{name} is refused, nothing in it was run: '):
            read_file(tmp_path / name)
        with pytest.raises(RefusedError, match=r'before 1\.6'):
            read_foreign(tmp_path / name)
    assert not marker.exists()


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_archives_are_as_torch_writes_them(tmp_path):
    unknown, path = pickle.dumps(pathlib.PosixPath('/'), 2), tmp_path / 'odd.pth'
    for options, message in (
        (dict(compression=zipfile.ZIP_DEFLATED), 'its entries are compressed'),
        (dict(entries={'archive/data.pkl': unknown}), 'have one name twice'),
        (dict(entries={'other/data.pkl': unknown}), '2 entries of it are named data.pkl'),
        (dict(root='archive/deep'), '0 entries of it are named data.pkl'),
    ):
        archive(path, unknown, **options)
        with pytest.raises(RefusedError, match=message):
            read_foreign(path)
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('a/data.pkl', unknown)
        file.writestr('a/byteorder', 'big')
    with pytest.raises(RefusedError, match=r"byte order b'big', expected little"):
        read_foreign(path)
