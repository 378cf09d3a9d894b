"""Sums, extremes, order and sets of elements, as the array API standard has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from talweg.array_api import shaping
from talweg.array_api.calls import FUNCTIONS, METHODS
from talweg.array_api.elementwise import boolean
from talweg.array_api.kinds import Operand, promoted, wide
from talweg.array_api.shaping import Axes, axes_of
from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine import creation, subscript
from talweg.engine.conversion import to
from talweg.engine.tensor import Tensor, values


def _rows(x: Tensor, axis: Axes | None, keepdims: bool) -> tuple[Tensor, tuple[int, ...]]:
    """Return the array with some axes joined as the last one, and the shape of what is left."""
    gone = axes_of(axis, x.ndim)
    kept = [a for a in range(x.ndim) if a not in gone]
    left = tuple(x.shape[a] for a in kept)
    count = int(np.prod([x.shape[a] for a in gone], dtype=np.int64))
    turned = METHODS["permute"](x, (*kept, *gone)) if gone else x
    shape = tuple(1 if a in gone else n for a, n in enumerate(x.shape)) if keepdims else left
    return METHODS["reshape"](turned, (*left, count)), shape


def _reduced(name: str, x: Tensor, axis: Axes | None, keepdims: bool, **options: object) -> Tensor:
    rows, shape = _rows(x, axis, keepdims)
    return METHODS["reshape"](FUNCTIONS[name](rows, -1, **options), shape)


def sum(
    x: Tensor, /, *, axis: Axes | None = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    """Return sums over axes; integers are added in 64 bits."""
    return _reduced("sum", x, axis, keepdims, dtype=dtype or wide(x.dtype))


def prod(
    x: Tensor, /, *, axis: Axes | None = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    """Return products over axes; integers are multiplied in 64 bits."""
    return _reduced("prod", x, axis, keepdims, dtype=dtype or wide(x.dtype))


def max(x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False) -> Tensor:
    """Return the greatest elements over axes."""
    return _reduced("amax", x, axis, keepdims)


def min(x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False) -> Tensor:
    """Return the least elements over axes."""
    return _reduced("amin", x, axis, keepdims)


def mean(x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False) -> Tensor:
    """Return means over axes."""
    return _reduced("mean", x, axis, keepdims)


def var(
    x: Tensor, /, *, axis: Axes | None = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Return variances over axes: squared distances from the mean, divided by n - correction."""
    return _reduced("var", x, axis, keepdims, correction=correction)


def std(
    x: Tensor, /, *, axis: Axes | None = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Return standard deviations over axes: roots of `var`."""
    return _reduced("std", x, axis, keepdims, correction=correction)


def all(x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False) -> Tensor:
    """Return whether all elements over axes differ from zero."""
    return _reduced("all", boolean(x), axis, keepdims)


def any(x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False) -> Tensor:
    """Return whether some element over axes differs from zero."""
    return _reduced("any", boolean(x), axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False) -> Tensor:
    """Return how many elements over axes differ from zero."""
    return _reduced("sum", to(boolean(x), dtypes.int64), axis, keepdims)


def _cumulative(
    name: str, x: Tensor, axis: int | None, dtype: DType | None, initial: int | None
) -> Tensor:
    if axis is None and x.ndim != 1:
        raise ShapeError(f"{name} needs an axis for an array of shape {x.shape}")
    (at,) = axes_of(-1 if axis is None else axis, x.ndim)
    kind = dtype or wide(x.dtype)
    found: Tensor = FUNCTIONS[name](x, at, dtype=kind)
    if initial is None:
        return found
    shape = (*x.shape[:at], 1, *x.shape[at + 1 :])
    first = creation.full(shape, initial, dtype=kind)
    return FUNCTIONS["cat"]([first, found], at)


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DType | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Return sums of the elements so far along an axis; after a 0 if wanted."""
    return _cumulative("cumsum", x, axis, dtype, 0 if include_initial else None)


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DType | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Return products of the elements so far along an axis; after a 1 if wanted."""
    return _cumulative("cumprod", x, axis, dtype, 1 if include_initial else None)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Return differences of neighbours along an axis, n times."""
    parts = [v for v in (prepend, x, append) if v is not None]
    joined = shaping.concat(parts, axis=axis) if len(parts) > 1 else x
    return FUNCTIONS["diff"](joined, n, axis)


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return where the greatest elements are, the first of several."""
    return _reduced("argmax", x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return where the least elements are, the first of several."""
    return _reduced("argmin", x, axis, keepdims)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the elements in ascending, or descending, order along an axis."""
    return FUNCTIONS["sort"](x, axis, descending, stable)[0]


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """Return the indices that sort the elements along an axis; equal ones keep their order."""
    return FUNCTIONS["argsort"](x, axis, descending, stable)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Return the indices of elements that differ from zero, one array for each axis.

    Raises:
        ShapeError: for a 0-d array.
    """
    if not x.ndim:
        raise ShapeError("nonzero needs at least one axis")
    found: tuple[Tensor, ...] = subscript.nonzero(x, as_tuple=True)
    return found


def searchsorted(
    x1: Tensor,
    x2: Operand,
    /,
    *,
    side: str = "left",
    sorter: Tensor | None = None,
) -> Tensor:
    """Return where elements of x2 would be put into the ordered vector x1.

    Args:
        x1: ascending, or so when taken in the order of `sorter`.
        x2: what is looked for.
        side: `left`, before equal elements, or `right`, behind them.
        sorter: indices that sort x1.
    """
    if sorter is not None:
        x1 = shaping.take(x1, sorter)
    sequence, wanted = promoted(x1, x2)
    return FUNCTIONS["searchsorted"](sequence, wanted, side=side)


def where(condition: Tensor, x1: Operand, x2: Operand, /) -> Tensor:
    """Return elements of x1 where the condition holds, of x2 elsewhere."""
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        return FUNCTIONS["where"](condition, x1, x2)
    return FUNCTIONS["where"](condition, *promoted(x1, x2))


class UniqueAll(NamedTuple):
    """Distinct elements, where each comes first, which one each element is, and how often."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct elements and how often each comes."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct elements and which one each element is."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """Return the distinct elements in ascending order and all about them; each NaN is another.

    The number of results depends on the values, which are computed here.
    """
    found, first, inverse, counts = np.unique(
        values(x), return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    places = (first, inverse.reshape(x.shape), counts)
    rest = [creation.tensor(a.astype(np.int64)) for a in places]
    return UniqueAll(creation.tensor(found, x.dtype), *rest)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """Return the distinct elements and how often each comes."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """Return the distinct elements and which one each element is."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """Return the distinct elements."""
    return unique_all(x).values


def isin(x1: Operand, x2: Operand, /, *, invert: bool = False) -> Tensor:
    """Return whether each element of x1 is one of x2, or is none if `invert`."""
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        raise InvalidValue("isin needs at least one array")
    return FUNCTIONS["isin"](*promoted(x1, x2), invert=invert)
