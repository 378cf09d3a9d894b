"""erfinv, lgamma, digamma and polygamma in float64: the algorithms of `base.special`.

They are rare, so they are written for shortness. `polygamma` is one scalar function of the module,
called for each lane.
"""

from __future__ import annotations

import math

from talweg.base import special
from talweg.codegen.lanes import (
    Lanes,
    absolute,
    constant,
    copysign,
    floor,
    from_integer,
    horner,
    is_nan,
    rint,
    smaller,
    sqrt,
    to_integer,
    where,
)
from talweg.codegen.mathlib import double
from talweg.codegen.repeat import per_lane, repeat
from talweg.codegen.writer import Writer

INFINITY, NAN, PI = float("inf"), float("nan"), math.pi
SHIFT = special.LARGE_FROM
BERNOULLI = special.BERNOULLI


def erfinv(x: Lanes) -> Lanes:
    """Error at most 16 ULP."""
    p = smaller(absolute(x), 1.0)
    rest = double.log((1 - p) * (1 + p))
    centre = horner(special.ERFINV_CENTRE, -rest - 2.5) * p
    a = rest * 0.5 + 2 / (PI * 0.147)
    tail = sqrt(sqrt(a * a - rest / 0.147) - a)
    y = where(rest > -5.0, centre, tail)
    for _ in range(3):
        miss = where(p < 0.5, double.erf(y) - p, (1 - p) - double.erfc(y))
        newton = miss / (double.exp(-y * y) * (2 * special.INV_SQRT_PI))
        y = y - newton / (1 + y * newton)
    y = where(p.equals(1), INFINITY, y)
    return where(absolute(x) <= 1, copysign(y, x), NAN)


def _lgamma_positive(x: Lanes) -> Lanes:
    """lgamma for x >= 0.5."""
    inverse = 1 / x
    terms = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, start=1))
    correction = horner(terms[::-1], inverse * inverse) * inverse
    stirling = (x - 0.5) * (double.log(x) - 1) + (0.5 * math.log(2 * PI) - 0.5) + correction
    product, reduced = x.like(1.0), x
    for _ in range(SHIFT):
        above = (reduced > 2.5) & (x < SHIFT)
        reduced = where(above, reduced - 1, reduced)
        product = where(above, product * reduced, product)
    below = x < 1.5
    z = where(below, x - 1, reduced - 2)
    series = horner(special.lgamma_at_2(), where(x < SHIFT, z, 0.0))
    side = where(below, -double.log1p(where(below, z, 0.0)), double.log(product))
    return where(x < SHIFT, series + side, stirling)


def lgamma(x: Lanes) -> Lanes:
    """Error at most 64 ULP of max(|result|, 1)."""
    tiny, negative = (x > 0) & (x < 0.5), x <= 0
    argument = where(tiny, x + 1, where(negative, 1 - x, x))
    result = _lgamma_positive(argument)
    result = where(tiny, result - double.log(where(tiny, x, 1.0)), result)
    sine = absolute(double.sin((x - rint(x)) * PI))
    result = where(negative, double.log(PI / sine) - result, result)
    pole = absolute(x).equals(INFINITY) | (negative & floor(x).equals(x))
    return where(pole, INFINITY, result)


def digamma(x: Lanes) -> Lanes:
    """Error at most 64 ULP of max(|result|, 1)."""
    negative = x < 0
    argument = where(negative, 1 - x, x)
    total = x.like(0.0)
    for _ in range(SHIFT):
        low = argument < SHIFT
        total = where(low, total - 1 / argument, total)
        argument = where(low, argument + 1, argument)
    square = 1 / (argument * argument)
    terms = tuple(b / (2 * k) for k, b in enumerate(BERNOULLI, start=1))
    series = horner((*terms[::-1], 0.0), square)
    total = total + double.log(argument) - 0.5 / argument - series
    total = where(x.equals(INFINITY), INFINITY, total)
    angle = (x - rint(x)) * PI
    total = where(negative, total - PI / double.tan(angle), total)
    total = where(x.equals(0), -copysign(x.like(INFINITY), x), total)
    return where(negative & floor(x).equals(x), NAN, total)


