"""Error functions and the gamma family. Real only; poles and branch points as `base.special`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes, special
from talweg.base.deferred import deferred
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import Elementwise, Routine, Unary, check_dtype

if TYPE_CHECKING:
    from talweg.base import incomplete
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.scalar import Scalar
else:
    incomplete = deferred("talweg.base.incomplete")

_DENSITY = 2.0 / math.sqrt(math.pi)


def _gauss(b: Builder, x: Node, sign: float, factor: float) -> Node:
    """Return factor * exp(sign * x * x)."""
    power = b.mul(b.mul(x, x), b.scalar(sign, x.dtype))
    return b.mul(b.exp(power), b.scalar(factor, x.dtype))


@frozen
class Erf(Unary):
    """The error function."""

    accepts = dtypes.FLOATS
    function = special.erf

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _gauss(b, x, -1.0, _DENSITY)


@frozen
class Erfc(Unary):
    """1 - erf(x), without cancellation for large x."""

    accepts = dtypes.FLOATS
    function = special.erfc

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _gauss(b, x, -1.0, -_DENSITY)


@frozen
class Gelu(Elementwise):
    """x times the probability that a standard normal number is below x.

    1. Operands are x and that probability. The value is their product.
    2. The gradient is that of a function of x alone: what arrives meets the slope, which is
       known as soon as x is.
    """

    accepts = dtypes.FLOATS
    arity = 2
    function = np.multiply
    symbol = "mul"

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        x, below = node.inputs
        density = _gauss(b, x, -0.5, _DENSITY * math.sqrt(0.125))
        return b.mul(cotangents[0], b.add(below, b.mul(x, density))), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (Draw((3, 4)),) * 2, dtypes.FLOATS, gradient=False)


@frozen
class Erfinv(Unary):
    """The inverse of erf; ±infinity at ±1 and NaN beyond."""

    accepts = dtypes.FLOATS
    function = special.erfinv
    domain = (-0.9, 0.9)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return _gauss(b, y, 1.0, 1.0 / _DENSITY)


@frozen
class Lgamma(Unary):
    """log |gamma(x)|; infinity at 0 and the negative whole numbers."""

    accepts = dtypes.FLOATS
    function = special.lgamma
    domain = (0.3, 4.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.digamma(x)


@frozen
class Digamma(Unary):
    """The derivative of lgamma; ∓infinity at ±0, NaN at the negative whole numbers."""

    accepts = dtypes.FLOATS
    function = special.digamma
    domain = (0.3, 4.0)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.polygamma(x, 1)


@frozen
class Polygamma(Unary):
    """The n-th derivative of digamma.

    1. n >= 0; running a negative n raises InvalidValue.
    2. At a pole: infinity for odd n, NaN for even n (-infinity at 0).
    """

    n: int
    accepts = dtypes.FLOATS

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return special.polygamma(self.n, arrays[0])

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        (x,) = ins
        return nest.polygamma(nest.constant(self.n, x.dtype), x)

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        return b.polygamma(x, self.n + 1)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for n in (0, 1, 2):
            yield Sample(cls(n), (Draw((3, 4), 0.3, 4.0),), dtypes.FLOATS)


@frozen
class Igamma(Routine):
    """The part of gamma(a) that lies below x, or, `upper`, above it: P(a, x) or Q(a, x).

    1. Operands are a and x, of one type, float32 or float64; negative ones give NaN.
    2. The gradient is of every order with respect to x, of the first one with respect to a.
    """

    upper: bool

    def infer(self, *types: TensorType) -> TensorType:
        a, x = types
        check_dtype(self, a.dtype, (dtypes.float32, dtypes.float64))
        if a is not x:
            raise ShapeError(f"igamma: operands of one type wanted, got {a} and {x}")
        return a

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        found = incomplete.gammaincc if self.upper else incomplete.gammainc
        return found(*arrays)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        a, x = node.inputs
        ct = b.neg(cotangents[0]) if self.upper else cotangents[0]
        power = b.mul(b.sub(a, b.scalar(1, a.dtype)), b.log(x))
        density = b.exp(b.sub(b.sub(power, x), b.lgamma(a)))
        moved = b.mul(density, b.gamma_slope(a, x))
        none = b.lt(density, b.scalar(1e-37, a.dtype))
        kept = b.where(none, b.scalar(0, a.dtype), moved)
        return b.neg(b.mul(ct, kept)), b.mul(ct, density)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        inputs = Draw((2, 3), 0.5, 4.0), Draw((2, 3), 0.2, 6.0)
        for upper in (False, True):
            yield Sample(cls(upper), inputs, (dtypes.float32, dtypes.float64), gradient=False)


OPS: tuple[type[Op], ...] = (Erf, Erfc, Gelu, Erfinv, Lgamma, Digamma, Polygamma, Igamma)
