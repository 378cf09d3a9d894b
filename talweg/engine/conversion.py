"""Values out of Tensors, and Tensors of other dtypes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType, as_dtype
from talweg.base.errors import GradientError, IndexOutOfRange, ShapeError
from talweg.base.formats import (
    RANKS,
    MemoryFormat,
    contiguous_format,
    last_strides,
    preserve_format,
)
from talweg.base.shapes import contiguous_strides
from talweg.base.source import describe, here
from talweg.engine import meta
from talweg.engine.arranged import arranged, is_last, put_in
from talweg.engine.barrier import observed
from talweg.engine.creation import Number, check_device, check_range, tensor
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.record import assign, lift
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor, concrete, detached, requires, values, wrap
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.types import tensor_type
from talweg.runtime.buffer import Buffer

# What reads a number of a dtype where it lies; others are read through an array.
_READ: dict[DType, Any] = {
    dtypes.float32: ctypes.c_float,
    dtypes.float64: ctypes.c_double,
    dtypes.int8: ctypes.c_int8,
    dtypes.int32: ctypes.c_int32,
    dtypes.int64: ctypes.c_int64,
    dtypes.uint8: ctypes.c_uint8,
    dtypes.bool_: ctypes.c_bool,
}


class device:
    """A place where Tensors live: `device("cpu")`, or `device("meta")`, where they have no values.

    As a context it is the place of Tensors that are made in it without another one.

    Args:
        type: the kind of device, `cpu`, with its number (`cpu:0`) or without; or a device.
        index: its number.

    Raises:
        DeviceError: when it does not exist on this machine.

    >>> import talweg as tw
    >>> with tw.device("meta"):
    ...     big = tw.nn.Linear(100_000, 100_000)
    >>> big.weight.shape, big.weight.device
    ((100000, 100000), device(type='meta'))
    """

    __slots__ = ("index", "type")

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        check_device(type)
        name, _, number = str(type).partition(":")
        self.type = name
        self.index = int(number) if number else index

    def __enter__(self) -> device:
        meta.PLACE.default.append(self)
        return self

    def __exit__(self, *failure: object) -> None:
        meta.PLACE.default.pop()

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        number = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{number})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> Any:
        return device, (self.type, self.index)


CPU = device("cpu")
META = device("meta")


class layout:
    """How the elements of a Tensor are arranged: `strided` is the only way."""

    def __repr__(self) -> str:
        return "talweg.strided"

    def __reduce__(self) -> str:
        return "strided"


strided = layout()


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """Return the values as a new NumPy array (bfloat16 widens to float32).

    Args:
        force: accepted for a Tensor that requires gradients, which otherwise raises.

    Raises:
        GradientError: for a Tensor that requires gradients.
    """
    if self.requires_grad and not force:
        raise GradientError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            f"\n  recorded at {describe(here())}"
        )
    return np.array(values(self))


def item(self: Tensor) -> Any:
    """Return the value of a one-element Tensor as a Python number.

    Raises:
        ShapeError: when it has more or fewer elements than one.
    """
    view, root = self._view, self._storage.node
    if root.type.size == 1 if view is None else not view.header[0]:
        value, offset = root.value, 0 if view is None else view.header[1]
        read = _READ.get(root.type.dtype)
        if read is not None and value.__class__ is Buffer:
            observed("the value of a Tensor is looked at while the function runs")
            return read.from_address(value.address + offset * root.type.dtype.itemsize).value
        if value.__class__ is np.ndarray and value.flags.c_contiguous and value.itemsize != 2:
            observed("the value of a Tensor is looked at while the function runs")
            return value.item(offset)
    if self.node().type.size != 1:
        raise ShapeError(
            f"a Tensor with {self.node().type.size} elements (shape {self.shape}) cannot be "
            f"converted to a number; use .tolist()\n  recorded at {describe(here())}"
        )
    return values(self).item()


def tolist(self: Tensor) -> Any:
    """Return the values as nested lists of Python numbers."""
    return values(self).tolist()


def truth(self: Tensor) -> bool:
    """Return the truth of a one-element Tensor.

    Raises:
        ShapeError: when it has more or fewer elements than one.
    """
    if self.node().type.size != 1:
        raise ShapeError(
            f"Boolean value of Tensor with {self.node().type.size} values (shape {self.shape}) is "
            f"ambiguous; use .any() or .all()\n  recorded at {describe(here())}"
        )
    return bool(values(self).item())


def as_int(self: Tensor) -> int:
    """Return a one-element Tensor as an int."""
    return int(item(self))


def as_float(self: Tensor) -> float:
    """Return a one-element Tensor as a float."""
    return float(item(self))


def as_complex(self: Tensor) -> complex:
    """Return a one-element Tensor as a complex number."""
    return complex(item(self))


def as_index(self: Tensor) -> int:
    """Return a one-element integer Tensor as an int, for Python's indexing."""
    if self.dtype.rank > 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(item(self))


