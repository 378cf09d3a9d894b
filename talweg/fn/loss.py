"""Losses: distances of predictions from targets, likelihoods, cross-entropies.

`reduction` is "mean" (over all elements unless said otherwise), "sum", or "none": the loss of every
element. Margin losses are in `margin`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.source import warn
from talweg.fn.activation import log_one_plus_exp, log_softmax
from talweg.fn.elementary import xlogy
from talweg.fn.math import constant
from talweg.fn.promotion import as_node, broadcast, cast, expand_to, float_operands, full
from talweg.fn.reduction import mean
from talweg.fn.reduction import sum as total
from talweg.fn.spatial import check_floating
from talweg.ir.build import Builder
from talweg.ir.node import Node

_REDUCTIONS = ("none", "mean", "sum")


def reduced(b: Builder, loss: Node, reduction: str) -> Node:
    """Return the mean or sum of losses, or the losses for "none".

    Raises:
        InvalidValue: for another reduction.
    """
    if reduction not in _REDUCTIONS:
        raise InvalidValue(f"reduction must be one of {', '.join(_REDUCTIONS)}; got {reduction!r}")
    if reduction == "none":
        return loss
    return mean(b, loss) if reduction == "mean" else total(b, loss)


def _weighted(b: Builder, loss: Node, weight: Node | None, reduction: str) -> Node:
    """Return weighted losses reduced; the mean is over the weights."""
    if weight is None:
        return reduced(b, loss, reduction)
    loss, weight = broadcast(b, loss, cast(b, weight, loss.dtype))
    out = b.mul(loss, weight)
    if reduction != "mean":
        return reduced(b, out, reduction)
    return b.div(total(b, out), total(b, expand_to(b, weight, out.shape)))


def _pair(b: Builder, name: str, input: Node, target: Node) -> tuple[Node, Node]:
    """Return input and target in one shape and floating dtype, with a warning if they differ."""
    if input.shape != target.shape:
        warn(
            f"{name}: the target's shape {target.shape} differs from the input's {input.shape}; "
            "they are broadcast, which is seldom what was meant"
        )
    x, y = float_operands(b, input, target)
    shape = x.shape if x.rank >= y.rank else y.shape
    return expand_to(b, x, shape), expand_to(b, y, shape)


def _same_shape(name: str, input: Node, target: Node) -> None:
    check_floating(name, input)
    if input.shape != target.shape:
        raise ShapeError(
            f"{name}: the target's shape {target.shape} must be the input's, {input.shape}"
        )


def mse_loss(
    b: Builder, input: Node, target: Node, reduction: str = "mean", weight: Node | None = None
) -> Node:
    """Return (input - target)².

    Args:
        input, target: any one shape.
        weight: multiplies the losses; the mean is then divided by the sum of the weights.

    >>> import talweg as tw
    >>> tw.nn.functional.mse_loss(tw.tensor([1.0, 2.0]), tw.tensor([0.0, 4.0])).item()
    2.5
    """
    gap = b.sub(*_pair(b, "mse_loss", input, target))
    return _weighted(b, b.mul(gap, gap), weight, reduction)


def l1_loss(
    b: Builder, input: Node, target: Node, reduction: str = "mean", weight: Node | None = None
) -> Node:
    """Return |input - target|; see `mse_loss`."""
    return _weighted(b, b.abs(b.sub(*_pair(b, "l1_loss", input, target))), weight, reduction)


def smooth_l1_loss(
    b: Builder, input: Node, target: Node, reduction: str = "mean", beta: float = 1.0
) -> Node:
    """Return d² / (2 beta) for d = |input - target| below beta, d - beta / 2 elsewhere.

    Raises:
        InvalidValue: when beta is negative.
    """
    if beta < 0:
        raise InvalidValue(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(b, input, target, reduction)
    gap = b.sub(*_pair(b, "smooth_l1_loss", input, target))
    size, edge = b.abs(gap), b.scalar(beta, gap.dtype)
    near = b.mul(b.mul(gap, gap), b.scalar(0.5 / beta, gap.dtype))
    far = b.sub(size, b.scalar(beta / 2, gap.dtype))
    return reduced(b, b.where(b.lt(size, edge), near, far), reduction)


def huber_loss(
    b: Builder,
    input: Node,
    target: Node,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Node | None = None,
) -> Node:
    """Return d² / 2 for d = |input - target| up to delta, delta * (d - delta / 2) beyond.

    A weight multiplies the losses; the mean is over their number.

    Raises:
        InvalidValue: when delta is not positive.
    """
    if delta <= 0:
        raise InvalidValue(f"huber_loss: delta must be positive, got {delta}")
    gap = b.sub(*_pair(b, "huber_loss", input, target))
    size, edge = b.abs(gap), b.scalar(delta, gap.dtype)
    near = b.mul(b.mul(gap, gap), b.scalar(0.5, gap.dtype))
    far = b.mul(edge, b.sub(size, b.scalar(delta / 2, gap.dtype)))
    return reduced(b, _scaled(b, b.where(b.le(size, edge), near, far), weight), reduction)


def _class_axis(name: str, input: Node) -> int:
    check_floating(name, input)
    if input.rank == 0:
        raise ShapeError(f"{name}: the input needs a dimension of classes, got shape ()")
    return 0 if input.rank == 1 else 1


def _class_weight(name: str, weight: Node | None, input: Node, axis: int) -> None:
    if weight is not None and weight.shape != (input.shape[axis],):
        raise ShapeError(
            f"{name}: weight must have one element for each of the {input.shape[axis]} classes of "
            f"the input {input.shape}, got shape {weight.shape}"
        )


def _as_indices(target: Node, log_probs: Node, axis: int) -> str:
    """Say how targets of a known wrong shape become class indices; "" for another shape."""
    if target.shape == log_probs.shape:
        return f"; one-hot labels become indices by .argmax({axis})"
    if target.shape == (*log_probs.shape[:axis], 1, *log_probs.shape[axis + 1 :]):
        return f"; remove the axis of size 1 with .squeeze({axis})"
    return ""


class _Picked:
    """Log probabilities at the target classes, each with its weight: 0 where ignored."""

    def __init__(
        self,
        b: Builder,
        name: str,
        log_probs: Node,
        target: Node,
        weight: Node | None,
        ignore_index: int,
    ) -> None:
        axis = _class_axis(name, log_probs)
        shape = (*log_probs.shape[:axis], *log_probs.shape[axis + 1 :])
        if target.dtype.category not in ("int", "uint"):
            raise DTypeError(
                f"{name}: class indices must be integers of shape {shape}, got "
                f"{target.dtype.name} of shape {target.shape}; convert labels with .long()"
            )
        if target.shape != shape:
            raise ShapeError(
                f"{name}: an input of shape {log_probs.shape} needs class indices of shape "
                f"{shape}, got {target.shape}{_as_indices(target, log_probs, axis)}"
            )
        _class_weight(name, weight, log_probs, axis)
        target = cast(b, target, dtypes.int64)
        self.ignored = b.eq(target, b.scalar(ignore_index, dtypes.int64))
        index = b.where(self.ignored, b.scalar(0, dtypes.int64), target)
        place = b.reshape(index, (*shape[:axis], 1, *shape[axis:]))
        self.values = b.reshape(b.take_along(log_probs, place, axis), shape)
        self.zero = b.scalar(0, log_probs.dtype)
        if weight is None:
            present = full(b, shape, 1, log_probs.dtype)
        else:
            present = b.take(cast(b, weight, log_probs.dtype), index, 0)
        self.weights = b.where(self.ignored, self.zero, present)
        kept = b.where(self.ignored, self.zero, self.values)
        self.losses = b.neg(b.mul(kept, self.weights))

    def reduced(self, b: Builder, losses: Node, reduction: str) -> Node:
        """Return losses reduced; the mean is over the weights."""
        if reduction != "mean":
            return reduced(b, losses, reduction)
        return b.div(total(b, losses), total(b, self.weights))


def nll_loss(
    b: Builder,
    input: Node,
    target: Node,
    weight: Node | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Node:
    """Return the negative log likelihood of the target classes.

    Args:
        input: log probabilities, [C], [N, C] or [N, C, d1, ...].
        target: class indices, [], [N] or [N, d1, ...].
        weight: one per class; the mean is divided by the sum of the targets' weights.
        ignore_index: a target that counts for nothing.

    Raises:
        ShapeError, DTypeError: when the target does not fit the input.
        IndexOutOfRange: for a target outside 0 … C - 1, while running.
    """
    picked = _Picked(b, "nll_loss", input, target, weight, ignore_index)
    return picked.reduced(b, picked.losses, reduction)


def cross_entropy(
    b: Builder,
    input: Node,
    target: Node,
    weight: Node | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Node:
    """Return the negative log likelihood of the targets under softmax(input).

    Args:
        input: logits, [C], [N, C] or [N, C, d1, ...].
        target: class indices, [], [N] or [N, d1, ...]; or probabilities, of the input's shape.
        weight: one per class; the mean is divided by the sum of the targets' weights, and for
            probabilities by the number of targets.
        ignore_index: a class index that counts for nothing.
        label_smoothing: this much of each target is spread evenly over all classes.

    Returns:
        A scalar; with reduction "none" the input's shape without C.

    Raises:
        ShapeError, DTypeError: when the target does not fit the input.
        InvalidValue: when label_smoothing is not in [0, 1].
        IndexOutOfRange: for a target outside 0 … C - 1, while running.

    >>> import talweg as tw
    >>> logits = tw.tensor([[0.0, 0.0], [1000.0, 0.0]])
    >>> loss = tw.nn.functional.cross_entropy(logits, tw.tensor([0, 1]), reduction="none")
    >>> [round(v, 4) for v in loss.tolist()]
    [0.6931, 1000.0]
    """
    axis = _class_axis("cross_entropy", input)
    if not 0 <= label_smoothing <= 1:
        raise InvalidValue(f"cross_entropy: label_smoothing {label_smoothing} is not in [0, 1]")
    log_probs = log_softmax(b, input, axis)
    if target.shape == input.shape and target.dtype.is_floating_point:
        _class_weight("cross_entropy", weight, input, axis)
        return _soft_entropy(b, log_probs, target, weight, axis, reduction, label_smoothing)
    picked = _Picked(b, "cross_entropy", log_probs, target, weight, ignore_index)
    loss = picked.reduced(b, picked.losses, reduction)
    if label_smoothing == 0:
        return loss
    spread = b.neg(total(b, _by_class(b, log_probs, weight, axis), axis))
    spread = picked.reduced(b, b.where(picked.ignored, picked.zero, spread), reduction)
    share = b.scalar(label_smoothing / input.shape[axis], loss.dtype)
    return b.add(b.mul(loss, b.scalar(1 - label_smoothing, loss.dtype)), b.mul(spread, share))


def _by_class(b: Builder, x: Node, weight: Node | None, axis: int) -> Node:
    if weight is None:
        return x
    column = b.reshape(cast(b, weight, x.dtype), (*weight.shape, *(1,) * (x.rank - 1 - axis)))
    return b.mul(x, expand_to(b, column, x.shape))


def _soft_entropy(
    b: Builder,
    log_probs: Node,
    target: Node,
    weight: Node | None,
    axis: int,
    reduction: str,
    label_smoothing: float,
) -> Node:
    target = cast(b, target, log_probs.dtype)
    if label_smoothing:
        even = b.scalar(label_smoothing / target.shape[axis], target.dtype)
        target = b.add(b.mul(target, b.scalar(1 - label_smoothing, target.dtype)), even)
    losses = b.neg(total(b, _by_class(b, b.mul(log_probs, target), weight, axis), axis))
    return reduced(b, losses, reduction)


def binary_cross_entropy(
    b: Builder, input: Node, target: Node, weight: Node | None = None, reduction: str = "mean"
) -> Node:
    """Return -(target * log(input) + (1 - target) * log(1 - input)); logs are at least -100.

    Args:
        input: probabilities, any shape; NaN comes out for others.
        target: between 0 and 1, of the input's shape.
        weight: multiplies the losses; broadcast to them.

    Raises:
        ShapeError: when the shapes differ.
    """
    _same_shape("binary_cross_entropy", input, target)
    target = cast(b, target, input.dtype)
    one = b.scalar(1, input.dtype)
    chosen = b.mul(target, _bounded_log(b, input))
    other = b.mul(b.sub(one, target), _bounded_log(b, b.sub(one, input)))
    return reduced(b, _scaled(b, b.neg(b.add(chosen, other)), weight), reduction)


def _bounded_log(b: Builder, x: Node) -> Node:
    """Return max(log(x), -100), with the slope 1 / max(x, 1e-12)."""
    slope = min(1e12, dtypes.finfo(x.dtype).max)
    tiny = b.le(x, b.scalar(1 / slope, x.dtype))
    held, low = constant(b, x), b.scalar(-100, x.dtype)
    value = b.log(held)
    value = b.where(b.lt(value, low), low, value)
    line = b.add(value, b.mul(b.sub(x, held), b.scalar(slope, x.dtype)))
    return b.where(tiny, line, b.log(b.where(tiny, b.scalar(1, x.dtype), x)))


def _scaled(b: Builder, loss: Node, weight: Node | None) -> Node:
    if weight is None:
        return loss
    return b.mul(loss, expand_to(b, cast(b, weight, loss.dtype), loss.shape))


def binary_cross_entropy_with_logits(
    b: Builder,
    input: Node,
    target: Node,
    weight: Node | None = None,
    reduction: str = "mean",
    pos_weight: Node | None = None,
) -> Node:
    """Return the binary cross-entropy of sigmoid(input), without overflow.

    Args:
        input: logits, any shape.
        target: between 0 and 1, of the input's shape.
        weight: multiplies the losses; broadcast to them.
        pos_weight: multiplies the part of the positive targets; broadcast to the input.

    Raises:
        ShapeError: when the shapes differ.
    """
    _same_shape("binary_cross_entropy_with_logits", input, target)
    target = cast(b, target, input.dtype)
    one = b.scalar(1, input.dtype)
    bend = log_one_plus_exp(b, b.neg(input))
    if pos_weight is not None:
        scale = expand_to(b, cast(b, pos_weight, input.dtype), input.shape)
        bend = b.mul(b.add(b.mul(b.sub(scale, one), target), one), bend)
    loss = b.add(b.mul(b.sub(one, target), input), bend)
    return reduced(b, _scaled(b, loss, weight), reduction)


def kl_div(
    b: Builder, input: Node, target: Node, reduction: str = "mean", log_target: bool = False
) -> Node:
    """Return target * (log(target) - input), the Kullback-Leibler divergence per element.

    Args:
        input: log probabilities.
        target: probabilities, or log probabilities with `log_target`; broadcast with the input.
        reduction: also "batchmean": the sum divided by the first size, the divergence's meaning.

    Raises:
        ShapeError: when the shapes do not broadcast.
    """
    x, y = float_operands(b, input, target)
    if log_target:
        loss = b.mul(b.exp(y), b.sub(y, x))
    else:
        loss = b.sub(xlogy(b, y, y), b.mul(y, x))
    if reduction != "batchmean":
        return reduced(b, loss, reduction)
    batch = input.shape[0] if input.rank else 1
    return b.div(total(b, loss), b.scalar(batch, loss.dtype))


def poisson_nll_loss(
    b: Builder,
    input: Node,
    target: Node,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Node:
    """Return the negative log likelihood of counts under a Poisson distribution.

    Args:
        input: the rate, or its logarithm with `log_input`.
        target: counts.
        full: add Stirling's approximation of log(target!) for targets above 1.
        eps: keeps the logarithm of a rate of 0 finite.
    """
    x, y = float_operands(b, input, target)
    if log_input:
        loss = b.sub(b.exp(x), b.mul(y, x))
    else:
        loss = b.sub(x, b.mul(y, b.log(b.add(x, b.scalar(eps, x.dtype)))))
    if full:
        one = b.scalar(1, y.dtype)
        many = b.gt(y, one)
        n = b.where(many, y, one)
        root = b.mul(b.log(b.mul(n, b.scalar(2 * math.pi, n.dtype))), b.scalar(0.5, n.dtype))
        stirling = b.add(b.sub(b.mul(n, b.log(n)), n), root)
        loss = b.add(loss, b.where(many, stirling, b.scalar(0, n.dtype)))
    return reduced(b, loss, reduction)


def at_least_passing(b: Builder, x: Node, low: float) -> Node:
    """Return max(x, low), with the gradient of x everywhere."""
    floor = b.scalar(low, x.dtype)
    return b.where(b.lt(x, floor), b.add(b.sub(x, constant(b, x)), floor), x)


def gaussian_nll_loss(
    b: Builder,
    input: Node,
    target: Node,
    var: Node | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Node:
    """Return (log(var) + (input - target)² / var) / 2.

    Args:
        input: expected values, any shape.
        target: of the input's shape, or broadcast with it.
        var: variances of the input's shape, with its last size 1 or left out, or one number;
            less than eps counts as eps.
        full: add log(2 pi) / 2.

    Raises:
        ShapeError: when the variances do not fit.
        InvalidValue: when eps is not positive.
    """
    check_floating("gaussian_nll_loss", input)
    if eps <= 0:
        raise InvalidValue(f"gaussian_nll_loss: eps must be positive, got {eps}")
    inexact = isinstance(var, Node) and var.dtype.is_inexact
    spread = as_node(b, var, None if inexact else input.dtype)
    if spread.rank and spread.shape != input.shape:
        if spread.shape == input.shape[:-1]:
            spread = b.reshape(spread, (*spread.shape, 1))
        elif spread.shape != (*input.shape[:-1], 1):
            raise ShapeError(
                f"gaussian_nll_loss: var of shape {spread.shape} does not fit the input's shape "
                f"{input.shape}"
            )
    spread = expand_to(b, at_least_passing(b, spread, eps), input.shape)
    x, y, v = float_operands(b, input, target, spread)
    gap = b.sub(x, y)
    loss = b.mul(b.add(b.log(v), b.div(b.mul(gap, gap), v)), b.scalar(0.5, x.dtype))
    if full:
        loss = b.add(loss, b.scalar(0.5 * math.log(2 * math.pi), x.dtype))
    return reduced(b, loss, reduction)


FUNCTIONAL: tuple[Callable[..., Any], ...] = (
    *(mse_loss, l1_loss, smooth_l1_loss, huber_loss, nll_loss, cross_entropy),
    *(binary_cross_entropy, binary_cross_entropy_with_logits, kl_div),
    *(poisson_nll_loss, gaussian_nll_loss),
)
PUBLIC: tuple[Callable[..., Any], ...] = (
    *(binary_cross_entropy_with_logits, kl_div, poisson_nll_loss),
)
METHODS: tuple[str, ...] = ()
