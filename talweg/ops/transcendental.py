"""Roots, exponentials, logarithms, circular and hyperbolic functions.

Outside its domain a real function gives NaN; a complex one has NumPy's branch cuts. At a pole the
value is an infinity, and the gradient is what its formula gives there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.ir.op import Op
from talweg.loops.operand import wide
from talweg.ops.kinds import Elementwise, Unary

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.scalar import Scalar


def _plus(b: Builder, x: Node, value: float) -> Node:
    return b.add(x, b.scalar(value, x.dtype))


def _times(b: Builder, x: Node, value: float) -> Node:
    return b.mul(x, b.scalar(value, x.dtype))


def _one_minus_square(b: Builder, x: Node) -> Node:
    return b.sub(b.scalar(1, x.dtype), b.mul(x, x))


@frozen
class Sqrt(Unary):
    """The square root; -0 for -0. The gradient at 0 is infinite."""

    function = np.sqrt
    domain = (0.2, 3.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.div(b.scalar(0.5, x.dtype), y)


@frozen
class Rsqrt(Unary):
    """1 / sqrt(x); ±infinity at ±0."""

    domain = (0.2, 3.0)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return np.asarray(np.reciprocal(np.sqrt(x)))

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.mul(_times(b, y, -0.5), b.mul(y, y))


@frozen
class Exp(Unary):
    """e to the power x."""

    function = np.exp

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return y


@frozen
class Exp2(Unary):
    """2 to the power x."""

    function = np.exp2

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _times(b, y, math.log(2.0))


@frozen
class Expm1(Unary):
    """exp(x) - 1, without cancellation near 0."""

    function = np.expm1

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _plus(b, y, 1.0)


@frozen
class Log(Unary):
    """The natural logarithm; -infinity at 0."""

    function = np.log
    domain = (0.2, 3.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.reciprocal(x)


@frozen
class Log1p(Unary):
    """log(1 + x), without cancellation near 0; -infinity at -1."""

    function = np.log1p
    domain = (-0.8, 2.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.reciprocal(_plus(b, x, 1.0))


@frozen
class Log2(Unary):
    """The logarithm to base 2; -infinity at 0."""

    function = np.log2
    domain = (0.2, 3.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.reciprocal(_times(b, x, math.log(2.0)))


@frozen
class Log10(Unary):
    """The logarithm to base 10; -infinity at 0."""

    function = np.log10
    domain = (0.2, 3.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.reciprocal(_times(b, x, math.log(10.0)))


@frozen
class Sin(Unary):
    """The sine of x radians; NaN at ±infinity."""

    function = np.sin

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.cos(x)


@frozen
class Cos(Unary):
    """The cosine of x radians; NaN at ±infinity."""

    function = np.cos

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.neg(b.sin(x))


@frozen
class Tan(Unary):
    """The tangent of x radians; NaN at ±infinity."""

    function = np.tan
    domain = (-1.2, 1.2)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _plus(b, b.mul(y, y), 1.0)


@frozen
class Asin(Unary):
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""

    function = np.arcsin
    domain = (-0.9, 0.9)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.rsqrt(_one_minus_square(b, x))


@frozen
class Acos(Unary):
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""

    function = np.arccos
    domain = (-0.9, 0.9)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.neg(b.rsqrt(_one_minus_square(b, x)))


@frozen
class Atan(Unary):
    """The angle in [-pi/2, pi/2] whose tangent is x."""

    function = np.arctan
    domain = (-0.9, 2.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.reciprocal(_plus(b, b.mul(x, x), 1.0))


@frozen
class Atan2(Elementwise):
    """The angle in [-pi, pi] of the point (x, y), for operands y and x in this order.

    The signs of zeros choose the quadrant, as in C. The gradient at the origin is 0.
    """

    accepts = dtypes.FLOATS
    arity = 2
    function = np.arctan2
    kinks = (0.0,)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        y, x = node.inputs
        zero, one = b.scalar(0, x.dtype), b.scalar(1, x.dtype)
        square = b.add(b.mul(x, x), b.mul(y, y))
        part = b.div(ct, b.where(b.eq(square, zero), one, square))
        return b.mul(part, x), b.neg(b.mul(part, y))


@frozen
class Sinh(Unary):
    """The hyperbolic sine."""

    function = np.sinh

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.cosh(x)


@frozen
class Cosh(Unary):
    """The hyperbolic cosine."""

    function = np.cosh

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.sinh(x)


@frozen
class Tanh(Unary):
    """The hyperbolic tangent."""

    function = np.tanh
    domain = (-1.4, 1.4)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _one_minus_square(b, y)


@frozen
class Asinh(Unary):
    """The inverse of sinh."""

    function = np.arcsinh
    domain = (-0.9, 2.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.rsqrt(_plus(b, b.mul(x, x), 1.0))


@frozen
class Acosh(Unary):
    """The inverse of cosh, not negative; NaN below 1."""

    function = np.arccosh
    domain = (1.2, 3.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.mul(b.rsqrt(_plus(b, x, -1.0)), b.rsqrt(_plus(b, x, 1.0)))


@frozen
class Atanh(Unary):
    """The inverse of tanh; ±infinity at ±1 and NaN beyond."""

    function = np.arctanh
    domain = (-0.9, 0.9)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.reciprocal(_one_minus_square(b, x))


@frozen
class Sigmoid(Unary):
    """1 / (1 + exp(-x)), without overflow."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        small = np.exp(np.where(x.real < 0, x, -x))
        return np.asarray(np.where(x.real < 0, small, np.ones_like(x)) / (small + 1))

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        x = nest.let(wide(ins[0]))
        negative = (nest.real(x) if x.dtype.is_complex else x) < 0
        small = nest.let(nest.exp(nest.select(negative, x, -x)))
        return nest.cast(nest.select(negative, small, 1) / (small + 1), ins[0].dtype)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.mul(y, b.sub(b.scalar(1, y.dtype), y))


OPS: tuple[type[Op], ...] = (
    *(Sqrt, Rsqrt, Exp, Exp2, Expm1, Log, Log1p, Log2, Log10, Sigmoid),
    *(Sin, Cos, Tan, Asin, Acos, Atan, Atan2, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh),
)
