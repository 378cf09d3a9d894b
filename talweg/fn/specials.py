"""Special functions made of others: the normal distribution, entropies, Bessel functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import InvalidValue
from talweg.fn.promotion import Numeric, cast, float_operands, to_float
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _number(b: Builder, x: Node, value: float) -> Node:
    return b.scalar(value, x.dtype)


def ndtr(b: Builder, x: Node) -> Node:
    """Return the probability that a standard normal number is below x.

    >>> import talweg as tw
    >>> tw.special.ndtr(tw.tensor(0.0)).item()
    0.5
    """
    x = to_float(b, x)
    return b.mul(b.erfc(b.mul(x, _number(b, x, -math.sqrt(0.5)))), _number(b, x, 0.5))


def ndtri(b: Builder, x: Node) -> Node:
    """Return the inverse of `ndtr`; ±infinity at 0 and 1, NaN outside."""
    x = to_float(b, x)
    twice = b.sub(b.mul(x, _number(b, x, 2.0)), _number(b, x, 1.0))
    return b.mul(b.erfinv(twice), _number(b, x, math.sqrt(2.0)))


def erfcx(b: Builder, x: Node) -> Node:
    """Return exp(x * x) * erfc(x), without overflow for large x.

    From 8 (float32: 4) on by the asymptotic series, 7.12.1 of DLMF.
    """
    x = to_float(b, x)
    wide = cast(b, x, dtypes.float64)
    edge = b.scalar(8.0, wide.dtype)
    far = b.gt(wide, edge)
    near = b.where(far, edge, wide)
    inner = b.mul(b.exp(b.mul(near, near)), b.erfc(near))
    outer = b.where(far, wide, edge)
    step = b.div(b.scalar(-0.5, wide.dtype), b.mul(outer, outer))
    total = b.scalar(1.0, wide.dtype)
    for k in range(17, 0, -2):
        total = b.add(
            b.mul(b.mul(total, step), b.scalar(float(k), wide.dtype)), _number(b, wide, 1.0)
        )
    tail = b.div(b.mul(total, b.scalar(1 / math.sqrt(math.pi), wide.dtype)), outer)
    return cast(b, b.where(far, tail, inner), x.dtype)


def log_ndtr(b: Builder, x: Node) -> Node:
    """Return the logarithm of `ndtr`, without underflow for x far below 0."""
    x = to_float(b, x)
    wide = cast(b, x, dtypes.float64)
    below = b.lt(wide, b.scalar(-1.0, wide.dtype))
    low = b.where(below, wide, b.scalar(-1.0, wide.dtype))
    turned = b.mul(low, b.scalar(-math.sqrt(0.5), wide.dtype))
    tail = b.sub(b.log(b.mul(erfcx(b, turned), b.scalar(0.5, wide.dtype))), b.mul(turned, turned))
    high = b.where(below, b.scalar(-1.0, wide.dtype), wide)
    body = b.log1p(
        b.mul(b.erfc(b.mul(high, b.scalar(math.sqrt(0.5), wide.dtype))), b.scalar(-0.5, wide.dtype))
    )
    return cast(b, b.where(below, tail, body), x.dtype)


def entr(b: Builder, x: Node) -> Node:
    """Return -x * log(x), 0 at 0 and -infinity below it."""
    x = to_float(b, x)
    zero = _number(b, x, 0.0)
    safe = b.where(b.gt(x, zero), x, _number(b, x, 1.0))
    value = b.where(b.ne(x, zero), b.neg(b.mul(x, b.log(safe))), zero)
    return b.where(b.lt(x, zero), _number(b, x, -math.inf), b.where(b.eq(x, x), value, x))


def xlog1py(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x * log1p(other), and 0 where x is 0 unless `other` is NaN."""
    x, y = float_operands(b, x, other)
    held = b.bit_and(b.eq(x, _number(b, x, 0.0)), b.eq(y, y))
    return b.mul(x, b.log1p(b.where(held, _number(b, x, 0.0), y)))


def multigammaln(b: Builder, x: Node, p: int) -> Node:
    """Return the logarithm of the multivariate gamma function of dimension p.

    Raises:
        InvalidValue: unless p is positive.

    >>> import talweg as tw
    >>> round(tw.special.multigammaln(tw.tensor(3.0), 2).item(), 4)
    1.5502
    """
    if p < 1:
        raise InvalidValue(f"multigammaln: p must be positive, got {p}")
    x = to_float(b, x)
    total = _number(b, x, p * (p - 1) / 4 * math.log(math.pi))
    for j in range(p):
        total = b.add(total, b.lgamma(b.sub(x, _number(b, x, j / 2))))
    return total


