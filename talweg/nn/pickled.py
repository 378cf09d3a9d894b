"""Reading the files of `torch.save` without running anything that stands in them.

Such a file is a pickle: a little program that asks for functions by name and calls them. Here only
the names below are known, each answered by a stand-in of ours that builds values; every other name
is refused. There are two layouts: a zip archive with one record for each storage, and the older
stream of pickles with the storages behind them.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DataError, TalwegError
from talweg.engine.conversion import rebuild
from talweg.engine.tensor import Tensor
from talweg.nn.parameter import Buffer, Parameter
from talweg.nn.restored import KNOWN, restored

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
    "Bool": "bool",
    "Byte": "uint8",
    "Char": "int8",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float": "float32",
    "Double": "float64",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_PLAIN = (set, frozenset, dict, list, tuple, complex, slice, int, float, bool, str)


class _Storage:
    """A row of numbers in the file; the stream layout gives its bytes after all else."""

    __slots__ = ("data", "dtype", "size", "start")

    def __init__(self, dtype: DType | None, size: int) -> None:
        self.dtype = dtype
        self.size = size
        self.start = 0
        self.data: Any = None


class _Held:
    """A value that is finished when everything is read: what makes it, and of what."""

    __slots__ = ("arguments", "make", "state")

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self.make = make
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Global:
    """What stands for a function of the file: calling it notes the call."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *arguments: Any) -> _Held:
        return _Held(self.make, *arguments)


class _Object:
    """An object of a known class, before it is made; each class asked for is a subclass."""

    origin: str

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state


def read(path: Path, raw: bytes, encoding: str = "utf-8") -> Any:
    """Return what a file of `torch.save` holds, with new Tensors.

    Tensors keep `requires_grad`, Parameters stay Parameters, Modules of `torch.nn` become ours.

    Args:
        path: of the file, for messages.
        raw: its bytes.
        encoding: of text that Python 2 wrote.

    Raises:
        DataError: when the file asks for an unknown name, is damaged, or is no such file.
    """
    try:
        found = _read_zip(path, raw, encoding) if raw[:2] == b"PK" else _read_stream(raw, encoding)
        return _Finish()(found)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (TalwegError, Exception) as error:
        raise DataError(f"{path}: is damaged, or no file of torch.save ({error!r})") from error


class _Reader(pickle.Unpickler):
    """Reads one pickle; `storage` answers its references to storages."""

    def __init__(self, file: Any, encoding: str, storage: Callable[..., Any]) -> None:
        super().__init__(file, encoding=encoding)
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name, or refuse it."""
        return _known(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage, or the class, that the pickle refers to."""
        if isinstance(pid, tuple) and pid[0] == "module":
            return pid[1]
        if not isinstance(pid, tuple) or pid[0] != "storage":
            raise DataError(f"refers to {pid!r}, which is no storage")
        return self.storage(*pid[1:])


def _known(module: str, name: str) -> Any:
    full = f"{module}.{name}"
    if module in ("builtins", "__builtin__"):
        for kind in _PLAIN:
            if kind.__name__ == name:
                return kind
    if full in ("collections.OrderedDict", "collections.defaultdict", "collections.Counter"):
        return {c.__name__: c for c in (OrderedDict, defaultdict, Counter)}[name]
    if module in ("torch", "torch.storage") and name.endswith("Storage"):
        return dtypes.BY_NAME[_STORAGES[name[:-7]]] if name[:-7] in _STORAGES else None
    if module == "torch" and name in dtypes.BY_NAME:
        return dtypes.BY_NAME[name]
    if full in _FUNCTIONS:
        return _Global(_FUNCTIONS[full])
    is_layer = module.startswith("torch.nn.") and name in KNOWN
    if is_layer or full == "argparse.Namespace":
        return type(name, (_Object,), {"origin": full})
    raise DataError(
        f"asks for {full}, which is not among the names that are known to be harmless. Unpickling "
        "it could run any program, so nothing was loaded. If you trust the file, load it with the "
        "program that wrote it and save its state_dict() and plain values instead"
    )


# ---------------------------------------------------------------------------------------------
# the two layouts


def _read_zip(path: Path, raw: bytes, encoding: str) -> Any:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = {n.partition("/")[2]: n for n in archive.namelist()}
        if "data.pkl" not in names:
            raise DataError("a zip archive, but not one of torch.save: it has no data.pkl")
        if "constants.pkl" in names:
            raise DataError(
                "a TorchScript program, which talweg does not run; save its state_dict() instead"
            )
        order = archive.read(names["byteorder"]).decode() if "byteorder" in names else "little"
        made: dict[str, _Storage] = {}

        def storage(dtype: DType | None, key: str, location: str, size: int) -> _Storage:
            if key not in made:
                made[key] = _Storage(dtype, size)
                made[key].data = _native(archive.read(names[f"data/{key}"]), dtype, order)
            return made[key]

        return _Reader(io.BytesIO(archive.read(names["data.pkl"])), encoding, storage).load()


def _read_stream(raw: bytes, encoding: str) -> Any:
    file = io.BytesIO(raw)
    made: dict[str, _Storage] = {}

    def storage(
        dtype: DType | None, key: str, location: str, size: int, view: Any = None
    ) -> _Storage:
        if key not in made:
            made[key] = _Storage(dtype, size)
        if view is None:
            return made[key]
        part = _Storage(dtype, view[2])
        part.data, part.start = made[key], view[1]
        return part

    def part() -> Any:
        return _Reader(file, encoding, storage).load()

    if part() != _MAGIC:
        raise DataError("a pickle, but not one of torch.save")
    if (version := part()) != _PROTOCOL:
        raise DataError(f"was written in version {version} of the format, which is not known")
    order = "little" if part().get("little_endian", True) else "big"
    content, keys = part(), part()
    for key in keys:
        (size,) = struct.unpack("<q", file.read(8))
        own = made[key]
        if size != own.size:
            raise DataError(f"storage {key} has {size} elements instead of {own.size}")
        width = 1 if own.dtype is None else own.dtype.itemsize
        own.data = _native(file.read(size * width), own.dtype, order)
    return content


