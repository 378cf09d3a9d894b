"""Activation functions: elementwise bends of the line, softmax and its kin.

All are for floating dtypes, keep shape and dtype, and neither overflow nor lose their gradient for
large inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.elementary import sigmoid, tanh
from talweg.fn.math import clamp, constant, relu
from talweg.fn.promotion import as_node, cast, expand_to
from talweg.fn.spatial import check_floating
from talweg.fn.views import slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _limited(b: Builder, x: Node, low: float, high: float) -> Node:
    """Limit x to [low, high] with gradient 0 at the limits."""
    bottom, top = b.scalar(low, x.dtype), b.scalar(high, x.dtype)
    return b.where(b.le(x, bottom), bottom, b.where(b.ge(x, top), top, x))


def _bent(b: Builder, x: Node, below: Callable[[Node], Node]) -> Node:
    """Return x where positive, `below(x)` elsewhere; `below` sees no positive number."""
    zero = b.scalar(0, x.dtype)
    positive = b.gt(x, zero)
    return b.where(positive, x, below(b.where(positive, zero, x)))


def _times(b: Builder, x: Node, factor: float) -> Node:
    return x if factor == 1 else b.mul(x, b.scalar(factor, x.dtype))


def relu6(b: Builder, x: Node) -> Node:
    """Return min(max(x, 0), 6)."""
    return hardtanh(b, x, 0.0, 6.0)


def hardtanh(b: Builder, x: Node, min_val: float = -1.0, max_val: float = 1.0) -> Node:
    """Return x limited to [min_val, max_val]; the gradient at the limits is 0.

    Raises:
        InvalidValue: when min_val exceeds max_val.
    """
    check_floating("hardtanh", x)
    if min_val > max_val:
        raise InvalidValue(f"hardtanh: min_val {min_val} exceeds max_val {max_val}")
    return _limited(b, x, min_val, max_val)


def elu(b: Builder, x: Node, alpha: float = 1.0) -> Node:
    """Return x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al., 2016)."""
    check_floating("elu", x)
    return _bent(b, x, lambda low: _times(b, b.expm1(low), alpha))


def selu(b: Builder, x: Node) -> Node:
    """Return the scaled `elu` that keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return _times(b, elu(b, x, _SELU_ALPHA), _SELU_SCALE)


def celu(b: Builder, x: Node, alpha: float = 1.0) -> Node:
    """Return x where positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron, 2017).

    Raises:
        InvalidValue: when alpha is 0.
    """
    check_floating("celu", x)
    if alpha == 0:
        raise InvalidValue("celu: alpha must not be 0")
    return _bent(b, x, lambda low: _times(b, b.expm1(_times(b, low, 1 / alpha)), alpha))


