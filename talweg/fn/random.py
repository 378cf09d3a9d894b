"""Random values as functions of a key and an offset.

Every function takes `key` and `offset`, 0-d uint64 Nodes, and draws from `RandomBits`: the same key
and offset give the same values. A draw of n elements moves the offset on by `counters(n)`.
"""

from __future__ import annotations

import math

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape
from talweg.fn.promotion import Numeric, as_node, broadcast, cast, full
from talweg.fn.promotion import operands as promoted
from talweg.fn.reduction import sum as total
from talweg.fn.views import slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node

_WORD = 2.0**-32
_MANTISSA = {dtypes.float32: 24, dtypes.float16: 11, dtypes.bfloat16: 8}


def counters(size: int) -> int:
    """Return by how much a draw of `size` elements moves the offset on: two words per element."""
    return (2 * size + 3) // 4


def _words(b: Builder, key: Node, offset: Node, shape: Shape) -> tuple[Node, Node]:
    both = b.random_bits(key, offset, (2, *shape))
    first, second = slice_axis(b, both, 0, 0, 1), slice_axis(b, both, 0, 1, 2)
    return b.reshape(first, shape), b.reshape(second, shape)


def _top(b: Builder, word: Node, bits: int) -> Node:
    return b.shift_right(word, b.scalar(32 - bits, dtypes.uint32))


def _check_float(name: str, dtype: DType) -> None:
    if not dtype.is_floating_point:
        raise DTypeError(f"{name} needs a floating dtype, got {dtype.name}")


def uniform(
    b: Builder,
    key: Node,
    offset: Node,
    shape: Shape,
    low: Numeric = 0.0,
    high: Numeric = 1.0,
    dtype: DType = dtypes.float32,
) -> Node:
    """Return values evenly spread over [low, high).

    Multiples of 2**-24 of the range for float32, of 2**-53 for float64, and of 2**-11 and 2**-8 for
    float16 and bfloat16.

    Raises:
        InvalidValue: when `low` exceeds `high`.
        DTypeError: for a dtype that is not floating.
    """
    _check_float("uniform", dtype)
    numbers = not isinstance(low, Node) and not isinstance(high, Node)
    if numbers and low > high:  # type: ignore[operator]
        raise InvalidValue(f"uniform: low {low} exceeds high {high}")
    if dtype is dtypes.float64:
        first, second = _words(b, key, offset, shape)
        wide = b.mul(b.cast(_top(b, first, 27), dtype), b.scalar(2.0**26, dtype))
        whole = b.add(wide, b.cast(_top(b, second, 26), dtype))
        unit = b.mul(whole, b.scalar(2.0**-53, dtype))
    else:
        bits = _MANTISSA[dtype]
        word = b.random_bits(key, offset, shape)
        unit = b.mul(b.cast(_top(b, word, bits), dtype), b.scalar(2.0**-bits, dtype))
    if numbers and low == 0 and high == 1:
        return unit
    bottom, top = as_node(b, low, dtype), as_node(b, high, dtype)
    unit, width, bottom = broadcast(b, unit, b.sub(*broadcast(b, top, bottom)), bottom)
    return b.add(b.mul(unit, width), bottom)


def normal(
    b: Builder,
    key: Node,
    offset: Node,
    shape: Shape,
    mean: Numeric = 0.0,
    std: Numeric = 1.0,
    dtype: DType = dtypes.float32,
) -> Node:
    """Return normally distributed values: mean + std * sqrt(2) * erfinv(u).

    u is an odd multiple of 2**-24 (2**-52 for float64) in (-1, 1), so that values reach 5.4 (8.1)
    standard deviations. Half types are drawn in float32 and rounded.

    Raises:
        InvalidValue: when `std` is a negative number.
        DTypeError: for a dtype that is not floating.
    """
    _check_float("normal", dtype)
    if not isinstance(std, Node) and std < 0:  # type: ignore[operator]
        raise InvalidValue(f"normal: std must not be negative, got {std}")
    wide = dtype if dtype.bits > 16 else dtypes.float32
    if wide is dtypes.float64:
        first, second = _words(b, key, offset, shape)
        high = b.mul(b.cast(_top(b, first, 26), wide), b.scalar(2.0**27, wide))
        low = b.mul(b.cast(_top(b, second, 26), wide), b.scalar(2.0, wide))
        odd = b.add(b.sub(high, b.scalar(2.0**52 - 1, wide)), low)
        unit = b.mul(odd, b.scalar(2.0**-52, wide))
    else:
        word = b.cast(_top(b, b.random_bits(key, offset, shape), 24), dtypes.int32)
        twice = b.add(word, word)
        odd = b.sub(twice, b.scalar(2**24 - 1, dtypes.int32))
        unit = b.mul(b.cast(odd, wide), b.scalar(2.0**-24, wide))
    out = cast(b, b.mul(b.erfinv(unit), b.scalar(math.sqrt(2), wide)), dtype)
    if isinstance(std, Node) or std != 1:
        out = b.mul(*broadcast(b, out, as_node(b, std, dtype)))
    if isinstance(mean, Node) or mean != 0:
        out = b.add(*broadcast(b, out, as_node(b, mean, dtype)))
    return out


