"""Elementwise functions, with the names and rules of the array API standard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from talweg.array_api.calls import FUNCTIONS
from talweg.array_api.kinds import Operand, promoted
from talweg.base import dtypes
from talweg.engine import reforming
from talweg.engine.conversion import clone, to
from talweg.engine.tensor import Tensor

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Operand, Operand], Tensor]
_F = TypeVar("_F", bound=Callable[..., Any])


def _unary(name: str, target: str) -> Unary:
    function = FUNCTIONS[target]

    def applied(x: Tensor, /) -> Tensor:
        found: Tensor = function(x)
        return found

    return _named(applied, name, target)


def _binary(name: str, target: str) -> Binary:
    function = FUNCTIONS.get(target) or reforming.FUNCTIONS[target]

    def applied(x1: Operand, x2: Operand, /) -> Tensor:
        found: Tensor = function(*promoted(x1, x2))
        return found

    return _named(applied, name, target)


def _named(function: _F, name: str, target: str) -> _F:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`tw.{target}` of the elements, under the promotion of the standard."
    return function


UNARY: dict[str, Unary] = {
    name: _unary(name, {"bitwise_invert": "bitwise_not"}.get(name, name))
    for name in (
        *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "conj"),
        *("cos", "cosh", "exp", "expm1", "isfinite", "isinf", "isnan", "log", "log1p", "log2"),
        *("log10", "logical_not", "negative", "real", "reciprocal", "signbit", "sin", "sinh"),
        *("sqrt", "square", "tan", "tanh"),
    )
}
BINARY: dict[str, Binary] = {
    name: _binary(name, {"equal": "eq"}.get(name, name))
    for name in (
        *("add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_xor"),
        *("bitwise_right_shift", "copysign", "divide", "equal", "greater"),
        *("greater_equal", "hypot", "less", "less_equal", "logaddexp", "logical_and"),
        *("logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter"),
        *("not_equal", "pow", "remainder", "subtract"),
    )
}


def positive(x: Tensor, /) -> Tensor:
    """Return the elements as they are, in memory of their own."""
    return clone(x)


def imag(x: Tensor, /) -> Tensor:
    """Return the imaginary parts."""
    found: Tensor = FUNCTIONS["imag"](x)
    return found


def _whole(name: str) -> Unary:
    function = FUNCTIONS[name]

    def applied(x: Tensor, /) -> Tensor:
        if not x.dtype.is_inexact:
            return clone(x)
        found: Tensor = function(x)
        return found

    return _named(applied, name, name)


ceil, floor, trunc = _whole("ceil"), _whole("floor"), _whole("trunc")


def round(x: Tensor, /) -> Tensor:
    """Return the nearest whole numbers, those in the middle to the even one; parts of complex."""
    if not x.dtype.is_inexact:
        return clone(x)
    if x.dtype.is_complex:
        parts = [FUNCTIONS["round"](FUNCTIONS[part](x)) for part in ("real", "imag")]
        return FUNCTIONS["complex"](*parts)
    return FUNCTIONS["round"](x)


def sign(x: Tensor, /) -> Tensor:
    """Return -1, 0 or 1 by the sign, z / |z| of complex numbers, NaN of NaN."""
    if not x.dtype.is_floating_point:
        return FUNCTIONS["sgn"](x)
    return FUNCTIONS["where"](FUNCTIONS["isnan"](x), x, FUNCTIONS["sign"](x))


def floor_divide(x1: Operand, x2: Operand, /) -> Tensor:
    """Return floor(x1 / x2), also of infinities: ∞ by a finite number is ±∞, the reverse ±0."""
    a, b = promoted(x1, x2)
    found: Tensor = FUNCTIONS["floor_divide"](a, b)
    if not a.dtype.is_inexact:
        return found
    far = FUNCTIONS["isinf"](a) | FUNCTIONS["isinf"](b)
    return FUNCTIONS["where"](far, FUNCTIONS["div"](a, b), found)


def clip(x: Tensor, /, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Return the elements, those below min or above max replaced by these; in the dtype of x."""
    found = x
    for name, bound in (("maximum", min), ("minimum", max)):
        if bound is not None:
            found = BINARY[name](found, bound)
    return clone(x) if found is x else to(found, x.dtype)


def boolean(x: Tensor) -> Tensor:
    """Return whether the elements differ from zero."""
    return x if x.dtype is dtypes.bool_ else FUNCTIONS["ne"](x, 0)


FUNCTIONS_HERE = {
    **UNARY,
    **BINARY,
    **{
        f.__name__: f for f in (positive, imag, ceil, floor, trunc, round, sign, floor_divide, clip)
    },
}
