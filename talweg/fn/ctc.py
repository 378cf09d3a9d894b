"""Connectionist temporal classification: the likelihood of a label sequence without alignment.

Graves et al., 2006. The forward recursion runs over the labels with blanks between, in log space;
the gradient follows from it. An impossible place holds a large negative number, not -inf, so that
no gradient becomes NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.base import dtypes
from talweg.base.errors import InvalidValue, ShapeError
from talweg.fn.loss import reduced
from talweg.fn.math import constant
from talweg.fn.promotion import cast, expand_to, full
from talweg.fn.spatial import check_floating
from talweg.fn.views import select, slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node

_NEVER = -1e30


def ctc_loss(
    b: Builder,
    log_probs: Node,
    targets: Node,
    input_lengths: Node,
    target_lengths: Node,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Node:
    """Return the negative log likelihood of each target, over all its alignments.

    Args:
        log_probs: [T, N, C], logarithms of probabilities, float32 or float64.
        targets: [N, S], class indices, never `blank`; what lies beyond a length does not count.
        input_lengths: [N], at most T.
        target_lengths: [N], at most S.
        blank: the class of no label.
        reduction: "mean" divides each loss by its target's length, then takes the mean.
        zero_infinity: a target that is too long for its input costs 0 instead of infinity.

    Raises:
        ShapeError: when the shapes do not fit.
        IndexOutOfRange: for a target outside 0 … C - 1, while running.
    """
    check_floating("ctc_loss", log_probs)
    if log_probs.rank != 3 or targets.rank != 2 or targets.shape[0] != log_probs.shape[1]:
        raise ShapeError(
            "ctc_loss: expected log_probs [T, N, C] and targets [N, S], got shapes "
            f"{log_probs.shape} and {targets.shape}"
        )
    steps, count, classes = log_probs.shape
    for name, lengths in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        if lengths.shape != (count,):
            raise ShapeError(f"ctc_loss: {name} must have shape {(count,)}, got {lengths.shape}")
    if not 0 <= blank < classes or not steps:
        raise InvalidValue(f"ctc_loss: blank {blank} or shape {log_probs.shape} out of range")
    lengths = cast(b, target_lengths, dtypes.int64)
    labels, skips = _with_blanks(b, cast(b, targets, dtypes.int64), lengths, blank)
    wide = expand_to(b, b.reshape(labels, (1, *labels.shape)), (steps, *labels.shape))
    emitted = b.take_along(log_probs, wide, 2)
    forward = _forward(b, emitted, skips, cast(b, input_lengths, dtypes.int64))
    last = b.mul(lengths, b.scalar(2, dtypes.int64))
    before = b.maximum(b.sub(last, b.scalar(1, dtypes.int64)), b.scalar(0, dtypes.int64))
    ends = [
        b.reshape(b.take_along(forward, b.reshape(i, (count, 1)), 1), (count,))
        for i in (last, before)
    ]
    none = b.scalar(_NEVER, log_probs.dtype)
    ends[1] = b.where(b.eq(last, b.scalar(0, dtypes.int64)), none, ends[1])
    loss = b.neg(_log_sum(b, ends))
    far = b.gt(loss, b.scalar(-_NEVER / 10, loss.dtype))
    loss = b.where(far, b.scalar(0.0 if zero_infinity else float("inf"), loss.dtype), loss)
    if reduction == "mean":
        loss = b.div(loss, b.cast(b.maximum(lengths, b.scalar(1, dtypes.int64)), loss.dtype))
    return reduced(b, loss, reduction)


def _with_blanks(b: Builder, targets: Node, lengths: Node, blank: int) -> tuple[Node, Node]:
    """Return [N, 2 S + 1] labels with blanks around each, and where two steps at once may go."""
    count, size = targets.shape
    empty = b.scalar(blank, dtypes.int64)
    place = b.iota((count, size), 1, dtypes.int64)
    inside = b.lt(place, b.expand(b.reshape(lengths, (count, 1)), (count, size)))
    kept = b.where(inside, targets, empty)
    none = (0, 0)
    if not size:
        labels = full(b, (count, 1), blank, dtypes.int64)
        return labels, b.ne(labels, labels)
    labels = b.pad(kept, empty, (0, 1), (0, 1), (0, 1))
    earlier = b.pad(slice_axis(b, labels, 1, 0, 2 * size - 1), empty, (0, 2), none, none)
    return labels, b.bit_and(b.ne(labels, empty), b.ne(labels, earlier))


def _forward(b: Builder, emitted: Node, skips: Node, input_lengths: Node) -> Node:
    """Return the log probability of each example's input ending at each place, [N, places]."""
    steps, count, places = emitted.shape
    never = b.scalar(_NEVER, emitted.dtype)
    first = b.lt(b.iota((count, places), 1, dtypes.int64), b.scalar(2, dtypes.int64))
    state = b.where(first, select(b, emitted, 0, 0), never)
    none = (0, 0)
    for t in range(1, steps):
        one = b.pad(slice_axis(b, state, 1, 0, places - 1), never, (0, 1), none, none)
        two = b.pad(slice_axis(b, state, 1, 0, max(places - 2, 0)), never, (0, 2), none, none)
        two = slice_axis(b, two, 1, 0, places)
        arrived = _log_sum(b, [state, one, b.where(skips, two, never)])
        moved = b.add(arrived, select(b, emitted, 0, t))
        running = b.lt(b.scalar(t, dtypes.int64), b.reshape(input_lengths, (count, 1)))
        state = b.where(expand_to(b, running, state.shape), moved, state)
    return state


def _log_sum(b: Builder, values: list[Node]) -> Node:
    top = values[0]
    for v in values[1:]:
        top = b.maximum(top, v)
    top = constant(b, top)
    total = full(b, top.shape, 0, top.dtype)
    for v in values:
        total = b.add(total, b.exp(b.sub(v, top)))
    return b.add(top, b.log(total))


FUNCTIONAL: tuple[Callable[..., Any], ...] = (ctc_loss,)
PUBLIC: tuple[Callable[..., Any], ...] = ()
METHODS: tuple[str, ...] = ()
