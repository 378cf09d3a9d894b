"""Complex functions at infinities and NaN: the limits that C99 names, as the standard wants them.

The functions of `tw` compute with formulas, which give NaN where a part is infinite. Here, a part
that is zero stays zero whatever it is multiplied by, and what is infinite is named.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, pi
from typing import TypeAlias

from talweg.array_api.calls import FUNCTIONS
from talweg.engine.tensor import Tensor

Parts: TypeAlias = tuple[Tensor, Tensor]
_where = FUNCTIONS["where"]


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return x y, and 0 where either is 0."""
    zero = FUNCTIONS["copysign"](0.0, _sign(x) * _sign(y))
    return _where(_is_zero(x) | _is_zero(y), zero, x * y)


def _is_zero(x: Tensor) -> Tensor:
    return FUNCTIONS["eq"](x, 0)


def _sign(x: Tensor) -> Tensor:
    return _where(FUNCTIONS["isnan"](x), 1.0, FUNCTIONS["copysign"](1.0, x))


def _wave(of: str, other: str) -> Callable[[Tensor, Tensor], Parts]:
    """Return of(a) cos(b) + i other(a) sin(b); where all is infinite, the real part alone is."""
    first, second = FUNCTIONS[of], FUNCTIONS[other]

    def limit(a: Tensor, b: Tensor) -> Parts:
        size = first(a)
        real = _product(size, FUNCTIONS["cos"](b))
        imag = _product(second(a), FUNCTIONS["sin"](b))
        unbounded = ~FUNCTIONS["isfinite"](b)
        none = unbounded & FUNCTIONS["isfinite"](a) & ~_is_zero(a)
        real = _where(unbounded & FUNCTIONS["isinf"](a), size, real)
        return _where(none, nan, real), _where(none, nan, imag)

    return limit


def _expm1(a: Tensor, b: Tensor) -> Parts:
    real, imag = _wave("exp", "exp")(a, b)
    return real - 1, imag


def _tanh(a: Tensor, b: Tensor) -> Parts:
    far, sign = FUNCTIONS["isinf"](a), FUNCTIONS["sign"](a)
    zero = FUNCTIONS["copysign"](0.0, _sign(b))
    real = _where(far, sign, _where(_is_zero(a), a, nan))
    return real, _where(far, zero, _where(_is_zero(b), b, nan))


def _atanh(a: Tensor, b: Tensor) -> Parts:
    far, high = FUNCTIONS["isinf"](a), FUNCTIONS["isinf"](b)
    zero = FUNCTIONS["copysign"](0.0, a)
    right = FUNCTIONS["copysign"](pi / 2, b)
    known = high | (far & ~FUNCTIONS["isnan"](b))
    return _where(far | high | _is_zero(a), zero, nan), _where(known, right, nan)


def _asinh(a: Tensor, b: Tensor) -> Parts:
    far = FUNCTIONS["isinf"](a) | FUNCTIONS["isinf"](b)
    turn = FUNCTIONS["atan2"](b, FUNCTIONS["abs"](a))
    real = _where(far, FUNCTIONS["copysign"](inf, a), nan)
    return real, _where(FUNCTIONS["isnan"](a) & _is_zero(b), b, turn)


def _acosh(a: Tensor, b: Tensor) -> Parts:
    far = FUNCTIONS["isinf"](a) | FUNCTIONS["isinf"](b)
    turn = FUNCTIONS["atan2"](b, a)
    return _where(far, inf, nan * a), _where(_is_zero(a) & FUNCTIONS["isnan"](b), pi / 2, turn)


def _acos(a: Tensor, b: Tensor) -> Parts:
    size, turn = _acosh(a, FUNCTIONS["abs"](b))
    return turn, FUNCTIONS["copysign"](size, -b)


def _turned(limit: Callable[[Tensor, Tensor], Parts]) -> Callable[[Tensor, Tensor], Parts]:
    """Return the limit of -i f(i z): that of sin for f = sinh, and so on."""

    def around(a: Tensor, b: Tensor) -> Parts:
        u, v = limit(-b, a)
        return v, -u

    return around


_SINH, _COSH = _wave("sinh", "cosh"), _wave("cosh", "sinh")

LIMITS: dict[str, Callable[[Tensor, Tensor], Parts]] = {
    "exp": _wave("exp", "exp"),
    "expm1": _expm1,
    "cosh": _COSH,
    "sinh": _SINH,
    "tanh": _tanh,
    "acosh": _acosh,
    "asinh": _asinh,
    "atanh": _atanh,
    "acos": _acos,
    "cos": lambda a, b: _COSH(-b, a),
    "sin": _turned(_SINH),
    "tan": _turned(_tanh),
    "asin": _turned(_asinh),
    "atan": _turned(_atanh),
}


def with_limits(name: str, x: Tensor) -> Tensor:
    """Return a function of complex numbers, its limit where a part is infinite or NaN.

    Where there is a limit instead of a value no gradient flows.
    """
    found = FUNCTIONS[name](x)
    still = x.detach()
    usual = FUNCTIONS["isfinite"](still)
    if name == "expm1":  # whose formula leaves the sign of 0 open
        usual = usual & ~_is_zero(still)
    parts = LIMITS[name](FUNCTIONS["real"](still), FUNCTIONS["imag"](still))
    return _where(usual, found, FUNCTIONS["complex"](*parts))
