"""Subscripts: `x[key]` as an aliasing view or a gather, `x[key] = value`, and boolean selection."""

from __future__ import annotations

from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import IndexOutOfRange, ShapeError
from talweg.base.source import describe, here
from talweg.engine.conversion import copy_
from talweg.engine.creation import tensor
from talweg.engine.direct import part_of_known, row_of_known
from talweg.engine.functions import FUNCTIONS
from talweg.engine.functions import METHODS as LIFTED
from talweg.engine.record import assign, lift, lift_view
from talweg.engine.tensor import Tensor, values
from talweg.engine.written import write_at_once
from talweg.fn import indexing
from talweg.ir.build import Builder
from talweg.ir.node import Node

_view = lift_view(indexing.getitem)


def _row_of(b: Builder, x: Node, index: int) -> Node:
    return indexing.row(b, x, index)


_row_of.__name__ = indexing.getitem.__name__
_row = lift_view(_row_of)
_gather = lift(indexing.getitem)
_scatter = lift(indexing.setitem)


def getitem(self: Tensor, key: Any) -> Tensor:
    """Return a part of the Tensor, with the keys NumPy and PyTorch accept.

    Integers, slices, None and Ellipsis give a view over the same storage; integer and boolean
    Tensors, arrays and lists give a copy, as do slices with a negative step.

    Raises:
        IndexOutOfRange: for an index outside its dimension, or too many of them.
    """
    if type(key) is int:
        row = row_of_known(self, key)
        return _row(self, key) if row is None else row
    parts = _parts(self, key)
    if any([part.__class__ is slice and _is_backward(part) for part in parts]):  # noqa: C419
        axes, parts = _turned(self, parts)
        self = FUNCTIONS["flip"](self, axes)
    if not _is_basic(parts):
        gathered: Tensor = _gather(self, parts)
        return gathered
    part = part_of_known(self, parts)
    if part is None:
        part = _view(self, parts)
    return part


def setitem(self: Tensor, key: Any, value: Any) -> None:
    """Write into a part of the Tensor, in place; the value is broadcast and converted.

    Raises:
        IndexOutOfRange, ShapeError: when the key or the value does not fit.
    """
    if isinstance(key, Tensor) and key.dtype is dtypes.bool_ and _is_number(value):
        _fill_where(self, key, value)
        return
    parts = _parts(self, key)
    if any([part.__class__ is slice and _is_backward(part) for part in parts]):  # noqa: C419
        axes, parts = _turned(self, parts)
        turned = FUNCTIONS["flip"](self, axes)
        setitem(turned, parts, value)
        copy_(self, FUNCTIONS["flip"](turned, axes))
        return
    if _is_basic(parts):
        part = part_of_known(self, parts)
        if part is None:
            part = _view(self, parts)
        elif write_at_once(part, value):
            return
        if isinstance(value, Tensor) and value.ndim > part.ndim:
            value = LIFTED["reshape"](value, value.shape[value.ndim - part.ndim :])
        copy_(part, value)
        return
    if not isinstance(value, Tensor):
        value = tensor(value, self.dtype)
    elif value.dtype is not self.dtype:
        value = value.to(self.dtype)
    assign(self, _scatter(self, parts, value), "index_put_")


def _is_backward(part: slice) -> bool:
    return part.step is not None and part.step < 0


def _turned(self: Tensor, parts: tuple[Any, ...]) -> tuple[list[int], tuple[Any, ...]]:
    """Return the axes with negative steps, and the key into the Tensor with these reversed."""
    used = sum(_axes_of(part) for part in parts)
    axes: list[int] = []
    found: list[Any] = []
    axis = 0
    for part in parts:
        if part is Ellipsis:
            axis += self.ndim - used
        elif part.__class__ is slice and _is_backward(part):
            if axis >= self.ndim:
                raise IndexOutOfRange(f"too many indices for a Tensor of shape {self.shape}")
            last = self.shape[axis] - 1
            start, stop, step = part.indices(last + 1)
            part = slice(last - start, max(last - stop, last - start), -step)
            axes.append(axis)
        found.append(part)
        axis += 0 if part is Ellipsis else _axes_of(part)
    return axes, tuple(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | complex) or (
        isinstance(value, Tensor) and value.ndim == 0
    )


