"""Values to and from other libraries: NumPy's protocols and DLPack.

What is shared is not copied and belongs to nobody: an array over a Tensor's memory is read-only,
writing in place to a Tensor gives it other memory, and who shares memory with a Tensor must not
write to it either, for what is computed from the Tensor may be computed later.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DeviceError, DTypeError, InvalidValue
from talweg.engine.conversion import clone, numpy
from talweg.engine.creation import check_device, tensor
from talweg.engine.differentiated import detach
from talweg.engine.tensor import Tensor, concrete, requires, wrap
from talweg.ir.node import input_node
from talweg.ir.types import tensor_type

CPU_DEVICE = (1, 0)
_UINT, _BFLOAT = 1, 4  # codes of dtypes


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _Described(ctypes.Structure):
    """A DLTensor: where an array lies and what it holds."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    )


class _Versioned(ctypes.Structure):
    """What stands before it in a capsule of version 1."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("owner", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Described),
    )


def to_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """Support `numpy.asarray(tensor)`: a new array (bfloat16 widens to float32).

    Args:
        dtype: that of the array; default: the Tensor's.
        copy: false for an array that shares the Tensor's memory, and cannot be written.

    Raises:
        GradientError: for a Tensor that requires gradients.
        InvalidValue: when `copy` is false and the values must be converted.
    """
    if copy is not False:
        array = numpy(self)
        return array if dtype is None else array.astype(dtype, copy=False)
    array = _shared(self)
    if self.dtype is dtypes.bfloat16 or (dtype is not None and array.dtype != dtype):
        raise InvalidValue(f"{self.dtype.name} values in another dtype are a copy")
    return array


def from_array(
    self: Tensor, array: Any, context: object = None, return_scalar: bool = False
) -> Tensor:
    """Support NumPy's functions of Tensors: their results become Tensors again."""
    return tensor(array)


def _shared(t: Tensor) -> np.ndarray:
    """Return the stored values (bfloat16 as uint16), not to be written, without a copy."""
    array = concrete(t).view()
    array.flags.writeable = False
    return array


def dlpack(
    self: Tensor,
    *,
    stream: int | None = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """Export the values by the DLPack protocol: the memory is shared, and must not be written.

    Args:
        stream: accepted: the CPU has none.
        max_version: the caller's; before 1.0 read-only memory has no name, so values are copied.
        dl_device: the CPU, (1, 0).
        copy: true for values in memory of their own; false for the memory itself in any case.

    Raises:
        BufferError: for a Tensor that requires gradients, and for another device.
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if dl_device is not None and (int(dl_device[0]), dl_device[1]) != CPU_DEVICE:
        raise BufferError(f"the values are on the CPU, {CPU_DEVICE}, not on {tuple(dl_device)}")
    array = _shared(self)
    if max_version is None or max_version[0] < 1:
        made = (concrete(self) if copy is False else array.copy()).__dlpack__()
    else:
        made = array.__dlpack__(max_version=max_version, copy=copy)
    if self.dtype is dtypes.bfloat16:
        _description(made).code = _BFLOAT
    return made


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """Return (1, 0): the CPU."""
    return CPU_DEVICE


def _description(capsule: Any) -> Any:
    """Return the DLTensor in a capsule, as it lies there."""
    api = ctypes.pythonapi
    for name, kind in ((b"dltensor_versioned", _Versioned), (b"dltensor", _Described)):
        if api.PyCapsule_IsValid(ctypes.py_object(capsule), name):
            pointer = api.PyCapsule_GetPointer
            pointer.restype = ctypes.c_void_p
            found: Any = kind.from_address(pointer(ctypes.py_object(capsule), name))
            return found.tensor if kind is _Versioned else found
    raise InvalidValue("the DLPack capsule was used already")


class _Producer:
    """What `numpy.from_dlpack` takes: an object or capsule, bfloat16 shown as uint16."""

    __slots__ = ("copy", "is_bfloat16", "given")

    def __init__(self, given: Any, copy: bool | None) -> None:
        self.given = given
        self.copy = copy
        self.is_bfloat16 = False

    def __dlpack_device__(self) -> tuple[int, int]:
        ask = getattr(self.given, "__dlpack_device__", None)
        place: tuple[int, int] = CPU_DEVICE if ask is None else ask()
        return place

    def __dlpack__(self, **options: Any) -> Any:
        capsule = self.given
        if hasattr(capsule, "__dlpack__"):
            wanted = {k: v for k, v in options.items() if v is not None}
            try:
                capsule = self.given.__dlpack__(**wanted)
            except TypeError:  # older than max_version
                capsule = self.given.__dlpack__()
        description = _description(capsule)
        if description.code == _BFLOAT:
            self.is_bfloat16 = True
            description.code = _UINT
        return capsule


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return a Tensor of an object that offers the DLPack protocol, or of a capsule.

    The memory is shared: who else writes to it must do so before the Tensor is made, or after it
    and all that was computed from it has been looked at.

    Args:
        ext_tensor: an array of another library, on the CPU.
        device: only the CPU.
        copy: true for memory of its own; false where values that do not lie row by row must be
            shared, too, instead of copied.

    Raises:
        DeviceError: for an array on another device.
        DTypeError: for a dtype that talweg does not have.

    >>> import numpy as np, talweg as tw
    >>> tw.from_dlpack(np.arange(3))
    tensor([0, 1, 2])
    """
    check_device(device)
    if isinstance(ext_tensor, Tensor):
        return clone(ext_tensor.detach()) if copy else detach(ext_tensor)
    producer = _Producer(ext_tensor, copy)
    place = producer.__dlpack_device__()
    if int(place[0]) != CPU_DEVICE[0]:
        raise DeviceError(f"from_dlpack needs an array on the CPU, got device {tuple(place)}")
    try:
        array = np.from_dlpack(producer)
    except RuntimeError as error:
        raise DTypeError(f"from_dlpack: {error}") from None
    if copy or (copy is None and not array.flags.c_contiguous):
        array = np.array(array, order="C")
    return over(array, dtypes.bfloat16 if producer.is_bfloat16 else None)


def over(array: np.ndarray, dtype: DType | None = None) -> Tensor:
    """Return a Tensor over the memory of an array of stored values, which is not copied.

    Raises:
        DTypeError: for a dtype that talweg does not have.
    """
    kind = dtypes.from_numpy(array.dtype) if dtype is None else dtype
    return wrap(input_node(tensor_type(kind, array.shape), array))


def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """Return a vector over the bytes of an object, such as `bytes` or a `memoryview`.

    The memory is shared, see `from_dlpack`.

    Args:
        buffer: an object with Python's buffer protocol.
        dtype: how its bytes are read.
        count: how many elements; default: all.
        offset: how many bytes are left out at the beginning.
        requires_grad: whether gradients are to be computed.

    Raises:
        InvalidValue: when there are no, or not so many, elements.

    >>> tw.frombuffer(b"abc", dtype=tw.uint8)
    tensor([97, 98, 99], dtype=talweg.uint8)
    """
    try:
        array = np.frombuffer(buffer, dtype.storage, count, offset)
    except ValueError as error:
        raise InvalidValue(f"frombuffer: {error}") from None
    return requires(over(array, dtype), requires_grad)


PUBLIC = (from_dlpack, frombuffer)
