"""Reads and writes along one dimension, at indices given as a Tensor."""

from __future__ import annotations

from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import broadcast_shapes, normalize_axis
from talweg.fn.indexing import as_index
from talweg.fn.math import clamp
from talweg.fn.promotion import Numeric, as_node, broadcast, expand_to, full
from talweg.fn.views import atleast_1d, reshape_to
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _check_dtypes(name: str, x: Node, source: Node) -> None:
    if source.dtype is not x.dtype:
        raise DTypeError(
            f"{name}: the source is {source.dtype.name}, the Tensor {x.dtype.name}; they must be "
            "the same"
        )


def gather(b: Builder, x: Node, dim: int, index: Node) -> Node:
    """Return result[i, j, k] = x[i, index[i, j, k], k] for dim 1, and alike for others.

    Args:
        x: any dtype.
        index: integer, of the rank of x and, other than along `dim`, no larger; from 0 on.

    Raises:
        ShapeError: when the index does not fit; IndexOutOfRange: while running.

    >>> import talweg as tw
    >>> tw.gather(tw.tensor([[1, 2], [3, 4]]), 1, tw.tensor([[0, 0], [1, 0]])).tolist()
    [[1, 1], [4, 3]]
    """
    axis = normalize_axis(dim, x.rank)
    taken = b.take_along(atleast_1d(b, x), atleast_1d(b, as_index(b, index)), axis)
    return reshape_to(b, taken, index.shape)


