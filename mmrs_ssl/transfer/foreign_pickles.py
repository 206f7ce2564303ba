"""Read checkpoints of programs whose classes are not here, without running anything in them.

``torch.load(weights_only=True)`` knows no class but those that it was told of, and extends plain lists alone, so no
list of allowed classes lets it read what other programs pickle beside their weights (CMID's ``MetricStroge`` of deques,
submitit's paths). Here placeholders take the place of what is not known, see :mod:`mmrs_ssl.transfer.foreign_names`;
nothing is imported, and nothing that a file names is called. The archive is read here, too: torch is never told to
unpickle, and hands no archive to TorchScript.
"""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from mmrs_ssl.transfer.foreign_names import (
    ADVICE,
    INERT,
    TABLE,
    Builder,
    Name,
    NumberType,
    Placeholder,
    RefusedError,
    as_key,
    find_name,
    make_placeholder,
    require,
    whole_numbers,
)

# Opcodes that push plain values or names, or arrange what lies on the stack.
_HARMLESS = (
    'PROTO', 'FRAME', 'STOP', 'MARK', 'NONE', 'NEWTRUE', 'NEWFALSE', 'INT', 'BININT', 'BININT1', 'BININT2', 'LONG',
    'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT', 'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES',
    'BINBYTES8', 'BYTEARRAY8', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'EMPTY_TUPLE', 'TUPLE',
    'TUPLE1', 'TUPLE2', 'TUPLE3', 'EMPTY_LIST', 'LIST', 'EMPTY_DICT', 'EMPTY_SET', 'POP', 'POP_MARK', 'DUP', 'GET',
    'BINGET', 'LONG_BINGET', 'PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE', 'GLOBAL', 'STACK_GLOBAL', 'BINPERSID',
)  # fmt: skip
# What is copied may be a few times as much as was read: a small file could copy one long list again and again.
_COPIED = 2**24
_DISPATCH = pickle._Unpickler.dispatch


