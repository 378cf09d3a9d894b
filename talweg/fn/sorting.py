"""Sorting, selection, search in sorted sequences, and histograms."""

from __future__ import annotations

from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis, size_of
from talweg.fn.math import clamp
from talweg.fn.promotion import Numeric, as_node, cast, full, result_type
from talweg.fn.reduction import ValuesIndices
from talweg.fn.views import atleast_1d, reshape_to, slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node


def argsort(
    b: Builder, x: Node, dim: int = -1, descending: bool = False, stable: bool = False
) -> Node:
    """Return the indices that sort a dimension; equal elements keep their order, NaN is largest.

    >>> import talweg as tw
    >>> tw.argsort(tw.tensor([3, 1, 2])).tolist()
    [1, 2, 0]
    """
    axis = normalize_axis(dim, x.rank)
    return reshape_to(b, b.arg_sort(atleast_1d(b, x), axis, descending), x.shape)


def sort(
    b: Builder, x: Node, dim: int = -1, descending: bool = False, stable: bool = False
) -> ValuesIndices:
    """Return a dimension's elements in order, and their indices; equal ones keep their order.

    NaN counts as the largest.

    >>> import talweg as tw
    >>> values, indices = tw.sort(tw.tensor([3, 1, 2]), descending=True)
    >>> values.tolist(), indices.tolist()
    ([3, 2, 1], [0, 2, 1])
    """
    axis = normalize_axis(dim, x.rank)
    rows = atleast_1d(b, x)
    order = b.arg_sort(rows, axis, descending)
    values = b.take_along(rows, order, axis)
    return ValuesIndices(reshape_to(b, values, x.shape), reshape_to(b, order, x.shape))


def msort(b: Builder, x: Node) -> Node:
    """Return the elements sorted along the first dimension."""
    return sort(b, x, 0).values


