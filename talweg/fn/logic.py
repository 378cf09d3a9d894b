"""Comparison, logic, bits, and choice by a condition."""

from __future__ import annotations

from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue
from talweg.fn.promotion import Numeric, as_node, broadcast, cast, operands, result_type
from talweg.ir.build import Builder
from talweg.ir.node import Node

_LOWEST = float("-inf")


def eq(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x == other as bool, promoted and broadcast.

    >>> import talweg as tw
    >>> tw.eq(tw.tensor([1, 2]), 2).tolist()
    [False, True]
    """
    return b.eq(*operands(b, x, other))


def ne(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x != other as bool, promoted and broadcast."""
    return b.ne(*operands(b, x, other))


def lt(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x < other as bool, promoted and broadcast."""
    return b.lt(*operands(b, x, other))


def le(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x <= other as bool, promoted and broadcast."""
    return b.le(*operands(b, x, other))


def gt(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x > other as bool, promoted and broadcast."""
    return b.gt(*operands(b, x, other))


def ge(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x >= other as bool, promoted and broadcast."""
    return b.ge(*operands(b, x, other))


def isclose(
    b: Builder,
    x: Node,
    other: Node,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Node:
    """Return |x - other| <= atol + rtol * |other| as bool.

    Infinities are close to themselves alone; NaN to NaN if `equal_nan`.

    Raises:
        InvalidValue: when a tolerance is negative.
    """
    if rtol < 0 or atol < 0:
        raise InvalidValue(f"isclose: tolerances must not be negative, got {rtol} and {atol}")
    x, y = operands(b, x, other)
    close = b.eq(x, y)
    if equal_nan and x.dtype.is_inexact:
        close = b.bit_or(close, b.bit_and(b.is_nan(x), b.is_nan(y)))
    if rtol == 0 and atol == 0:
        return close
    if not x.dtype.is_inexact:
        x, y = b.cast(x, dtypes.float64), b.cast(y, dtypes.float64)
    gap, size = b.abs(b.sub(x, y)), b.abs(y)
    limit = b.add(b.mul(size, b.scalar(rtol, size.dtype)), b.scalar(atol, size.dtype))
    return b.bit_or(close, b.bit_and(b.is_finite(gap), b.le(gap, limit)))


def isnan(b: Builder, x: Node) -> Node:
    """Return where x is NaN, as bool."""
    return b.ne(x, x)


def isinf(b: Builder, x: Node) -> Node:
    """Return where x is infinite, as bool."""
    return b.is_inf(x) if x.dtype.is_inexact else b.ne(x, x)


def isfinite(b: Builder, x: Node) -> Node:
    """Return where x is neither infinite nor NaN, as bool."""
    return b.is_finite(x) if x.dtype.is_inexact else b.eq(x, x)


def isposinf(b: Builder, x: Node) -> Node:
    """Return where x is plus infinity, as bool.

    Raises:
        DTypeError: for complex numbers.
    """
    return _is_number(b, x, float("inf"), "isposinf")


def isneginf(b: Builder, x: Node) -> Node:
    """Return where x is minus infinity, as bool.

    Raises:
        DTypeError: for complex numbers.
    """
    return _is_number(b, x, float("-inf"), "isneginf")


def _is_number(b: Builder, x: Node, value: float, name: str) -> Node:
    if x.dtype.is_complex:
        raise DTypeError(f"{name} does not accept {x.dtype.name}")
    return b.eq(x, b.scalar(value, x.dtype)) if x.dtype.is_inexact else b.ne(x, x)


def isreal(b: Builder, x: Node) -> Node:
    """Return where the imaginary part is 0, as bool."""
    if not x.dtype.is_complex:
        return b.bit_or(b.eq(x, x), b.ne(x, x))
    part = b.imag(x)
    return b.eq(part, b.scalar(0, part.dtype))


def _truths(b: Builder, *values: Numeric) -> list[Node]:
    return broadcast(b, *(cast(b, as_node(b, v), dtypes.bool_) for v in values))


def logical_and(b: Builder, x: Node, other: Node) -> Node:
    """Return where both are not 0, as bool."""
    return b.bit_and(*_truths(b, x, other))


def logical_or(b: Builder, x: Node, other: Node) -> Node:
    """Return where at least one is not 0, as bool."""
    return b.bit_or(*_truths(b, x, other))


def logical_xor(b: Builder, x: Node, other: Node) -> Node:
    """Return where exactly one is not 0, as bool."""
    return b.bit_xor(*_truths(b, x, other))


def logical_not(b: Builder, x: Node) -> Node:
    """Return where x is 0, as bool."""
    return b.logical_not(x)


def bitwise_and(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return the bits set in both; for bool: logical and.

    Raises:
        DTypeError: for floating and complex dtypes.
    """
    return b.bit_and(*operands(b, x, other))


def bitwise_or(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return the bits set in either; for bool: logical or.

    Raises:
        DTypeError: for floating and complex dtypes.
    """
    return b.bit_or(*operands(b, x, other))


def bitwise_xor(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return the bits set in exactly one; for bool: exclusive or.

    Raises:
        DTypeError: for floating and complex dtypes.
    """
    return b.bit_xor(*operands(b, x, other))


def bitwise_not(b: Builder, x: Node) -> Node:
    """Return every bit turned over; for bool: logical not.

    Raises:
        DTypeError: for floating and complex dtypes.
    """
    return b.bit_not(x)


def bitwise_left_shift(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x * 2**other, for integers."""
    return b.shift_left(*operands(b, x, other))


def bitwise_right_shift(b: Builder, x: Numeric, other: Numeric) -> Node:
    """Return x / 2**other rounded down, for integers."""
    return b.shift_right(*operands(b, x, other))


def where(b: Builder, condition: Node, x: Numeric, other: Numeric) -> Node:
    """Return x where the condition holds, else `other`; all three are broadcast.

    Raises:
        DTypeError: when the condition is not bool.

    >>> import talweg as tw
    >>> tw.where(tw.tensor([True, False]), tw.tensor([1, 2]), 0).tolist()
    [1, 0]
    """
    if condition.dtype is not dtypes.bool_:
        raise DTypeError(
            f"where: the condition must be bool, got {condition.dtype.name}; compare it first, "
            "for example condition != 0"
        )
    dtype = result_type(b, x, other)
    if _is_lowest(other, dtype) and isinstance(x, Node) and x.dtype is dtype:
        return b.masked(*broadcast(b, condition, x), _LOWEST)
    chosen, rest = as_node(b, x, dtype), as_node(b, other, dtype)
    return b.where(*broadcast(b, condition, chosen, rest))


def masked_fill(b: Builder, x: Node, mask: Node, value: Numeric) -> Node:
    """Return x with `value`, converted to the dtype of x, where the mask holds.

    Args:
        x: any shape.
        mask: bool, of a shape that broadcasts with x.
        value: a number or a 0-d Tensor.

    Raises:
        DTypeError: when the mask is not bool, or a complex value meets a real Tensor.
        InvalidValue: when the value has dimensions.
    """
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(f"masked_fill: the mask must be bool, got {mask.dtype.name}")
    if isinstance(value, Node) and value.rank:
        raise InvalidValue(f"masked_fill: the value must be 0-d, got shape {value.shape}")
    if result_type(b, value).is_complex and not x.dtype.is_complex:
        raise DTypeError(
            f"masked_fill: a Tensor of {x.dtype.name} cannot hold {value!r}; convert it first"
        )
    if _is_lowest(value, x.dtype):
        return b.masked(*broadcast(b, b.logical_not(mask), x), _LOWEST)
    return b.where(*broadcast(b, mask, as_node(b, value, x.dtype), x))


def _is_lowest(value: Numeric, dtype: DType) -> bool:
    """Whether a value is minus infinity, as the program has it written down: no other next time."""
    return type(value) is float and value == _LOWEST and dtype.is_floating_point


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(eq, ne, lt, le, gt, ge, isclose, isnan, isinf, isfinite, isposinf, isneginf, isreal),
    *(logical_and, logical_or, logical_xor, logical_not),
    *(bitwise_and, bitwise_or, bitwise_xor, bitwise_not),
    *(bitwise_left_shift, bitwise_right_shift, where, masked_fill),
)
METHODS: tuple[str, ...] = tuple(f.__name__ for f in PUBLIC if f is not where)
INPLACE: tuple[str, ...] = (
    *("eq", "ne", "lt", "le", "gt", "ge"),
    *("logical_and", "logical_or", "logical_xor", "logical_not"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"),
    *("bitwise_left_shift", "bitwise_right_shift", "masked_fill"),
)
ALIASES: dict[str, str] = {
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
}