# ---------------------------------------------------------------------------------------------
# modified Bessel functions of the first kind


def _scaled(order: int, x: np.ndarray) -> np.ndarray:
    """Return exp(-x) I(x) of order 0 or 1 for x >= 0: DLMF 10.25.2, from 30 on 10.40.1."""
    near, far = np.minimum(x, 30.0), np.maximum(x, 30.0)
    term = (near / 2) ** order
    total = term.copy()
    for k in range(1, 90):
        term = term * (near / 2) ** 2 / (k * (k + order))
        total = total + term
    tail, part = np.ones_like(far), np.ones_like(far)
    for k in range(1, 25):
        part = part * -(4 * order * order - (2 * k - 1) ** 2) / (8 * k * far)
        tail = tail + part
    return np.asarray(np.where(x <= 30, total * np.exp(-near), tail / np.sqrt(2 * np.pi * far)))


@cache
def _chebyshev(order: int, outer: bool) -> tuple[float, ...]:
    """Return coefficients of exp(-x) I(x): within 8 of x / 4 - 1, beyond of 16 / x - 1."""

    def inner_part(t: np.ndarray) -> np.ndarray:
        x = (t + 1) * 4
        return np.asarray(_scaled(order, x) / (x if order else 1.0))

    def outer_part(t: np.ndarray) -> np.ndarray:
        x = 16 / np.maximum(t + 1, 1e-300)
        return np.asarray(_scaled(order, x) * np.sqrt(x))

    part: Any = outer_part if outer else inner_part
    found = np.polynomial.chebyshev.chebinterpolate(part, 30)
    return tuple(map(float, found))


def _sum(b: Builder, t: Node, coefficients: tuple[float, ...]) -> Node:
    """Return a Chebyshev series, by Clenshaw's recurrence."""
    twice = b.mul(t, b.scalar(2.0, t.dtype))
    one = two = b.mul(t, b.scalar(0.0, t.dtype))
    for c in coefficients[:0:-1]:
        one, two = b.add(b.sub(b.mul(twice, one), two), b.scalar(c, t.dtype)), one
    return b.add(b.sub(b.mul(t, one), two), b.scalar(coefficients[0], t.dtype))


def _bessel(b: Builder, x: Node, order: int, scaled: bool) -> Node:
    x = to_float(b, x)
    wide = cast(b, x, dtypes.float64)

    def number(value: float) -> Node:
        return b.scalar(value, wide.dtype)

    size = b.abs(wide)
    far = b.gt(size, number(8.0))
    near = b.where(far, number(8.0), size)
    inner = _sum(b, b.sub(b.mul(near, number(0.25)), number(1.0)), _chebyshev(order, False))
    if order:
        inner = b.mul(inner, b.where(far, number(8.0), wide))
    away = b.where(far, size, number(8.0))
    outer = _sum(b, b.sub(b.div(number(16.0), away), number(1.0)), _chebyshev(order, True))
    outer = b.div(outer, b.sqrt(away))
    value = b.where(far, b.mul(outer, b.sign(wide)) if order else outer, inner)
    if not scaled:
        value = b.mul(value, b.exp(size))
    return cast(b, value, x.dtype)


def i0(b: Builder, x: Node) -> Node:
    """Return the modified Bessel function of the first kind, of order 0.

    >>> import talweg as tw
    >>> round(tw.special.i0(tw.tensor(1.0)).item(), 4)
    1.2661
    """
    return _bessel(b, x, 0, False)


def i0e(b: Builder, x: Node) -> Node:
    """Return exp(-|x|) * i0(x)."""
    return _bessel(b, x, 0, True)


def i1(b: Builder, x: Node) -> Node:
    """Return the modified Bessel function of the first kind, of order 1."""
    return _bessel(b, x, 1, False)


def i1e(b: Builder, x: Node) -> Node:
    """Return exp(-|x|) * i1(x)."""
    return _bessel(b, x, 1, True)


PUBLIC: tuple[Callable[..., Any], ...] = ()
METHODS: tuple[str, ...] = ()
SPECIAL: tuple[Callable[..., Node], ...] = (
    *(ndtr, ndtri, erfcx, log_ndtr, entr, xlog1py, multigammaln, i0, i0e, i1, i1e),
)
