"""Special functions that NumPy lacks, vectorised, to the accuracy of float64.

They are the meaning of the elementwise ops `erf`, `erfc`, `erfinv`, `lgamma`, `digamma` and
`polygamma`. Every function accepts an array or a number, computes in float64 and answers in the
floating dtype it was given (float64 for integers). No function warns: poles give infinities or NaN.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from talweg.base.errors import InvalidValue

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Real: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]


def _open(x: ArrayLike) -> tuple[Real, np.dtype[Any]]:
    """The float64 form of `x` and the dtype of the answer."""
    array = np.asarray(x)
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    return np.asarray(array, dtype=np.float64), dtype


def _close(value: Real, dtype: np.dtype[Any]) -> FloatArray:
    with np.errstate(all="ignore"):
        return cast(FloatArray, np.asarray(value).astype(dtype))


def _horner(coefficients: tuple[float, ...], x: Real) -> Real:
    """The polynomial whose highest coefficient comes first."""
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = total * x + c
    return total


# ---------------------------------------------------------------------------------------------
# error functions

# W. J. Cody, "Rational Chebyshev approximations for the error function",
# Mathematics of Computation 23 (1969), 631-637. Numerator and denominator, highest degree first.
ERF_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
     3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2,
     1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
ERFC_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
     6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
     1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2,
     5.37181101862009858e2, 1.62138957456669019e3, 3.29079923573345963e3,
     4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
ERFC_LARGE = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0,
     5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip
INV_SQRT_PI = 1.0 / math.sqrt(math.pi)


def _erf_small(x: Real) -> Real:
    """erf for |x| <= 0.46875."""
    square = x * x
    return x * _horner(ERF_SMALL[0], square) / _horner(ERF_SMALL[1], square)


def _erfc_positive(y: Real) -> Real:
    """erfc for y > 0.46875."""
    middle = _horner(ERFC_MIDDLE[0], y) / _horner(ERFC_MIDDLE[1], y)
    inverse = 1.0 / (y * y)
    tail = inverse * _horner(ERFC_LARGE[0], inverse) / _horner(ERFC_LARGE[1], inverse)
    scaled = np.where(y <= 4.0, middle, (INV_SQRT_PI - tail) / y)
    head = np.trunc(y * 16.0) / 16.0  # head * head is exact, so exp(-y * y) keeps its low bits
    return cast(Real, np.exp(-head * head) * np.exp(-(y - head) * (y + head)) * scaled)


def _erf_erfc(x: Real) -> tuple[Real, Real]:
    with np.errstate(all="ignore"):
        magnitude = np.abs(x)
        small = magnitude <= 0.46875
        inner = _erf_small(np.where(small, x, 0.0))
        outer = _erfc_positive(np.clip(np.where(small, 1.0, magnitude), 0.0, 28.0))
        erf_x = np.where(small, inner, np.copysign(1.0 - outer, x))
        erfc_x = np.where(small, 1.0 - inner, np.where(x < 0, 2.0 - outer, outer))
        nan = np.isnan(x)
        return np.where(nan, x, erf_x), np.where(nan, x, erfc_x)


def erf(x: ArrayLike) -> FloatArray:
    """The error function 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    >>> float(erf(0.5)).__round__(12)
    0.520499877813
    """
    value, dtype = _open(x)
    return _close(_erf_erfc(value)[0], dtype)


def erfc(x: ArrayLike) -> FloatArray:
    """1 - erf(x), without cancellation for large x."""
    value, dtype = _open(x)
    return _close(_erf_erfc(value)[1], dtype)


# M. Giles, "Approximating the erfinv function", GPU Computing Gems (Jade), 2011, central part.
ERFINV_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip


def erfinv(x: ArrayLike) -> FloatArray:
    """The inverse of `erf`: ±infinity at ±1, NaN outside [-1, 1].

    A start value (Giles 2011 in the centre, Winitzki's formula in the tails) is refined by three
    Halley steps, in the tails on erfc, so that values next to ±1 keep their precision.
    """
    value, dtype = _open(x)
    with np.errstate(all="ignore"):
        p = np.clip(np.abs(value), 0.0, 1.0)
        log_rest = np.log((1.0 - p) * (1.0 + p))
        centre = _horner(ERFINV_CENTRE, -log_rest - 2.5) * p
        a = 2.0 / (math.pi * 0.147) + 0.5 * log_rest
        tail = np.sqrt(np.sqrt(a * a - log_rest / 0.147) - a)
        y = np.where(log_rest > -5.0, centre, tail)
        for _ in range(3):
            erf_y, erfc_y = _erf_erfc(y)
            miss = np.where(p < 0.5, erf_y - p, (1.0 - p) - erfc_y)
            newton = miss / (2.0 * INV_SQRT_PI * np.exp(-y * y))
            y = y - newton / (1.0 + y * newton)
        y = np.copysign(np.where(p == 1.0, np.inf, y), value)
        return _close(np.where(np.abs(value) <= 1.0, y, np.nan), dtype)


# ---------------------------------------------------------------------------------------------
# the gamma family

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""The Bernoulli numbers B2, B4, ... B16."""

LARGE_FROM = 10
"""Asymptotic series are used from here on; with B16 their error is below 1e-17 relative."""


def zeta(s: ArrayLike, q: ArrayLike) -> FloatArray:
    """The Hurwitz zeta function, the sum over k >= 0 of (q + k)^-s, for s > 1 and q > 0.

    Euler-Maclaurin summation (DLMF 25.11.5) after `LARGE_FROM` explicit terms. NaN for s < 1 or
    q < 0, infinity for s = 1 or q = 0.
    """
    exponent, dtype_s = _open(s)
    start, dtype_q = _open(q)
    dtype = dtype_q if np.asarray(q).dtype.kind == "f" else dtype_s
    with np.errstate(all="ignore"):
        total = np.zeros(np.broadcast_shapes(exponent.shape, start.shape))
        for k in range(LARGE_FROM):
            total = total + (start + k) ** -exponent
        a = start + LARGE_FROM
        power = a**-exponent
        total = total + power * (a / (exponent - 1.0) + 0.5)
        factor = exponent / a
        for k, b in enumerate(BERNOULLI, start=1):
            total = total + power * factor * (b / math.factorial(2 * k))
            factor = factor * ((exponent + 2 * k - 1) * (exponent + 2 * k) / (a * a))
        total = np.where(np.isposinf(start), 0.0, total)
        total = np.where((exponent == 1.0) | (start == 0.0), np.inf, total)
        total = np.where((exponent < 1.0) | (start < 0.0) | np.isnan(start), np.nan, total)
        return _close(total, dtype)


@cache
def lgamma_at_2() -> tuple[float, ...]:
    """The coefficients of a polynomial in z for lgamma(2 + z), the highest first.

    It is (1 - Euler's constant) z + sum over k >= 2 of (-z)^k (zeta(k) - 1) / k.
    """
    higher = ((-1) ** k * float(zeta(float(k), 2.0)) / k for k in range(28, 1, -1))
    return (*higher, 1.0 - 0.57721566490153286061, 0.0)


def _lgamma_positive(x: Real) -> Real:
    """lgamma for x >= 0.5."""
    inverse = 1.0 / x
    square = inverse * inverse
    terms = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, start=1))
    correction = _horner(terms[::-1], square) * inverse
    stirling = (x - 0.5) * (np.log(x) - 1.0) + (0.5 * math.log(2.0 * math.pi) - 0.5) + correction
    product = np.ones_like(x)
    reduced = x
    for _ in range(LARGE_FROM):
        above = (reduced > 2.5) & (x < LARGE_FROM)
        reduced = np.where(above, reduced - 1.0, reduced)
        product = np.where(above, product * reduced, product)
    below = x < 1.5
    z = np.where(below, x - 1.0, reduced - 2.0)
    series = _horner(lgamma_at_2(), np.where(x < LARGE_FROM, z, 0.0))
    near = series + np.where(below, -np.log1p(np.where(below, z, 0.0)), np.log(product))
    return cast(Real, np.where(x < LARGE_FROM, near, stirling))