LARGEST = 170
"""The largest order whose factorial is a float64."""


def polygamma(order: Lanes, x: Lanes) -> Lanes:
    """The derivative of digamma of an order that is a whole number; NaN above order 170."""
    (result,) = per_lane("talweg_polygamma", _polygamma, order, x)
    return result


def _polygamma(order: Lanes, x: Lanes) -> tuple[Lanes]:
    writer = x.writer
    inside = (order >= 0) & (order <= LARGEST)
    n = to_integer(where(inside, order, 0.0), "i64")
    odd = (n & 1).equals(1)
    sign = where(odd, x.like(1.0), -1.0)
    negative = x < 0
    argument = where(negative, 1 - x, x)
    (factorial,) = repeat(n, [x.like(1.0)], lambda k, s: [s[0] * from_integer(k + 1, "double")])
    result = sign * factorial * _zeta(order + 1, argument)
    reflected = -sign * result - _cotangent_derivative(writer, n, x)
    result = where(negative, reflected, result)
    pole = negative & floor(x).equals(x)
    result = where(pole, where(odd, x.like(INFINITY), NAN), result)
    result = where(order.equals(0), digamma(x), result)
    return (where(inside | is_nan(order), result, NAN),)


def _zeta(s: Lanes, q: Lanes) -> Lanes:
    """The Hurwitz zeta function for s > 1 by Euler-Maclaurin summation (DLMF 25.11.5)."""
    ten = constant(s.writer, SHIFT, "i64", 1)
    (total,) = repeat(
        ten, [q.like(0.0)], lambda k, t: [t[0] + double.power(q + from_integer(k, "double"), -s)]
    )
    a = q + SHIFT
    power = double.power(a, -s)
    total = total + power * (a / (s - 1) + 0.5)
    factor = s / a
    for k, b in enumerate(BERNOULLI, start=1):
        total = total + power * factor * (b / math.factorial(2 * k))
        factor = factor * ((s + (2 * k - 1)) * (s + 2 * k) / (a * a))
    total = where(q.equals(INFINITY), 0.0, total)
    total = where(q.equals(0), INFINITY, total)
    return where((q < 0) | is_nan(q), NAN, total)


def _cotangent_derivative(writer: Writer, n: Lanes, x: Lanes) -> Lanes:
    """The n-th derivative of pi cot(pi x): a polynomial in c = cot(pi x), kept in memory.

    The derivative of c is -pi (1 + c**2), so coefficient j of the next polynomial is -pi times
    (j + 1) a[j + 1] + (j - 1) a[j - 1].
    """
    size = LARGEST + 4
    row = writer.room(f"[{size} x double]")

    def place(at: Lanes) -> str:
        return writer.emit(f"getelementptr [{size} x double], ptr {row}, i64 0, i64 {at.name}")

    def read(at: Lanes) -> Lanes:
        return Lanes(writer, writer.emit(f"load double, ptr {place(at)}"), "double", 1)

    def write(at: Lanes, value: Lanes) -> None:
        writer.do(f"store double {value.name}, ptr {place(at)}")

    def clear(k: Lanes, state: list[Lanes]) -> list[Lanes]:
        write(k, where(k.equals(1), x.like(PI), 0.0))
        return state

    def derive(k: Lanes, state: list[Lanes]) -> list[Lanes]:
        def term(j: Lanes, before: list[Lanes]) -> list[Lanes]:
            here, place_of = read(j), from_integer(j, "double")
            new = (place_of + 1) * read(j + 1) + (place_of - 1) * before[0]
            write(j, new * -PI)
            return [here]

        repeat(k + 3, [x.like(0.0)], term)
        return state

    repeat(constant(writer, size, "i64", 1), [], clear)
    repeat(n, [], derive)
    c = 1 / double.tan((x - rint(x)) * PI)
    (total,) = repeat(n + 2, [x.like(0.0)], lambda k, s: [s[0] * c + read((n + 1) - k)])
    return total


TABLE = {f.__name__: f for f in (erfinv, lgamma, digamma, polygamma)}
"""Functions of float64 by their names in the table of the loop language."""