def randint(
    b: Builder,
    key: Node,
    offset: Node,
    low: int,
    high: int,
    shape: Shape,
    dtype: DType = dtypes.int64,
) -> Node:
    """Return whole numbers evenly spread over [low, high): the upper word of x * (high - low).

    x has 64 bits; no number's probability is off by more than 2**-64.

    Source: Lemire, "Fast random integer generation in an interval", ACM TOMACS 29 (2019).

    Raises:
        InvalidValue: when the range is empty or wider than 2**64 - 1.
    """
    span = high - low
    if not 0 < span < 2**64:
        raise InvalidValue(f"randint: [{low}, {high}) must hold 1 to 2**64 - 1 numbers")
    first, second = (b.cast(w, dtypes.uint64) for w in _words(b, key, offset, shape))

    def number(value: int) -> Node:
        return b.scalar(value, dtypes.uint64)

    half, mask = number(32), number(2**32 - 1)
    bottom = number(span & (2**32 - 1))
    low_low = b.shift_right(b.mul(second, bottom), half)
    high_low = b.mul(first, bottom)
    if span < 2**32:
        drawn = b.shift_right(b.add(high_low, low_low), half)
    else:
        top = number(span >> 32)
        low_high, high_high = b.mul(second, top), b.mul(first, top)
        middle = b.add(b.bit_and(low_high, mask), b.bit_and(high_low, mask))
        carry = b.shift_right(b.add(middle, low_low), half)
        sides = b.add(b.shift_right(low_high, half), b.shift_right(high_low, half))
        drawn = b.add(b.add(high_high, sides), carry)
    out = b.cast(drawn, dtypes.int64)
    if low:
        out = b.add(out, b.scalar(low, dtypes.int64))
    return cast(b, out, dtype)


def bernoulli(b: Builder, key: Node, offset: Node, p: Node, dtype: DType = dtypes.float32) -> Node:
    """Return 1 with probability p, else 0; one value per element of p (floating, from 0 to 1)."""
    _check_float("bernoulli", p.dtype)
    wide = p.dtype if p.dtype.bits > 16 else dtypes.float32
    drawn = uniform(b, key, offset, p.shape, dtype=wide)
    return cast(b, b.lt(drawn, cast(b, p, wide)), dtype)