def lgamma(x: ArrayLike) -> FloatArray:
    """The logarithm of the absolute value of the gamma function; +infinity at its poles.

    A series about 2, which is exact at both zeros of lgamma, the recurrence, Stirling's series
    from 10 on, and the reflection formula (DLMF 5.5.1, 5.5.3, 5.7.3, 5.11.1).

    >>> float(lgamma(2.0)), round(float(lgamma(0.5)), 12)
    (0.0, 0.572364942925)
    """
    value, dtype = _open(x)
    with np.errstate(all="ignore"):
        tiny = (value > 0) & (value < 0.5)
        negative = value <= 0
        argument = np.where(tiny, value + 1.0, np.where(negative, 1.0 - value, value))
        result = _lgamma_positive(argument)
        result = np.where(tiny, result - np.log(value), result)
        sine = np.abs(np.sin(np.pi * (value - np.round(value))))
        result = np.where(negative, np.log(np.pi / sine) - result, result)
        pole = np.isinf(value) | (negative & (value == np.floor(value)))
        return _close(np.where(pole, np.inf, result), dtype)


def digamma(x: ArrayLike) -> FloatArray:
    """The derivative of `lgamma`: ∓infinity at ±0, NaN at the negative integers.

    Reflection, recurrence to 10, then the asymptotic series (DLMF 5.5.4, 5.5.2, 5.11.2).
    """
    value, dtype = _open(x)
    with np.errstate(all="ignore"):
        negative = value < 0
        argument = np.where(negative, 1.0 - value, value)
        total = np.zeros_like(argument)
        for _ in range(LARGE_FROM):
            low = argument < LARGE_FROM
            total = np.where(low, total - 1.0 / argument, total)
            argument = np.where(low, argument + 1.0, argument)
        square = 1.0 / (argument * argument)
        terms = tuple(b / (2 * k) for k, b in enumerate(BERNOULLI, start=1))
        total = total + np.log(argument) - 0.5 / argument - _horner((*terms[::-1], 0.0), square)
        total = np.where(np.isposinf(value), np.inf, total)
        angle = np.pi * (value - np.round(value))
        total = np.where(negative, total - np.pi / np.tan(angle), total)
        total = np.where(value == 0, -np.copysign(np.inf, value), total)
        return _close(np.where(negative & (value == np.floor(value)), np.nan, total), dtype)


