"""Reductions: sums, products, means, extrema, norms.

`dim` is None (all dimensions), an int or several; the reduced dimensions disappear, or keep size 1
with `keepdim`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import normalize_axes, normalize_axis, size_of
from talweg.fn.math import constant, maximum, minimum
from talweg.fn.math import sub as subtract
from talweg.fn.promotion import cast, full
from talweg.fn.views import reshape_to
from talweg.ir.build import Builder
from talweg.ir.node import Node

Dim = int | Sequence[int] | None


class ValuesIndices(NamedTuple):
    """Selected values, and their int64 positions along the dimension."""

    values: Node
    indices: Node


class MinMax(NamedTuple):
    """Smallest and largest values."""

    min: Node
    max: Node


def axes_of(x: Node, dim: Dim) -> tuple[int, ...]:
    """Return the sorted axes that `dim` names: all for None and for an empty sequence."""
    everything = dim is None or (not isinstance(dim, int) and len(dim) == 0)
    return normalize_axes(None if everything else dim, x.type.rank)


def restored(b: Builder, out: Node, x: Node, axes: tuple[int, ...], keepdim: bool) -> Node:
    """Return a reduction of x over axes, with them as size 1 if `keepdim`."""
    if not keepdim or not axes:
        return out
    return b.reshape(out, tuple(1 if i in axes else n for i, n in enumerate(x.type.shape)))


def _summed(b: Builder, x: Node, dim: Dim, keepdim: bool) -> Node:
    axes = axes_of(x, dim)
    return restored(b, b.reduce_sum(x, axes), x, axes, keepdim)


def _accumulator(x: Node, dtype: DType | None) -> DType:
    if dtype is not None:
        return dtype
    kept: DType = x.type.dtype
    return kept if kept.is_inexact else dtypes.int64


def sum(
    b: Builder, x: Node, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Node:
    """Return the sum; bools and integers are summed as int64 unless `dtype` says otherwise.

    Raises:
        IndexOutOfRange: when a dimension does not exist.

    >>> import talweg as tw
    >>> tw.tensor([[1, 2], [3, 4]]).sum(0).tolist()
    [4, 6]
    """
    return _summed(b, cast(b, x, _accumulator(x, dtype)), dim, keepdim)


def nansum(
    b: Builder, x: Node, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Node:
    """Return the sum, NaN counting as 0."""
    x = b.where(b.ne(x, x), b.scalar(0, x.dtype), x)
    return sum(b, x, dim, keepdim, dtype=dtype)


def prod(
    b: Builder,
    x: Node,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Node:
    """Return the product; bools and integers are multiplied as int64 unless `dtype` is given."""
    axes = axes_of(x, dim)
    out = b.reduce_prod(cast(b, x, _accumulator(x, dtype)), axes)
    return restored(b, out, x, axes, keepdim)


def count(x: Node, axes: tuple[int, ...]) -> int:
    """Return how many elements one reduction over the axes takes in."""
    return size_of([x.type.shape[a] for a in axes])


def mean(
    b: Builder, x: Node, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Node:
    """Return the arithmetic mean; of no elements, NaN.

    Raises:
        DTypeError: for bools and integers without `dtype`.

    >>> import talweg as tw
    >>> tw.tensor([[1.0, 2.0], [3.0, 5.0]]).mean(1).tolist()
    [1.5, 4.0]
    """
    result = dtype or x.dtype
    if not result.is_inexact:
        raise DTypeError(
            f"mean needs a floating or complex dtype, got {result.name}; convert with .float() or "
            "pass dtype="
        )
    axes = axes_of(x, dim)
    wide = dtypes.float32 if result.bits == 16 else result
    total = b.reduce_sum(cast(b, x, wide), axes)
    out = cast(b, b.div(total, b.scalar(count(x, axes), wide)), result)
    return restored(b, out, x, axes, keepdim)


def nanmean(
    b: Builder, x: Node, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Node:
    """Return the mean of the elements that are not NaN."""
    present = sum(b, b.eq(x, x), dim, keepdim)
    total = nansum(b, x, dim, keepdim, dtype=dtype)
    return b.div(total, b.cast(present, total.dtype))


def _divisor(
    b: Builder, x: Node, axes: tuple[int, ...], unbiased: bool | None, correction: float | None
) -> Node:
    if unbiased is not None and correction is not None:
        raise InvalidValue("give either unbiased or correction, not both")
    less = correction if correction is not None else (1 if unbiased is None else int(unbiased))
    return b.scalar(max_of(0, count(x, axes) - less), x.dtype)


def max_of(x: float, y: float) -> float:
    """Return the larger of two numbers (the module's own `max` is for Tensors)."""
    return x if x > y else y


def _moments(
    b: Builder,
    x: Node,
    dim: Dim | bool,
    unbiased: bool | None,
    keepdim: bool,
    correction: float | None,
) -> tuple[Node, Node]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if not x.dtype.is_inexact:
        raise DTypeError(f"var and std need a floating dtype, got {x.dtype.name}")
    wide = cast(b, x, dtypes.float32) if x.dtype.bits == 16 else x
    axes = axes_of(x, dim)
    center = mean(b, wide, axes, True) if axes else wide
    gap = subtract(b, wide, center)
    if gap.dtype.is_complex:
        parts = b.real(gap), b.imag(gap)
        squares = b.add(b.mul(parts[0], parts[0]), b.mul(parts[1], parts[1]))
    else:
        squares = b.mul(gap, gap)
    divisor = _divisor(b, squares, axes, unbiased, correction)
    variance = restored(b, b.div(b.reduce_sum(squares, axes), divisor), x, axes, keepdim)
    kept = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    center = center if keepdim else reshape_to(b, center, kept)
    real = x.dtype if x.dtype.bits == 16 else variance.dtype
    return cast(b, variance, real), cast(b, center, x.dtype)


def root(b: Builder, x: Node) -> Node:
    """Return sqrt(x) with a gradient of 0, not of infinity, at 0."""
    zero = b.scalar(0, x.dtype)
    nothing = b.eq(x, zero)
    return b.where(nothing, zero, b.sqrt(b.where(nothing, b.scalar(1, x.dtype), x)))


def var(
    b: Builder,
    x: Node,
    dim: Dim | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Node:
    """Return the variance: squared distances from the mean, summed, over n - correction.

    Args:
        correction: 1 (Bessel's) unless given; `unbiased=False` is `correction=0`.

    Raises:
        DTypeError: for bools and integers.

    >>> import talweg as tw
    >>> tw.tensor([1.0, 2.0, 3.0]).var().item()
    1.0
    """
    return _moments(b, x, dim, unbiased, keepdim, correction)[0]


def std(
    b: Builder,
    x: Node,
    dim: Dim | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Node:
    """Return the square root of the variance; see `var`."""
    return root(b, _moments(b, x, dim, unbiased, keepdim, correction)[0])


def var_mean(
    b: Builder,
    x: Node,
    dim: Dim | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Node, Node]:
    """Return the variance and the mean; see `var`."""
    return _moments(b, x, dim, unbiased, keepdim, correction)


def std_mean(
    b: Builder,
    x: Node,
    dim: Dim | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Node, Node]:
    """Return the standard deviation and the mean; see `var`."""
    variance, center = _moments(b, x, dim, unbiased, keepdim, correction)
    return root(b, variance), center


def amax(b: Builder, x: Node, dim: Dim = None, keepdim: bool = False) -> Node:
    """Return the largest values; equal ones share the gradient. NaN propagates.

    Raises:
        ShapeError: when there are no elements to choose from.
    """
    axes = axes_of(x, dim)
    return restored(b, b.reduce_max(x, axes), x, axes, keepdim)


def amin(b: Builder, x: Node, dim: Dim = None, keepdim: bool = False) -> Node:
    """Return the smallest values; equal ones share the gradient. NaN propagates.

    Raises:
        ShapeError: when there are no elements to choose from.
    """
    axes = axes_of(x, dim)
    return restored(b, b.reduce_min(x, axes), x, axes, keepdim)


def aminmax(b: Builder, x: Node, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """Return the smallest and the largest values."""
    return MinMax(amin(b, x, dim, keepdim), amax(b, x, dim, keepdim))


def argmax(b: Builder, x: Node, dim: int | None = None, keepdim: bool = False) -> Node:
    """Return the position of the first largest value, int64; without `dim`, in the flat Tensor.

    >>> import talweg as tw
    >>> tw.tensor([[1, 5], [7, 2]]).argmax(1).tolist()
    [1, 0]
    """
    return _position(b, b.arg_max, x, dim, keepdim)


def argmin(b: Builder, x: Node, dim: int | None = None, keepdim: bool = False) -> Node:
    """Return the position of the first smallest value, int64; without `dim`, in the flat Tensor."""
    return _position(b, b.arg_min, x, dim, keepdim)


def _position(
    b: Builder, find: Callable[..., Node], x: Node, dim: int | None, keepdim: bool
) -> Node:
    if dim is None or not x.rank:
        normalize_axis(dim or 0, x.rank)
        flat = find(reshape_to(b, x, (x.type.size,)), (0,))
        return restored(b, flat, x, tuple(range(x.rank)), keepdim)
    axis = normalize_axis(dim, x.rank)
    return restored(b, find(x, (axis,)), x, (axis,), keepdim)


def picked(b: Builder, x: Node, indices: Node, axis: int, keepdim: bool) -> ValuesIndices:
    """Return the elements of x at indices that keep `axis` as size 1, and the indices."""
    values = b.take_along(x, indices, axis)
    if keepdim:
        return ValuesIndices(values, indices)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return ValuesIndices(b.reshape(values, shape), b.reshape(indices, shape))


def _extreme(
    b: Builder, find: Callable[..., Node], x: Node, dim: int, keepdim: bool
) -> ValuesIndices:
    axis = normalize_axis(dim, x.rank)
    if not x.rank:
        return ValuesIndices(b.copy(x), find(b.reshape(x, (1,)), (0,)))
    return picked(b, x, restored(b, find(x, (axis,)), x, (axis,), True), axis, keepdim)


def max(
    b: Builder, x: Node, dim: int | Node | None = None, keepdim: bool = False
) -> Node | ValuesIndices:
    """Return the largest value; with a dimension, `(values, indices)`; with a Tensor, `maximum`.

    Raises:
        ShapeError: when there are no elements to choose from.

    >>> import talweg as tw
    >>> tw.tensor([[1, 5], [7, 2]]).max().item()
    7
    >>> tw.tensor([[1, 5], [7, 2]]).max(dim=1).indices.tolist()
    [1, 0]
    """
    if isinstance(dim, Node):
        return maximum(b, x, dim)
    return amax(b, x) if dim is None else _extreme(b, b.arg_max, x, dim, keepdim)


def min(
    b: Builder, x: Node, dim: int | Node | None = None, keepdim: bool = False
) -> Node | ValuesIndices:
    """Return the smallest value; with a dimension, `(values, indices)`; with a Tensor, `minimum`.

    Raises:
        ShapeError: when there are no elements to choose from.
    """
    if isinstance(dim, Node):
        return minimum(b, x, dim)
    return amin(b, x) if dim is None else _extreme(b, b.arg_min, x, dim, keepdim)


def any(b: Builder, x: Node, dim: Dim = None, keepdim: bool = False) -> Node:
    """Return whether at least one element is not 0, as bool; of no elements, False."""
    return _logical(b, b.reduce_max, x, dim, keepdim, empty=False)


def all(b: Builder, x: Node, dim: Dim = None, keepdim: bool = False) -> Node:
    """Return whether no element is 0, as bool; of no elements, True."""
    return _logical(b, b.reduce_min, x, dim, keepdim, empty=True)


def _logical(
    b: Builder, fold: Callable[..., Node], x: Node, dim: Dim, keepdim: bool, *, empty: bool
) -> Node:
    axes = axes_of(x, dim)
    if count(x, axes) == 0:
        kept = tuple(n for i, n in enumerate(x.shape) if i not in axes)
        return restored(b, full(b, kept, empty, dtypes.bool_), x, axes, keepdim)
    return restored(b, fold(cast(b, x, dtypes.bool_), axes), x, axes, keepdim)


def count_nonzero(b: Builder, x: Node, dim: Dim = None) -> Node:
    """Return how many elements are not 0, int64."""
    return sum(b, b.ne(x, b.scalar(0, x.dtype)), dim)


def logsumexp(b: Builder, x: Node, dim: Dim, keepdim: bool = False) -> Node:
    """Return log(sum(exp(x))), without overflow.

    >>> import talweg as tw
    >>> round(tw.logsumexp(tw.tensor([1000.0, 1000.0]), 0).item(), 3)
    1000.693
    """
    x = cast(b, x, x.dtype if x.dtype.is_inexact else b.default_float)
    axes = axes_of(x, dim)
    if count(x, axes) == 0:
        return b.log(_summed(b, x, axes, keepdim))
    top = restored(b, constant(b, b.reduce_max(x, axes)), x, axes, True)
    top = b.where(b.is_finite(top), top, b.scalar(0, x.dtype))
    total = b.log(_summed(b, b.exp(subtract(b, x, top)), axes, True))
    out = b.add(total, top)
    return (
        out
        if keepdim
        else reshape_to(b, out, tuple(n for i, n in enumerate(x.shape) if i not in axes))
    )


def vector_norm(
    b: Builder,
    x: Node,
    ord: float = 2,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Node:
    """Return (sum |x|**ord) ** (1 / ord); largest and smallest |x| for ord inf and -inf.

    `ord` 0 counts elements that are not 0. The gradient where the norm is 0 is 0.

    Raises:
        DTypeError: for bools and integers.
    """
    x = cast(b, x, dtype or x.dtype)
    if not x.dtype.is_inexact:
        raise DTypeError(f"norm needs a floating or complex dtype, got {x.dtype.name}")
    size = b.abs(x) if x.dtype.is_complex or ord != 2 else x
    if ord == math.inf:
        return amax(b, size, dim, keepdim)
    if ord == -math.inf:
        return amin(b, size, dim, keepdim)
    if ord == 0:
        return sum(b, b.cast(b.ne(size, b.scalar(0, size.dtype)), size.dtype), dim, keepdim)
    if ord == 1:
        return sum(b, size, dim, keepdim)
    if ord == 2:
        return root(b, sum(b, b.mul(size, size), dim, keepdim))
    total = sum(b, b.pow(size, b.scalar(ord, size.dtype)), dim, keepdim)
    zero, one = b.scalar(0, size.dtype), b.scalar(1, size.dtype)
    nothing = b.eq(total, zero)
    power = b.pow(b.where(nothing, one, total), b.scalar(1 / ord, size.dtype))
    return b.where(nothing, zero, power)


def norm(
    b: Builder,
    x: Node,
    p: float | str | None = "fro",
    dim: Dim = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Node:
    """Return the p-norm of all elements, or along dimensions; "fro" is the 2-norm.

    Raises:
        InvalidValue: for another name than "fro".

    >>> import talweg as tw
    >>> tw.tensor([3.0, 4.0]).norm().item()
    5.0
    """
    if isinstance(p, str) and p != "fro":
        raise InvalidValue(f"norm: p must be a number or 'fro', not {p!r}")
    order = 2.0 if p is None or isinstance(p, str) else p
    return vector_norm(b, x, order, dim, keepdim, dtype=dtype)


def dist(b: Builder, x: Node, other: Node, p: float = 2) -> Node:
    """Return the p-norm of x - other."""
    return vector_norm(b, subtract(b, x, other), p)


def check_nonempty(name: str, x: Node, axis: int) -> None:
    """Raise ShapeError when the axis has no elements."""
    if x.shape[axis] == 0:
        raise ShapeError(f"{name}: dimension {axis} of shape {x.shape} has no elements")


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(sum, nansum, prod, mean, nanmean, var, std, var_mean, std_mean),
    *(amax, amin, aminmax, argmax, argmin, max, min, any, all, count_nonzero),
    *(logsumexp, norm, dist),
)
METHODS: tuple[str, ...] = tuple(f.__name__ for f in PUBLIC if f not in (var_mean, std_mean))
