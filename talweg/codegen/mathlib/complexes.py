"""Complex functions, on pairs of float64; complex64 is widened and rounded.

W. Kahan, "Branch cuts for complex elementary functions", 1987, for the inverse functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from talweg.codegen.lanes import Lanes, absolute, copysign, is_nan, larger, smaller, sqrt, where
from talweg.codegen.mathlib import double

Pair: TypeAlias = tuple[Lanes, Lanes]


def multiply(x: Pair, y: Pair) -> Pair:
    """The product, by the definition."""
    (a, b), (c, d) = x, y
    return a * c - b * d, a * d + b * c


def divide(x: Pair, y: Pair) -> Pair:
    """The quotient, scaled by the larger part of the divisor (R. L. Smith, 1962)."""
    (a, b), (c, d) = x, y
    across = absolute(c) >= absolute(d)
    large, small = where(across, c, d), where(across, d, c)
    ratio = small / large
    scale = 1 / (large + small * ratio)
    first, second = where(across, a, b), where(across, b, a)
    real = (first + second * ratio) * scale
    turned = (second - first * ratio) * scale
    zero = c.equals(0) & d.equals(0)
    imaginary = where(across, turned, -turned)
    return where(zero, a / absolute(c), real), where(zero, b / absolute(c), imaginary)


def magnitude(z: Pair) -> Lanes:
    """|z|, without overflow in between."""
    x, y = absolute(z[0]), absolute(z[1])
    large, small = where(x > y, x, y), where(x > y, y, x)
    ratio = small / where(large.equals(0), 1.0, large)
    size = large * sqrt(ratio * ratio + 1)
    infinite = x.equals(double.INFINITY) | y.equals(double.INFINITY)
    return where(infinite, double.INFINITY, where(is_nan(x) | is_nan(y), x + y, size))


def reciprocal(z: Pair) -> Pair:
    """1 / z."""
    return divide((z[0].like(1.0), z[0].like(0.0)), z)


def square_root(z: Pair) -> Pair:
    """The root with a real part that is not negative."""
    x, y = z
    scale = where(larger(absolute(x), absolute(y)) < 1e-150, x.like(2.0**400), 2.0**-2)
    root = where(scale > 1, x.like(2.0**-200), 2.0)
    a, b = x * scale, y * scale
    t = sqrt((absolute(a) + magnitude((a, b))) * 0.5)
    other = absolute(b) / where(t.equals(0), 1.0, t * 2)
    real, imaginary = where(a < 0, other, t), where(a < 0, t, other)
    return real * root, copysign(imaginary * root, y)


def exp(z: Pair) -> Pair:
    """exp(x) (cos(y) + i sin(y))."""
    size = double.exp(z[0])
    imaginary = where(z[1].equals(0), z[1], size * double.sin(z[1]))
    return size * double.cos(z[1]), imaginary


def exp2(z: Pair) -> Pair:
    """2**z."""
    return exp((z[0] * double.LN2, z[1] * double.LN2))


def expm1(z: Pair) -> Pair:
    """exp(z) - 1."""
    half = double.sin(z[1] * 0.5)
    real = double.expm1(z[0]) * double.cos(z[1]) - half * half * 2
    return real, double.exp(z[0]) * double.sin(z[1])


def log(z: Pair) -> Pair:
    """The principal logarithm."""
    x, y = z
    size = magnitude(z)
    near = (size > 0.5) & (size < 2)
    a, b = larger(absolute(x), absolute(y)), smaller(absolute(x), absolute(y))
    close = double.log1p(where(near, (a - 1) * (a + 1) + b * b, 0.0)) * 0.5
    return where(near, close, double.log(size)), double.atan2(y, x)


def log1p(z: Pair) -> Pair:
    """log(1 + z)."""
    x, y = z
    small = (absolute(x) < 0.5) & (absolute(y) < 0.5)
    close = double.log1p(where(small, x * (x + 2) + y * y, 0.0)) * 0.5
    far, angle = log((x + 1, y))
    return where(small, close, far), angle


def log2(z: Pair) -> Pair:
    """The logarithm to base 2."""
    real, imaginary = log(z)
    return real * double.LOG2_E, imaginary * double.LOG2_E


def log10(z: Pair) -> Pair:
    """The logarithm to base 10."""
    real, imaginary = log(z)
    return real * 0.4342944819032518, imaginary * 0.4342944819032518


def rsqrt(z: Pair) -> Pair:
    """1 / sqrt(z)."""
    return reciprocal(square_root(z))


def sin(z: Pair) -> Pair:
    """sin(x) cosh(y) + i cos(x) sinh(y)."""
    x, y = z
    return double.sin(x) * double.cosh(y), double.cos(x) * double.sinh(y)


def cos(z: Pair) -> Pair:
    """cos(x) cosh(y) - i sin(x) sinh(y)."""
    x, y = z
    return double.cos(x) * double.cosh(y), -(double.sin(x) * double.sinh(y))


def sinh(z: Pair) -> Pair:
    """sinh(x) cos(y) + i cosh(x) sin(y)."""
    x, y = z
    return double.sinh(x) * double.cos(y), double.cosh(x) * double.sin(y)


def cosh(z: Pair) -> Pair:
    """cosh(x) cos(y) + i sinh(x) sin(y)."""
    x, y = z
    return double.cosh(x) * double.cos(y), double.sinh(x) * double.sin(y)


def tanh(z: Pair) -> Pair:
    """tanh(z), by Kahan's formula: with t = tan(y) and s = sinh(x)."""
    x, y = z
    near = copysign(smaller(absolute(x), 30.0), x)  # beyond it the real part is 1 or -1
    t, s = double.tan(y), double.sinh(near)
    beta = t * t + 1
    rho = sqrt(s * s + 1)
    total = beta * s * s + 1
    return beta * rho * s / total, t / total