def _native(data: bytes, dtype: DType | None, order: str) -> np.ndarray:
    """Return the bytes of a storage as numbers; without a dtype as bytes."""
    if dtype is None:
        return np.frombuffer(data, np.uint8)
    mark: Any = "<" if order == "little" else ">"
    return np.frombuffer(data, dtype.storage.newbyteorder(mark)).astype(dtype.storage)


# ---------------------------------------------------------------------------------------------
# values


class _Finish:
    """Makes the values that reading has noted; what was one object stays one."""

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, str | int | float | complex | bytes | DType):
            return value
        known = self.done.get(id(value))
        if known is None:
            # The value is kept beside the result: an address is never used for two of them.
            known = self.done[id(value)] = (value, self._made(value))
        return known[1]

    def _made(self, value: Any) -> Any:
        if isinstance(value, dict):
            items = [(self(k), self(v)) for k, v in value.items()]
            for key in list(value):
                del value[key]
            value.update(items)
            if getattr(value, "__dict__", None):
                vars(value).update({k: self(v) for k, v in vars(value).items()})
            return value
        if isinstance(value, list):
            value[:] = [self(v) for v in value]
            return value
        if isinstance(value, tuple | set | frozenset):
            return type(value)(self(v) for v in value)
        if isinstance(value, _Held):
            made = value.make(*(self(a) for a in value.arguments))
            return made if value.state is None else _with_state(made, self(value.state))
        if isinstance(value, _Object):
            state = self(value.__dict__.get("state", {}))
            if value.origin == "argparse.Namespace":
                return Namespace(**state)
            return restored(type(value).__name__, state)
        if isinstance(value, _Storage | _Global | slice):
            return value
        raise DataError(f"holds {type(value).__name__} where a value is expected")


def _with_state(made: Any, state: Any) -> Any:
    """Take over what the file sets on a finished value: the contents of an array, attributes."""
    if isinstance(made, _Dtype):
        made.order = str(state[1])
        return made
    if isinstance(made, np.ndarray):
        _, shape, kind, fortran, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data
        order: Any = "F" if fortran else "C"
        return np.frombuffer(raw, kind.numpy()).reshape(shape, order=order).copy()
    return made


def _tensor(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if storage.dtype is None:
        raise DataError("a Tensor in a storage without a dtype")
    return _typed_tensor(storage, offset, size, stride, requires_grad, hooks, storage.dtype)


def _typed_tensor(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: Any,
    dtype: DType,
    metadata: Any = None,
) -> Tensor:
    own: Any = storage
    while isinstance(own.data, _Storage):
        offset, own = offset + own.start, own.data
    data = own.data if own.dtype is dtype else own.data.view(np.uint8).view(dtype.storage)
    sizes, strides = tuple(map(int, size)), tuple(map(int, stride))
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if min((*sizes, *strides, offset), default=0) < 0 or (0 not in sizes and last >= data.size):
        raise DataError(f"a Tensor of shape {sizes} reaches beyond its storage of {data.size}")
    if 0 in sizes:
        array = np.empty(sizes, dtype.storage)
    else:
        steps = tuple(s * dtype.storage.itemsize for s in strides)
        array = np.lib.stride_tricks.as_strided(data[offset:], sizes, steps).copy(order="C")
    return rebuild(Tensor, array, dtype, bool(requires_grad))


def _parameter(
    data: Tensor, requires_grad: bool = True, hooks: Any = None, state: Any = None
) -> Any:
    return Parameter(data, bool(requires_grad))


def _buffer(data: Tensor, requires_grad: bool = False, persistent: bool = True) -> Any:
    return Buffer(data, bool(persistent))


def _from_type(make: Any, kind: Any, arguments: Any, state: Any) -> Any:
    if not isinstance(make, _Global):
        raise DataError("a Tensor that is made by an unknown function")
    return make.make(*arguments)


class _Dtype:
    """A dtype of NumPy: its letters, and the byte order that is set later."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, align: bool = False, copy: bool = True) -> None:
        self.code = code if isinstance(code, str) else "O"
        self.order: Any = "="

    def numpy(self) -> np.dtype[Any]:
        """Return it; objects, which could be anything, are refused."""
        found = np.dtype(self.code)
        if found.kind not in "biufcSU":
            raise DataError(f"holds a NumPy array of dtype {found}")
        return found.newbyteorder(self.order) if self.order in "<>" else found


def _scalar(kind: _Dtype, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, kind.numpy())[0]


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def _unmade(*arguments: Any) -> Any:
    raise DataError("calls a type that is only named in files of torch.save")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.nn.parameter.Buffer": _buffer,
    "torch.Tensor": _unmade,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda *parts: ":".join(map(str, parts)),
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _unmade,
    "_codecs.encode": _encoded,
    **{
        f"pathlib{part}.{kind}Path": lambda *parts: "/".join(parts)
        for part in ("", "._local")
        for kind in ("Posix", "PurePosix", "Windows")
    },
    **{f"numpy.{part}.multiarray.scalar": _scalar for part in ("core", "_core")},
    **{
        f"numpy.{part}.multiarray._reconstruct": lambda kind, shape, code: np.zeros(0)
        for part in ("core", "_core")
    },
}