def _cotangent_derivative(n: int, x: Real) -> Real:
    """The n-th derivative of pi * cot(pi x), as a polynomial in cot(pi x)."""
    polynomial = np.polynomial.Polynomial([0.0, np.pi])
    square_plus_one = np.polynomial.Polynomial([1.0, 0.0, 1.0])
    for _ in range(n):
        polynomial = -np.pi * square_plus_one * polynomial.deriv()
    return cast(Real, polynomial(1.0 / np.tan(np.pi * (x - np.round(x)))))


def polygamma(n: int, x: ArrayLike) -> FloatArray:
    """The n-th derivative of `digamma` (n >= 0): (-1)^(n+1) n! zeta(n + 1, x), reflected for x < 0.

    At a pole: +infinity for odd n (both sides agree), NaN for even n; at 0 and even n -infinity.

    Raises InvalidValue if n is negative.
    """
    if n < 0:
        raise InvalidValue(f"polygamma: the order must not be negative, got {n}")
    if n == 0:
        return digamma(x)
    value, dtype = _open(x)
    with np.errstate(all="ignore"):
        negative = value < 0
        argument = np.where(negative, 1.0 - value, value)
        sign = -1.0 if n % 2 == 0 else 1.0
        result = sign * math.factorial(n) * np.asarray(zeta(float(n + 1), argument))
        reflected = -sign * result - _cotangent_derivative(n, value)
        result = np.where(negative, reflected, result)
        pole = negative & (value == np.floor(value))
        return _close(np.where(pole, np.inf if n % 2 else np.nan, result), dtype)
