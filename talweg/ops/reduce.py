"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape, inverse_order, size_of
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import Reduce, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Operand, Point

_ORDERED = dtypes.bool_, *dtypes.REALS


@frozen
class ReduceSum(Reduce):
    """Sum over axes, in the operand's dtype; half types accumulate in float32."""

    adds: ClassVar[bool] = True

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        return x.with_shape(self.reduced(x))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = np.float32 if x.dtype == np.float16 else x.dtype
        return np.asarray(np.sum(x, axis=self.axes, dtype=wide)).astype(x.dtype)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return nest.reduction(ins[0], "add", self.axes)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (_spread(b, cotangents[0], self.axes, node.inputs[0].shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), (Draw((3, 4, 2)),), dtypes.NUMBERS, tolerance=16)
        yield Sample(cls((0, 2)), (Draw((3, 4, 2)),), dtypes.FLOATS, tolerance=16)


@frozen
class ReduceProd(Reduce):
    """Product over axes, in the operand's dtype; half types accumulate in float32.

    The gradient of an element is the product of those before and those behind it: without a
    division it is exact, in every order, where elements are 0.
    """

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        return x.with_shape(self.reduced(x))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = np.float32 if x.dtype == np.float16 else x.dtype
        return np.asarray(np.prod(x, axis=self.axes, dtype=wide)).astype(x.dtype)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return nest.reduction(ins[0], "mul", self.axes)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        x = b.adjoint(node.inputs[0])
        kept = tuple(i for i in range(x.rank) if i not in self.axes)
        order = (*kept, *self.axes)
        moved = b.permute(x, order)
        rows = b.reshape(moved, (*node.shape, size_of(moved.shape[len(kept) :])))
        last = len(kept)
        before = _product_before(b, rows, last)
        behind = b.flip(_product_before(b, b.flip(rows, (last,)), last), (last,))
        others = b.reshape(b.mul(before, behind), moved.shape)
        spread = _spread(b, cotangents[0], self.axes, x.shape)
        return (b.mul(spread, b.permute(others, inverse_order(order))),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), (Draw((3, 4, 2)),), dtypes.NUMBERS, tolerance=16)
        yield Sample(cls((0, 2)), (Draw((2, 3, 2)),), dtypes.FLOATS, tolerance=16)
        zeros = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5], [1.0, 4.0, -1.0]])
        yield Sample(cls((1,)), (zeros,), (dtypes.float64,))


@frozen
class ReduceMax(Reduce):
    """Maximum over axes; of bool: any. NaN propagates.

    1. No reduced axis has size 0. 2. Equal maxima share the gradient equally.
    """

    def infer(self, *types: TensorType) -> TensorType:
        return _ordered_type(self, types[0])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.max(arrays[0], axis=self.axes))

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return nest.reduction(ins[0], "maximum", self.axes)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (_extremum_vjp(b, node, self.axes, cotangents[0]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((0, 2)), (Draw((3, 4, 2), distinct=True),), _ORDERED)
        yield Sample(cls(()), (Draw((3,), distinct=True),), dtypes.FLOATS)


@frozen
class ReduceMin(Reduce):
    """Minimum over axes; of bool: all. NaN propagates.

    1. No reduced axis has size 0. 2. Equal minima share the gradient equally.
    """

    def infer(self, *types: TensorType) -> TensorType:
        return _ordered_type(self, types[0])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.min(arrays[0], axis=self.axes))

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return nest.reduction(ins[0], "minimum", self.axes)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (_extremum_vjp(b, node, self.axes, cotangents[0]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), (Draw((3, 4, 2), distinct=True),), _ORDERED)


@frozen
class ArgMax(Reduce):
    """Index of the maximum along one axis, int64: the first of equal ones; a NaN is largest.

    1. Exactly one axis, of a size above 0.
    """

    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        return _index_type(self, types[0])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.argmax(arrays[0], axis=self.axes[0]), np.int64)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return nest.arg_reduction(ins[0], "argmax", self.axes)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), (Draw((3, 4, 2)),), _ORDERED, gradient=False)


@frozen
class ArgMin(Reduce):
    """Index of the minimum along one axis, int64: the first of equal ones; a NaN is smallest.

    1. Exactly one axis, of a size above 0.
    """

    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        return _index_type(self, types[0])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.argmin(arrays[0], axis=self.axes[0]), np.int64)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return nest.arg_reduction(ins[0], "argmin", self.axes)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), (Draw((3, 4, 2)),), _ORDERED, gradient=False)


def _ordered_type(op: Reduce, x: TensorType) -> TensorType:
    check_dtype(op, x.dtype, _ORDERED)
    result = x.with_shape(op.reduced(x))
    if any(x.shape[a] == 0 for a in op.axes):
        raise ShapeError(f"{op.name()} over axes {op.axes} of {x}: an axis of size 0 has none")
    return result


def _index_type(op: Reduce, x: TensorType) -> TensorType:
    if len(op.axes) != 1:
        raise ShapeError(f"{op.name()} needs exactly one axis, got {op.axes}; reshape {x} first")
    return _ordered_type(op, x).with_dtype(dtypes.int64)


def _spread(b: Builder, x: Node, axes: tuple[int, ...], shape: Shape) -> Node:
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return b.expand(b.reshape(x, kept), shape)


def _product_before(b: Builder, x: Node, axis: int) -> Node:
    one = b.scalar(1, x.dtype)
    low = tuple(int(i == axis) for i in range(x.rank))
    high = tuple(-n for n in low)
    return b.cum_prod(b.pad(x, one, low, high, (0,) * x.rank), axis)


def _extremum_vjp(b: Builder, node: Node, axes: tuple[int, ...], ct: Node) -> Node:
    x = node.inputs[0]
    chosen = b.cast(b.eq(x, _spread(b, node, axes, x.shape)), ct.dtype)
    share = b.div(ct, b.reduce_sum(chosen, axes))
    return b.mul(chosen, _spread(b, share, axes, x.shape))


OPS: tuple[type[Op], ...] = (ReduceSum, ReduceProd, ReduceMax, ReduceMin, ArgMax, ArgMin)
