"""Functions whose result's shape or type depends on values: they are computed when called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.source import describe, here
from talweg.engine.conversion import is_complex, is_floating_point, numel
from talweg.engine.creation import as_tensor, tensor
from talweg.engine.functions import FUNCTIONS
from talweg.engine.functions import METHODS as LIFTED
from talweg.engine.state import STATE
from talweg.engine.subscript import masked_select, nonzero
from talweg.engine.tensor import Tensor, values
from talweg.fn.promotion import result_type as node_result_type


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """Return elements of `input` where the condition holds, of `other` elsewhere.

    With the condition alone, return the indices where it holds, one Tensor per dimension.

    Example:
        >>> import talweg as tw
        >>> tw.where(tw.tensor([True, False]), 1.0, 0.0)
        tensor([1., 0.])
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise InvalidValue("where takes the condition alone, or both values too")
    return FUNCTIONS["where"](condition, input, other)


def argwhere(input: Tensor) -> Tensor:
    """Return the indices of elements that are not zero, as rows (n, ndim)."""
    found: Tensor = nonzero(input)
    return found


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Return whether |input - other| <= atol + rtol * |other| everywhere."""
    close = FUNCTIONS["isclose"](input, other, rtol, atol, equal_nan)
    return bool(values(close).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether both have the same shape and elements."""
    return input.shape == other.shape and bool(np.array_equal(values(input), values(other)))


def is_nonzero(input: Tensor) -> bool:
    """Return whether a one-element Tensor is not zero."""
    return bool(input)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in ascending order; optionally where each went and how many.

    Example:
        >>> import talweg as tw
        >>> tw.unique(tw.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    found = np.unique(
        values(input), return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    shape = input.shape if dim is None else (input.shape[dim],)
    return _unique(
        input, found[0], found[1].reshape(shape), found[2], return_inverse, return_counts
    )


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the elements without those equal to the one before."""
    array = values(input)
    rows = array.reshape(-1, 1) if dim is None else np.moveaxis(array, dim, 0)
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:] != rows[:-1]).any(axis=tuple(range(1, rows.ndim)))
    kept = rows[first]
    kept = kept.reshape(-1) if dim is None else np.moveaxis(kept, 0, dim)
    inverse = np.cumsum(first) - 1
    counts = np.diff(np.append(np.flatnonzero(first), len(rows)))
    inverse = inverse.reshape(input.shape) if dim is None else inverse
    return _unique(input, kept, inverse, counts, return_inverse, return_counts)


def _unique(
    input: Tensor,
    kept: np.ndarray,
    inverse: np.ndarray,
    counts: np.ndarray,
    return_inverse: bool,
    return_counts: bool,
) -> Any:
    out = [tensor(kept, input.dtype)]
    if return_inverse:
        out.append(tensor(inverse.astype(np.int64)))
    if return_counts:
        out.append(tensor(counts.astype(np.int64)))
    return tuple(out) if len(out) > 1 else out[0]


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each non-negative integer occurs, or the sum of its weights.

    Raises:
        ShapeError: unless the input is a vector of non-negative integers.
    """
    array = values(input)
    if array.ndim != 1 or input.dtype.rank != 1 or (array.size and array.min() < 0):
        raise ShapeError(
            f"bincount needs a vector of non-negative integers, got {input.node().type!r}"
            f"\n  recorded at {describe(here())}"
        )
    counted = np.bincount(array, None if weights is None else values(weights), minlength)
    return tensor(counted, dtypes.int64 if weights is None else weights.dtype)


def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Repeat each element; `repeats` is a number or one number per element of `dim`.

    Example:
        >>> import talweg as tw
        >>> tw.repeat_interleave(tw.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    x = LIFTED["reshape"](input, (-1,)) if dim is None else input
    axis = 0 if dim is None else dim
    count = values(repeats) if isinstance(repeats, Tensor) else np.asarray(repeats)
    index = np.repeat(np.arange(x.shape[axis]), count)
    picked: Tensor = FUNCTIONS["index_select"](x, axis, tensor(index))
    return picked


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """Return the dtype of an operation on both under promotion."""
    nodes = [v.node() if isinstance(v, Tensor) else v for v in (tensor1, tensor2)]
    return node_result_type(STATE.builder, *nodes)


def can_cast(from_: DType, to: DType) -> bool:
    """Return whether a conversion between dtypes is allowed under promotion."""
    return to.rank >= from_.rank


def is_tensor(obj: Any) -> bool:
    """Return whether the object is a Tensor."""
    return isinstance(obj, Tensor)


def asarray(obj: Any, dtype: DType | None = None, copy: bool | None = None) -> Tensor:
    """Return `obj` as a Tensor; a Tensor of the dtype itself unless `copy` is true."""
    made = as_tensor(obj, dtype)
    return LIFTED["clone"](made) if copy and made is obj else made


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element by what the function makes of it (slow; computed in Python).

    Raises:
        DTypeError: when the results do not fit the dtype.
    """
    array = np.array([callable(v) for v in values(self).reshape(-1).tolist()])
    if array.size and dtypes.from_numpy(array.dtype).rank > self.dtype.rank:
        raise DTypeError(f"apply_ gave {array.dtype}, the Tensor is {self.dtype.name}")
    made: Tensor = self.copy_(tensor(array.reshape(self.shape), self.dtype))
    return made


PUBLIC: tuple[Callable[..., Any], ...] = (
    *(where, argwhere, nonzero, masked_select, allclose, equal, is_nonzero, unique),
    *(unique_consecutive, bincount, repeat_interleave, result_type, can_cast, is_tensor),
    *(is_floating_point, is_complex, numel, asarray),
)


def where_method(self: Tensor, condition: Tensor, other: Any) -> Any:
    """Return elements of this Tensor where the condition holds, of `other` elsewhere."""
    return where(condition, self, other)


METHODS: dict[str, Callable[..., Any]] = {
    **{
        f.__name__: f
        for f in (
            *(argwhere, nonzero, masked_select, allclose, equal, is_nonzero, unique),
            *(unique_consecutive, bincount, repeat_interleave, apply_),
        )
    },
    "where": where_method,
}
