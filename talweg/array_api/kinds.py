"""Dtypes as the array API standard sees them: kinds, limits, conversion and promotion."""

from __future__ import annotations

from functools import reduce
from typing import Any, TypeAlias

from talweg.base import dtypes
from talweg.base.dtypes import DType, FloatInfo, IntInfo
from talweg.base.errors import DTypeError, InvalidValue
from talweg.engine import creation
from talweg.engine.conversion import to
from talweg.engine.creation import check_device
from talweg.engine.dependent import result_type as pytorch_result_type
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor

Operand: TypeAlias = Tensor | bool | int | float | complex

STANDARD = tuple(d for d in dtypes.ALL if d not in (dtypes.float16, dtypes.bfloat16))
_INTEGERS = ("signed integer", "unsigned integer")
_PARTS = {
    "integral": _INTEGERS,
    "numeric": (*_INTEGERS, "real floating", "complex floating"),
}
_CATEGORIES = {
    "bool": "bool",
    "signed integer": "int",
    "unsigned integer": "uint",
    "real floating": "float",
    "complex floating": "complex",
}


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: object = None) -> Tensor:
    """Return x in another dtype; x itself where that is its dtype and `copy` is false."""
    check_device(device)
    return to(x, dtype, copy=copy)


def can_cast(from_: DType | Tensor, to: DType, /) -> bool:
    """Return whether promotion of both dtypes gives `to`.

    >>> import talweg as tw
    >>> tw.array_api.can_cast(tw.float32, tw.float64), tw.array_api.can_cast(tw.int64, tw.int8)
    (True, False)
    """
    source = _dtype_of(from_)
    try:
        return dtypes.promote(source, to) is to
    except DTypeError:
        return False


def finfo(type: DType | Tensor, /) -> FloatInfo:
    """Return the limits of a floating or complex dtype; `dtype` is that of the real parts.

    Raises:
        DTypeError: for integers and bool.
    """
    dtype = _dtype_of(type)
    parts = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}
    return dtypes.finfo(parts.get(dtype, dtype))


def iinfo(type: DType | Tensor, /) -> IntInfo:
    """Return the limits of an integer dtype.

    Raises:
        DTypeError: for floating dtypes and bool.
    """
    return dtypes.iinfo(_dtype_of(type))


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> bool:
    """Return whether a dtype is of a kind of the standard, is another dtype, or any of several.

    Args:
        dtype: what is asked about.
        kind: `bool`, `signed integer`, `unsigned integer`, `integral`, `real floating`,
            `complex floating`, `numeric`, a dtype, or a tuple of these.

    Raises:
        InvalidValue: for another name.

    >>> import talweg as tw
    >>> tw.array_api.isdtype(tw.int8, ("integral", tw.float32))
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind in _PARTS:
        return isdtype(dtype, _PARTS[kind])
    if kind not in _CATEGORIES:
        raise InvalidValue(f"isdtype: {kind!r} is not a kind; kinds are {[*_CATEGORIES, *_PARTS]}")
    return dtype.category == _CATEGORIES[kind]


def result_type(*arrays_and_dtypes: Operand | DType) -> DType:
    """Return the dtype of an operation on all: the dtypes count alike, numbers by their kind only.

    Raises:
        InvalidValue: without any dtype or Tensor.
        DTypeError: when there is no common dtype.
    """
    numbers = [v for v in arrays_and_dtypes if not isinstance(v, DType | Tensor)]
    found = [_dtype_of(v) for v in arrays_and_dtypes if isinstance(v, DType | Tensor)]
    if not found:
        raise InvalidValue("result_type needs at least one Tensor or dtype")
    dtype = reduce(dtypes.promote, found)
    for number in numbers:
        dtype = _with_number(dtype, number)
    return dtype


def _with_number(dtype: DType, number: Any) -> DType:
    if isinstance(number, bool) or (isinstance(number, int) and dtype.rank):
        return dtype
    if isinstance(number, float) and dtype.is_inexact:
        return dtype
    return pytorch_result_type(creation.zeros(1, dtype=dtype), number)


def _dtype_of(value: Any) -> DType:
    dtype: DType = value.dtype if isinstance(value, Tensor) else value
    return dtype


def promoted(*values: Operand) -> tuple[Tensor, ...]:
    """Return the operands as Tensors of their `result_type`; numbers become 0-d.

    PyTorch's functions promote too, but leave 0-d Tensors aside where their kind is no higher.
    """
    first = values[0]
    if isinstance(first, Tensor) and all(
        isinstance(v, Tensor) and v.dtype is first.dtype for v in values
    ):
        return values  # type: ignore[return-value]
    dtype = result_type(*values)
    return tuple(
        to(v, dtype) if isinstance(v, Tensor) else creation.full((), v, dtype=dtype) for v in values
    )


def default_float() -> DType:
    """Return the dtype of floating numbers where none is given."""
    return STATE.builder.default_float


def wide(dtype: DType) -> DType:
    """Return the dtype of sums and products: 64 bits for integers."""
    return {"uint": dtypes.uint64, "int": dtypes.int64, "bool": dtypes.int64}.get(
        dtype.category, dtype
    )
