"""Elementwise comparison, logic, bits, and choice. Only Where and Relu have a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import INEXACT, Elementwise, check_dtype, elementwise_shape

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.scalar import Scalar

ORDERED = (dtypes.bool_, *dtypes.REALS)
BITS = (dtypes.bool_, *dtypes.INTS)


@frozen
class Eq(Elementwise):
    """x == y as bool; False where either is NaN."""

    differentiable = False
    accepts = dtypes.ALL
    result = dtypes.bool_
    arity = 2
    function = np.equal


@frozen
class Ne(Elementwise):
    """x != y as bool; True where either is NaN."""

    differentiable = False
    accepts = dtypes.ALL
    result = dtypes.bool_
    arity = 2
    function = np.not_equal


@frozen
class Lt(Elementwise):
    """x < y as bool; False where either is NaN."""

    differentiable = False
    accepts = ORDERED
    result = dtypes.bool_
    arity = 2
    function = np.less


@frozen
class Le(Elementwise):
    """x <= y as bool; False where either is NaN."""

    differentiable = False
    accepts = ORDERED
    result = dtypes.bool_
    arity = 2
    function = np.less_equal


@frozen
class Gt(Elementwise):
    """x > y as bool; False where either is NaN."""

    differentiable = False
    accepts = ORDERED
    result = dtypes.bool_
    arity = 2
    function = np.greater


@frozen
class Ge(Elementwise):
    """x >= y as bool; False where either is NaN."""

    differentiable = False
    accepts = ORDERED
    result = dtypes.bool_
    arity = 2
    function = np.greater_equal


@frozen
class LogicalNot(Elementwise):
    """x == 0 as bool; False for NaN."""

    differentiable = False
    accepts = dtypes.ALL
    result = dtypes.bool_
    function = np.logical_not

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return nest.eq(ins[0], 0)


@frozen
class BitAnd(Elementwise):
    """Bitwise and. For bool: logical and."""

    differentiable = False
    accepts = BITS
    arity = 2
    function = np.bitwise_and


@frozen
class BitOr(Elementwise):
    """Bitwise or. For bool: logical or."""

    differentiable = False
    accepts = BITS
    arity = 2
    function = np.bitwise_or


@frozen
class BitXor(Elementwise):
    """Bitwise exclusive or. For bool: x != y."""

    differentiable = False
    accepts = BITS
    arity = 2
    function = np.bitwise_xor


@frozen
class BitNot(Elementwise):
    """Every bit turned over. For bool: logical not."""

    differentiable = False
    accepts = BITS
    function = np.invert


@frozen
class ShiftLeft(Elementwise):
    """x * 2 ** y, wrapping; 0 where y is negative or at least the width of x."""

    differentiable = False
    accepts = dtypes.INTS
    arity = 2
    function = np.left_shift
    symbol = "shl"
    domain = (-2.0, 9.0)


@frozen
class ShiftRight(Elementwise):
    """floor(x / 2 ** y); where y is negative or at least the width of x, 0, or -1 for x < 0."""

    differentiable = False
    accepts = dtypes.INTS
    arity = 2
    function = np.right_shift
    symbol = "shr"
    domain = (-2.0, 9.0)


@frozen
class IsNan(Elementwise):
    """True for NaN; for complex, where either part is NaN."""

    differentiable = False
    accepts = INEXACT
    result = dtypes.bool_
    function = np.isnan
    symbol = "isnan"


@frozen
class IsInf(Elementwise):
    """True for ±infinity; for complex, where either part is infinite."""

    differentiable = False
    accepts = INEXACT
    result = dtypes.bool_
    function = np.isinf
    symbol = "isinf"


@frozen
class IsFinite(Elementwise):
    """False for NaN and ±infinity; for complex, where either part is one of them."""

    differentiable = False
    accepts = INEXACT
    result = dtypes.bool_
    function = np.isfinite
    symbol = "isfinite"


@frozen
class Where(Elementwise):
    """x where the condition holds, else y.

    1. The condition is bool; x and y have one dtype.
    2. The gradient goes to the chosen operand; the other gets 0, even where it is NaN.
    """

    accepts = dtypes.ALL
    arity = 3
    function = np.where
    tolerance = 0

    def infer(self, *types: TensorType) -> TensorType:
        condition, x, y = types
        if condition.dtype is not dtypes.bool_:
            raise DTypeError(f"where: the condition must be bool, got {condition.dtype.name}")
        if x.dtype is not y.dtype:
            raise DTypeError(
                f"where needs values of one dtype, got {x.dtype.name} and {y.dtype.name}"
            )
        return x.with_shape(elementwise_shape(self, types))

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        condition, x, y = ins
        return nest.select(condition, x, y)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        condition = node.inputs[0]
        zero = b.scalar(0, ct.dtype)
        return None, b.where(condition, ct, zero), b.where(condition, zero, ct)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        condition = Draw((3, 4), dtype=dtypes.bool_)
        full, one, flag = Draw((3, 4)), Draw(()), Draw((), dtype=dtypes.bool_)
        yield Sample(cls(), (condition, full, full), dtypes.ALL, cls.tolerance)
        for inputs in ((condition, one, full), (condition, one, one), (flag, full, one)):
            yield Sample(cls(), inputs, dtypes.FLOATS, cls.tolerance)


@frozen
class Masked(Elementwise):
    """x where the condition holds, else a number that is part of the graph.

    1. The condition is bool; x is a float.
    2. The gradient is 0 elsewhere.
    """

    accepts = dtypes.FLOATS
    arity = 2
    tolerance = 0
    otherwise: float

    def infer(self, *types: TensorType) -> TensorType:
        condition, x = types
        if condition.dtype is not dtypes.bool_:
            raise DTypeError(f"masked: the condition must be bool, got {condition.dtype.name}")
        check_dtype(self, x.dtype, self.accepts)
        return x.with_shape(elementwise_shape(self, types))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        condition, x = arrays
        return np.where(condition, x, np.asarray(self.otherwise).astype(x.dtype))

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        condition, x = ins
        return nest.select(condition, x, nest.constant(self.otherwise, x.dtype))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return None, b.masked(node.inputs[0], ct, 0.0)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        condition = Draw((3, 4), dtype=dtypes.bool_)
        yield Sample(cls(0.0), (condition, Draw((3, 4))), tolerance=cls.tolerance)
        yield Sample(cls(float("-inf")), (condition, Draw((3, 4))), tolerance=0, gradient=False)


@frozen
class Relu(Elementwise):
    """max(x, 0); NaN stays NaN. The gradient is 0 at 0, and is found from the result alone."""

    accepts = dtypes.REALS
    kinks = (0.0,)
    tolerance = 0

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return np.asarray(np.where(x <= 0, np.zeros((), x.dtype), x))

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        (x,) = ins
        return nest.select(x <= 0, nest.constant(0, x.dtype), x)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        zero = b.scalar(0, ct.dtype)
        return (b.where(b.le(node, zero), zero, ct),)


OPS: tuple[type[Op], ...] = (
    *(Eq, Ne, Lt, Le, Gt, Ge, IsNan, IsInf, IsFinite, Where, Masked, Relu),
    *(LogicalNot, BitAnd, BitOr, BitXor, BitNot, ShiftLeft, ShiftRight),
)
