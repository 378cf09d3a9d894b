"""The incomplete gamma functions, vectorised, in float64.

They are the meaning of the op `igamma`. Sources: DLMF 8.7.3, 8.9.2, 8.12; W. Gautschi, "A
computational procedure for incomplete gamma functions", 1979; N. M. Temme, "The asymptotic
expansion of the incomplete gamma functions", 1979. Whichever of both is the smaller one is
computed, and the other is what is left of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from talweg.base.deferred import deferred
from talweg.base.special import FloatArray, Real, _close, _horner, _open, erfc, lgamma, lgamma_at_2

if TYPE_CHECKING:
    import fractions

    from numpy.typing import ArrayLike
else:
    fractions = deferred("fractions")

LARGE = 20.0
"""Temme's expansion is used from this `a` on, where |x - a| is less than `NEAR` times `a`."""

NEAR = 0.3
_ORDERS = 12  # powers of 1 / a
_DEGREE = 18  # powers of eta
_PASSES = 1000
_ENOUGH = 2.0**-54


def _log1p_missing(m: Real) -> Real:
    """m - log(1 + m), without cancellation for |m| <= `NEAR`."""
    s = m / (2.0 + m)
    square = np.where(np.abs(m) <= NEAR, s * s, 0.0)
    odd = _horner(tuple(1.0 / k for k in range(25, 1, -2)), square)
    return np.where(np.abs(m) <= NEAR, m * s - 2.0 * s * square * odd, m - np.log1p(m))


def _density(a: Real, x: Real) -> Real:
    """x^a exp(-x) / gamma(a)."""
    large = a > LARGE
    b = np.where(large, a, LARGE)
    square = 1.0 / (b * b)
    rest = _horner((-1 / 1680, 1 / 1260, -1 / 360, 1 / 12), square) / b
    far = np.sqrt(b / (2.0 * math.pi)) * np.exp(-b * _log1p_missing((x - b) / b) - rest)
    small = np.where(large, 1.0, a)
    near = np.exp(small * np.log(x) - x - np.asarray(lgamma(small)))
    return np.where(large, far, near)


def _below_by_series(a: Real, x: Real) -> Real:
    """P(a, x) by its power series, for x up to about a."""
    term, total = np.ones_like(x), np.ones_like(x)
    for k in range(1, _PASSES):
        term = term * (x / (a + k))
        total = total + term
        if not (term > _ENOUGH * total).any():
            break
    return _density(a, x) / a * total


def _above_by_fraction(a: Real, x: Real) -> Real:
    """Q(a, x) by its continued fraction, for x from about a on: Lentz's method."""
    tiny = 1e-300
    b = x + 1.0 - a
    c = np.full_like(x, 1.0 / tiny)
    d = 1.0 / np.where(b == 0, tiny, b)
    found = d
    for k in range(1, _PASSES):
        top = -k * (k - a)
        b = b + 2.0
        d = top * d + b
        d = 1.0 / np.where(np.abs(d) < tiny, tiny, d)
        c = b + top / c
        c = np.where(np.abs(c) < tiny, tiny, c)
        found = found * (d * c)
        if not (np.abs(d * c - 1.0) > 4 * _ENOUGH).any():
            break
    return _density(a, x) * found


def _above_by_series(a: Real, x: Real) -> Real:
    """Q(a, x) for small x: 1 - x^a / gamma(a + 1), less the other terms of P's series."""
    part, total = np.ones_like(x), np.zeros_like(x)
    for k in range(1, 40):
        part = part * (-x / k)
        total = total + part / (a + k)
    small = a < 0.5
    near = np.where(small, a, 0.0)
    log_gamma = np.where(
        small,
        _horner(lgamma_at_2(), near) - np.log1p(near),
        np.asarray(lgamma(1.0 + np.where(small, 1.0, a))),
    )
    power = a * np.log(x) - log_gamma
    return -np.expm1(power) - a * np.exp(power) * total


