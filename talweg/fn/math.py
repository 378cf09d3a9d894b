"""Arithmetic on Tensors and numbers: sums, products, quotients, powers, rounding, limits."""

from __future__ import annotations

import builtins
from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue
from talweg.fn.promotion import (
    Numeric,
    broadcast,
    cast,
    float_operands,
    operands,
    result_type,
    to_float,
)
from talweg.ir.build import Builder
from talweg.ir.node import Node

_BITS = {64: dtypes.int64, 32: dtypes.int32, 16: dtypes.int16}


def _scaled(b: Builder, y: Node, factor: int | float | complex, name: str) -> Node:
    if factor == 1:
        return y
    if isinstance(factor, float | complex) and not y.dtype.is_inexact:
        raise DTypeError(f"{name} {factor} must be an integer for operands of {y.dtype.name}")
    return b.mul(y, b.scalar(factor, y.dtype))


def add(b: Builder, x: Numeric, other: Numeric, *, alpha: int | float | complex = 1) -> Node:
    """Return x + alpha * other, promoted and broadcast. For bool: logical or.

    Raises:
        ShapeError: when the shapes do not broadcast.
        DTypeError: when `alpha` is fractional and the operands are integers.

    >>> import talweg as tw
    >>> tw.add(tw.tensor([1, 2]), tw.tensor([10, 20]), alpha=2).tolist()
    [21, 42]
    """
    x, y = operands(b, x, other)
    return b.add(x, _scaled(b, y, alpha, "alpha"))


def sub(b: Builder, x: Numeric, other: Numeric, *, alpha: int | float | complex = 1) -> Node:
    """Return x - alpha * other, promoted and broadcast.

    Raises:
        ShapeError: when the shapes do not broadcast.
        DTypeError: for bool, and when `alpha` is fractional and the operands are integers.
    """
    if builtins.any(isinstance(v, Node) and v.type.dtype is dtypes.bool_ for v in (x, other)):
        raise DTypeError("bool values cannot be subtracted; use ^ or logical_xor instead")
    x, y = operands(b, x, other)
    return b.sub(x, _scaled(b, y, alpha, "alpha"))


def rsub(b: Builder, x: Numeric, other: Numeric, *, alpha: int | float | complex = 1) -> Node:
    """Return other - alpha * x."""
    return sub(b, other, x, alpha=alpha)


