"""Subscripts: reading and writing parts of a Tensor by keys as NumPy and PyTorch accept them.

A key is split in two. Integers, slices, None and Ellipsis are basic: one Slice and one Reshape,
so that the result can share memory. Integer Nodes are advanced: they are broadcast together and
their common shape stands where they stood, or in front when basic parts separate them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape, broadcast_shapes, contiguous_strides, inverse_order
from talweg.fn.promotion import cast, expand_to
from talweg.fn.views import reshape_to
from talweg.ir.build import Builder
from talweg.ir.node import Node


@frozen
class Split:
    """A key, split.

    Args:
        starts, stops, steps: the basic part along every axis of the operand.
        shape: of the basic part, without the axes of integers and with those of None.
        advanced: the axes of `shape` that are indexed, ascending, and their indices.
    """

    starts: Shape
    stops: Shape
    steps: Shape
    shape: Shape
    advanced: tuple[tuple[int, Node], ...]


def _axes_used(part: Any) -> int:
    return 0 if part is None or part is Ellipsis or isinstance(part, bool) else 1


def _whole_key(key: Any, shape: Shape) -> list[Any]:
    parts = list(key) if isinstance(key, tuple) else [key]
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexOutOfRange("an index can only have a single ellipsis ('...')")
    missing = len(shape) - sum(map(_axes_used, parts))
    if missing < 0:
        if not shape:
            raise IndexOutOfRange(
                "invalid index of a 0-dim tensor; use tensor.item() to convert it to a number"
            )
        raise IndexOutOfRange(f"too many indices for tensor of dimension {len(shape)}")
    at = dots[0] if dots else len(parts)
    parts[at : at + 1] = [slice(None)] * missing
    return parts


def _position(part: int, axis: int, size: int) -> int:
    if not -size <= part < size:
        raise IndexOutOfRange(
            f"index {part} is out of bounds for dimension {axis} with size {size}"
        )
    return part % size


def _range(part: slice, size: int) -> tuple[int, int, int]:
    if part.step is not None and part.step < 1:
        raise InvalidValue(f"a slice's step must be greater than zero, got {part.step}; use flip")
    start, stop, step = part.indices(size)
    return start, max(start, stop), step


def split_key(b: Builder, shape: Shape, key: Any) -> Split:
    """Split a key for an operand of a shape.

    Args:
        key: an int, slice, None, Ellipsis, bool or integer Node, or a tuple of them. True and False
            insert an axis and select 1 or 0 elements of it.

    Raises:
        IndexOutOfRange: for an integer outside its axis, and for too many indices.
        InvalidValue: for a step below 1.
        DTypeError: for an index that is not an integer.
    """
    rows: list[tuple[int, int, int]] = []
    kept: list[int] = []
    advanced: list[tuple[int, Node]] = []
    for part in _whole_key(key, shape):
        size = shape[len(rows)] if _axes_used(part) else 1
        if part is None:
            kept.append(1)
        elif isinstance(part, bool):
            advanced.append((len(kept), b.constant(np.zeros(int(part), np.int64))))
            kept.append(1)
        elif isinstance(part, Node):
            advanced.append((len(kept), _resolved(b, part, len(rows), size)))
            rows.append((0, size, 1))
            kept.append(size)
        elif isinstance(part, slice):
            rows.append(_range(part, size))
            kept.append(len(range(*rows[-1])))
        elif hasattr(part, "__index__"):
            at = _position(part.__index__(), len(rows), size)
            rows.append((at, at + 1, 1))
        else:
            raise DTypeError(
                "an index must be an integer, slice, None, Ellipsis or integer or boolean Tensor, "
                f"got {type(part).__name__}"
            )
    starts, stops, steps = zip(*rows, strict=True) if rows else ((), (), ())
    return Split(starts, stops, steps, tuple(kept), tuple(advanced))


def _resolved(b: Builder, index: Node, axis: int, size: int) -> Node:
    return b.resolve_index(as_index(b, index), axis, size)


def as_index(b: Builder, index: Node) -> Node:
    """Return an integer index as int64.

    Raises:
        DTypeError: when it is not an integer.
    """
    if index.dtype not in dtypes.INTS:
        raise DTypeError(
            f"Tensors used as indices must be integers or bool, got {index.dtype.name}; "
            "convert with .long()"
        )
    return cast(b, index, dtypes.int64)


def _basic(b: Builder, x: Node, split: Split) -> Node:
    if split.stops != x.shape or any(split.starts) or any(s != 1 for s in split.steps):
        x = b.slice(x, split.starts, split.stops, split.steps)
    return reshape_to(b, x, split.shape)


@frozen
class Gathering:
    """Several indexed axes, merged into one.

    Args:
        order: of the axes, that brings the indexed ones together.
        moved: the shape in that order.
        axis: where the merged axis stands.
        merged: the shape with the merged axis.
        index: into the merged axis.
    """

    order: tuple[int, ...]
    moved: Shape
    axis: int
    merged: Shape
    index: Node


def _gathering(b: Builder, split: Split) -> Gathering:
    shape = split.shape
    axes = [axis for axis, _ in split.advanced]
    nodes = [node for _, node in split.advanced]
    try:
        common = broadcast_shapes(*(n.shape for n in nodes))
    except ShapeError:
        raise IndexOutOfRange(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"{', '.join(str(list(n.shape)) for n in nodes)}"
        ) from None
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    axis = axes[0] if adjacent else 0
    rest = [i for i in range(len(shape)) if i not in axes]
    order = (*rest[:axis], *axes, *rest[axis:])
    moved = tuple(shape[i] for i in order)
    sizes = tuple(shape[i] for i in axes)
    merged = (*moved[:axis], math.prod(sizes), *moved[axis + len(axes) :])
    total: Node | None = None
    for node, stride in zip(nodes, contiguous_strides(sizes), strict=True):
        term = expand_to(b, node, common)
        if stride != 1:
            term = b.mul(term, b.scalar(stride, dtypes.int64))
        total = term if total is None else b.add(total, term)
    assert total is not None
    return Gathering(order, moved, axis, merged, total)


def _merged(b: Builder, x: Node, g: Gathering) -> Node:
    if g.order != tuple(range(x.rank)):
        x = b.permute(x, g.order)
    return reshape_to(b, x, g.merged)


def _unmerged(b: Builder, x: Node, g: Gathering) -> Node:
    x = reshape_to(b, x, g.moved)
    inverse = inverse_order(g.order)
    return x if inverse == g.order == tuple(range(x.rank)) else b.permute(x, inverse)


def getitem(b: Builder, x: Node, key: Any) -> Node:
    """Return the part of x that a key names.

    Keys without Nodes give a Slice and a Reshape of x (or x itself). As in PyTorch, and other than
    in NumPy, an integer beside index arrays drops its axis before the arrays are placed.

    Args:
        key: an int, slice, None, Ellipsis, bool or integer Node, or a tuple of them; negative
            indices count from the end.

    Raises:
        IndexOutOfRange: for an index outside its axis (of a Node: while running), for too many
            indices, and when index Nodes do not broadcast.
        InvalidValue: for a slice's step below 1.
    """
    split = split_key(b, x.shape, key)
    part = _basic(b, x, split)
    if not split.advanced:
        return part
    g = _gathering(b, split)
    return b.take(_merged(b, part, g), g.index, g.axis)


def row(b: Builder, x: Node, index: int) -> Node:
    """Return `getitem(x, index)` for a single integer.

    Raises:
        IndexOutOfRange: for an index outside the first axis.
    """
    shape = x.type.shape
    if not shape:
        return getitem(b, x, index)
    at = _position(index, 0, shape[0])
    if shape[0] != 1:
        rank = len(shape)
        x = b.slice(x, (at,) + (0,) * (rank - 1), (at + 1, *shape[1:]), (1,) * rank)
    return b.reshape(x, shape[1:])


def setitem(b: Builder, x: Node, key: Any, value: Node, accumulate: bool = False) -> Node:
    """Return x with the part that a key names replaced by a value, which is broadcast to it.

    Where index Nodes name a place twice, the last value in row-major order stays.

    Args:
        key: as for `getitem`.
        value: of the dtype of x; leading axes of size 1 are dropped where they are too many.
        accumulate: add the value instead; places named twice receive both.

    Raises:
        ShapeError: when the value does not broadcast to the part.
        IndexOutOfRange: as `getitem`.
    """
    split = split_key(b, x.shape, key)
    part = _basic(b, x, split)
    if split.advanced:
        g = _gathering(b, split)
        rows = _merged(b, part, g)
        shape = (*rows.shape[: g.axis], *g.index.shape, *rows.shape[g.axis + 1 :])
        write = b.add_at if accumulate else b.put_at
        new = _unmerged(b, write(rows, g.index, _fitted(b, value, shape), g.axis), g)
    else:
        new = _fitted(b, value, part.shape)
        if accumulate:
            new = b.add(part, new)
    if split.stops == x.shape and not any(split.starts) and all(s == 1 for s in split.steps):
        return reshape_to(b, new, x.shape)
    rows_of = zip(split.starts, split.stops, split.steps, strict=True)
    sizes = tuple(len(range(*row)) for row in rows_of)
    return b.set_slice(x, reshape_to(b, new, sizes), split.starts, split.stops, split.steps)


def _fitted(b: Builder, value: Node, shape: Shape) -> Node:
    extra = value.rank - len(shape)
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        value = b.reshape(value, value.shape[extra:])
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"shape mismatch: value of shape {value.shape} cannot be broadcast to the indexed part "
            f"of shape {shape}"
        )
    return expand_to(b, value, shape)


def index_put(
    b: Builder,
    x: Node,
    indices: Sequence[Node | None],
    values: Node,
    accumulate: bool = False,
) -> Node:
    """Return x with values put at indices of its first dimensions.

    Args:
        indices: one integer Tensor per dimension, or None for all of a dimension.
        values: of the dtype of x, broadcast to the part.
        accumulate: add the values; places named twice receive both.

    Raises:
        DTypeError: when the values have another dtype than x.

    >>> import talweg as tw
    >>> x = tw.zeros(3)
    >>> tw.index_put(x, (tw.tensor([0, 2]),), tw.tensor([5.0, 6.0])).tolist()
    [5.0, 0.0, 6.0]
    """
    if values.dtype is not x.dtype:
        raise DTypeError(
            f"index_put: values of {values.dtype.name} do not fit a Tensor of {x.dtype.name}"
        )
    key = tuple(slice(None) if i is None else i for i in indices)
    return setitem(b, x, key, values, accumulate)


PUBLIC: tuple[Callable[..., Node], ...] = (index_put,)
METHODS: tuple[str, ...] = ("index_put",)
INPLACE: tuple[str, ...] = ("index_put",)