@cache
def _temme() -> tuple[tuple[float, ...], ...]:
    """For each power of 1 / a a polynomial in eta, the highest coefficient first.

    With eta^2 / 2 = m - log(1 + m): m as a series in eta, then 1 / m - 1 / eta, then each next
    function from the one before (DLMF 8.12.11), in exact fractions.
    """
    Fraction = fractions.Fraction
    count = _DEGREE + 2 * _ORDERS + 2
    m = [Fraction(0), Fraction(1)]
    for k in range(2, count + 2):
        known = sum(((k + 1 - i) * m[i] * m[k + 1 - i] for i in range(2, k)), Fraction(0))
        m.append((m[k - 1] - known) / (k + 1))
    inverse = [Fraction(1)]
    for k in range(1, count + 1):
        inverse.append(-sum((m[i + 1] * inverse[k - i] for i in range(1, k + 1)), Fraction(0)))
    first = inverse[1:]
    rows, row = [], first
    for _ in range(_ORDERS):
        rows.append(tuple(float(c) for c in reversed(row[:_DEGREE])))
        row = [(k + 2) * row[k + 2] - row[1] * first[k] for k in range(len(row) - 2)]
    return tuple(rows)


def _both_by_temme(a: Real, x: Real) -> tuple[Real, Real]:
    """P and Q for large a and x near it."""
    m = (x - a) / a
    half_square = _log1p_missing(m)
    eta = np.copysign(np.sqrt(2.0 * half_square), m)
    total = np.zeros_like(a)
    for row in reversed(_temme()):
        total = total / a + _horner(row, eta)
    rest = np.exp(-a * half_square) / np.sqrt(2.0 * math.pi * a) * total
    reach = eta * np.sqrt(a / 2.0)
    above = 0.5 * np.asarray(erfc(reach)) + rest
    return 0.5 * np.asarray(erfc(-reach)) - rest, above


def _regular(a: Real, x: Real) -> tuple[Real, Real]:
    """P and Q of finite positive numbers, without dimensions taken apart."""
    below, above = np.zeros_like(a), np.zeros_like(a)
    near = (a > LARGE) & (np.abs(x - a) < NEAR * a)
    edge = np.where(x <= 0.5, -0.4 / np.log(np.minimum(x, 0.5)), 1.1 * x)
    lower = ~near & np.where(x <= 1.1, edge < a, x < a)
    small = ~near & ~lower & (x <= 1.1)
    upper = ~near & ~lower & ~small
    below[near], above[near] = _both_by_temme(a[near], x[near])
    ways: tuple[tuple[np.ndarray, Callable[[Real, Real], Real], Real, Real], ...] = (
        (lower, _below_by_series, below, above),
        (small, _above_by_series, above, below),
        (upper, _above_by_fraction, above, below),
    )
    for where, way, found, rest in ways:
        if where.any():
            found[where] = way(a[where], x[where])
            rest[where] = 1.0 - found[where]
    return np.clip(below, 0.0, 1.0), np.clip(above, 0.0, 1.0)


def _ratios(a: ArrayLike, x: ArrayLike) -> tuple[Real, Real]:
    first, second = np.broadcast_arrays(_open(a)[0], _open(x)[0])
    below, above = np.full(first.shape, np.nan), np.full(first.shape, np.nan)
    with np.errstate(all="ignore"):
        regular = (first > 0) & (second > 0) & np.isfinite(first) & np.isfinite(second)
        below[regular], above[regular] = _regular(first[regular], second[regular])
        least = (first > 0) & ((second == 0) | (np.isinf(first) & np.isfinite(second)))
        least &= second >= 0
        most = (second > 0) & ((first == 0) | (np.isinf(second) & np.isfinite(first)))
        most &= first >= 0
    below[least], above[least] = 0.0, 1.0
    below[most], above[most] = 1.0, 0.0
    return below, above


def gammainc(a: ArrayLike, x: ArrayLike) -> FloatArray:
    """The integral of t^(a-1) exp(-t) from 0 to x, divided by that to infinity.

    Its relative error is below 2e-13 where the value is above 1e-290. NaN for a < 0 or x < 0, for
    a = x = 0 and where both are infinite; 0 for x = 0 or infinite a, 1 for a = 0 or infinite x.

    >>> float(gammainc(1.0, 2.0)).__round__(12) == round(1 - math.exp(-2.0), 12)
    True
    """
    return _close(_ratios(a, x)[0], _open(x)[1])


def gammaincc(a: ArrayLike, x: ArrayLike) -> FloatArray:
    """1 - `gammainc`, without cancellation."""
    return _close(_ratios(a, x)[1], _open(x)[1])