def _fill_where(self: Tensor, mask: Tensor, value: Any) -> None:
    _check_mask(mask, self.shape, 0)
    if 0 in mask.shape:
        return
    whole = LIFTED["reshape"](mask, mask.shape + (1,) * (self.ndim - mask.ndim))
    fill = value if isinstance(value, Tensor) else tensor(value, self.dtype)
    assign(self, FUNCTIONS["where"](whole, fill.to(self.dtype), self), "index_put_")


def _is_basic(parts: tuple[Any, ...]) -> bool:
    return not any(isinstance(p, Tensor | bool) for p in parts)


def _is_plain(key: Any) -> bool:
    """Return whether a key is a tuple of integers, slices and the like: parts as they are."""
    if key.__class__ is not tuple:
        return False
    for part in key:
        if part.__class__ is slice:
            if any([isinstance(v, Tensor) for v in (part.start, part.stop, part.step)]):  # noqa: C419
                return False
        elif part.__class__ is not int and part is not None and part is not Ellipsis:
            return False
    return True


def _parts(self: Tensor, key: Any) -> tuple[Any, ...]:
    if _is_plain(key):
        plain: tuple[Any, ...] = key
        return plain
    listed = key if isinstance(key, tuple) else (key,)
    parts: list[Any] = []
    axis = 0
    rank = self.ndim
    for position, part in enumerate(listed):
        if part is Ellipsis:
            used = sum(_axes_of(p) for p in listed[position + 1 :])
            axis = rank - used
            parts.append(part)
            continue
        if isinstance(part, slice):
            part = slice(*(_whole(v) for v in (part.start, part.stop, part.step)))
        elif isinstance(part, list | np.ndarray | range) and not _is_scalar_array(part):
            part = tensor(np.asarray(part) if len(part) else np.zeros(0, np.int64))
        elif isinstance(part, np.generic | np.ndarray):
            part = part.item()
        elif _is_array(part):
            part = tensor(part)
        if isinstance(part, Tensor) and part.dtype in (dtypes.bool_, dtypes.uint8):
            if part.ndim == 0:
                parts.append(bool(values(part)))
                continue
            _check_mask(part, self.shape, axis)
            parts += nonzero(part, as_tuple=True)
            axis += part.ndim
            continue
        if isinstance(part, bool):
            parts.append(part)
            continue
        if isinstance(part, Tensor) and part.ndim == 0:
            part = int(part.item())
        parts.append(part)
        axis += part is not None
    return tuple(parts)


def _is_array(part: Any) -> bool:
    """Return whether a part is a column, say: what has `__array__` and is no number or Tensor."""
    if isinstance(part, Tensor) or hasattr(part, "__index__"):
        return False
    return hasattr(part, "__array__")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, Tensor) else value


def _is_scalar_array(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.ndim == 0


def _axes_of(part: Any) -> int:
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    if isinstance(part, Tensor) and part.dtype in (dtypes.bool_, dtypes.uint8):
        return part.ndim
    if isinstance(part, list | np.ndarray):
        array = np.asarray(part)
        return array.ndim if array.dtype == np.bool_ else 1
    return 1


def _is_part(mask: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Return whether a mask without elements has the sizes of an array, or 0 for them."""
    pairs = zip(mask, sizes, strict=False)
    return len(mask) == len(sizes) and all(m in (0, n) for m, n in pairs)


def _check_mask(mask: Tensor, shape: tuple[int, ...], axis: int) -> None:
    sizes = shape[axis : axis + mask.ndim]
    if mask.shape != sizes and not (0 in mask.shape and _is_part(mask.shape, sizes)):
        raise IndexOutOfRange(
            f"The shape of the mask {mask.shape} at index {axis} does not match the shape of the "
            f"indexed tensor {shape}\n  recorded at {describe(here())}"
        )


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the indices of elements that are not zero: (n, ndim), or one Tensor per dimension.

    The shape depends on the values, so they are computed here.

    Example:
        >>> import talweg as tw
        >>> tw.nonzero(tw.tensor([0, 3, 0, 5]))
        tensor([[1],
                [3]])
    """
    found = np.nonzero(np.atleast_1d(values(input)))
    if as_tuple:
        return tuple(tensor(i) for i in found)
    return tensor(np.stack(found, 1)[:, : input.ndim])


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where the mask is true, as a vector; both are broadcast.

    Raises:
        ShapeError: when the mask is not bool or does not broadcast.
    """
    if mask.dtype is not dtypes.bool_:
        raise ShapeError(f"masked_select needs a bool mask, got {mask.dtype.name}")
    x, m = FUNCTIONS["broadcast_tensors"](input, mask)
    return getitem(x, m)
