"""Elementary and special functions, and complex numbers. Integers become the default float."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from talweg.base import dtypes
from talweg.base.deferred import deferred
from talweg.base.errors import DTypeError, InvalidValue
from talweg.base.shapes import broadcast_shapes
from talweg.fn.math import clamp
from talweg.fn.promotion import Numeric, cast, expand_to, float_operands, operands, to_float
from talweg.ir.build import Builder
from talweg.ir.node import Node

if TYPE_CHECKING:
    from talweg.fn import limits
else:
    limits = deferred("talweg.fn.limits")


def _limited(b: Builder, name: str, x: Node) -> Node:
    x = to_float(b, x)
    return limits.with_limits(b, name, x) if x.dtype.is_complex else getattr(b, name)(x)


def sqrt(b: Builder, x: Node) -> Node:
    """Return the square root; NaN for negative numbers."""
    return b.sqrt(to_float(b, x))


def rsqrt(b: Builder, x: Node) -> Node:
    """Return 1 / sqrt(x)."""
    return b.rsqrt(to_float(b, x))


def exp(b: Builder, x: Node) -> Node:
    """Return e to the power x.

    >>> import talweg as tw
    >>> tw.exp(tw.tensor([0.0])).tolist()
    [1.0]
    """
    return _limited(b, "exp", x)


def exp2(b: Builder, x: Node) -> Node:
    """Return 2 to the power x."""
    return b.exp2(to_float(b, x))


def expm1(b: Builder, x: Node) -> Node:
    """Return exp(x) - 1, exact for small x."""
    return _limited(b, "expm1", x)


def log(b: Builder, x: Node) -> Node:
    """Return the natural logarithm; minus infinity at 0, NaN below."""
    return b.log(to_float(b, x))


def log2(b: Builder, x: Node) -> Node:
    """Return the logarithm to base 2."""
    return b.log2(to_float(b, x))


def log10(b: Builder, x: Node) -> Node:
    """Return the logarithm to base 10."""
    return b.log10(to_float(b, x))


def log1p(b: Builder, x: Node) -> Node:
    """Return log(1 + x), exact for small x."""
    return b.log1p(to_float(b, x))


def sin(b: Builder, x: Node) -> Node:
    """Return the sine of x radians."""
    return _limited(b, "sin", x)


def cos(b: Builder, x: Node) -> Node:
    """Return the cosine of x radians."""
    return _limited(b, "cos", x)


def tan(b: Builder, x: Node) -> Node:
    """Return the tangent of x radians."""
    return _limited(b, "tan", x)


def asin(b: Builder, x: Node) -> Node:
    """Return the angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""
    return _limited(b, "asin", x)


def acos(b: Builder, x: Node) -> Node:
    """Return the angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""
    return _limited(b, "acos", x)


def atan(b: Builder, x: Node) -> Node:
    """Return the angle in [-pi/2, pi/2] whose tangent is x."""
    return _limited(b, "atan", x)


def sinh(b: Builder, x: Node) -> Node:
    """Return the hyperbolic sine."""
    return _limited(b, "sinh", x)


def cosh(b: Builder, x: Node) -> Node:
    """Return the hyperbolic cosine."""
    return _limited(b, "cosh", x)


def tanh(b: Builder, x: Node) -> Node:
    """Return the hyperbolic tangent."""
    return _limited(b, "tanh", x)


def asinh(b: Builder, x: Node) -> Node:
    """Return the inverse hyperbolic sine."""
    return _limited(b, "asinh", x)


def acosh(b: Builder, x: Node) -> Node:
    """Return the inverse hyperbolic cosine; NaN below 1."""
    return _limited(b, "acosh", x)


def atanh(b: Builder, x: Node) -> Node:
    """Return the inverse hyperbolic tangent; NaN outside [-1, 1]."""
    return _limited(b, "atanh", x)


def sigmoid(b: Builder, x: Node) -> Node:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return b.sigmoid(to_float(b, x))


def erf(b: Builder, x: Node) -> Node:
    """Return the error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""
    return b.erf(to_float(b, x))


