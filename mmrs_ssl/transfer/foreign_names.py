"""Say what each name stands for that a pickle of another program may ask for: data, or a placeholder.

Tensors and plain data are built by functions of this file, never by those that the pickle names; what is no part of
Python, torch or numpy is a :class:`Name`, and what is made of it a :class:`Placeholder`.
"""

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# What other programs keep beside their weights, of Python's and torch's own: inert here, like the classes of packages.
INERT = {
    *(f'pathlib.{kind}' for kind in ('Path', 'PosixPath', 'WindowsPath', 'PurePosixPath', 'PureWindowsPath')),
    *(f'collections.{kind}' for kind in ('deque', 'defaultdict', 'Counter', 'ChainMap')),
    *(f'collections.{kind}' for kind in ('UserDict', 'UserList', 'UserString')),
    *(f'datetime.{kind}' for kind in ('date', 'datetime', 'time', 'timedelta', 'timezone')),
    *(f'builtins.{kind}' for kind in ('object', 'bool', 'int', 'float', 'str', 'list', 'tuple', 'dict')),
    *(f'builtins.{kind}' for kind in ('slice', 'range', 'type', 'Ellipsis', 'NotImplemented')),
    *(f'enum.{kind}' for kind in ('Enum', 'IntEnum', 'StrEnum', 'Flag', 'IntFlag')),
    *('uuid.UUID', 'uuid.SafeUUID', 'http.HTTPStatus', 'signal.Signals'),
    *('decimal.Decimal', 'fractions.Fraction', 'functools.partial', 'random.Random', 'typing.Any'),
    *(f'numpy.random._pickle.__{kind}_ctor' for kind in ('randomstate', 'generator', 'bit_generator')),
    *(f'numpy.random.bit_generator.{kind}' for kind in ('SeedSequence', '__pyx_unpickle_SeedSequence')),
    *(f'numpy.random._{kind.lower()}.{kind}' for kind in ('MT19937', 'PCG64', 'Philox', 'SFC64')),
    'numpy.random._pcg64.PCG64DXSM',
    'argparse.Namespace',
    'types.SimpleNamespace',
    'torch.torch_version.TorchVersion',
}
# The types of numpy's numbers and texts, which are names alone.
_NUMPY_TYPES = {np.dtype(code).type.__name__ for code in np.typecodes['All'] if code not in 'OV'} | {'bool_'}
# Keys within a key, of tuples in tuples: more would be there for nothing but to take long.
_PARTS_OF_A_KEY = 2**12
# Those whose names are all known: one that is not in the table is refused.
_KNOWN_PACKAGES = {*sys.stdlib_module_names, 'torch', 'numpy'}
_DTYPES = dict(
    Float='float32', Double='float64', Half='float16', BFloat16='bfloat16', Long='int64', Int='int32', Short='int16',
    Char='int8', Byte='uint8', Bool='bool', ComplexFloat='complex64', ComplexDouble='complex128',
)  # fmt: skip
ADVICE = 'give a file of weights alone (a backbone, or what the program that wrote it saves as its state_dict)'


class RefusedError(ValueError):
    """Raised with the reason for which a file is not read."""


@dataclass(frozen=True)
class Name:
    """The name of a class, and nothing but its name."""

    text: str


class Placeholder(dict[Any, Any]):
    """Stands for an object whose class is not known here, and holds what the file gives it.

    It is a dictionary of the entries of one that was a dictionary, for some programs give their weights a class, and
    mmengine its configs one that is made of a dictionary.

    Args:
        kind: the name of its class.
        args: what its class was to be called with.
    """

    def __init__(self, kind: Name, args: Any = ()) -> None:
        super().__init__()
        self.kind = kind
        self.args = args
        self.elements: list[Any] = []  # of a list, deque or set
        self.state: Any = None
        if type(args) is tuple and len(args) == 1 and type(args[0]) in (dict, OrderedDict):
            self.update(args[0])

    def __repr__(self) -> str:
        return f'<{self.kind.text}, not read>'

    __hash__ = object.__hash__  # type: ignore[assignment]  # a path may be a key

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


@dataclass(frozen=True)
class Builder:
    """A function of this file that a name stands for; nothing else is ever called."""

    build: Callable[..., Any]


