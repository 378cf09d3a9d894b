"""Passes along one axis: cumulative sums, products and extrema, linear recurrences, sorting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops import recipes
from talweg.loops.functions import identity
from talweg.loops.operand import wide
from talweg.ops.kinds import Scan, check_axes, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand
    from talweg.loops.scalar import Scalar


@frozen
class CumSum(Scan):
    """Sums of the elements up to each place, in the operand's dtype; half types in float32."""

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_axes(self, (self.axis,), x)
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return np.cumsum(x, self.axis, _wide(x)).astype(x.dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        recipes.cumulative(nest, ins[0], "add", self.axis)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        axes = (self.axis,)
        return (b.flip(b.cum_sum(b.flip(ct, axes), self.axis), axes),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((3, 4, 2)),), dtypes.NUMBERS, tolerance=16)


@frozen
class CumProd(Scan):
    """Products of the elements up to each place; half types in float32.

    The gradient never divides, so it is exact, in every order, where elements are 0: the gradient
    at k is the product before k times s(k) = ct(k) + x(k + 1) s(k + 1).
    """

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_axes(self, (self.axis,), x)
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return np.cumprod(x, self.axis, _wide(x)).astype(x.dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        recipes.cumulative(nest, ins[0], "mul", self.axis)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x = b.adjoint(node.inputs[0])
        one = b.scalar(1, x.dtype)
        before = b.cum_prod(_shift(b, x, self.axis, 1, one), self.axis)
        after = _backward_recurrence(b, _shift(b, x, self.axis, -1, one), ct, self.axis)
        return (b.mul(before, after),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((3, 4, 2)),), dtypes.NUMBERS, tolerance=16)
        yield Sample(cls(0), (np.array([2.0, 0.0, 3.0, 0.0, -1.5]),), (dtypes.float64,))


@frozen
class LinearRecurrence(Scan):
    """h(t) = a(t) h(t - 1) + x(t) with h(-1) = 0, for operands a and x; half types in float32.

    1. a and x have one shape and dtype.
    """

    def infer(self, *types: TensorType) -> TensorType:
        a, x = types
        check_axes(self, (self.axis,), x)
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        if a is not x:
            raise ShapeError(f"linear_recurrence: factors {a} and terms {x} differ")
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, x = (np.moveaxis(v.astype(_wide(v)), self.axis, 0) for v in arrays)
        out = x.copy()
        for t in range(1, len(out)):
            out[t] += a[t] * out[t - 1]
        return np.moveaxis(out, 0, self.axis).astype(arrays[0].dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        a, x = ins

        def step(at: Indices, h: Scalar) -> tuple[Scalar, ...]:
            factor = nest.select(at[self.axis] > 0, lambda: wide(a[at]), 0)
            return (factor * h + wide(x[at]),)

        start = wide(nest.constant(0, x.dtype))
        recipes.scan(nest, x, self.axis, [start], step)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        zero = b.scalar(0, ct.dtype)
        next_a = _shift(b, b.adjoint(node.inputs[0]), self.axis, -1, zero)
        total = _backward_recurrence(b, next_a, ct, self.axis)
        last_h = _shift(b, b.adjoint(node), self.axis, 1, zero)
        return b.mul(total, last_h), total

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((3, 4, 2)), Draw((3, 4, 2))), dtypes.NUMBERS, tolerance=16)


@frozen
class CumArgMax(Scan):
    """Index of the largest element up to each place: of equal ones the last; a NaN is largest."""

    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        return _index_type(self, types)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return _latest(x, np.maximum.accumulate(x, self.axis), self.axis)

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        _lower_latest(nest, ins[0], self.axis, "maximum")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((3, 5)),), (dtypes.bool_, *dtypes.REALS), gradient=False)


@frozen
class CumArgMin(Scan):
    """Index of the smallest element up to each place: of equal ones the last; NaN counts first."""

    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        return _index_type(self, types)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return _latest(x, np.minimum.accumulate(x, self.axis), self.axis)

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        _lower_latest(nest, ins[0], self.axis, "minimum")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((3, 5)),), (dtypes.bool_, *dtypes.REALS), gradient=False)


@frozen
class ArgSort(Scan):
    """Indices that sort along the axis; equal elements keep their order.

    NaN counts as the largest: last when ascending, first when descending.
    """

    descending: bool
    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        return _index_type(self, types)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        if not self.descending:
            return np.argsort(x, self.axis, "stable")
        order = np.argsort(np.flip(x, self.axis), self.axis, "stable")
        return np.flip(x.shape[self.axis] - 1 - order, self.axis)

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        recipes.arg_sort(nest, ins[0], self.axis, self.descending)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        accepted = dtypes.bool_, *dtypes.REALS
        yield Sample(cls(1, False), (Draw((3, 5)),), accepted, gradient=False)
        yield Sample(cls(0, True), (Draw((5, 2)),), accepted, gradient=False)


def _wide(x: np.ndarray) -> np.dtype:
    return np.dtype(np.float32) if x.dtype == np.float16 else x.dtype


def _index_type(op: Scan, types: tuple[TensorType, ...]) -> TensorType:
    (x,) = types
    check_axes(op, (op.axis,), x)
    check_dtype(op, x.dtype, (dtypes.bool_, *dtypes.REALS))
    return x.with_dtype(dtypes.int64)


def _latest(x: np.ndarray, running: np.ndarray, axis: int) -> np.ndarray:
    places = np.arange(x.shape[axis]).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    return np.maximum.accumulate(np.where((x == running) | (x != x), places, 0), axis)


def _lower_latest(nest: NestBuilder, x: Operand, axis: int, combine: str) -> None:
    def step(at: Indices, place: Scalar, best: Scalar) -> tuple[Scalar, ...]:
        value = nest.let(x[at])
        wins = value >= best if combine == "maximum" else value <= best
        if x.dtype.is_inexact:
            wins = nest.logical_or(wins, nest.isnan(value))
        wins = nest.let(wins)
        return nest.select(wins, at[axis], place), nest.select(wins, value, best)

    first = nest.constant(0, dtypes.int64), nest.constant(identity(combine, x.dtype)[0], x.dtype)
    recipes.scan(nest, x, axis, first, step)


def _shift(b: Builder, x: Node, axis: int, by: int, fill: Node) -> Node:
    low = tuple(by if i == axis else 0 for i in range(x.rank))
    return b.pad(x, fill, low, tuple(-n for n in low), (0,) * x.rank)


def _backward_recurrence(b: Builder, a: Node, x: Node, axis: int) -> Node:
    back = b.linear_recurrence(b.flip(a, (axis,)), b.flip(x, (axis,)), axis)
    return b.flip(back, (axis,))


OPS: tuple[type[Op], ...] = (
    CumSum,
    CumProd,
    LinearRecurrence,
    CumArgMax,
    CumArgMin,
    ArgSort,
)