class ForeignUnpickler(pickle._Unpickler):
    """Unpickles plain data, tensors and placeholders.

    It is Python's reader that is written in Python, for there opcodes can be replaced: those that make objects and
    those that change them do here what is right for the few types that there are. Those that call by other ways (INST,
    OBJ, EXT) are refused.

    Args:
        data: the pickle.
        storage: reads a storage by its key, type and number of elements.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes, storage: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(io.BytesIO(data), encoding='utf-8')
        self._storage = storage
        self._budget = _COPIED + 4 * len(data)
        self.replaced: dict[str, None] = {}  # names of classes without a counterpart, as they come

    def find_class(self, module: str, name: str) -> Any:
        """Look up what a name stands for."""
        found = find_name(module, name)
        if isinstance(found, Name) and (found.text in INERT or found.text not in TABLE):
            self.replaced.setdefault(found.text)
        return found

    def persistent_load(self, pid: Any) -> Tensor:
        """Read a storage that lies beside the pickle."""
        fine = type(pid) is tuple and len(pid) == 5 and pid[0] == 'storage' and isinstance(pid[1], torch.dtype)
        fine = fine and type(pid[2]) is str and type(pid[4]) is int and pid[4] >= 0
        require(fine, 'it asks for a storage that is none of torch')
        return self._storage(pid[2], pid[1], pid[4])

    def _reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        require(type(args) is tuple, f'it calls something with a {type(args).__name__}, not with arguments')
        self._count(args)
        if isinstance(function, Name):
            self.append(Placeholder(function, args))
            return
        require(isinstance(function, Builder), f'it calls a {type(function).__name__}, which is no class')
        self.append(function.build(*args))

    def _count(self, args: Any) -> None:
        values = args if type(args) is tuple else ()
        self._budget -= sum(len(value) for value in values if isinstance(value, str | bytes | list | tuple | dict))
        require(self._budget > 0, 'it copies the same values again and again')

    def _newobj(self) -> None:
        args, kind = self.stack.pop(), self.stack.pop()
        self._count(args)
        self.append(make_placeholder(kind, args))

    def _newobj_ex(self) -> None:
        options, args, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.append(make_placeholder(kind, args, options))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Placeholder:
            target.state = state
        elif type(target) is NumberType:
            require(
                type(state) is tuple and len(state) > 1 and state[1] in ('<', '>', '|'), 'a dtype in it has no order'
            )
            target.order = state[1]
        elif type(target) is np.ndarray:
            self._fill(target, state)
        else:  # a state dict has the versions of its modules, which nothing here asks for
            fine = type(target) is OrderedDict and isinstance(state, dict) and set(state) <= {'_metadata'}
            require(fine, f'it gives a {type(target).__name__} other attributes')

    def _fill(self, array: np.ndarray[Any, Any], state: Any) -> None:
        fine = type(state) is tuple and len(state) == 5 and whole_numbers(state[1]) and type(state[2]) is NumberType
        fine = fine and isinstance(state[4], bytes) and len(state[4]) == math.prod(state[1]) * state[2].dtype.itemsize
        require(fine, 'an array of numpy in it is not one of plain numbers')
        self._budget -= len(state[4])
        require(self._budget > 0, 'it copies the same values again and again')
        array.__setstate__((1, tuple(state[1]), state[2].dtype, bool(state[3]), state[4]))  # type: ignore[arg-type]

    def _extend(self, items: Iterable[Any], kind: type[list[Any]] | type[set[Any]]) -> None:
        target = self.stack[-1]
        if type(target) is Placeholder:
            target.elements.extend(items)
            return
        require(type(target) is kind, f'it puts elements into a {type(target).__name__}')
        if isinstance(target, set):
            target.update(map(as_key, items))
        else:
            target.extend(items)

    def _enter(self, items: list[Any]) -> None:
        target = self.stack[-1]
        fine = type(target) in (dict, OrderedDict, Placeholder) and len(items) % 2 == 0
        require(fine, f'it puts entries into a {type(target).__name__}')
        target.update(zip(map(as_key, items[::2]), items[1::2], strict=True))

    def _additems(self) -> None:
        self._extend(self.pop_mark(), set)

    def _append(self) -> None:
        item = self.stack.pop()
        self._extend([item], list)

    def _appends(self) -> None:
        self._extend(self.pop_mark(), list)

    def _setitem(self) -> None:
        items = [self.stack.pop(), self.stack.pop()]
        self._enter(items[::-1])

    def _setitems(self) -> None:
        self._enter(self.pop_mark())

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._enter(items)

    def _frozenset(self) -> None:
        items = self.pop_mark()  # before append, which is of the stack that this leaves
        self.append(frozenset(map(as_key, items)))

    def _refuse(self) -> NoReturn:
        raise RefusedError(f'it makes objects in a way that no data needs; {ADVICE}')

    dispatch: ClassVar[dict[int, Any]] = {
        **dict.fromkeys(_DISPATCH, _refuse),
        **{getattr(pickle, name)[0]: _DISPATCH[getattr(pickle, name)[0]] for name in _HARMLESS},
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _newobj,
        pickle.NEWOBJ_EX[0]: _newobj_ex,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.ADDITEMS[0]: _additems,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.DICT[0]: _dict,
        pickle.FROZENSET[0]: _frozenset,
    }


def read_foreign(path: Path) -> tuple[Any, list[str]]:
    """Read a checkpoint as torch writes it since 1.6, with placeholders for what is not known here.

    Returns:
        What it holds, and the names of the classes that became placeholders.

    Raises:
        RefusedError: with the reason, if it is of another form or asks for anything that is not data.
        Exception: of many types, if it is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise RefusedError(
            'it is of the form in which torch saved before 1.6, and holds more than weights; '
            f'{ADVICE}, or save it again where it was made'
        )
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        heads = [name.removesuffix('data.pkl') for name in entries if re.fullmatch(r'[^/]+/data\.pkl', name)]
        # torch's folder has the name of the file, which may be code.pth
        own = heads[0] if len(heads) == 1 else '/'
        inside = (name.removeprefix(own).split('/')[: 1 if name.startswith(own) else 2] for name in entries)
        if any({'constants.pkl', 'code'} & set(parts) for parts in inside):
            raise RefusedError(f'it is a TorchScript archive, which holds code; {ADVICE}')
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
        fine = stored and len(entries) == len(archive.infolist())
        require(fine, 'its entries are compressed or have one name twice: it is none that torch wrote')
        require(len(heads) == 1, f'{len(heads)} entries of it are named data.pkl: it is none that torch wrote')
        order = archive.read(f'{heads[0]}byteorder') if f'{heads[0]}byteorder' in entries else b'little'
        require(order == b'little', f'its numbers have the byte order {order!r}, expected little: save it again')
        return _read_archive(archive, heads[0], path.stat().st_size)


def _read_archive(archive: zipfile.ZipFile, head: str, size: int) -> tuple[Any, list[str]]:
    storages: dict[str, Tensor] = {}
    left = size

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        nonlocal left
        if key not in storages:
            entry = archive.getinfo(f'{head}data/{key}')
            left -= entry.file_size  # entries that lie on one another would give more than the file has
            require(left >= 0, 'its entries are larger than the file')
            values = bytearray(archive.read(entry))
            storages[key] = torch.frombuffer(values, dtype=torch.uint8) if values else torch.empty(0, dtype=torch.uint8)
        fine = len(storages[key]) == count * dtype.itemsize
        require(fine, f'it is damaged: storage {key} has {len(storages[key])} bytes, not {count * dtype.itemsize}')
        return storages[key].view(dtype)

    reader = ForeignUnpickler(archive.read(f'{head}data.pkl'), storage)
    return reader.load(), list(reader.replaced)