def dropout_mask(b: Builder, key: Node, offset: Node, shape: Shape, p: float) -> Node:
    """Return bools that are False with probability p.

    Raises:
        InvalidValue: when p lies outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise InvalidValue(f"dropout: the probability must lie between 0 and 1, got {p}")
    threshold = round(p * 2**32)
    if threshold == 2**32:
        return full(b, shape, False, dtypes.bool_)
    return b.ge(b.random_bits(key, offset, shape), b.scalar(threshold, dtypes.uint32))


def exponential(
    b: Builder,
    key: Node,
    offset: Node,
    shape: Shape,
    lambd: float = 1.0,
    dtype: DType = dtypes.float32,
) -> Node:
    """Return exponentially distributed values of rate `lambd`: -log(1 - u) / lambd.

    Raises:
        InvalidValue: when the rate is not positive.
    """
    if lambd <= 0:
        raise InvalidValue(f"exponential: lambd must be positive, got {lambd}")
    wide = dtype if dtype.bits > 16 else dtypes.float32
    drawn = uniform(b, key, offset, shape, dtype=wide)
    scaled = b.div(b.neg(b.log1p(b.neg(drawn))), b.scalar(lambd, wide))
    return cast(b, scaled, dtype)


def cauchy(
    b: Builder,
    key: Node,
    offset: Node,
    shape: Shape,
    median: float = 0.0,
    sigma: float = 1.0,
    dtype: DType = dtypes.float32,
) -> Node:
    """Return values of the Cauchy distribution: median + sigma * tan(pi * (u - 1/2)).

    Raises:
        InvalidValue: when sigma is not positive.
    """
    if sigma <= 0:
        raise InvalidValue(f"cauchy: sigma must be positive, got {sigma}")
    turn = uniform(b, key, offset, shape, -0.5, 0.5, dtype)
    steep = b.tan(b.mul(turn, b.scalar(math.pi, dtype)))
    return b.add(b.mul(steep, b.scalar(sigma, dtype)), b.scalar(median, dtype))


def geometric(
    b: Builder, key: Node, offset: Node, shape: Shape, p: float, dtype: DType = dtypes.float32
) -> Node:
    """Return how many trials of success probability p it takes to succeed once, from 1 on.

    Raises:
        InvalidValue: when p lies outside (0, 1).
    """
    if not 0 < p < 1:
        raise InvalidValue(f"geometric: p must lie between 0 and 1, got {p}")
    wide = dtypes.float64
    drawn = b.log1p(b.neg(uniform(b, key, offset, shape, dtype=wide)))
    trials = b.floor(b.div(drawn, b.scalar(math.log1p(-p), wide)))
    return cast(b, b.add(trials, b.scalar(1, wide)), dtype)


def _uint64(b: Builder, key: Node, offset: Node, shape: Shape) -> Node:
    first, second = (b.cast(w, dtypes.uint64) for w in _words(b, key, offset, shape))
    return b.bit_or(b.shift_left(first, b.scalar(32, dtypes.uint64)), second)


def permutation(b: Builder, key: Node, offset: Node, n: int, dtype: DType = dtypes.int64) -> Node:
    """Return 0 … n - 1 in random order: the order of n random 64-bit numbers."""
    return cast(b, b.arg_sort(_uint64(b, key, offset, (n,)), 0, False), dtype)


def multinomial(
    b: Builder,
    key: Node,
    offset: Node,
    weights: Node,
    num_samples: int,
    replacement: bool = False,
) -> Node:
    """Return positions along the last dimension, drawn with probabilities in proportion to weights.

    With replacement, the cumulative weights are searched. Without, the largest of weight / q are
    taken, for exponentially distributed q.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", IPL 97 (2006).

    Args:
        weights: [n] or [m, n], floating, not negative; each row's sum is positive.
        num_samples: draws per row; at most n without replacement.

    Returns:
        int64, [num_samples] or [m, num_samples].

    Raises:
        ShapeError, DTypeError, InvalidValue: when an argument does not fit.
    """
    _check_float("multinomial", weights.dtype)
    if weights.rank not in (1, 2):
        raise ShapeError(f"multinomial: expected 1 or 2 dimensions, got shape {weights.shape}")
    n, axis = weights.shape[-1], weights.rank - 1
    if num_samples < 1 or (not replacement and num_samples > n):
        raise InvalidValue(
            f"multinomial: cannot draw {num_samples} of {n} positions "
            f"{'with' if replacement else 'without'} replacement"
        )
    wide = cast(b, weights, dtypes.float64)
    if not replacement:
        drawn = exponential(b, key, offset, weights.shape, dtype=dtypes.float64)
        order = b.arg_sort(b.div(wide, drawn), axis, True)
        return slice_axis(b, order, axis, 0, num_samples)
    shape = (*weights.shape[:-1], num_samples)
    word = b.cast(b.random_bits(key, offset, shape), dtypes.float64)
    heights, whole = promoted(
        b, b.mul(word, b.scalar(_WORD, dtypes.float64)), total(b, wide, -1, True)
    )
    return b.search_sorted(b.cum_sum(wide, axis), b.mul(heights, whole), True)
