"""Copies with a part replaced, diagonals made of vectors, complex numbers as pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from talweg.base import dtypes
from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.elementary import complex as make_complex
from talweg.fn.elementary import imag, real
from talweg.fn.gathering import scatter_reduce
from talweg.fn.indexing import as_index
from talweg.fn.math import clamp, floor_divide, remainder
from talweg.fn.promotion import cast, expand_to
from talweg.fn.shaping import diag_embed, stack
from talweg.fn.views import diagonal, movedim, reshape_to, select, slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _fitting(b: Builder, name: str, src: Node, x: Node, shape: tuple[int, ...]) -> Node:
    if src.shape != shape:
        raise ShapeError(f"{name}: the source has shape {src.shape}, the part {shape}")
    return cast(b, src, x.dtype)


def slice_scatter(
    b: Builder,
    x: Node,
    src: Node,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Node:
    """Return x with the slice start:end:step of a dimension replaced.

    Args:
        src: of the slice's shape.

    Raises:
        ShapeError: when it is not.

    >>> import talweg as tw
    >>> tw.slice_scatter(tw.zeros(4), tw.ones(2), 0, 1, 4, 2).tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    axis = normalize_axis(dim, x.rank)
    low, high, by = slice(start, end, step).indices(x.shape[axis])
    high = max(low, high)
    part = slice_axis(b, x, axis, low, high, by)
    src = _fitting(b, "slice_scatter", src, x, part.shape)
    starts, stops, steps = [0] * x.rank, list(x.shape), [1] * x.rank
    starts[axis], stops[axis], steps[axis] = low, high, by
    return b.set_slice(x, src, tuple(starts), tuple(stops), tuple(steps))


def select_scatter(b: Builder, x: Node, src: Node, dim: int, index: int) -> Node:
    """Return x with one place of a dimension replaced by `src`, which lacks the dimension.

    Raises:
        ShapeError: when it has another shape; IndexOutOfRange: for an index outside.

    >>> import talweg as tw
    >>> tw.select_scatter(tw.zeros(2, 2), tw.ones(2), 0, 1).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    axis = normalize_axis(dim, x.rank)
    src = _fitting(b, "select_scatter", src, x, select(b, x, dim, index).shape)
    at = index % x.shape[axis]
    wide = b.reshape(src, (*src.shape[:axis], 1, *src.shape[axis:]))
    return slice_scatter(b, x, wide, axis, at, at + 1)


def diagonal_scatter(
    b: Builder, x: Node, src: Node, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Node:
    """Return x with a diagonal of two dimensions replaced.

    Args:
        src: of the shape of `diagonal(x, offset, dim1, dim2)`.

    Raises:
        ShapeError: when it has another shape.

    >>> import talweg as tw
    >>> tw.diagonal_scatter(tw.zeros(2, 2), tw.tensor([1.0, 2.0])).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    src = _fitting(b, "diagonal_scatter", src, x, diagonal(b, x, offset, dim1, dim2).shape)
    one, two = normalize_axis(dim1, x.rank), normalize_axis(dim2, x.rank)
    moved = movedim(b, x, (one, two), (-2, -1))
    top, left = max(-offset, 0), max(offset, 0)
    n = src.shape[-1]
    none = (0,) * (x.rank - 2)
    place = ((*none, top, left), (*moved.shape[:-2], top + n, left + n), (1,) * x.rank)
    block = b.slice(moved, *place) if n else moved
    filled = b.set_slice(moved, b.set_diagonal(block, src), *place) if n else moved
    return movedim(b, filled, (-2, -1), (one, two))