@dataclass
class NumberType:
    """A numpy dtype of plain numbers; the byte order comes after its name."""

    text: str
    order: str = '='

    @property
    def dtype(self) -> np.dtype[Any]:
        """Make numpy's own of it."""
        return np.dtype(f'{self.order}{self.text}')


def find_name(module: str, name: str) -> Any:
    """Look up what a name stands for, and import nothing.

    Raises:
        RefusedError: for one that is no name, or one of Python, torch or numpy that the table has not.
    """
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    full = f'{module}.{name}'
    plain = all(part.isidentifier() for part in (*module.split('.'), name))
    require(plain, f'it asks for {full[:100]!r}, which is no name of a class in a module')
    if full in TABLE:
        return TABLE[full]
    if module.split('.')[0] in _KNOWN_PACKAGES:
        whole = module.startswith(('torch.nn.', 'torch.optim.'))
        kind = 'a part of a whole model or optimizer' if whole else 'no plain data'
        raise RefusedError(f'it asks for {full}, which is {kind}; {ADVICE}')
    return Name(full)


def require(fine: bool, reason: str) -> None:
    """Refuse a file, unless this is fine.

    Raises:
        RefusedError: with the reason.
    """
    if not fine:
        raise RefusedError(reason)


def whole_numbers(values: Any) -> bool:
    """Tell whether this is a tuple or list of numbers from 0 on."""
    return type(values) in (tuple, list) and all(type(value) is int and value >= 0 for value in values)


def as_key(value: Any) -> Any:
    """Return a key of a dictionary, if hashing it runs nothing and comes to an end.

    Raises:
        RefusedError: for any other.
    """
    plain = (str, int, float, complex, bytes, type(None), Name, Placeholder, Builder, np.generic, torch.dtype)
    parts, count, fine = [(value, 0)], 1, True
    while parts and fine:
        part, depth = parts.pop()
        if type(part) in (tuple, frozenset):
            count += len(part)
            fine = depth < 8 and count <= _PARTS_OF_A_KEY  # a small file's tuples may hold one another, 2**n in all
            parts += [(inner, depth + 1) for inner in part] if fine else []
        else:
            fine = isinstance(part, plain)
    require(fine, f'a {type(value).__name__} in it is a key, which has to be a string, a number or a class')
    return value


def make_placeholder(kind: Any, args: Any = (), options: Any = None) -> Placeholder:
    """Stand in for an object of a class that is not known.

    Raises:
        RefusedError: if it is of anything else.
    """
    require(isinstance(kind, Name), f'it makes an object of a {type(kind).__name__}, which is no class')
    return Placeholder(kind, args if options is None else (args, options))


# The functions of the table take what the pickle gives, in the order of torch's, numpy's and Python's own.


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    fine = isinstance(storage, Tensor) and all(map(whole_numbers, ([offset], size, stride)))
    # the last of three says that numbers are to be conjugated or negated
    require(fine and not any(rest[2:]), 'a tensor in it is not made of a storage and whole numbers')
    return storage.as_strided(tuple(size), tuple(stride), offset)  # within the storage, or torch refuses it


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    fine = isinstance(storage, Tensor) and len(rest) > 2 and isinstance(rest[2], torch.dtype)
    require(fine, 'a tensor in it has no storage or no type')
    return _tensor(storage.view(rest[2]), offset, size, stride, *rest[:2], *rest[3:])


def _parameter(data: Any, *_: Any) -> Tensor:
    require(isinstance(data, Tensor), f'a parameter in it is a {type(data).__name__}, no tensor')
    return data


def _tensor_of_class(function: Any, _: Any, args: Any, *__: Any) -> Any:
    rebuilds = isinstance(function, Builder) and function.build in (_tensor, _typed_tensor, _parameter)
    require(rebuilds and type(args) is tuple, 'a tensor in it is not made as torch makes tensors')
    return function.build(*args)


def _size(values: Any = ()) -> tuple[int, ...]:
    require(whole_numbers(values), 'a torch.Size in it is not made of whole numbers')
    return tuple(values)


def _ordered(*args: Any) -> OrderedDict[Any, Any]:
    require(not args, 'an OrderedDict in it is not made empty')
    return OrderedDict()


def _attribute(owner: Any, name: Any) -> Name:
    fine = isinstance(owner, Name) and isinstance(name, str) and name.isidentifier() and not name.startswith('_')
    require(fine, f'it asks for getattr({owner!r}, {name!r}), which no data needs: it may be harmful')
    return Name(f'{owner.text}.{name}')