def erfc(b: Builder, x: Node) -> Node:
    """Return 1 - erf(x), exact where erf is near 1."""
    return b.erfc(to_float(b, x))


def erfinv(b: Builder, x: Node) -> Node:
    """Return the inverse of erf; infinite at -1 and 1, NaN beyond."""
    return b.erfinv(to_float(b, x))


def lgamma(b: Builder, x: Node) -> Node:
    """Return log|gamma(x)|."""
    return b.lgamma(to_float(b, x))


def digamma(b: Builder, x: Node) -> Node:
    """Return the derivative of lgamma."""
    return b.digamma(to_float(b, x))


def polygamma(b: Builder, n: int, x: Node) -> Node:
    """Return the n-th derivative of digamma.

    Raises:
        InvalidValue: when n is negative.
    """
    if n < 0:
        raise InvalidValue(f"polygamma: n must not be negative, got {n}")
    return digamma(b, x) if n == 0 else b.polygamma(to_float(b, x), n)


def _ratio(b: Builder, a: Numeric, x: Numeric, upper: bool) -> Node:
    operand, limit = float_operands(b, a, x)
    dtype = operand.dtype
    kept = dtypes.float32 if dtype.bits == 16 else dtype
    shape = broadcast_shapes(operand.shape, limit.shape)
    both = (expand_to(b, cast(b, v, kept), shape) for v in (operand, limit))
    return cast(b, b.igamma(*both, upper), dtype)


def igamma(b: Builder, x: Node, other: Numeric) -> Node:
    """Return the share of gamma(x) that the integral up to `other` makes: P(x, other).

    NaN where either is negative. Within 2e-13 of the value, relatively, before it is rounded.

    >>> import talweg as tw
    >>> round(tw.igamma(tw.tensor(1.0), tw.tensor(2.0)).item(), 4)
    0.8647
    """
    return _ratio(b, x, other, False)


def igammac(b: Builder, x: Node, other: Numeric) -> Node:
    """Return 1 - igamma(x, other), without cancellation."""
    return _ratio(b, x, other, True)


def logit(b: Builder, x: Node, eps: float | None = None) -> Node:
    """Return log(x / (1 - x)), the inverse of sigmoid; x is limited to [eps, 1 - eps] if given."""
    x = to_float(b, x)
    if eps is not None:
        x = clamp(b, x, eps, 1 - eps)
    return b.sub(b.log(x), b.log1p(b.neg(x)))


def sinc(b: Builder, x: Node) -> Node:
    """Return sin(pi x) / (pi x), and 1 at 0."""
    x = to_float(b, x)
    one = b.scalar(1, x.dtype)
    nothing = b.eq(x, b.scalar(0, x.dtype))
    angle = b.where(nothing, one, b.mul(x, b.scalar(math.pi, x.dtype)))
    return b.where(nothing, one, b.div(b.sin(angle), angle))