def diagflat(b: Builder, x: Node, offset: int = 0) -> Node:
    """Return a matrix with the elements of x, row by row, on a diagonal.

    >>> import talweg as tw
    >>> tw.diagflat(tw.tensor([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    return diag_embed(b, reshape_to(b, x, (x.type.size,)), offset)


def fill_diagonal(b: Builder, x: Node, fill_value: float, wrap: bool = False) -> Node:
    """Return x with one number on its main diagonal.

    Args:
        x: a matrix, or of several dimensions of one size.
        wrap: for a tall matrix, begin again after each block of rows and one row more.

    Raises:
        ShapeError: for other shapes.
    """
    if x.rank < 2 or (x.rank > 2 and len(set(x.shape)) > 1):
        raise ShapeError(f"fill_diagonal_: all dimensions must be of equal length, got {x.shape}")
    step = sum(math.prod(x.shape[i + 1 :]) for i in range(x.rank))
    size = x.type.size
    tall = x.rank == 2 and x.shape[0] > x.shape[1]
    last = size if not tall or wrap else x.shape[1] * x.shape[1]
    places = b.iota((size,), 0, dtypes.int64)
    on = b.bit_and(
        b.eq(remainder(b, places, step), b.scalar(0, dtypes.int64)),
        b.lt(places, b.scalar(last, dtypes.int64)),
    )
    flat = b.where(on, b.scalar(fill_value, x.dtype), b.reshape(x, (size,)))
    return b.reshape(flat, x.shape)


def index_reduce(
    b: Builder,
    x: Node,
    dim: int,
    index: Node,
    source: Node,
    reduce: str,
    *,
    include_self: bool = True,
) -> Node:
    """Return x with slices of `source` combined into the places that `index` names.

    Args:
        index: [n], integer.
        source: of the shape of x but for n places along `dim`.
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether the slices of x that are written to take part.

    Raises:
        InvalidValue: for another reduction; ShapeError: when operands do not fit.

    >>> import talweg as tw
    >>> tw.index_reduce(tw.ones(2), 0, tw.tensor([1]), tw.tensor([3.0]), "amax").tolist()
    [1.0, 3.0]
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise InvalidValue(f"index_reduce: reduce must be prod, mean, amax or amin, got {reduce!r}")
    axis = normalize_axis(dim, x.rank)
    if index.rank != 1 or source.rank != x.rank or source.shape[axis] != index.shape[0]:
        raise ShapeError(f"index_reduce: index {index.shape} does not fit source {source.shape}")
    shape = (1,) * axis + index.shape + (1,) * (x.rank - axis - 1)
    wide = expand_to(b, b.reshape(as_index(b, index), shape), source.shape)
    return scatter_reduce(b, x, axis, wide, source, reduce, include_self=include_self)


def view_as_real(b: Builder, x: Node) -> Node:
    """Return complex numbers as pairs along a new last dimension: real part, imaginary part.

    Raises:
        DTypeError: for other dtypes.

    >>> import talweg as tw
    >>> tw.view_as_real(tw.tensor([1 + 2j])).tolist()
    [[1.0, 2.0]]
    """
    if x.dtype.category != "complex":
        raise DTypeError(f"view_as_real needs complex numbers, got {x.dtype.name}")
    return stack(b, [real(b, x), imag(b, x)], -1)


def view_as_complex(b: Builder, x: Node) -> Node:
    """Return pairs along the last dimension as complex numbers.

    Raises:
        DTypeError: unless float32 or float64; ShapeError: unless the last dimension has 2 places.

    >>> import talweg as tw
    >>> tw.view_as_complex(tw.tensor([[1.0, 2.0]])).tolist()
    [(1+2j)]
    """
    if not x.rank or x.shape[-1] != 2:
        raise ShapeError(f"view_as_complex: the last dimension must be of size 2, got {x.shape}")
    return make_complex(b, select(b, x, -1, 0), select(b, x, -1, 1))