def _encoded(text: Any, encoding: Any) -> bytes:
    require(isinstance(text, str) and encoding == 'latin1', 'it asks for _codecs.encode of something else than bytes')
    return str(text).encode('latin1')


def _no_bytes(*args: Any) -> bytes:
    require(not args, 'it asks for bytes of something')
    return b''


def _byte_array(*args: Any) -> bytearray:
    if len(args) == 2:  # of protocol 2
        return bytearray(_encoded(args[0], 'latin1' if args[1] == 'latin-1' else args[1]))
    require(not args or (len(args) == 1 and type(args[0]) is bytes), 'it asks for a bytearray of something else')
    return bytearray(*args)


def _number_type(text: Any, *_: Any) -> NumberType:
    fine = isinstance(text, str) and re.fullmatch(r'[iu][1248]|f[248]|c8|c16|b1|[US]\d{1,6}', text) is not None
    require(fine, f'it asks for numpy.dtype({text!r}), which is no type of plain numbers')
    return NumberType(str(text))


def _number(kind: Any, data: Any) -> Any:
    fine = isinstance(kind, NumberType) and isinstance(data, bytes) and len(data) == kind.dtype.itemsize
    require(fine, 'it asks for numpy.core.multiarray.scalar of something else than a plain number')
    return np.frombuffer(data, kind.dtype)[0] if data else kind.dtype.type()  # an empty text


def _array(kind: Any, shape: Any, code: Any) -> Any:
    fine = kind == Name('numpy.ndarray') and shape == (0,) and code == b'b'
    require(fine, 'it asks for numpy.core.multiarray._reconstruct of something else than an array of plain numbers')
    return np.empty(0, 'b')  # what it holds comes after it


def _set(values: Any = ()) -> set[Any]:
    require(type(values) in (list, tuple), 'it asks for a set of something else than a list')
    return {as_key(value) for value in values}


def _frozen(values: Any = ()) -> frozenset[Any]:
    return frozenset(_set(values))


def _complex(real: Any, imaginary: Any) -> complex:
    require(isinstance(real, float) and isinstance(imaginary, float), 'it asks for a complex number of no numbers')
    return complex(real, imaginary)


def _table() -> dict[str, Any]:
    table: dict[str, Any] = {f'torch.{kind}Storage': getattr(torch, dtype) for kind, dtype in _DTYPES.items()}
    table |= {'torch.UntypedStorage': torch.uint8, 'torch.storage.UntypedStorage': torch.uint8}
    table |= {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    builders: dict[str, Callable[..., Any]] = {
        'torch._utils._rebuild_tensor': _tensor,
        'torch._utils._rebuild_tensor_v2': _tensor,
        'torch._utils._rebuild_tensor_v3': _typed_tensor,
        'torch._utils._rebuild_parameter': _parameter,
        'torch._utils._rebuild_parameter_with_state': _parameter,
        'torch._tensor._rebuild_from_type_v2': _tensor_of_class,
        'torch._tensor._rebuild_from_type': _tensor_of_class,
        'torch.tensor._rebuild_from_type': _tensor_of_class,  # the same, before 1.9
        'torch.Size': _size,
        'collections.OrderedDict': _ordered,
        'numpy.dtype': _number_type,
        'builtins.getattr': _attribute,  # statistics of mmengine's HistoryBuffer, classes within classes
        'builtins.set': _set,
        'builtins.frozenset': _frozen,
        'builtins.complex': _complex,
        '_codecs.encode': _encoded,  # bytes
        'builtins.bytes': _no_bytes,
        'builtins.bytearray': _byte_array,
        'copyreg._reconstructor': make_placeholder,
    }
    for core in ('numpy.core.multiarray', 'numpy._core.multiarray'):  # before numpy 2, and since
        builders |= {f'{core}.scalar': _number, f'{core}._reconstruct': _array}
    table |= {name: Builder(build) for name, build in builders.items()}
    names = ('numpy.ndarray', 'torch.Tensor', 'torch.nn.parameter.Parameter', 'torch.device')
    types = (f'numpy.{name}' for name in _NUMPY_TYPES)
    return table | {name: Name(name) for name in (*names, *types, *INERT)}


TABLE = _table()