def length(self: Tensor) -> int:
    """Return the size of the first dimension."""
    if not self.shape:
        raise TypeError("len() of a 0-d tensor")
    return self.node().type.shape[0]


def iterate(self: Tensor) -> Iterator[Tensor]:
    """Iterate over the first dimension."""
    if not self.shape:
        raise TypeError("iteration over a 0-d tensor")
    return iter(METHODS["unbind"](self, 0))


def backwards(self: Tensor) -> Tensor:
    """Return the Tensor with its first dimension in reverse order; a 0-d Tensor itself."""
    turned: Tensor = METHODS["flip"](self, 0) if self.shape else self
    return turned


def contains(self: Tensor, value: Any) -> bool:
    """Return whether any element equals the value."""
    return bool(values(METHODS["eq"](self, value)).any())


def _to_dtype(b: Builder, x: Node, dtype: DType) -> Node:
    return x if x.type.dtype is dtype else b.cast(x, dtype)


_to_dtype.__name__ = "to"
_cast = lift(_to_dtype)
_clone = FUNCTIONS["clone"]


def clone(self: Tensor, memory_format: MemoryFormat | None = None) -> Tensor:
    """Return a copy with its own storage, through which gradients flow.

    Args:
        memory_format: the order of its axes in memory; default: images keep theirs.

    Raises:
        ShapeError: for images that have not so many axes as the format.
    """
    made: Tensor = _clone(self)
    return put_in(made, memory_format)


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return this Tensor in another dtype: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(x)`.

    With `memory_format=`, its axes stand in memory in another order. The Tensor itself is returned
    when nothing changes, unless `copy=True`.

    Raises:
        ShapeError: for images that have not so many axes as the format.
    """
    wanted = kwargs.get("memory_format")
    dtype = kwargs.get("dtype")
    place = kwargs.get("device")
    for a in args:
        if isinstance(a, Tensor):
            dtype, place = a.dtype, META if meta.is_meta(a) else CPU
        elif isinstance(a, DType):
            dtype = a
        elif isinstance(a, str) and a in dtypes.BY_NAME:
            dtype = as_dtype(a)
        elif not isinstance(a, bool | MemoryFormat):
            place = a
    check_device(place)
    if place is not None and meta.asked(place) is not meta.is_meta(self):
        return _moved(self, as_dtype(dtype) if dtype is not None else self.dtype)
    if dtype is None or as_dtype(dtype) is self.dtype:
        if kwargs.get("copy") or not _lies_in(self, wanted):
            return clone(self, wanted)
        return self
    made: Tensor = _cast(self, as_dtype(dtype))
    return put_in(made, wanted)


def _moved(self: Tensor, dtype: DType) -> Tensor:
    if meta.is_meta(self):
        raise NotImplementedError(
            "a Tensor on the meta device has no values to copy: use module.to_empty(device=...) in "
            "place of module.to(), or torch.empty_like(x, device=...)"
        )
    return meta.made(tensor_type(dtype, self.shape))


def images_in(t: Tensor, format: MemoryFormat) -> Tensor:
    """Return a Tensor in a format, or the Tensor itself where it has not as many axes."""
    ranks = (RANKS[format],) if format in RANKS else RANKS.values()
    return to(t, memory_format=format) if t.ndim in ranks else t


def _lies_in(t: Tensor, format: MemoryFormat | None) -> bool:
    return format is None or format is preserve_format or is_contiguous(t, format)


def caster(dtype: DType, name: str) -> Any:
    """Return the method that converts to one dtype, such as `float()`."""

    def method(self: Tensor, memory_format: MemoryFormat | None = None) -> Tensor:
        return to(self, dtype, memory_format=memory_format)

    method.__name__ = name
    method.__doc__ = f"Return this Tensor as {dtype.name}; the Tensor itself when it is."
    return method


def type_of(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the name PyTorch gives this type, or the Tensor converted to `dtype`.

    Args:
        dtype: a dtype, or a type such as `torch.FloatTensor`, by its name or itself.
        non_blocking: accepted; has no effect.
    """
    if dtype is None:
        return f"torch.{LEGACY_NAMES.get(self.dtype.name, self.dtype.name)}"
    name = str(dtype).removeprefix("torch.")
    if name.startswith("cuda."):
        check_device("cuda")
    return to(self, as_dtype(_BY_LEGACY.get(name, dtype)))


LEGACY_NAMES = {
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor",
    "int64": "LongTensor",
    "int32": "IntTensor",
    "int16": "ShortTensor",
    "int8": "CharTensor",
    "uint8": "ByteTensor",
    "bool": "BoolTensor",
}
_BY_LEGACY = {legacy: name for name, legacy in LEGACY_NAMES.items()} | {"Tensor": "float32"}


def itself(self: Tensor, *_: Any, **__: Any) -> Tensor:
    """Return this Tensor: it is on the CPU already."""
    return self


def to_device(self: Tensor, device: object, /, *, stream: object = None) -> Tensor:
    """Return this Tensor on a device of the array API standard: it is on the CPU already.

    Raises:
        DeviceError: for any other device.
    """
    check_device(device)
    return self


def cuda(self: Tensor, device: object = None, non_blocking: bool = False) -> Tensor:
    """Return a copy on a GPU.

    Raises:
        DeviceError: always: there is none, so far.
    """
    return to(self, "cuda")


def contiguous(self: Tensor, memory_format: MemoryFormat = contiguous_format) -> Tensor:
    """Return this Tensor, or a copy in row-major order, or the given one, when it is in another.

    Raises:
        ShapeError: for images that have not so many axes as the format.
    """
    return self if _lies_in(self, memory_format) else clone(self, memory_format)


def is_contiguous(self: Tensor, memory_format: MemoryFormat = contiguous_format) -> bool:
    """Return whether the elements lie in row-major order, or in the given one, without gaps."""
    wanted = contiguous_strides(self.shape)
    if memory_format in RANKS:
        if self.ndim != RANKS[memory_format]:
            return False
        wanted = last_strides(self.shape)
    rows = zip(self.shape, self.header()[0], wanted, strict=True)
    return 0 in self.shape or all(n == 1 or s == w for n, s, w in rows)


def stride(self: Tensor, dim: int | None = None) -> Any:
    """Return the strides in elements, or that of one dimension."""
    strides = self.header()[0]
    return strides if dim is None else strides[_axis(self, dim)]


def storage_offset(self: Tensor) -> int:
    """Return the position of the first element in the storage."""
    return self.header()[1]


def data_ptr(self: Tensor) -> int:
    """Return a number that is equal for Tensors that begin at the same place of one storage."""
    return id(self._storage) + storage_offset(self) * self.dtype.itemsize


def size(self: Tensor, dim: int | None = None) -> Any:
    """Return the shape, or the size of one dimension."""
    return self.shape if dim is None else self.shape[_axis(self, dim)]


def _axis(self: Tensor, dim: int) -> int:
    rank = self.ndim
    if not -rank <= dim < rank:
        raise IndexOutOfRange(
            f"dimension {dim} is out of range for a Tensor of shape {self.shape}"
            f"\n  recorded at {describe(here())}"
        )
    return dim


def numel(self: Tensor) -> int:
    """Return the number of elements."""
    count: int = self.node().type.size
    return count


def dim(self: Tensor) -> int:
    """Return the number of dimensions."""
    return self.ndim


def is_floating_point(input: Tensor) -> bool:
    """Return whether the dtype is floating."""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Return whether the dtype is complex."""
    return input.dtype.is_complex


def place(self: Tensor) -> device:
    """The device that holds the values."""
    return META if meta.is_meta(self) else CPU


def is_cuda(self: Tensor) -> bool:
    """Whether the values are on a GPU: never, so far."""
    return False


def layout_of(self: Tensor) -> layout:
    """How the values are arranged: `strided`."""
    return strided


def nbytes(self: Tensor) -> int:
    """The bytes of all elements."""
    return self.node().type.nbytes


def element_size(self: Tensor) -> int:
    """Return the bytes of one element."""
    return self.dtype.itemsize


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Write the values of `src`, broadcast and converted, into this Tensor."""
    if isinstance(src, Number):
        return fill_(self, src)
    given = src
    if not isinstance(src, Tensor):
        src = tensor(src)
    if src.dtype is not self.dtype:
        src = _cast(src, self.dtype)
    if src.shape != self.shape:
        src = METHODS["expand"](src, self.shape)
    if src is given and STATE.grad and src.requires_grad:
        src = clone(src)
    return assign(self, src, "copy_")


def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one value into every element."""
    if meta.is_meta(self):
        return self
    if not isinstance(value, Tensor):
        check_range(value, self.dtype)
        b = STATE.builder
        node = b.expand(b.scalar(value, self.dtype), self.shape)
        return assign(self, wrap(node), "fill_")
    if value.ndim:
        raise ShapeError(f"fill_ needs a number or a 0-d Tensor, got shape {value.shape}")
    return copy_(self, value)


def zero_(self: Tensor) -> Tensor:
    """Write zeros."""
    return fill_(self, 0)


def deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """Support `copy.deepcopy` for leaves.

    Raises:
        GradientError: for Tensors that were computed with gradients.
    """
    if id(self) in memo:
        found: Tensor = memo[id(self)]
        return found
    if not self.is_leaf:
        raise GradientError("only leaf Tensors support deepcopy; detach() this one first")
    if meta.is_meta(self):
        return _copied(self, meta.made(self.node().type, type(self)), memo)
    copied = STATE.builder.copy(self.node())
    made = arranged(copied, type(self)) if is_last(self) else wrap(copied, type(self))
    return _copied(self, made, memo)


def _copied(self: Tensor, made: Tensor, memo: dict[int, Any]) -> Tensor:
    made.__dict__.update(_attributes(self))
    made.requires_grad = self.requires_grad
    if self._grad is not None:
        made._grad = deepcopy(self._grad, memo)
    memo[id(self)] = made
    return made


def shallow_copy(self: Tensor) -> Tensor:
    """Support `copy.copy`: another Tensor of the same class over the same memory."""
    made = detached(self)
    made.__class__ = type(self)
    made.__dict__.update(_attributes(self))
    made._edge = self._edge if not self.is_leaf else None
    return requires(made, self.requires_grad)


def _attributes(t: Tensor) -> dict[str, Any]:
    """What users, and subclasses, have put on a Tensor."""
    return {name: value for name, value in t.__dict__.items() if name != "_idle"}


def rebuild(cls: type[Tensor], array: np.ndarray, dtype: DType, grad: bool) -> Tensor:
    """Make an unpickled Tensor."""
    t = wrap(STATE.builder.constant(dtypes.decode(array, dtype), dtype), cls)
    return requires(t, grad)


def reduce(self: Tensor, protocol: int) -> Any:
    """Support pickling: values, dtype, requires_grad and attributes of its own."""
    made = (type(self), concrete(self), self.dtype, self.requires_grad)
    return rebuild, made, _attributes(self) or None
