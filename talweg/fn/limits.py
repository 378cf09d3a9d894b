"""Complex functions at infinities and NaN: the limits that C99 names (annex G).

Machine code computes complex functions with formulas, which give NaN where a part is infinite. Here
a part that is zero stays zero whatever it is multiplied by, and what is infinite is named.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, pi
from typing import TypeAlias

from talweg.fn.math import copysign
from talweg.ir.build import Builder
from talweg.ir.node import Node

Parts: TypeAlias = tuple[Node, Node]
Limit: TypeAlias = Callable[[Builder, Node, Node], Parts]


def _number(b: Builder, x: Node, value: float) -> Node:
    return b.scalar(value, x.dtype)


def _is_zero(b: Builder, x: Node) -> Node:
    return b.eq(x, _number(b, x, 0.0))


def _sign(b: Builder, x: Node) -> Node:
    """1 or -1; 1 for NaN."""
    one = _number(b, x, 1.0)
    return b.where(b.is_nan(x), one, copysign(b, one, x))


def _signed(b: Builder, value: float, x: Node) -> Node:
    return copysign(b, _number(b, x, value), x)


def _product(b: Builder, x: Node, y: Node) -> Node:
    """x y, and 0 where either is 0."""
    zero = _signed(b, 0.0, b.mul(_sign(b, x), _sign(b, y)))
    return b.where(b.bit_or(_is_zero(b, x), _is_zero(b, y)), zero, b.mul(x, y))


def _wave(of: str, other: str) -> Limit:
    """Return of(a) cos(b) + i other(a) sin(b); where all is infinite, the real part alone is."""

    def limit(b: Builder, re: Node, im: Node) -> Parts:
        size = getattr(b, of)(re)
        real = _product(b, size, b.cos(im))
        imag = _product(b, getattr(b, other)(re), b.sin(im))
        unbounded = b.logical_not(b.is_finite(im))
        regular = b.bit_and(b.is_finite(re), b.logical_not(_is_zero(b, re)))
        none = b.bit_and(unbounded, regular)
        real = b.where(b.bit_and(unbounded, b.is_inf(re)), size, real)
        undefined = _number(b, re, nan)
        return b.where(none, undefined, real), b.where(none, undefined, imag)

    return limit


def _expm1(b: Builder, re: Node, im: Node) -> Parts:
    real, imag = _wave("exp", "exp")(b, re, im)
    return b.sub(real, _number(b, re, 1.0)), imag


def _tanh(b: Builder, re: Node, im: Node) -> Parts:
    far, undefined = b.is_inf(re), _number(b, re, nan)
    zero = _signed(b, 0.0, _sign(b, im))
    real = b.where(far, b.sign(re), b.where(_is_zero(b, re), re, undefined))
    return real, b.where(far, zero, b.where(_is_zero(b, im), im, undefined))


def _atanh(b: Builder, re: Node, im: Node) -> Parts:
    far, high, undefined = b.is_inf(re), b.is_inf(im), _number(b, re, nan)
    known = b.bit_or(high, b.bit_and(far, b.logical_not(b.is_nan(im))))
    vanishing = b.bit_or(b.bit_or(far, high), _is_zero(b, re))
    real = b.where(vanishing, _signed(b, 0.0, re), undefined)
    return real, b.where(known, _signed(b, pi / 2, im), undefined)


def _asinh(b: Builder, re: Node, im: Node) -> Parts:
    far = b.bit_or(b.is_inf(re), b.is_inf(im))
    turn = b.atan2(im, b.abs(re))
    real = b.where(far, _signed(b, inf, re), _number(b, re, nan))
    return real, b.where(b.bit_and(b.is_nan(re), _is_zero(b, im)), im, turn)


def _acosh(b: Builder, re: Node, im: Node) -> Parts:
    far = b.bit_or(b.is_inf(re), b.is_inf(im))
    real = b.where(far, _number(b, re, inf), _number(b, re, nan))
    middle = b.bit_and(_is_zero(b, re), b.is_nan(im))
    return real, b.where(middle, _number(b, re, pi / 2), b.atan2(im, re))


def _acos(b: Builder, re: Node, im: Node) -> Parts:
    size, turn = _acosh(b, re, b.abs(im))
    return turn, copysign(b, size, b.neg(im))


def _turned(limit: Limit) -> Limit:
    """Return the limit of -i f(i z): that of sin for f = sinh, and so on."""

    def around(b: Builder, re: Node, im: Node) -> Parts:
        u, v = limit(b, b.neg(im), re)
        return v, b.neg(u)

    return around


_SINH, _COSH = _wave("sinh", "cosh"), _wave("cosh", "sinh")

LIMITS: dict[str, Limit] = {
    "exp": _wave("exp", "exp"),
    "expm1": _expm1,
    "cosh": _COSH,
    "sinh": _SINH,
    "tanh": _tanh,
    "acosh": _acosh,
    "asinh": _asinh,
    "atanh": _atanh,
    "acos": _acos,
    "cos": lambda b, re, im: _COSH(b, b.neg(im), re),
    "sin": _turned(_SINH),
    "tan": _turned(_tanh),
    "asin": _turned(_asinh),
    "atan": _turned(_atanh),
}


def with_limits(b: Builder, name: str, x: Node) -> Node:
    """Return a function of complex numbers: its limit where a part is infinite or NaN.

    The function's gradient flows where its value is a formula's; where there is a limit it is NaN.
    """
    found = getattr(b, name)(x)
    usual = b.is_finite(x)
    if name == "expm1":  # whose formula leaves the sign of 0 open
        nothing = b.make_complex(b.add(b.real(x), _number(b, b.real(x), 0.0)), b.imag(x))
        found = b.where(b.eq(x, b.scalar(0, x.dtype)), nothing, found)
    kept = b.where(usual, b.scalar(1, x.dtype), x)  # no slope of a limit is infinite here
    parts = LIMITS[name](b, b.real(kept), b.imag(kept))
    return b.where(usual, found, b.make_complex(*parts))
