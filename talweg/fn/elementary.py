"""Elementary and special functions, and complex numbers. Integers become the default float."""

from __future__ import annotations

import math
from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue
from talweg.fn.math import clamp
from talweg.fn.promotion import Numeric, float_operands, operands, to_float
from talweg.ir.build import Builder
from talweg.ir.node import Node


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
    return b.exp(to_float(b, x))


def exp2(b: Builder, x: Node) -> Node:
    """Return 2 to the power x."""
    return b.exp2(to_float(b, x))


def expm1(b: Builder, x: Node) -> Node:
    """Return exp(x) - 1, exact for small x."""
    return b.expm1(to_float(b, x))


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
    return b.sin(to_float(b, x))


def cos(b: Builder, x: Node) -> Node:
    """Return the cosine of x radians."""
    return b.cos(to_float(b, x))


def tan(b: Builder, x: Node) -> Node:
    """Return the tangent of x radians."""
    return b.tan(to_float(b, x))


def asin(b: Builder, x: Node) -> Node:
    """Return the angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""
    return b.asin(to_float(b, x))


def acos(b: Builder, x: Node) -> Node:
    """Return the angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""
    return b.acos(to_float(b, x))


def atan(b: Builder, x: Node) -> Node:
    """Return the angle in [-pi/2, pi/2] whose tangent is x."""
    return b.atan(to_float(b, x))


def sinh(b: Builder, x: Node) -> Node:
    """Return the hyperbolic sine."""
    return b.sinh(to_float(b, x))


def cosh(b: Builder, x: Node) -> Node:
    """Return the hyperbolic cosine."""
    return b.cosh(to_float(b, x))


def tanh(b: Builder, x: Node) -> Node:
    """Return the hyperbolic tangent."""
    return b.tanh(to_float(b, x))


def asinh(b: Builder, x: Node) -> Node:
    """Return the inverse hyperbolic sine."""
    return b.asinh(to_float(b, x))


def acosh(b: Builder, x: Node) -> Node:
    """Return the inverse hyperbolic cosine; NaN below 1."""
    return b.acosh(to_float(b, x))


def atanh(b: Builder, x: Node) -> Node:
    """Return the inverse hyperbolic tangent; NaN outside [-1, 1]."""
    return b.atanh(to_float(b, x))


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
    *(polygamma, logit, sinc, xlogy, logaddexp, logaddexp2, hypot, atan2, deg2rad, rad2deg),
    *(real, imag, conj, angle, complex, polar, ldexp),
)
METHODS: tuple[str, ...] = tuple(
    f.__name__ for f in PUBLIC if f not in (polygamma, real, imag, complex, polar)
)
PROPERTIES: tuple[str, ...] = ("real", "imag")
INPLACE: tuple[str, ...] = (
    *(f.__name__ for f in UNARY),
    *("logit", "sinc", "xlogy", "hypot", "atan2", "deg2rad", "rad2deg", "ldexp"),
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
