"""Running sums, products and extrema along a dimension; differences and integrals."""

from __future__ import annotations

from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.math import constant
from talweg.fn.math import mul as multiply
from talweg.fn.promotion import cast, result_type, to_float
from talweg.fn.reduction import ValuesIndices
from talweg.fn.reduction import sum as total
from talweg.fn.views import atleast_1d, reshape_to, slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _along(b: Builder, scan: Callable[..., Node], x: Node, dim: int) -> Node:
    axis = normalize_axis(dim, x.rank)
    return reshape_to(b, scan(atleast_1d(b, x), axis), x.shape)


def cumsum(b: Builder, x: Node, dim: int, *, dtype: DType | None = None) -> Node:
    """Return the sums of the elements up to each place; bools and integers as int64.

    >>> import talweg as tw
    >>> tw.cumsum(tw.tensor([1, 2, 3]), 0).tolist()
    [1, 3, 6]
    """
    wide = dtype or (x.dtype if x.dtype.is_inexact else dtypes.int64)
    return _along(b, b.cum_sum, cast(b, x, wide), dim)


def cumprod(b: Builder, x: Node, dim: int, *, dtype: DType | None = None) -> Node:
    """Return the products of the elements up to each place; bools and integers as int64."""
    wide = dtype or (x.dtype if x.dtype.is_inexact else dtypes.int64)
    return _along(b, b.cum_prod, cast(b, x, wide), dim)


def _running(b: Builder, find: Callable[..., Node], x: Node, dim: int) -> ValuesIndices:
    axis = normalize_axis(dim, x.rank)
    if not x.rank:
        return ValuesIndices(b.copy(x), b.scalar(0, dtypes.int64))
    indices = find(x, axis)
    return ValuesIndices(b.take_along(x, indices, axis), indices)


def cummax(b: Builder, x: Node, dim: int) -> ValuesIndices:
    """Return the largest element up to each place, and where it stands (the last of equals)."""
    return _running(b, b.cum_arg_max, x, dim)


def cummin(b: Builder, x: Node, dim: int) -> ValuesIndices:
    """Return the smallest element up to each place, and where it stands (the last of equals)."""
    return _running(b, b.cum_arg_min, x, dim)


def logcumsumexp(b: Builder, x: Node, dim: int) -> Node:
    """Return log(cumsum(exp(x))), without overflow and without loss where x rises steeply.

    With the running maximum c, h(t) = exp(c(t - 1) - c(t)) h(t - 1) + exp(x(t) - c(t)).
    """
    shape, axis = x.shape, normalize_axis(dim, x.rank)
    x = atleast_1d(b, to_float(b, x))
    size = x.shape[axis]
    if size == 0:
        return reshape_to(b, x, shape)
    top = constant(b, cummax(b, x, axis).values)
    first = slice_axis(b, top, axis, 0, 1)
    before = b.concat(first, slice_axis(b, top, axis, 0, size - 1), axis)
    factors = b.exp(_finite_gap(b, before, top))
    sums = b.linear_recurrence(factors, b.exp(_finite_gap(b, x, top)), axis)
    return reshape_to(b, b.add(b.log(sums), top), shape)


def _finite_gap(b: Builder, x: Node, y: Node) -> Node:
    same = b.bit_and(b.eq(x, y), b.is_inf(y))
    return b.where(same, b.scalar(0, x.dtype), b.sub(x, y))


def diff(
    b: Builder,
    x: Node,
    n: int = 1,
    dim: int = -1,
    prepend: Node | None = None,
    append: Node | None = None,
) -> Node:
    """Return the n-th differences of neighbours along a dimension; for bool, exclusive or.

    Raises:
        ShapeError: for a 0-d Tensor; InvalidValue: when n is negative.

    >>> import talweg as tw
    >>> tw.diff(tw.tensor([1, 4, 9])).tolist()
    [3, 5]
    """
    if not x.rank:
        raise ShapeError("diff: expected at least one dimension, got a 0-d value")
    if n < 0:
        raise InvalidValue(f"diff: n must not be negative, got {n}")
    axis = normalize_axis(dim, x.rank)
    if prepend is not None or append is not None:
        given = [part for part in (prepend, x, append) if part is not None]
        dtype = result_type(b, *given)
        x = b.concat(*(cast(b, part, dtype) for part in given), axis)
    for _ in range(n):
        size = x.shape[axis]
        later = slice_axis(b, x, axis, min(1, size), size)
        earlier = slice_axis(b, x, axis, 0, max(0, size - 1))
        x = (b.bit_xor if x.dtype is dtypes.bool_ else b.sub)(later, earlier)
    return x


def trapezoid(
    b: Builder, y: Node, x: Node | None = None, *, dx: float = 1.0, dim: int = -1
) -> Node:
    """Return the integral of y along a dimension by the trapezoidal rule.

    Args:
        y: values of the function.
        x: places at which they were taken, of a shape that broadcasts with y, or 1-d.
        dx: distance of places where x is not given.
    """
    return total(b, _strips(b, y, x, dx, dim), dim)


def cumulative_trapezoid(
    b: Builder, y: Node, x: Node | None = None, *, dx: float = 1.0, dim: int = -1
) -> Node:
    """Return the running integral of y along a dimension by the trapezoidal rule."""
    return cumsum(b, _strips(b, y, x, dx, dim), dim)


def _strips(b: Builder, y: Node, x: Node | None, dx: float, dim: int) -> Node:
    y = to_float(b, y)
    axis = normalize_axis(dim, y.rank)
    size = y.shape[axis]
    later = slice_axis(b, y, axis, min(1, size), size)
    earlier = slice_axis(b, y, axis, 0, max(0, size - 1))
    heights = b.mul(b.add(later, earlier), b.scalar(0.5, y.dtype))
    if x is None:
        return multiply(b, heights, dx)
    if x.rank == 1:
        x = b.reshape(x, tuple(x.shape[0] if i == axis else 1 for i in range(y.rank)))
    return multiply(b, heights, diff(b, x, dim=axis - y.rank))


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(cumsum, cumprod, cummax, cummin, logcumsumexp, diff, trapezoid, cumulative_trapezoid),
)
METHODS: tuple[str, ...] = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "diff")
INPLACE: tuple[str, ...] = ("cumsum", "cumprod")
ALIASES: dict[str, str] = {"trapz": "trapezoid"}