def tan(z: Pair) -> Pair:
    """tan(z) = -i tanh(iz)."""
    return _turned(tanh, z)


def _turned(function: Callable[[Pair], Pair], z: Pair) -> Pair:
    """-i f(iz)."""
    real, imaginary = function((-z[1], z[0]))
    return imaginary, -real


def asin(z: Pair) -> Pair:
    """The inverse of sin."""
    a, b = square_root((1 - z[0], -z[1])), square_root((z[0] + 1, z[1]))
    real = double.atan2(z[0], a[0] * b[0] - a[1] * b[1])
    return real, double.asinh(a[0] * b[1] - a[1] * b[0])


def acos(z: Pair) -> Pair:
    """The inverse of cos."""
    a, b = square_root((1 - z[0], -z[1])), square_root((z[0] + 1, z[1]))
    return double.atan2(a[0], b[0]) * 2, double.asinh(b[0] * a[1] - b[1] * a[0])


def acosh(z: Pair) -> Pair:
    """The inverse of cosh."""
    a, b = square_root((z[0] - 1, z[1])), square_root((z[0] + 1, z[1]))
    return double.asinh(a[0] * b[0] + a[1] * b[1]), double.atan2(a[1], b[0]) * 2


def atanh(z: Pair) -> Pair:
    """The inverse of tanh."""
    x, y = z
    rest = 1 - absolute(x)
    real = double.log1p(absolute(x) * 4 / (rest * rest + y * y)) * 0.25
    return copysign(real, x), double.atan2(y * 2, (1 - x) * (x + 1) - y * y) * 0.5


def asinh(z: Pair) -> Pair:
    """The inverse of sinh, -i asin(iz)."""
    return _turned(asin, z)


def atan(z: Pair) -> Pair:
    """The inverse of tan, -i atanh(iz)."""
    return _turned(atanh, z)


def sign(z: Pair) -> Pair:
    """z / |z|; 0 for 0 and for NaN."""
    size = magnitude(z)
    usual = size > 0
    return tuple_of(*(where(usual, part / where(usual, size, 1.0), 0.0) for part in z))


def tuple_of(real: Lanes, imaginary: Lanes) -> Pair:
    """A pair of two values."""
    return real, imaginary


def power(z: Pair, w: Pair) -> Pair:
    """exp(w log(z)); 1 for w = 0, and 0 for z = 0 where w is real and positive."""
    value = exp(multiply(w, log(z)))
    zero = z[0].equals(0) & z[1].equals(0)
    good = (w[0] > 0) & w[1].equals(0)
    one = w[0].equals(0) & w[1].equals(0)
    missing = where(good, z[0].like(0.0), double.NAN)
    real = where(one, 1.0, where(zero, missing, value[0]))
    return real, where(one, 0.0, where(zero, missing, value[1]))


TABLE: dict[str, Callable[[Pair], Pair]] = {
    **{f.__name__: f for f in (exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan)},
    **{f.__name__: f for f in (asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh)},
    "sqrt": square_root,
    "rsqrt": rsqrt,
    "sign": sign,
}
"""Functions of one complex number by their names in the table of the loop language."""