def _updates(b: Builder, name: str, x: Node, index: Node, src: Node) -> tuple[Node, Node, Node]:
    _check_dtypes(name, x, src)
    x, index, src = atleast_1d(b, x), atleast_1d(b, as_index(b, index)), atleast_1d(b, src)
    fits = src.rank == index.rank == x.rank and all(
        n <= m for n, m in zip(index.shape, src.shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{name}: the index {index.shape} must have the rank of the Tensor {x.shape} and not "
            f"exceed the source {src.shape}"
        )
    if src.shape != index.shape:
        src = b.slice(src, (0,) * src.rank, index.shape, (1,) * src.rank)
    return x, index, src


def scatter(
    b: Builder, x: Node, dim: int, index: Node, src: Numeric, *, reduce: str | None = None
) -> Node:
    """Return x with src[i, j, k] written to x[i, index[i, j, k], k] for dim 1.

    Args:
        x: any dtype.
        index: integer, of the rank of x, no larger than the source.
        src: a Tensor of the dtype of x, or a number.
        reduce: None replaces; "add" and "multiply" combine with what is there.

    Raises:
        ShapeError: when shapes do not fit; DTypeError: when dtypes differ.

    >>> import talweg as tw
    >>> tw.scatter(tw.zeros(4), 0, tw.tensor([1, 3]), tw.tensor([5.0, 6.0])).tolist()
    [0.0, 5.0, 0.0, 6.0]
    """
    if not isinstance(src, Node):
        src = full(b, index.shape, src, x.dtype)
    if reduce is not None:
        names = {"add": "sum", "multiply": "prod"}
        if reduce not in names:
            raise InvalidValue(f"scatter: reduce must be 'add' or 'multiply', not {reduce!r}")
        return scatter_reduce(b, x, dim, index, src, names[reduce])
    shape, axis = x.shape, normalize_axis(dim, x.rank)
    x, index, src = _updates(b, "scatter", x, index, src)
    return reshape_to(b, b.put_along(x, index, src, axis), shape)


def scatter_add(b: Builder, x: Node, dim: int, index: Node, src: Node) -> Node:
    """Return x with src[i, j, k] added to x[i, index[i, j, k], k] for dim 1; repeats add up.

    Raises:
        ShapeError: when shapes do not fit; DTypeError: when dtypes differ.
    """
    shape, axis = x.shape, normalize_axis(dim, x.rank)
    x, index, src = _updates(b, "scatter_add", x, index, src)
    return reshape_to(b, b.add_along(x, index, src, axis), shape)


def _lowest(dtype: DType) -> float | int:
    return -float("inf") if dtype.is_floating_point else dtypes.iinfo(dtype).min


def _highest(dtype: DType) -> float | int:
    return float("inf") if dtype.is_floating_point else dtypes.iinfo(dtype).max


def scatter_reduce(
    b: Builder,
    x: Node,
    dim: int,
    index: Node,
    src: Node,
    reduce: str,
    *,
    include_self: bool = True,
) -> Node:
    """Return x with the elements of `src` combined into the places that `index` names.

    Args:
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether the elements of x that are written to take part.

    "prod" compares every update with every place along the dimension.

    Raises:
        InvalidValue: for another reduction; ShapeError, DTypeError: when operands do not fit.

    >>> import talweg as tw
    >>> i = tw.tensor([0, 0, 1])
    >>> tw.scatter_reduce(tw.zeros(2), 0, i, tw.tensor([1.0, 2.0, 3.0]), "amax").tolist()
    [2.0, 3.0]
    """
    starts = {"sum": 0, "mean": 0, "prod": 1, "amax": None, "amin": None}
    if reduce not in starts:
        raise InvalidValue(f"scatter_reduce: reduce must be one of {', '.join(starts)}")
    shape, axis = x.shape, normalize_axis(dim, x.rank)
    x, index, src = _updates(b, "scatter_reduce", x, index, src)
    if not include_self:
        start: float | int | None = starts[reduce]
        if start is None:
            start = _lowest(x.dtype) if reduce == "amax" else _highest(x.dtype)
        x = b.put_along(x, index, full(b, index.shape, start, x.dtype), axis)
    if reduce == "amax":
        out = b.max_along(x, index, src, axis)
    elif reduce == "amin":
        out = b.min_along(x, index, src, axis)
    elif reduce == "prod":
        out = b.mul(x, _products(b, x, index, src, axis))
    else:
        out = b.add_along(x, index, src, axis)
    if reduce == "mean":
        out = _averaged(b, out, index, axis, include_self)
    return reshape_to(b, out, shape)


def _averaged(b: Builder, total: Node, index: Node, axis: int, include_self: bool) -> Node:
    one = full(b, index.shape, 1, dtypes.int64)
    count = full(b, total.shape, int(include_self), dtypes.int64)
    count = b.add_along(count, index, one, axis)
    one = b.scalar(1, dtypes.int64)
    count = b.cast(b.where(b.lt(count, one), one, count), total.dtype)
    return (b.div if total.dtype.is_inexact else b.floor_div)(total, count)


def _products(b: Builder, x: Node, index: Node, src: Node, axis: int) -> Node:
    """Return per place of x the product of its updates: a table [..., updates, places], reduced."""
    rank = x.rank
    for i in range(rank):
        if i != axis and index.shape[i] < x.shape[i]:
            behind = tuple(x.shape[i] - index.shape[i] if j == i else 0 for j in range(rank))
            none = (0,) * rank
            index = b.pad(index, b.scalar(-1, dtypes.int64), none, behind, none)
            src = b.pad(src, b.scalar(1, src.dtype), none, behind, none)
    size = x.shape[axis]
    table = (*index.shape[: axis + 1], size, *index.shape[axis + 1 :])
    column = (*index.shape[: axis + 1], 1, *index.shape[axis + 1 :])
    hit = b.eq(b.expand(b.reshape(index, column), table), b.iota(table, axis + 1, dtypes.int64))
    spread = b.expand(b.reshape(src, column), table)
    return b.reduce_prod(b.where(hit, spread, b.scalar(1, src.dtype)), (axis,))


def _slice_index(b: Builder, name: str, index: Node) -> Node:
    if index.rank > 1:
        raise ShapeError(f"{name}: the index must have at most one dimension, got {index.shape}")
    return atleast_1d(b, as_index(b, index))


def index_select(b: Builder, x: Node, dim: int, index: Node) -> Node:
    """Return the slices of a dimension at the indices, counted from 0.

    Raises:
        ShapeError: when the index has more than one dimension; IndexOutOfRange: while running.

    >>> import talweg as tw
    >>> tw.index_select(tw.tensor([[1, 2], [3, 4]]), 0, tw.tensor([1, 1])).tolist()
    [[3, 4], [3, 4]]
    """
    axis = normalize_axis(dim, x.rank)
    taken = b.take(atleast_1d(b, x), _slice_index(b, "index_select", index), axis)
    return taken if x.rank else b.reshape(taken, ())


def _slices(
    b: Builder, name: str, x: Node, dim: int, index: Node, source: Node
) -> tuple[Node, Node, Node, int]:
    axis = normalize_axis(dim, x.rank)
    _check_dtypes(name, x, source)
    index = _slice_index(b, name, index)
    x = atleast_1d(b, x)
    wanted = (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :])
    if source.rank == 0 and all(n == 1 for n in wanted):
        source = b.reshape(source, wanted)
    if source.shape != wanted:
        raise ShapeError(f"{name}: the source has shape {source.shape}, needed is {wanted}")
    return x, index, source, axis


def index_add(
    b: Builder, x: Node, dim: int, index: Node, source: Node, *, alpha: int | float = 1
) -> Node:
    """Return x with alpha * source added to the slices at the indices; repeats add up.

    Raises:
        ShapeError, DTypeError: when operands do not fit.
    """
    shape = x.shape
    x, index, source, axis = _slices(b, "index_add", x, dim, index, source)
    if alpha != 1:
        source = b.mul(source, b.scalar(alpha, source.dtype))
    return reshape_to(b, b.add_at(x, index, source, axis), shape)


def index_copy(b: Builder, x: Node, dim: int, index: Node, source: Node) -> Node:
    """Return x with the slices at the indices replaced by those of the source.

    Raises:
        ShapeError, DTypeError: when operands do not fit.
    """
    shape = x.shape
    x, index, source, axis = _slices(b, "index_copy", x, dim, index, source)
    return reshape_to(b, b.put_at(x, index, source, axis), shape)