def topk(
    b: Builder, x: Node, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """Return the k largest (or smallest) elements of a dimension, in order, and their indices.

    Raises:
        InvalidValue: when the dimension has fewer than k elements.

    >>> import talweg as tw
    >>> tw.topk(tw.tensor([1.0, 4.0, 2.0]), 2).values.tolist()
    [4.0, 2.0]
    """
    axis = normalize_axis(dim, x.rank)
    rows = atleast_1d(b, x)
    if not 0 <= k <= rows.shape[axis]:
        raise InvalidValue(f"topk: k {k} is out of range for dimension {dim} of shape {x.shape}")
    order = slice_axis(b, b.arg_sort(rows, axis, largest), axis, 0, k)
    values = b.take_along(rows, order, axis)
    if x.rank or k != 1:
        return ValuesIndices(values, order)
    return ValuesIndices(b.reshape(values, ()), b.reshape(order, ()))


def kthvalue(b: Builder, x: Node, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """Return the k-th smallest element of a dimension, counted from 1, and its index.

    Raises:
        InvalidValue: when k is below 1 or above the size of the dimension.
    """
    axis = normalize_axis(dim, x.rank)
    rows = atleast_1d(b, x)
    if not 1 <= k <= rows.shape[axis]:
        raise InvalidValue(f"kthvalue: k {k} is out of range for dimension {dim} of {x.shape}")
    place = slice_axis(b, b.arg_sort(rows, axis, False), axis, k - 1, k)
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    if not keepdim:
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    values = b.take_along(rows, place, axis)
    return ValuesIndices(reshape_to(b, values, shape), reshape_to(b, place, shape))


def searchsorted(
    b: Builder,
    sorted_sequence: Node,
    input: Numeric,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Node | None = None,
) -> Node:
    """Return where the values of `input` would be inserted into a sequence so that it stays sorted.

    Args:
        sorted_sequence: ascending along its last dimension; a vector, or with the leading sizes of
            the input.
        input: a number or a Tensor; of any shape for a vector.
        right: insert behind equal elements instead of in front; the same as side="right".
        sorter: the order that sorts the sequence, where it is not sorted.

    Raises:
        ShapeError: when leading sizes differ; InvalidValue: when `right` and `side` disagree.

    >>> import talweg as tw
    >>> tw.searchsorted(tw.tensor([1, 3, 5]), tw.tensor([3, 6])).tolist()
    [1, 3]
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise InvalidValue(f"searchsorted: side {side!r} with right={right}")
    if not sorted_sequence.rank:
        raise ShapeError("searchsorted: the sequence needs at least one dimension")
    dtype = result_type(b, sorted_sequence, input)
    sequence, wanted = cast(b, sorted_sequence, dtype), as_node(b, input, dtype)
    if sorter is not None:
        sequence = b.take_along(sequence, cast(b, sorter, dtypes.int64), sequence.rank - 1)
    rows = wanted
    if sequence.rank == 1:
        rows = reshape_to(b, wanted, (wanted.type.size,))
    elif wanted.shape[:-1] != sequence.shape[:-1]:
        raise ShapeError(
            f"searchsorted: leading sizes of the sequence {sequence.shape} and the values "
            f"{wanted.shape} differ"
        )
    found = b.search_sorted(sequence, rows, right or side == "right")
    return cast(b, reshape_to(b, found, wanted.shape), dtypes.int32 if out_int32 else dtypes.int64)


def bucketize(
    b: Builder, x: Numeric, boundaries: Node, *, out_int32: bool = False, right: bool = False
) -> Node:
    """Return the index of the bucket, between ascending boundaries, that each value falls in.

    A value equal to a boundary belongs to the bucket below it, or above it with `right`.

    Raises:
        ShapeError: when the boundaries are not a vector.
    """
    if boundaries.rank != 1:
        raise ShapeError(f"bucketize: boundaries must be a vector, got shape {boundaries.shape}")
    return searchsorted(b, boundaries, x, out_int32=out_int32, right=right)


def isin(
    b: Builder,
    elements: Numeric,
    test_elements: Numeric,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Node:
    """Return whether each element stands among the test elements, as bool.

    >>> import talweg as tw
    >>> tw.isin(tw.tensor([1, 2, 3]), tw.tensor([2, 5])).tolist()
    [False, True, False]
    """
    dtype = result_type(b, elements, test_elements)
    x, tests = as_node(b, elements, dtype), as_node(b, test_elements, dtype)
    if not tests.type.size:
        return full(b, x.shape, invert, dtypes.bool_)
    if dtype is dtypes.bool_:
        x, tests = b.cast(x, dtypes.uint8), b.cast(tests, dtypes.uint8)
    ordered = sort(b, reshape_to(b, tests, (tests.type.size,))).values
    place = clamp(b, searchsorted(b, ordered, x), max=tests.type.size - 1)
    return (b.ne if invert else b.eq)(b.take(ordered, place, 0), x)


def histc(b: Builder, x: Node, bins: int = 100, min: float = 0, max: float = 0) -> Node:
    """Return how many elements fall into each of `bins` equal parts of [min, max].

    The last part includes its upper end; elements outside are not counted. Where min equals max,
    the smallest and largest element are taken.

    Raises:
        InvalidValue: when there are no bins, or max is below min.
        DTypeError: for a dtype that is not floating.

    >>> import talweg as tw
    >>> tw.histc(tw.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3).tolist()
    [0.0, 2.0, 1.0, 0.0]
    """
    if bins < 1:
        raise InvalidValue(f"histc: bins must be positive, got {bins}")
    if max < min:
        raise InvalidValue(f"histc: max {max} is below min {min}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"histc needs a floating dtype, got {x.dtype.name}")
    if not size_of(x.shape):
        return full(b, (bins,), 0, x.dtype)
    flat = reshape_to(b, x, (x.type.size,))
    low, high = b.scalar(min, x.dtype), b.scalar(max, x.dtype)
    if min == max:
        low, high = b.reduce_min(flat, (0,)), b.reduce_max(flat, (0,))
        one, same = b.scalar(1, x.dtype), b.eq(low, high)
        low, high = b.where(same, b.sub(low, one), low), b.where(same, b.add(high, one), high)
    share = b.div(b.sub(flat, low), b.sub(high, low))
    place = b.floor(b.mul(share, b.scalar(bins, x.dtype)))
    inside = b.bit_and(b.ge(flat, low), b.le(flat, high))
    zero = b.scalar(0, x.dtype)
    safe = b.cast(clamp(b, b.where(inside, place, zero), 0, bins - 1), dtypes.int64)
    return b.add_at(full(b, (bins,), 0, x.dtype), safe, b.cast(inside, x.dtype), 0)


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(argsort, sort, msort, topk, kthvalue, searchsorted, bucketize, isin, histc),
)
METHODS: tuple[str, ...] = ("argsort", "sort", "msort", "topk", "kthvalue", "histc")