def gelu(b: Builder, x: Node, approximate: str = "none") -> Node:
    """Return x times the probability that a standard normal number is below x.

    Hendrycks and Gimpel, 2016.

    Args:
        x: any shape.
        approximate: "none", or "tanh" for 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))).

    Raises:
        InvalidValue: for another approximation.
    """
    check_floating("gelu", x)
    if approximate == "none":
        return b.gelu(x, _times(b, b.erfc(_times(b, x, -math.sqrt(0.5))), 0.5))
    if approximate != "tanh":
        raise InvalidValue(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    cube = _times(b, b.mul(b.mul(x, x), x), 0.044715)
    bend = b.tanh(_times(b, b.add(x, cube), math.sqrt(2 / math.pi)))
    return b.mul(_times(b, x, 0.5), b.add(bend, b.scalar(1, x.dtype)))


def silu(b: Builder, x: Node) -> Node:
    """Return x * sigmoid(x), also called swish."""
    check_floating("silu", x)
    return b.mul(x, b.sigmoid(x))


def mish(b: Builder, x: Node) -> Node:
    """Return x * tanh(softplus(x)) (Misra, 2019)."""
    check_floating("mish", x)
    return b.mul(x, b.tanh(log_one_plus_exp(b, x)))


def hardsigmoid(b: Builder, x: Node) -> Node:
    """Return min(max(x + 3, 0), 6) / 6."""
    check_floating("hardsigmoid", x)
    return _times(b, _limited(b, b.add(x, b.scalar(3, x.dtype)), 0.0, 6.0), 1 / 6)


def hardswish(b: Builder, x: Node) -> Node:
    """Return x * hardsigmoid(x) (Howard et al., 2019)."""
    return b.mul(x, hardsigmoid(b, x))


def leaky_relu(b: Builder, x: Node, negative_slope: float = 0.01) -> Node:
    """Return x where positive, negative_slope * x elsewhere."""
    check_floating("leaky_relu", x)
    return _bent(b, x, lambda low: b.mul(low, b.scalar(negative_slope, x.dtype)))


def prelu(b: Builder, x: Node, weight: Node) -> Node:
    """Return x where positive, weight * x elsewhere (He et al., 2015).

    Args:
        x: [N, C, *], or of one dimension at most with a single weight.
        weight: [1] or [C].

    Raises:
        ShapeError: when the weight has neither one element nor one per channel.
    """
    check_floating("prelu", x)
    count = weight.type.size
    channels = x.shape[1] if x.rank > 1 else 1
    if weight.rank > 1 or count not in (1, channels):
        raise ShapeError(
            f"prelu: weight must have 1 element or {channels}, one per channel of the input "
            f"{x.shape}, got shape {weight.shape}"
        )
    if count == 1:
        slope = b.reshape(weight, ())
    else:
        slope = expand_to(b, b.reshape(weight, (count, *(1,) * (x.rank - 2))), x.shape)
    return _bent(b, x, lambda low: b.mul(low, slope))


def rrelu(
    b: Builder,
    x: Node,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    noise: Node | None = None,
) -> Node:
    """Return x where positive, slope * x elsewhere, with random slopes in training.

    Args:
        x: any shape.
        lower, upper: range of the slopes; outside training the slope is their middle.
        training: whether to use the noise.
        noise: uniform in [0, 1), of x's shape; needed in training.

    Raises:
        InvalidValue: when lower exceeds upper, or the noise is missing.
    """
    if lower > upper:
        raise InvalidValue(f"rrelu: lower {lower} exceeds upper {upper}")
    if not training:
        return leaky_relu(b, x, (lower + upper) / 2)
    if noise is None:
        raise InvalidValue("rrelu: training needs noise of the input's shape")
    check_floating("rrelu", x)
    slope = b.add(_times(b, cast(b, noise, x.dtype), upper - lower), b.scalar(lower, x.dtype))
    return _bent(b, x, lambda low: b.mul(low, slope))


def log_one_plus_exp(b: Builder, x: Node) -> Node:
    """Return log(1 + exp(x)), without overflow, with every derivative at 0."""
    zero = b.scalar(0, x.dtype)
    positive = b.gt(x, zero)
    rest = b.log1p(b.exp(b.where(positive, b.neg(x), x)))
    return b.add(b.where(positive, x, zero), rest)


def softplus(b: Builder, x: Node, beta: float = 1.0, threshold: float = 20.0) -> Node:
    """Return log(1 + exp(beta * x)) / beta, and x itself where beta * x exceeds the threshold."""
    check_floating("softplus", x)
    steep = _times(b, x, beta)
    curve = _times(b, log_one_plus_exp(b, steep), 1 / beta)
    return b.where(b.gt(steep, b.scalar(threshold, x.dtype)), x, curve)


def logsigmoid(b: Builder, x: Node) -> Node:
    """Return log(sigmoid(x)), without underflow.

    >>> import talweg as tw
    >>> tw.nn.functional.logsigmoid(tw.tensor([-1000.0, 1000.0])).tolist()
    [-1000.0, -0.0]
    """
    check_floating("logsigmoid", x)
    return b.neg(log_one_plus_exp(b, b.neg(x)))


def softsign(b: Builder, x: Node) -> Node:
    """Return x / (1 + |x|)."""
    check_floating("softsign", x)
    return b.div(x, b.add(b.abs(x), b.scalar(1, x.dtype)))


def softshrink(b: Builder, x: Node, lambd: float = 0.5) -> Node:
    """Return x moved towards 0 by lambd, and 0 within [-lambd, lambd].

    Raises:
        InvalidValue: when lambd is negative.
    """
    check_floating("softshrink", x)
    if lambd < 0:
        raise InvalidValue(f"softshrink: lambd must not be negative, got {lambd}")
    return b.sub(x, clamp(b, x, -lambd, lambd))


def hardshrink(b: Builder, x: Node, lambd: float = 0.5) -> Node:
    """Return x, and 0 within [-lambd, lambd]."""
    check_floating("hardshrink", x)
    inside = b.le(b.abs(x), b.scalar(lambd, x.dtype))
    return b.where(inside, b.scalar(0, x.dtype), x)


def tanhshrink(b: Builder, x: Node) -> Node:
    """Return x - tanh(x)."""
    check_floating("tanhshrink", x)
    return b.sub(x, b.tanh(x))


def threshold(b: Builder, x: Node, threshold: float, value: float) -> Node:
    """Return x where above the threshold, `value` elsewhere."""
    return b.where(b.le(x, b.scalar(threshold, x.dtype)), b.scalar(value, x.dtype), x)


def _softmax_input(
    b: Builder, name: str, x: Node, dim: int | None, dtype: DType | None
) -> tuple[Node, int]:
    """Return x without its maximum along the axis, and the axis."""
    x = x if dtype is None else cast(b, x, dtype)
    check_floating(name, x)
    if dim is None:
        dim = 0 if x.rank in (1, 3) else 1
    axis = normalize_axis(dim, x.rank)
    if x.shape[axis] == 0:
        return x, axis
    return b.sub(x, _along(b, constant(b, b.reduce_max(x, (axis,))), x, axis)), axis


def _along(b: Builder, reduced: Node, x: Node, axis: int) -> Node:
    """Return a value reduced along the axis in the shape of x again."""
    kept = b.reshape(reduced, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    return expand_to(b, kept, x.shape)


def softmax(b: Builder, x: Node, dim: int | None = None, dtype: DType | None = None) -> Node:
    """Return exp(x) / sum(exp(x)) along a dimension, without overflow.

    Args:
        x: any shape.
        dim: where the results sum to 1; None means 0 for 0, 1 and 3 dimensions, else 1.
        dtype: x is converted to it first.

    Raises:
        DTypeError: when x is not floating.

    >>> import talweg as tw
    >>> tw.softmax(tw.tensor([1000.0, 1000.0]), dim=0).tolist()
    [0.5, 0.5]
    """
    if x.rank == 0:
        return b.reshape(softmax(b, b.reshape(x, (1,)), dim, dtype), ())
    shifted, axis = _softmax_input(b, "softmax", x, dim, dtype)
    powers = b.exp(shifted)
    share = b.reciprocal(b.reduce_sum(powers, (axis,)))
    return b.share(shifted, powers, _along(b, share, powers, axis), axis)


def log_softmax(b: Builder, x: Node, dim: int | None = None, dtype: DType | None = None) -> Node:
    """Return log(softmax(x)), without underflow; see `softmax`."""
    if x.rank == 0:
        return b.reshape(log_softmax(b, b.reshape(x, (1,)), dim, dtype), ())
    shifted, axis = _softmax_input(b, "log_softmax", x, dim, dtype)
    total = b.log(b.reduce_sum(b.exp(shifted), (axis,)))
    return b.sub(shifted, _along(b, total, shifted, axis))


def softmin(b: Builder, x: Node, dim: int | None = None, dtype: DType | None = None) -> Node:
    """Return softmax(-x)."""
    return softmax(b, b.neg(x), dim, dtype)


def gumbel_softmax(
    b: Builder, logits: Node, noise: Node, tau: float = 1.0, hard: bool = False, dim: int = -1
) -> Node:
    """Return a sample of a relaxed categorical distribution (Jang et al., 2017).

    Args:
        logits: unnormalised log probabilities.
        noise: of a standard Gumbel distribution, -log(-log(uniform)), of the logits' shape.
        tau: temperature.
        hard: return one-hot vectors, with the gradient of the soft ones.
        dim: along which the result sums to 1.
    """
    axis = normalize_axis(dim, logits.rank)
    soft = softmax(b, _times(b, b.add(logits, as_node(b, noise, logits.dtype)), 1 / tau), axis)
    if not hard:
        return soft
    best = b.arg_max(soft, (axis,))
    place = b.iota(soft.shape, axis, best.dtype)
    chosen = b.cast(b.eq(place, _along(b, best, soft, axis)), soft.dtype)
    return b.add(b.sub(chosen, constant(b, soft)), soft)


def glu(b: Builder, x: Node, dim: int = -1) -> Node:
    """Return first half * sigmoid(second half) along a dimension (Dauphin et al., 2017).

    Raises:
        ShapeError: when the size of the dimension is odd.
    """
    check_floating("glu", x)
    axis = normalize_axis(dim, x.rank)
    if x.rank == 0 or x.shape[axis] % 2:
        raise ShapeError(f"glu: dimension {dim} of shape {x.shape} must have an even size")
    half = x.shape[axis] // 2
    value = slice_axis(b, x, axis, 0, half)
    return b.mul(value, b.sigmoid(slice_axis(b, x, axis, half, 2 * half)))


FUNCTIONAL: tuple[Callable[..., Any], ...] = (
    *(relu, sigmoid, tanh, relu6, hardtanh, elu, selu, celu, gelu, silu, mish, hardsigmoid),
    *(hardswish, leaky_relu, prelu, softplus, logsigmoid, softsign, softshrink, hardshrink),
    *(tanhshrink, threshold, softmax, log_softmax, softmin, glu),
)
PUBLIC: tuple[Callable[..., Any], ...] = (
    *(selu, celu, prelu, hardshrink, threshold, softmax, log_softmax),
)
METHODS: tuple[str, ...] = ("prelu", "hardshrink", "softmax", "log_softmax")