def xlogy(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x * log(other), and 0 where x is 0 unless `other` is NaN."""
    x, y = float_operands(b, x, other)
    held = b.bit_and(b.eq(x, b.scalar(0, x.dtype)), b.eq(y, y))
    return b.mul(x, b.log(b.where(held, b.scalar(1, x.dtype), y)))


def _log_of_sum(b: Builder, x: Node, y: Node) -> Node:
    above = b.ge(x, y)
    big, small = b.where(above, x, y), b.where(above, y, x)
    zero = b.scalar(0, x.dtype)
    endless = b.bit_and(b.eq(big, small), b.is_inf(big))
    gap = b.where(endless, zero, b.sub(small, big))
    return b.add(big, b.log1p(b.exp(gap)))


def logaddexp(b: Builder, x: Node, other: Node) -> Node:
    """Return log(exp(x) + exp(other)), without overflow."""
    return _log_of_sum(b, *float_operands(b, x, other))


def logaddexp2(b: Builder, x: Node, other: Node) -> Node:
    """Return log2(2**x + 2**other), without overflow."""
    x, y = float_operands(b, x, other)
    factor = b.scalar(math.log(2), x.dtype)
    return b.div(_log_of_sum(b, b.mul(x, factor), b.mul(y, factor)), factor)


def hypot(b: Builder, x: Node, other: Node) -> Node:
    """Return the length of the vector (x, other), without overflow; its gradient at 0 is 0."""
    x, y = float_operands(b, x, other)
    if x.dtype.bits > 16:
        return b.abs(b.make_complex(x, y))
    wide = [b.cast(v, dtypes.float32) for v in (x, y)]
    return b.cast(b.abs(b.make_complex(*wide)), x.dtype)


def atan2(b: Builder, x: Node, other: Node) -> Node:
    """Return the angle in [-pi, pi] of the point (other, x)."""
    return b.atan2(*float_operands(b, x, other))


def deg2rad(b: Builder, x: Node) -> Node:
    """Return degrees as radians."""
    x = to_float(b, x)
    return b.mul(x, b.scalar(math.pi / 180, x.dtype))


def rad2deg(b: Builder, x: Node) -> Node:
    """Return radians as degrees."""
    x = to_float(b, x)
    return b.mul(x, b.scalar(180 / math.pi, x.dtype))


def real(b: Builder, x: Node) -> Node:
    """Return the real part; a real Tensor is returned as it is."""
    return b.real(x) if x.dtype.is_complex else x


def imag(b: Builder, x: Node) -> Node:
    """Return the imaginary part.

    Raises:
        DTypeError: for a real Tensor.
    """
    if not x.dtype.is_complex:
        raise DTypeError(f"imag needs a complex dtype, got {x.dtype.name}")
    return b.imag(x)


def conj(b: Builder, x: Node) -> Node:
    """Return the complex conjugate; a real Tensor is returned as it is."""
    return b.conj(x) if x.dtype.is_complex else x


def angle(b: Builder, x: Node) -> Node:
    """Return the angle of a complex number; of a real one, 0, or pi where it is negative."""
    if x.dtype.is_complex:
        return b.atan2(b.imag(x), b.real(x))
    x = to_float(b, x)
    zero = b.scalar(0, x.dtype)
    return b.where(b.eq(x, x), b.where(b.lt(x, zero), b.scalar(math.pi, x.dtype), zero), x)


def complex(b: Builder, real: Node, imag: Node) -> Node:
    """Return the complex numbers of these real and imaginary parts.

    Raises:
        DTypeError: unless both are float32 or both float64.

    >>> import talweg as tw
    >>> tw.complex(tw.tensor([1.0]), tw.tensor([2.0])).tolist()
    [(1+2j)]
    """
    if real.dtype is not imag.dtype:
        raise DTypeError(f"complex needs parts of one dtype, got {real.dtype} and {imag.dtype}")
    return b.make_complex(*operands(b, real, imag))


def polar(b: Builder, abs: Node, angle: Node) -> Node:
    """Return the complex numbers of these lengths and angles."""
    length, turn = operands(b, abs, angle)
    return b.make_complex(b.mul(length, b.cos(turn)), b.mul(length, b.sin(turn)))


def ldexp(b: Builder, x: Node, other: Node) -> Node:
    """Return x * 2**other."""
    x, y = float_operands(b, x, other)
    return b.mul(x, b.exp2(y))


UNARY: tuple[Callable[..., Node], ...] = (
    *(sqrt, rsqrt, exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan),
    *(asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh),
    *(sigmoid, erf, erfc, erfinv, lgamma, digamma),
)
PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *UNARY,
    *(polygamma, igamma, igammac, logit, sinc, xlogy, logaddexp, logaddexp2, hypot, atan2),
    *(deg2rad, rad2deg),
    *(real, imag, conj, angle, complex, polar, ldexp),
)
METHODS: tuple[str, ...] = tuple(
    f.__name__ for f in PUBLIC if f not in (polygamma, real, imag, complex, polar)
)
PROPERTIES: tuple[str, ...] = ("real", "imag")
INPLACE: tuple[str, ...] = (
    *(f.__name__ for f in UNARY),
    *("igamma", "igammac", "logit", "sinc", "xlogy", "hypot", "atan2", "deg2rad", "rad2deg"),
    "ldexp",
)
ALIASES: dict[str, str] = {
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
}
