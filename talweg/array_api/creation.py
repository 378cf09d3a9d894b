"""New arrays, with the names and rules of the array API standard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from talweg.array_api import kinds
from talweg.array_api.calls import FUNCTIONS
from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue
from talweg.engine import creation, interchange
from talweg.engine.conversion import clone, device
from talweg.engine.creation import Number, check_device
from talweg.engine.tensor import Tensor

Device = device | str | None
Shape = int | Sequence[int]


def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: Device = None, copy: bool | None = None
) -> Tensor:
    """Return an array of a number, nested sequence, buffer or array.

    Args:
        obj: what holds the values; an object with `__dlpack__` or `__array__`, too.
        dtype: default: that of the object; Python's integers beyond int64 give uint64.
        device: only the CPU.
        copy: true for memory of its own, false for the object's, see `tw.from_dlpack`; by default
            only Tensors are not copied.

    Raises:
        InvalidValue: when `copy` is false and a copy is needed.
    """
    check_device(device)
    if isinstance(obj, Tensor):
        if dtype is None or dtype is obj.dtype:
            return clone(obj) if copy else obj
        if copy is False:
            raise InvalidValue(f"asarray: {obj.dtype} to {dtype} needs a copy")
        return kinds.astype(obj, dtype)
    if copy is not False:
        return creation.tensor(obj, dtype)
    try:
        found = interchange.over(np.asarray(obj, copy=False))
    except ValueError:
        found = None
    if found is None or dtype not in (None, found.dtype):
        raise InvalidValue(f"asarray: the values of {type(obj).__name__} must be copied")
    return found


def from_dlpack(x: Any, /, *, device: Device = None, copy: bool | None = None) -> Tensor:
    """Return an array of the values of an object that offers DLPack, see `tw.from_dlpack`."""
    return interchange.from_dlpack(x, device=device, copy=copy)


def arange(
    start: int | float,
    /,
    stop: int | float | None = None,
    step: int | float = 1,
    *,
    dtype: DType | None = None,
    device: Device = None,
) -> Tensor:
    """Return start, start + step, … before stop; none where step leads away from it."""
    first, last = (0, start) if stop is None else (start, stop)
    if step and (last - first) / step <= 0:
        whole = all(isinstance(v, int) for v in (first, last, step))
        kind = dtype or (dtypes.int64 if whole else kinds.default_float())
        return creation.zeros(0, dtype=kind, device=device)
    return creation.arange(first, last, step, dtype=dtype, device=device)


def linspace(
    start: int | float | complex,
    stop: int | float | complex,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: Device = None,
    endpoint: bool = True,
) -> Tensor:
    """Return `num` evenly spaced numbers from start to stop, which may be left out."""
    found = np.linspace(start, stop, num, endpoint=endpoint)
    default = kinds.default_float()
    if found.dtype.kind == "c":
        default = dtypes.complex64 if default is dtypes.float32 else dtypes.complex128
    return creation.tensor(found, dtype or default, device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DType | None = None,
    device: Device = None,
) -> Tensor:
    """Return a matrix with ones on its k-th diagonal, zeros elsewhere."""
    found = np.eye(n_rows, n_cols, k)
    return creation.tensor(found, dtype or kinds.default_float(), device)


def full(
    shape: Shape, fill_value: Number, *, dtype: DType | None = None, device: Device = None
) -> Tensor:
    """Return an array of one value."""
    return creation.full(shape, fill_value, dtype=dtype, device=device)


def zeros(shape: Shape, *, dtype: DType | None = None, device: Device = None) -> Tensor:
    """Return an array of zeros."""
    return creation.zeros(shape, dtype=dtype, device=device)


def ones(shape: Shape, *, dtype: DType | None = None, device: Device = None) -> Tensor:
    """Return an array of ones."""
    return creation.ones(shape, dtype=dtype, device=device)


def empty(shape: Shape, *, dtype: DType | None = None, device: Device = None) -> Tensor:
    """Return an array whose values are not specified."""
    return creation.empty(shape, dtype=dtype, device=device)


def full_like(
    x: Tensor, /, fill_value: Number, *, dtype: DType | None = None, device: Device = None
) -> Tensor:
    """Return one value in the shape of x."""
    return creation.full_like(x, fill_value, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Device = None) -> Tensor:
    """Return zeros in the shape of x."""
    return creation.zeros_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Device = None) -> Tensor:
    """Return ones in the shape of x."""
    return creation.ones_like(x, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Device = None) -> Tensor:
    """Return unspecified values in the shape of x."""
    return creation.empty_like(x, dtype=dtype, device=device)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return coordinate arrays of the grid of some vectors."""
    if not arrays:
        return ()
    return tuple(FUNCTIONS["meshgrid"](*arrays, indexing=indexing))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return the part of matrices on and below the k-th diagonal, zeros elsewhere."""
    found: Tensor = FUNCTIONS["tril"](x, k)
    return found


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return the part of matrices on and above the k-th diagonal, zeros elsewhere."""
    found: Tensor = FUNCTIONS["triu"](x, k)
    return found
