"""Elementwise arithmetic: + - * / and their integer and rounding relatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ops.kinds import INEXACT, REAL_PART, Elementwise, Unary, zeros_like

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.scalar import Scalar


@frozen
class Add(Elementwise):
    """x + y; integers wrap. For bool: logical or."""

    adds = True
    accepts = dtypes.ALL
    arity = 2
    function = np.add

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, ct


@frozen
class Sub(Elementwise):
    """x - y; integers wrap."""

    arity = 2
    function = np.subtract

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, b.neg(ct)


@frozen
class Mul(Elementwise):
    """x * y; integers wrap. For bool: logical and."""

    accepts = dtypes.ALL
    arity = 2
    function = np.multiply

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        if node.type.dtype.is_complex:
            x, y = b.conj(x), b.conj(y)
        return b.mul(ct, y), b.mul(ct, x)


@frozen
class Div(Elementwise):
    """x / y, never rounded to a whole number. x / 0 is an infinity, 0 / 0 is NaN."""

    accepts = INEXACT
    arity = 2
    function = np.divide
    kinks = (0.0,)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        y = node.inputs[1]
        part = b.div(ct, b.adjoint(y))
        return part, b.neg(b.mul(part, b.adjoint(node)))


@frozen
class FloorDiv(Elementwise):
    """The largest whole number not above x / y.

    1. Floats: x // 0 is an infinity (NaN for x = 0). Integers: x // 0 is 0, and the one quotient
       that overflows, the lowest value by -1, wraps.
    2. The gradient is 0 everywhere.
    """

    accepts = dtypes.REALS
    arity = 2
    function = np.floor_divide
    symbol = "floordiv"
    kinks = (0.0,)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return tuple(zeros_like(b, x) for x in node.inputs)


@frozen
class Mod(Elementwise):
    """x - y * floor(x / y): the remainder with the sign of y, as Python's %.

    1. By 0: NaN for floats, 0 for integers. By ±infinity: x where the signs agree, else y.
    2. At a jump, where x is a multiple of y, the gradient is that of the piece on which x lies.
    """

    accepts = dtypes.REALS
    arity = 2
    function = np.remainder
    kinks = (0.0,)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, b.neg(b.mul(ct, b.floor_div(*node.inputs)))


@frozen
class Fmod(Elementwise):
    """x - y * trunc(x / y): the remainder with the sign of x, as C's fmod.

    1. By 0: NaN for floats, 0 for integers. By ±infinity: x.
    2. At a jump, where x is a multiple of y, the gradient is that of the piece on which x lies.
    """

    accepts = dtypes.REALS
    arity = 2
    function = np.fmod
    kinks = (0.0,)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, b.neg(b.mul(ct, b.trunc(b.div(*node.inputs))))


@frozen
class Pow(Elementwise):
    """x to the power y.

    1. x ** 0 is 1 for every x, NaN included; a negative x with a fractional y gives NaN.
    2. Integers: a negative power is 0, except of 1 and -1.
    3. The gradient by x is 0 at y = 0; the gradient by y is 0 at x = 0 where y >= 0, and NaN for
       negative x.
    """

    arity = 2
    tolerance = 16

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, y = arrays
        if y.dtype.kind != "i":
            return np.asarray(np.power(x, y))
        unit = np.where(np.bitwise_and(y, 1) == 1, x, np.multiply(x, x))
        inverse = np.where(np.abs(x) == 1, unit, np.zeros_like(x))
        return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0)))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        zero, one = b.scalar(0, x.dtype), b.scalar(1, x.dtype)
        size = b.abs(x)
        nothing = b.logical_not(b.gt(size, b.scalar(0, size.dtype)))
        flat = b.bit_and(b.eq(y, zero), nothing)
        by_x = b.where(flat, zero, b.mul(y, b.pow(x, b.sub(y, one))))
        real_y = b.real(y) if y.dtype.is_complex else y
        held = b.bit_and(b.eq(x, zero), b.ge(real_y, b.scalar(0, real_y.dtype)))
        by_y = b.where(held, zero, b.mul(node, b.log(x)))
        return b.mul(ct, b.adjoint(by_x)), b.mul(ct, b.adjoint(by_y))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        base, power = Draw((3, 4), 0.3, 2.0), Draw((3, 4), -2.0, 2.0)
        yield Sample(cls(), (base, power), INEXACT, cls.tolerance)
        yield Sample(cls(), (Draw((3, 4), 0.3, 2.0), Draw(())), dtypes.FLOATS, cls.tolerance)
        yield Sample(cls(), (Draw((3, 4), -3, 3), Draw((3, 4), -3, 3)), dtypes.INTS)


@frozen
class Neg(Elementwise):
    """-x; integers wrap."""

    function = np.negative

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.neg(ct),)


@frozen
class Abs(Elementwise):
    """|x|; real for complex x. The lowest integer stays itself.

    The gradient is ct * x / |x|, and 0 at 0 and NaN.
    """

    result = REAL_PART
    function = np.absolute
    kinks = (0.0,)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        (x,) = node.inputs
        if not x.dtype.is_complex:
            return (b.mul(ct, b.sign(x)),)
        zero, one = b.scalar(0, node.dtype), b.scalar(1, node.dtype)
        length = b.where(b.gt(node, zero), node, one)
        return (b.mul(b.cast(b.div(ct, length), x.dtype), x),)


@frozen
class Sign(Elementwise):
    """-1, 0 or 1; 0 for NaN. The gradient is 0 everywhere."""

    accepts = dtypes.REALS
    kinks = (0.0,)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return np.sign(np.where(np.isnan(x), np.zeros_like(x), x))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (zeros_like(b, node),)


@frozen
class Floor(Elementwise):
    """The largest whole number not above x. The gradient is 0 everywhere."""

    accepts = dtypes.FLOATS
    function = np.floor
    kinks = (-1.0, 0.0, 1.0)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (zeros_like(b, node),)


@frozen
class Ceil(Elementwise):
    """The smallest whole number not below x. The gradient is 0 everywhere."""

    accepts = dtypes.FLOATS
    function = np.ceil
    kinks = (-1.0, 0.0, 1.0)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (zeros_like(b, node),)


@frozen
class Round(Elementwise):
    """The nearest whole number, the even one of two. The gradient is 0 everywhere."""

    accepts = dtypes.FLOATS
    function = np.rint
    kinks = (-1.5, -0.5, 0.5, 1.5)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (zeros_like(b, node),)


@frozen
class Trunc(Elementwise):
    """The whole part of x, nearer to 0. The gradient is 0 everywhere."""

    accepts = dtypes.FLOATS
    function = np.trunc
    kinks = (-1.0, 0.0, 1.0)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return (zeros_like(b, node),)


@frozen
class Maximum(Elementwise):
    """The larger of x and y; NaN where either is NaN. For bool: logical or.

    The gradient goes to the larger operand, half to each of two equal ones, and to both where
    either is NaN.
    """

    accepts = (dtypes.bool_, *dtypes.REALS)
    arity = 2
    function = np.maximum

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        zero, half = b.scalar(0, ct.dtype), b.scalar(0.5, ct.dtype)
        shared = b.where(b.eq(x, y), b.mul(ct, half), ct)
        return b.where(b.lt(x, y), zero, shared), b.where(b.gt(x, y), zero, shared)


@frozen
class Minimum(Elementwise):
    """The smaller of x and y; NaN where either is NaN. For bool: logical and.

    The gradient goes to the smaller operand, half to each of two equal ones, and to both where
    either is NaN.
    """

    accepts = (dtypes.bool_, *dtypes.REALS)
    arity = 2
    function = np.minimum

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        zero, half = b.scalar(0, ct.dtype), b.scalar(0.5, ct.dtype)
        shared = b.where(b.eq(x, y), b.mul(ct, half), ct)
        return b.where(b.gt(x, y), zero, shared), b.where(b.lt(x, y), zero, shared)


@frozen
class Reciprocal(Unary):
    """1 / x; an infinity at 0."""

    function = np.reciprocal
    kinks = (0.0,)

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return 1 / ins[0]

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.neg(b.mul(y, y))


@frozen
class Share(Elementwise):
    """The share that each power has in the sum of powers along an axis: the result of a softmax.

    1. Operands are x, exp(x), and 1 / sum(exp(x)) in every place that was summed. The value is the
       product of the last two.
    2. The gradient is that of a function of x alone, through all three: it reads the shares and
       what arrives, and no powers.
    """

    accepts = dtypes.FLOATS
    arity = 3
    axis: int

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(arrays[1] * arrays[2])

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return ins[1] * ins[2]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        kept = tuple(1 if i == self.axis else n for i, n in enumerate(node.shape))
        mean = b.reshape(b.reduce_sum(b.mul(ct, node), (self.axis,)), kept)
        return b.mul(b.sub(ct, b.expand(mean, node.shape)), node), None, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for axis in (0, 1):
            yield Sample(cls(axis), (Draw((3, 4)),) * 3, tolerance=cls.tolerance, gradient=False)


OPS: tuple[type[Op], ...] = (
    *(Add, Sub, Mul, Div, FloorDiv, Mod, Fmod, Pow, Neg, Reciprocal, Share),
    *(Abs, Sign, Floor, Ceil, Round, Trunc, Maximum, Minimum),
)