def renorm(b: Builder, x: Node, p: float, dim: int, maxnorm: float) -> Node:
    """Return x with every slice of a dimension scaled down to a p-norm of at most `maxnorm`.

    Args:
        x: floating, of 2 dimensions or more.

    Raises:
        ShapeError: for fewer; InvalidValue: unless p is positive and maxnorm not negative.

    >>> import talweg as tw
    >>> tw.renorm(tw.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1).sum().item() - 2.1 < 1e-5
    True
    """
    if x.rank < 2:
        raise ShapeError(f"renorm needs 2 dimensions or more, got shape {x.shape}")
    if p <= 0 or maxnorm < 0:
        raise InvalidValue(f"renorm: p {p} must be positive, maxnorm {maxnorm} not negative")
    axis = normalize_axis(dim, x.rank)
    rest = tuple(i for i in range(x.rank) if i != axis)
    size = b.abs(x)
    if math.isinf(p):
        norm = b.reduce_max(size, rest)
    else:
        norm = b.pow(
            b.reduce_sum(b.pow(size, b.scalar(p, x.dtype)), rest), b.scalar(1 / p, x.dtype)
        )
    limit = b.scalar(maxnorm, x.dtype)
    factor = b.div(limit, b.add(norm, b.scalar(1e-7, x.dtype)))
    scale = b.where(b.lt(limit, norm), factor, b.scalar(1, x.dtype))
    shape = tuple(n if i == axis else 1 for i, n in enumerate(x.shape))
    return b.mul(x, expand_to(b, b.reshape(scale, shape), x.shape))


def unravel_index(b: Builder, indices: Node, shape: int | Sequence[int]) -> tuple[Node, ...]:
    """Return places in a flat array as indices, one Tensor for each dimension of a shape.

    Raises:
        DTypeError: unless the places are integers; InvalidValue: for negative sizes.

    >>> import talweg as tw
    >>> [i.tolist() for i in tw.unravel_index(tw.tensor([4, 5]), (2, 3))]
    [[1, 1], [1, 2]]
    """
    if indices.dtype.category not in ("int", "uint"):
        raise DTypeError(f"unravel_index needs integers, got {indices.dtype.name}")
    listed = (shape,) if isinstance(shape, int) else tuple(shape)
    if min(listed, default=0) < 0:
        raise InvalidValue(f"unravel_index: sizes must not be negative, got {listed}")
    parts = []
    for i, n in enumerate(listed):
        step = math.prod(listed[i + 1 :])
        parts.append(remainder(b, floor_divide(b, indices, step), n))
    return tuple(parts)


def as_strided(
    b: Builder, x: Node, size: Sequence[int], stride: Sequence[int], storage_offset: int = 0
) -> Node:
    """Return result[i, j] = x[offset + i * stride[0] + j * stride[1]], x being read row by row.

    The result is a copy.

    Raises:
        ShapeError: when sizes and strides differ in number; IndexOutOfRange: when places lie
            beyond x.

    >>> import talweg as tw
    >>> tw.as_strided(tw.arange(5), (3, 2), (1, 1)).tolist()
    [[0, 1], [1, 2], [2, 3]]
    """
    sizes, strides = tuple(size), tuple(stride)
    if len(sizes) != len(strides):
        raise ShapeError(f"as_strided: {len(sizes)} sizes and {len(strides)} strides")
    last = storage_offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if 0 not in sizes and not 0 <= last < x.type.size:
        raise IndexOutOfRange(f"as_strided: place {last} is beyond {x.type.size} elements")
    places = expand_to(b, b.scalar(storage_offset, dtypes.int64), sizes)
    for axis, step in enumerate(strides):
        counted = b.mul(b.iota(sizes, axis, dtypes.int64), b.scalar(step, dtypes.int64))
        places = b.add(places, counted)
    flat = b.reshape(x, (x.type.size,))
    return b.take(flat, clamp(b, places, min=0), 0)


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(slice_scatter, select_scatter, diagonal_scatter, diagflat, index_reduce, view_as_real),
    *(view_as_complex, renorm, unravel_index, as_strided),
)
METHODS: tuple[str, ...] = (
    *("slice_scatter", "select_scatter", "diagonal_scatter", "diagflat", "index_reduce"),
    *("renorm", "as_strided"),
)
INPLACE: tuple[str, ...] = ("index_reduce", "renorm")