def index_fill(b: Builder, x: Node, dim: int, index: Node, value: Numeric) -> Node:
    """Return x with the slices at the indices filled with a number (or 0-d Tensor).

    Raises:
        ShapeError: when the value has dimensions.
    """
    axis = normalize_axis(dim, x.rank)
    places = b.resolve_index(_slice_index(b, "index_fill", index), axis, (x.shape or (1,))[axis])
    if isinstance(value, Node) and value.rank:
        raise ShapeError(f"index_fill: the value must be 0-d, got shape {value.shape}")
    rows = atleast_1d(b, x)
    wanted = (*rows.shape[:axis], places.shape[0], *rows.shape[axis + 1 :])
    fill = expand_to(b, as_node(b, value, x.dtype), wanted)
    return reshape_to(b, b.put_at(rows, places, fill, axis), x.shape)


def take(b: Builder, x: Node, index: Node) -> Node:
    """Return the elements of x, seen as one dimension, at the indices; negative ones from the end.

    >>> import talweg as tw
    >>> tw.take(tw.tensor([[1, 2], [3, 4]]), tw.tensor([0, -1])).tolist()
    [1, 4]
    """
    places = b.resolve_index(as_index(b, index), 0, x.type.size)
    return b.take(reshape_to(b, x, (x.type.size,)), places, 0)


def put(b: Builder, x: Node, index: Node, source: Node, accumulate: bool = False) -> Node:
    """Return x, seen as one dimension, with the source written (or added) at the indices."""
    _check_dtypes("put", x, source)
    if source.type.size != index.type.size:
        raise ShapeError(f"put: the source {source.shape} and index {index.shape} differ in size")
    places = b.resolve_index(as_index(b, index), 0, x.type.size)
    write = b.add_at if accumulate else b.put_at
    updates = reshape_to(b, source, index.shape)
    return reshape_to(b, write(reshape_to(b, x, (x.type.size,)), places, updates, 0), x.shape)


def take_along_dim(b: Builder, x: Node, indices: Node, dim: int | None = None) -> Node:
    """Return the elements along a dimension at indices, other dimensions being broadcast.

    Without `dim`, x and the indices count as one dimension.

    Raises:
        ShapeError: when ranks differ or sizes do not broadcast.
    """
    indices = as_index(b, indices)
    if dim is None:
        x, indices = reshape_to(b, x, (x.type.size,)), reshape_to(b, indices, (indices.type.size,))
    axis = normalize_axis(dim or 0, x.rank)
    if x.rank != indices.rank:
        raise ShapeError(f"take_along_dim: ranks differ: {x.shape} and {indices.shape}")
    rest = [tuple(1 if i == axis else n for i, n in enumerate(v.shape)) for v in (x, indices)]
    common = broadcast_shapes(*rest)
    whole, at = (
        expand_to(b, v, (*common[:axis], v.shape[axis], *common[axis + 1 :])) for v in (x, indices)
    )
    return b.take_along(whole, b.resolve_index(at, axis, x.shape[axis]), axis)


def masked_scatter(b: Builder, x: Node, mask: Node, source: Node) -> Node:
    """Return x with the elements where the mask holds replaced by those of the source, in order.

    Raises:
        DTypeError: when the mask is not bool or the source has another dtype.
        IndexOutOfRange: while running, when the source has too few elements.
    """
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(f"masked_scatter: the mask must be bool, got {mask.dtype.name}")
    _check_dtypes("masked_scatter", x, source)
    mask, x = broadcast(b, mask, x)
    shape = mask.shape or x.shape
    mask, x = expand_to(b, mask, shape), expand_to(b, x, shape)
    if source.type.size == 0 or x.type.size == 0:
        return b.copy(x)
    flat = reshape_to(b, mask, (x.type.size,))
    rank = b.sub(b.cum_sum(b.cast(flat, dtypes.int64), 0), b.scalar(1, dtypes.int64))
    chosen = b.take(reshape_to(b, source, (source.type.size,)), clamp(b, rank, min=0), 0)
    return b.where(mask, reshape_to(b, chosen, shape), x)


def one_hot(b: Builder, x: Node, num_classes: int) -> Node:
    """Return int64 vectors that are 1 at the class and 0 elsewhere, along a new last dimension.

    Raises:
        InvalidValue: when there is no class; IndexOutOfRange: while running, for a wrong class.
    """
    if num_classes < 1:
        raise InvalidValue(f"one_hot: num_classes must be positive, got {num_classes}")
    places = b.reshape(as_index(b, x), (*x.shape, 1))
    zeros = full(b, (*x.shape, num_classes), 0, dtypes.int64)
    return b.put_along(zeros, places, full(b, places.shape, 1, dtypes.int64), x.rank)


PUBLIC: tuple[Callable[..., Node], ...] = (
    *(gather, scatter, scatter_add, scatter_reduce, index_select, index_add, index_copy),
    *(index_fill, take, put, take_along_dim, masked_scatter),
)
METHODS: tuple[str, ...] = tuple(f.__name__ for f in PUBLIC)
INPLACE: tuple[str, ...] = (
    *("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill"),
    *("put", "masked_scatter"),
)
