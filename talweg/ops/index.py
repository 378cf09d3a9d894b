"""Reads and writes at computed indices.

`At` ops take whole slices by the index of one axis (NumPy's `take`); `Along` ops index every
element of one axis on its own (PyTorch's `gather` and `scatter`). Indices are int64, counted from
the front, and checked while running. `ResolveIndex` makes such an index of one that may be
negative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import FROM_ZERO, DTypeError, IndexOutOfRange, ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape, contiguous_strides
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops import recipes
from talweg.ops.kinds import Elementwise, Gather, Scatter, check_axes, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand, Point
    from talweg.loops.scalar import Scalar

_INDEX = np.array([[2, 0, 2], [1, 3, 0]])
_UNIQUE = np.array([[2, 0], [1, 3]])
_REPEATED = np.array([[2, 0, 2], [2, 3, 0]])
_ALONG = np.array([[2, 0, 1], [0, 2, 1]])


@frozen
class ResolveIndex(Elementwise):
    """An index as users write it, -size … size - 1, as one counted from the front.

    1. int64 only. 2. Any other index raises IndexOutOfRange while running; so does a negative one
    without `wrap`.
    """

    axis: int
    size: int
    wrap: bool = True
    differentiable: ClassVar[bool] = False
    accepts: ClassVar[tuple[DType, ...]] = (dtypes.int64,)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (index,) = arrays
        _check_range(index, -self.size if self.wrap else 0, self.size, self.axis)
        return np.where(index < 0, index + self.size, index)

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return nest.bounded(ins[0], nest.number(self.size), self.axis, self.wrap)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0, 4), (np.array([0, -1, 3, -4]),), (dtypes.int64,), gradient=False)
        yield Sample(cls(0, 4, False), (np.array([0, 1, 3]),), (dtypes.int64,), gradient=False)


@frozen
class Take(Gather):
    """Slices of x, the first operand, along `axis`, at an index of any shape, the second.

    1. The index's shape stands in the place of `axis`. 2. 0 <= index < size, checked while running.
    """

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        x, index = types
        return x.with_shape(_at_shape(self, self.axis, x, index))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index = arrays
        _check_range(index, 0, x.shape[self.axis], self.axis)
        return np.take(x, index, self.axis)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, index = ins
        return lambda i: x[_at(nest, index, i, x.shape[self.axis], self.axis)]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, index = node.inputs
        return b.add_at(b.expand(b.scalar(0, x.dtype), x.shape), index, ct, self.axis), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((2, 4, 3)), _INDEX), dtypes.ALL)
        yield Sample(cls(0), (Draw((3,)), np.array(1)), dtypes.FLOATS)


@frozen
class TakeAlong(Gather):
    """result[i, j, k] = x[i, index[i, j, k], k] for axis 1, and alike for other axes.

    1. x and index have one rank. 2. Off `axis`, the index's sizes do not exceed those of x.
    3. 0 <= index < size, checked while running.
    """

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        x, index = types
        return x.with_shape(_along_shape(self, self.axis, x, index))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index = arrays
        return np.take(x.reshape(-1), _along_places(x.shape, index, self.axis))

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, index = ins
        return lambda i: x[_along(nest, index, i, x.shape[self.axis], self.axis)]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, index = node.inputs
        zero = b.scalar(0, x.dtype)
        if index.shape == (*x.shape[: self.axis], 1, *x.shape[self.axis + 1 :]):
            here = b.iota(x.shape, self.axis, dtypes.int64)
            at = b.resolve_index(index, axis=self.axis, size=x.shape[self.axis], wrap=False)
            chosen = b.eq(here, b.expand(at, x.shape))
            return b.where(chosen, b.expand(ct, x.shape), zero), None
        return b.add_along(b.expand(zero, x.shape), index, ct, self.axis), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), (Draw((4, 3)), _INDEX), dtypes.ALL)
        yield Sample(cls(1), (Draw((2, 4)), _INDEX), dtypes.FLOATS)
        yield Sample(cls(1), (Draw((3, 4)), _UNIQUE), dtypes.FLOATS)
        yield Sample(cls(1), (Draw((2, 4)), _INDEX[:, :1]), dtypes.FLOATS)


@frozen
class _ScatterAt(Scatter):
    """x with slices along `axis` changed: x, the index, and updates of the shape `Take` gives.

    1. 0 <= index < size, checked while running.
    """

    axis: int
    combine: ClassVar[str]
    accepts: ClassVar[tuple[DType, ...]] = dtypes.NUMBERS

    def infer(self, *types: TensorType) -> TensorType:
        x, index, updates = types
        return _updated(self, x, updates, _at_shape(self, self.axis, x, index))

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        x, index, updates = ins

        def place(i: Indices) -> Indices:
            return _at(nest, index, i, x.shape[self.axis], self.axis)

        ordered = range(self.axis, self.axis + index.rank)
        recipes.scatter(nest, x, updates, place, self.combine, ordered)


@frozen
class _ScatterAlong(Scatter):
    """x with elements along `axis` changed: x, the index, and updates of the index's shape.

    1. x and index have one rank. 2. Off `axis`, the index's sizes do not exceed those of x.
    3. 0 <= index < size, checked while running.
    """

    axis: int
    combine: ClassVar[str]
    accepts: ClassVar[tuple[DType, ...]] = dtypes.NUMBERS

    def infer(self, *types: TensorType) -> TensorType:
        x, index, updates = types
        return _updated(self, x, updates, _along_shape(self, self.axis, x, index))

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        x, index, updates = ins

        def place(i: Indices) -> Indices:
            return _along(nest, index, i, x.shape[self.axis], self.axis)

        recipes.scatter(nest, x, updates, place, self.combine, (self.axis,))


@frozen
class AddAt(_ScatterAt):
    """x plus the updates, each added to the slice that `Take` would read; repeats add up.

    Half types accumulate in float32.
    """

    combine: ClassVar[str] = "add"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return _accumulate(np.add, x, _at_places(x.shape, index, self.axis), updates)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, None, b.take(ct, node.inputs[1], self.axis)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((2, 4)), _INDEX, Draw((2, 2, 3))), dtypes.NUMBERS)


@frozen
class PutAt(_ScatterAt):
    """x with the slices that `Take` would read replaced by the updates.

    1. Where an index repeats, the last update in row-major order stays, yet every update receives
       the gradient of its place: gradients are exact for distinct indices, as in PyTorch.
    """

    combine: ClassVar[str] = "set"
    accepts: ClassVar[tuple[DType, ...]] = dtypes.ALL

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return _put(x, _at_places(x.shape, index, self.axis), updates)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        _, index, updates = node.inputs
        zeros = b.expand(b.scalar(0, ct.dtype), updates.shape)
        return b.put_at(ct, index, zeros, self.axis), None, b.take(ct, index, self.axis)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((2, 5)), _UNIQUE, Draw((2, 2, 2))), dtypes.ALL, tolerance=0)


@frozen
class AddAlong(_ScatterAlong):
    """x plus the updates, each added to the element that `TakeAlong` would read; repeats add up.

    Half types accumulate in float32.
    """

    combine: ClassVar[str] = "add"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return _accumulate(np.add, x, _along_places(x.shape, index, self.axis), updates)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, None, b.take_along(ct, node.inputs[1], self.axis)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), (Draw((4, 3)), _INDEX, Draw((2, 3))), dtypes.NUMBERS)


@frozen
class PutAlong(_ScatterAlong):
    """x with the elements that `TakeAlong` would read replaced by the updates.

    1. Where an index repeats, the last update in row-major order stays, yet every update receives
       the gradient of its place: gradients are exact for distinct indices, as in PyTorch.
    """

    combine: ClassVar[str] = "set"
    accepts: ClassVar[tuple[DType, ...]] = dtypes.ALL

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return _put(x, _along_places(x.shape, index, self.axis), updates)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        _, index, updates = node.inputs
        zeros = b.expand(b.scalar(0, ct.dtype), updates.shape)
        return b.put_along(ct, index, zeros, self.axis), None, b.take_along(ct, index, self.axis)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((2, 4)), _ALONG, Draw((2, 3))), dtypes.ALL, tolerance=0)


@frozen
class MaxAlong(_ScatterAlong):
    """The maximum of each element of x and the updates whose index names it; NaN propagates.

    Elements that equal the maximum share its gradient equally.
    """

    combine: ClassVar[str] = "maximum"
    accepts: ClassVar[tuple[DType, ...]] = dtypes.REALS

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return _accumulate(np.maximum, x, _along_places(x.shape, index, self.axis), updates)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return _extremum_vjp(b, node, self.axis, cotangents[0])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        x, above, below = Draw((4, 3)), Draw((2, 3), 3, 6, distinct=True), Draw((2, 3), -6, -3)
        yield Sample(cls(0), (x, _REPEATED, above), dtypes.REALS, tolerance=0)
        yield Sample(cls(0), (x, _REPEATED, below), dtypes.FLOATS, tolerance=0)


@frozen
class MinAlong(_ScatterAlong):
    """The minimum of each element of x and the updates whose index names it; NaN propagates.

    Elements that equal the minimum share its gradient equally.
    """

    combine: ClassVar[str] = "minimum"
    accepts: ClassVar[tuple[DType, ...]] = dtypes.REALS

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return _accumulate(np.minimum, x, _along_places(x.shape, index, self.axis), updates)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return _extremum_vjp(b, node, self.axis, cotangents[0])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        x, above, below = Draw((4, 3)), Draw((2, 3), 3, 6), Draw((2, 3), -6, -3, distinct=True)
        yield Sample(cls(0), (x, _REPEATED, above), dtypes.REALS, tolerance=0)
        yield Sample(cls(0), (x, _REPEATED, below), dtypes.FLOATS, tolerance=0)


@frozen
class SearchSorted(Gather):
    """Where each value would be inserted into its row of a sorted sequence.

    The operands are the sequence [*rows, n], ascending along its last axis, and the values
    [*rows, m]; the result counts the elements below the value, or not above it if `right`.

    1. Equal leading sizes and dtypes. 2. NaN counts as the largest value.
    """

    right: bool
    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        sequence, values = types
        check_dtype(self, sequence.dtype, dtypes.REALS)
        if sequence.dtype is not values.dtype:
            raise DTypeError(f"search_sorted: {values} and {sequence} differ in dtype")
        if not sequence.rank == values.rank >= 1 or sequence.shape[:-1] != values.shape[:-1]:
            raise ShapeError(f"search_sorted: values {values} do not match the rows of {sequence}")
        return values.with_dtype(dtypes.int64)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        sequence, values = arrays
        out = np.empty(values.shape, np.int64)
        side: Literal["left", "right"] = "right" if self.right else "left"
        for row in np.ndindex(values.shape[:-1]):
            out[row] = np.searchsorted(sequence[row], values[row], side)
        return out

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        sequence, values = ins

        def point(i: Indices) -> Scalar:
            value = nest.let(values[i])
            return recipes.search_sorted(
                nest,
                row=lambda k: sequence[(*i[:-1], k)],
                count=sequence.shape[-1],
                goes_before=lambda x: (
                    ~recipes.before(value, x) if self.right else recipes.before(x, value)
                ),
            )

        return point

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rows = np.array([[1, 2, 2, 5], [0, 0, 0, 9]])
        values = np.array([[2, 7, 0], [0, 9, 8]])
        for d in (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64):
            for right in (False, True):
                inputs = rows.astype(d.compute), values.astype(d.compute)
                yield Sample(cls(right), inputs, (d,), gradient=False)


def _at(nest: NestBuilder, index: Operand, i: Indices, size: Scalar, axis: int) -> Indices:
    """The indices in x of the element i of what `Take` gives; they are checked."""
    end = axis + index.rank
    return *i[:axis], nest.bounded(index[i[axis:end]], size, axis), *i[end:]


def _along(nest: NestBuilder, index: Operand, i: Indices, size: Scalar, axis: int) -> Indices:
    """The indices in x of the element i of what `TakeAlong` gives; they are checked."""
    return *i[:axis], nest.bounded(index[i], size, axis), *i[axis + 1 :]


def _check_index(op: Op, index: TensorType) -> None:
    if index.dtype is not dtypes.int64:
        raise DTypeError(f"{op.name()} needs an int64 index, got {index}; convert it with .long()")


def _at_shape(op: Op, axis: int, x: TensorType, index: TensorType) -> Shape:
    _check_index(op, index)
    check_axes(op, (axis,), x)
    return (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _along_shape(op: Op, axis: int, x: TensorType, index: TensorType) -> Shape:
    _check_index(op, index)
    check_axes(op, (axis,), x)
    if index.rank != x.rank or any(
        n > m and i != axis for i, (n, m) in enumerate(zip(index.shape, x.shape, strict=True))
    ):
        raise ShapeError(
            f"{op.name()}: the index {index} must have the rank of {x} and, other than along axis "
            f"{axis}, no larger size"
        )
    return index.shape


def _updated(
    op: _ScatterAt | _ScatterAlong, x: TensorType, updates: TensorType, shape: Shape
) -> TensorType:
    check_dtype(op, x.dtype, op.accepts)
    if updates is not x.with_shape(shape):
        raise ShapeError(f"{op.name()} into {x}: updates are {updates}, {shape} is needed")
    return x


def _check_range(index: np.ndarray, low: int, high: int, axis: int) -> None:
    bad = (index < low) | (index >= high)
    if bad.any():
        raise IndexOutOfRange(
            f"index {index[bad].flat[0]} is out of range for axis {axis} of size {high}{FROM_ZERO}"
        )


def _at_places(shape: Shape, index: np.ndarray, axis: int) -> np.ndarray:
    _check_range(index, 0, shape[axis], axis)
    inner = math.prod(shape[axis + 1 :])
    starts = np.arange(math.prod(shape[:axis])).reshape(-1, 1, 1) * (shape[axis] * inner)
    places: np.ndarray = starts + index.reshape(-1, 1) * inner + np.arange(inner)
    return places


def _along_places(shape: Shape, index: np.ndarray, axis: int) -> np.ndarray:
    _check_range(index, 0, shape[axis], axis)
    strides = contiguous_strides(shape)
    places: np.ndarray = index * strides[axis]
    for i, (n, stride) in enumerate(zip(index.shape, strides, strict=True)):
        if i != axis:
            steps = np.arange(n) * stride
            places = places + steps.reshape(-1, *(1,) * (index.ndim - 1 - i))
    return places


def _accumulate(
    combine: np.ufunc, x: np.ndarray, places: np.ndarray, updates: np.ndarray
) -> np.ndarray:
    wide = np.float32 if x.dtype == np.float16 else x.dtype
    out = np.array(x, wide).reshape(-1)
    combine.at(out, places.reshape(-1), updates.astype(wide).reshape(-1))
    return out.reshape(x.shape).astype(x.dtype, copy=False)


def _put(x: np.ndarray, places: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = np.array(x).reshape(-1)
    out[places.reshape(-1)] = updates.reshape(-1)
    return out.reshape(x.shape)


def _extremum_vjp(b: Builder, node: Node, axis: int, ct: Node) -> tuple[Node | None, ...]:
    x, index, updates = node.inputs
    here = b.cast(b.eq(x, node), ct.dtype)
    there = b.cast(b.eq(updates, b.take_along(node, index, axis)), ct.dtype)
    share = b.div(ct, b.add_along(here, index, there, axis))
    return b.mul(here, share), None, b.mul(there, b.take_along(share, index, axis))


OPS: tuple[type[Op], ...] = (
    ResolveIndex,
    Take,
    TakeAlong,
    AddAt,
    PutAt,
    AddAlong,
    PutAlong,
    MaxAlong,
    MinAlong,
    SearchSorted,
)