def mul(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x * other, promoted and broadcast. For bool: logical and.

    Raises:
        ShapeError: when the shapes do not broadcast.
    """
    return b.mul(*operands(b, x, other))


def div(b: Builder, x: Numeric, other: Numeric, *, rounding_mode: str | None = None) -> Node:
    """Return x / other, promoted and broadcast.

    Args:
        rounding_mode: None divides as real numbers, integers as the default float; "trunc" rounds
            towards 0 and "floor" down, both in the promoted dtype.

    Raises:
        ShapeError: when the shapes do not broadcast.
        InvalidValue: for another rounding mode.

    >>> import talweg as tw
    >>> tw.div(tw.tensor([7, -7]), 2).tolist()
    [3.5, -3.5]
    >>> tw.div(tw.tensor([7, -7]), 2, rounding_mode="trunc").tolist()
    [3, -3]
    """
    if rounding_mode is None:
        return b.div(*float_operands(b, x, other))
    if rounding_mode == "floor":
        return floor_divide(b, x, other)
    if rounding_mode != "trunc":
        raise InvalidValue(f"rounding_mode must be None, 'trunc' or 'floor', not {rounding_mode!r}")
    x, y = operands(b, x, other)
    if x.dtype.is_inexact:
        return b.trunc(b.div(x, y))
    floor = b.floor_div(x, y)
    zero = b.scalar(0, x.dtype)
    if not x.dtype.is_signed:
        return floor
    rest = b.sub(x, b.mul(floor, y))
    up = b.bit_and(b.ne(rest, zero), b.lt(floor, zero))
    return b.where(b.bit_and(up, b.ne(y, zero)), b.add(floor, b.scalar(1, x.dtype)), floor)


def true_divide(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x / other as real numbers, promoted and broadcast."""
    return b.div(*float_operands(b, x, other))


def floor_divide(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return the largest whole number not above x / other, in the promoted dtype."""
    return b.floor_div(*operands(b, x, other))


def remainder(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x - other * floor(x / other): the sign of `other`, as Python's %."""
    return b.mod(*operands(b, x, other))


def fmod(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x - other * trunc(x / other): the sign of x, as C's fmod."""
    return b.fmod(*operands(b, x, other))


def pow(b: Builder, x: Numeric, exponent: Numeric) -> Node:
    """Return x to the power `exponent`, promoted and broadcast.

    Raises:
        DTypeError: for an integer x and a negative integer number as exponent.

    >>> import talweg as tw
    >>> tw.pow(tw.tensor([1.0, 2.0, 3.0]), 2).tolist()
    [1.0, 4.0, 9.0]
    """
    if isinstance(exponent, Node) or not isinstance(x, Node):
        return b.pow(*operands(b, x, exponent))
    x, y = operands(b, x, exponent)
    if not x.dtype.is_inexact and isinstance(exponent, int) and exponent < 0:
        raise DTypeError(
            f"integers to negative integer powers are not allowed, got {x.dtype.name} to "
            f"{exponent}; convert to a floating dtype first"
        )
    if exponent == 2:
        return b.mul(x, x)
    if exponent == 3:
        return b.mul(b.mul(x, x), x)
    if exponent == 0.5:
        return b.sqrt(x)
    return b.pow(x, y)


def float_power(b: Builder, x: Numeric, exponent: Numeric) -> Node:
    """Return x to the power `exponent`, computed in float64, or complex128 for complex operands."""
    wide = result_type(b, x, exponent).is_complex
    dtype = dtypes.complex128 if wide else dtypes.float64
    return b.pow(*operands(b, x, exponent, dtype=dtype))


def square(b: Builder, x: Node) -> Node:
    """Return x * x; bool becomes int64."""
    return pow(b, x, 2)


def reciprocal(b: Builder, x: Node) -> Node:
    """Return 1 / x; integers become the default float."""
    return b.reciprocal(to_float(b, x))


def neg(b: Builder, x: Node) -> Node:
    """Return -x.

    Raises:
        DTypeError: for bool.
    """
    if x.dtype is dtypes.bool_:
        raise DTypeError("bool values have no negative; use ~ or logical_not instead")
    return b.neg(x)


def positive(b: Builder, x: Node) -> Node:
    """Return x.

    Raises:
        DTypeError: for bool.
    """
    if x.dtype is dtypes.bool_:
        raise DTypeError("positive does not accept bool")
    return x


def abs(b: Builder, x: Node) -> Node:
    """Return |x|; for complex x its length, which is real. The gradient at 0 is 0.

    Raises:
        DTypeError: for bool.
    """
    return b.abs(x)


def sign(b: Builder, x: Node) -> Node:
    """Return -1, 0 or 1; bool is returned as it is.

    Raises:
        DTypeError: for complex numbers, see `sgn`.
    """
    return b.copy(x) if x.dtype is dtypes.bool_ else b.sign(x)


def sgn(b: Builder, x: Node) -> Node:
    """Return the sign; for complex x the number of length 1 in its direction, and 0 for 0."""
    if not x.dtype.is_complex:
        return sign(b, x)
    length = cast(b, b.abs(x), x.dtype)
    zero = b.scalar(0, x.dtype)
    nothing = b.eq(x, zero)
    return b.where(nothing, zero, b.div(x, b.where(nothing, b.scalar(1, x.dtype), length)))


def _whole(b: Builder, x: Node, name: str) -> bool:
    if x.dtype.is_complex or x.dtype is dtypes.bool_:
        raise DTypeError(f"{name} does not accept {x.dtype.name}")
    return not x.dtype.is_floating_point


def floor(b: Builder, x: Node) -> Node:
    """Return the largest whole number not above x. Its gradient is 0."""
    return b.copy(x) if _whole(b, x, "floor") else b.floor(x)


def ceil(b: Builder, x: Node) -> Node:
    """Return the smallest whole number not below x. Its gradient is 0."""
    return b.copy(x) if _whole(b, x, "ceil") else b.ceil(x)


def trunc(b: Builder, x: Node) -> Node:
    """Return x without its fraction. Its gradient is 0."""
    return b.copy(x) if _whole(b, x, "trunc") else b.trunc(x)


def frac(b: Builder, x: Node) -> Node:
    """Return the fraction of x, with the sign of x.

    Raises:
        DTypeError: for integers.
    """
    return b.sub(x, b.trunc(x))


def round(b: Builder, x: Node, *, decimals: int = 0) -> Node:
    """Return x rounded to `decimals` places, halves to the even neighbour. Its gradient is 0.

    >>> import talweg as tw
    >>> tw.round(tw.tensor([0.5, 1.5, 2.5])).tolist()
    [0.0, 2.0, 2.0]
    """
    if _whole(b, x, "round"):
        if decimals < 0:
            raise DTypeError(f"round: decimals {decimals} needs a floating dtype")
        return b.copy(x)
    if decimals == 0:
        return b.round(x)
    factor = b.scalar(10.0 ** builtins.abs(decimals), x.dtype)
    if decimals > 0:
        return b.div(b.round(b.mul(x, factor)), factor)
    return b.mul(b.round(b.div(x, factor)), factor)


def maximum(b: Builder, x: Node, other: Node) -> Node:
    """Return the larger of two values; NaN if either is NaN. Equal ones share the gradient."""
    return b.maximum(*operands(b, x, other))


def minimum(b: Builder, x: Node, other: Node) -> Node:
    """Return the smaller of two values; NaN if either is NaN. Equal ones share the gradient."""
    return b.minimum(*operands(b, x, other))


def fmax(b: Builder, x: Node, other: Node) -> Node:
    """Return the larger of two values; a number rather than NaN. Of equals, x has the gradient."""
    x, y = operands(b, x, other)
    return b.where(b.bit_or(b.ge(x, y), b.ne(y, y)), x, y)


def fmin(b: Builder, x: Node, other: Node) -> Node:
    """Return the smaller of two values; a number rather than NaN. Of equals, x has the gradient."""
    x, y = operands(b, x, other)
    return b.where(b.bit_or(b.le(x, y), b.ne(y, y)), x, y)


def clamp(b: Builder, x: Node, min: Numeric | None = None, max: Numeric | None = None) -> Node:
    """Return x limited to [min, max]; the gradient is kept at the limits. NaN stays NaN.

    Args:
        x: any real dtype.
        min, max: numbers or Tensors that broadcast with x; one of them may be left out.

    Raises:
        InvalidValue: when both are left out.

    >>> import talweg as tw
    >>> tw.clamp(tw.tensor([-2.0, 0.5, 3.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    if min is None and max is None:
        raise InvalidValue("clamp: at least one of min and max must be given")
    given = [v for v in (min, max) if v is not None]
    x, *limits = operands(b, x, *given)
    if min is not None:
        low = limits.pop(0)
        x = b.where(b.lt(x, low), low, x)
    if limits:
        x = b.where(b.gt(x, limits[0]), limits[0], x)
    return x


def clamp_min(b: Builder, x: Node, min: Numeric) -> Node:
    """Return x, at least `min`."""
    return clamp(b, x, min=min)


def clamp_max(b: Builder, x: Node, max: Numeric) -> Node:
    """Return x, at most `max`."""
    return clamp(b, x, max=max)


def lerp(b: Builder, x: Node, end: Node, weight: Numeric) -> Node:
    """Return x + weight * (end - x).

    Raises:
        DTypeError: when x is not floating or complex.
    """
    if not x.dtype.is_inexact:
        raise DTypeError(f"lerp needs a floating dtype, got {x.dtype.name}")
    x, end, weight = operands(b, x, end, weight)
    return b.add(x, b.mul(weight, b.sub(end, x)))


def addcmul(
    b: Builder, x: Node, tensor1: Node, tensor2: Node, *, value: int | float | complex = 1
) -> Node:
    """Return x + value * tensor1 * tensor2."""
    x, one, two = operands(b, x, tensor1, tensor2)
    return b.add(x, _scaled(b, b.mul(one, two), value, "value"))


def addcdiv(
    b: Builder, x: Node, tensor1: Node, tensor2: Node, *, value: int | float | complex = 1
) -> Node:
    """Return x + value * tensor1 / tensor2.

    Raises:
        DTypeError: when both divisor and dividend are integers.
    """
    if not tensor1.dtype.is_inexact and not tensor2.dtype.is_inexact:
        raise DTypeError("addcdiv of integers is not supported; convert them to a floating dtype")
    x, one, two = operands(b, x, tensor1, tensor2)
    return b.add(x, _scaled(b, b.div(one, two), value, "value"))


def relu(b: Builder, x: Node) -> Node:
    """Return max(x, 0); the gradient at 0 is 0. NaN stays NaN.

    Raises:
        DTypeError: for bool and complex numbers.

    >>> import talweg as tw
    >>> tw.relu(tw.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return b.relu(x)


def copysign(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return the magnitude of x with the sign of `other`; -0.0 counts as negative."""
    x, y = float_operands(b, x, other)
    size = b.abs(x)
    return b.where(_negative(b, y), b.neg(size), size)


def signbit(b: Builder, x: Node) -> Node:
    """Return whether the sign is negative, as bool; True for -0.0."""
    return _negative(b, x)


def _negative(b: Builder, x: Node) -> Node:
    if x.dtype.is_floating_point:
        x = b.bitcast(x, _BITS[x.dtype.bits])
    return b.lt(x, b.scalar(0, x.dtype))


def heaviside(b: Builder, x: Node, values: Node) -> Node:
    """Return 0 where x < 0, `values` where x is 0, and 1 where x > 0."""
    x, values = operands(b, x, values)
    zero = b.scalar(0, x.dtype)
    return b.where(b.eq(x, zero), values, b.cast(b.gt(x, zero), x.dtype))


def nan_to_num(
    b: Builder,
    x: Node,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Node:
    """Replace NaN by `nan` (0) and infinities by the given numbers (the dtype's limits)."""
    if not x.dtype.is_floating_point:
        return b.copy(x)
    info = dtypes.finfo(x.dtype)
    high = b.scalar(info.max if posinf is None else posinf, x.dtype)
    low = b.scalar(info.min if neginf is None else neginf, x.dtype)
    x = b.where(b.ne(x, x), b.scalar(nan or 0.0, x.dtype), x)
    x = b.where(b.eq(x, b.scalar(float("inf"), x.dtype)), high, x)
    return b.where(b.eq(x, b.scalar(float("-inf"), x.dtype)), low, x)


def clone(b: Builder, x: Node) -> Node:
    """Return a copy, through which gradients flow."""
    return b.copy(x)


def constant(b: Builder, x: Node) -> Node:
    """Return x as a value through which no gradient flows: its bits, read twice.

    For real floating x; for shifts and scales that cancel out, such as the maximum in softmax.
    """
    return b.bitcast(b.bitcast(x, _BITS[x.dtype.bits]), x.dtype)


def broadcast_tensors(b: Builder, *tensors: Node) -> tuple[Node, ...]:
    """Return the Tensors, each broadcast to their common shape."""
    nodes = broadcast(b, *tensors)
    shape = max((n.shape for n in nodes), key=len, default=())
    return tuple(n if n.shape == shape else b.expand(n, shape) for n in nodes)


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(add, sub, rsub, mul, div, true_divide, floor_divide, remainder, fmod, pow, float_power),
    *(square, reciprocal, neg, positive, abs, sign, sgn, floor, ceil, trunc, frac, round),
    *(maximum, minimum, fmax, fmin, clamp, clamp_min, clamp_max, lerp, addcmul, addcdiv, relu),
    *(copysign, signbit, heaviside, nan_to_num, clone, broadcast_tensors),
)
METHODS: tuple[str, ...] = tuple(f.__name__ for f in PUBLIC if f not in (rsub, broadcast_tensors))
INPLACE: tuple[str, ...] = (
    *("add", "sub", "mul", "div", "true_divide", "floor_divide", "remainder", "fmod", "pow"),
    *("float_power", "square", "reciprocal", "neg", "abs", "sign", "sgn", "floor", "ceil"),
    *("trunc", "frac", "round", "clamp", "clamp_min", "clamp_max", "lerp", "addcmul", "addcdiv"),
    *("relu", "copysign", "heaviside", "nan_to_num"),
)
ALIASES: dict[str, str] = {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "negative": "neg",
    "absolute": "abs",
    "clip": "clamp",
    "fix": "trunc",
}
