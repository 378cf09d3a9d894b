"""Distances between vectors, and losses that want them apart by a margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.base import dtypes
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.activation import log_one_plus_exp, logsigmoid
from talweg.fn.loss import at_least_passing, reduced
from talweg.fn.math import relu
from talweg.fn.promotion import cast, expand_to, float_operands, full
from talweg.fn.reduction import mean, vector_norm
from talweg.fn.reduction import sum as total
from talweg.fn.scans import cumprod
from talweg.fn.spatial import check_floating
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _same_rank(name: str, **nodes: Node) -> None:
    if len({n.rank for n in nodes.values()}) > 1:
        found = ", ".join(f"{k} {n.shape}" for k, n in nodes.items())
        raise ShapeError(f"{name}: all inputs must have the same number of dimensions, got {found}")


def cosine_similarity(b: Builder, x1: Node, x2: Node, dim: int = 1, eps: float = 1e-8) -> Node:
    """Return x1 · x2 / (|x1| |x2|) along a dimension; norms are at least eps.

    Raises:
        ShapeError: when the shapes do not broadcast.

    >>> import talweg as tw
    >>> tw.cosine_similarity(tw.tensor([[3.0, 4.0]]), tw.tensor([[8.0, 6.0]])).tolist()
    [0.96...]
    """
    x, y = float_operands(b, x1, x2)
    axis = normalize_axis(dim, max(x.rank, y.rank))

    def unit(v: Node) -> Node:
        length = vector_norm(b, v, 2, axis, True)
        return b.div(v, expand_to(b, at_least_passing(b, length, eps), v.shape))

    return total(b, b.mul(unit(x), unit(y)), axis)


def pairwise_distance(
    b: Builder, x1: Node, x2: Node, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Node:
    """Return the p-norm of x1 - x2 + eps along the last dimension.

    Args:
        x1, x2: [N, D] or [D]; they are broadcast.
        p: the norm's exponent.
        eps: keeps the gradient of equal vectors finite.
        keepdim: keep the last dimension as 1.
    """
    gap = b.sub(*float_operands(b, x1, x2))
    return vector_norm(b, b.add(gap, b.scalar(eps, gap.dtype)), p, -1, keepdim)


def hinge_embedding_loss(
    b: Builder, input: Node, target: Node, margin: float = 1.0, reduction: str = "mean"
) -> Node:
    """Return input for targets of 1, max(0, margin - input) for targets of -1."""
    x, y = float_operands(b, input, target)
    zero, one = b.scalar(0, x.dtype), b.scalar(1, x.dtype)
    far = relu(b, b.sub(b.scalar(margin, x.dtype), x))
    apart = b.where(b.ne(y, one), far, zero)
    return reduced(b, b.add(apart, b.where(b.ne(y, b.neg(one)), x, zero)), reduction)


def margin_ranking_loss(
    b: Builder,
    input1: Node,
    input2: Node,
    target: Node,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Node:
    """Return max(0, -target * (input1 - input2) + margin): target 1 wants input1 above input2.

    Raises:
        ShapeError: when the inputs have different numbers of dimensions.
    """
    _same_rank("margin_ranking_loss", input1=input1, input2=input2, target=target)
    x, y, t = float_operands(b, input1, input2, target)
    gap = b.mul(b.neg(t), b.sub(x, y))
    return reduced(b, relu(b, b.add(gap, b.scalar(margin, gap.dtype))), reduction)


def cosine_embedding_loss(
    b: Builder,
    input1: Node,
    input2: Node,
    target: Node,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Node:
    """Return 1 - cos for targets of 1, max(0, cos - margin) for targets of -1.

    Args:
        input1, input2: [N, D], or [D].
        target: [N] or [].
        margin: cosines below it are far enough apart.
        reduction: see `loss`.

    Raises:
        ShapeError: when the inputs differ in shape or do not fit the target.
    """
    if target.rank > 1 or not input1.rank == input2.rank == target.rank + 1:
        raise ShapeError(
            f"cosine_embedding_loss: inputs of shapes {input1.shape} and {input2.shape} do not fit "
            f"a target of shape {target.shape}: expected [N, D], [N, D], [N] or [D], [D], []"
        )
    x, y = float_operands(b, input1, input2)

    def dot(u: Node, v: Node) -> Node:
        return total(b, b.mul(u, v), target.rank)

    tiny = b.scalar(1e-12, x.dtype)
    lengths = b.mul(b.add(dot(x, x), tiny), b.add(dot(y, y), tiny))
    cosine, sign = float_operands(b, b.div(dot(x, y), b.sqrt(lengths)), target)
    zero, one = b.scalar(0, cosine.dtype), b.scalar(1, cosine.dtype)
    apart = relu(b, b.sub(cosine, b.scalar(margin, cosine.dtype)))
    near = b.where(b.eq(sign, one), b.sub(one, cosine), zero)
    return reduced(b, b.add(near, b.where(b.eq(sign, b.neg(one)), apart, zero)), reduction)


def triplet_margin_loss(
    b: Builder,
    anchor: Node,
    positive: Node,
    negative: Node,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Node:
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Args:
        anchor, positive, negative: [N, D] or [D].
        margin: how much farther the negative should be.
        p, eps: see `pairwise_distance`.
        swap: take d(positive, negative) where it is smaller (Balntas et al., 2016).
        reduction: see `loss`.

    Raises:
        ShapeError: when the inputs have different numbers of dimensions.
    """
    _same_rank("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    near = pairwise_distance(b, anchor, positive, p, eps)
    far = pairwise_distance(b, anchor, negative, p, eps)
    if swap:
        far = b.minimum(far, pairwise_distance(b, positive, negative, p, eps))
    return reduced(b, relu(b, b.add(b.sub(near, far), b.scalar(margin, near.dtype))), reduction)


def soft_margin_loss(b: Builder, input: Node, target: Node, reduction: str = "mean") -> Node:
    """Return log(1 + exp(-target * input)), without overflow; targets are 1 or -1."""
    x, y = float_operands(b, input, target)
    return reduced(b, log_one_plus_exp(b, b.mul(b.neg(y), x)), reduction)


def _rows(b: Builder, name: str, input: Node, target: Node, whole: bool) -> tuple[Node, Node]:
    """Return input as [N, C] and the int64 target as [N, C] if `whole`, else [N]."""
    check_floating(name, input)
    wanted = input.shape if whole else input.shape[:-1]
    if input.rank not in (1, 2) or target.shape not in (
        wanted,
        (1,) if input.rank == 1 else wanted,
    ):
        raise ShapeError(
            f"{name}: expected an input [N, C] or [C] and a target of shape {wanted}, got shapes "
            f"{input.shape} and {target.shape}"
        )
    rows = input if input.rank == 2 else b.reshape(input, (1, *input.shape))
    shape = rows.shape if whole else rows.shape[:1]
    return rows, b.reshape(cast(b, target, dtypes.int64), shape)


def multi_margin_loss(
    b: Builder,
    input: Node,
    target: Node,
    p: int = 1,
    margin: float = 1.0,
    weight: Node | None = None,
    reduction: str = "mean",
) -> Node:
    """Return the sum over other classes of max(0, margin - x[target] + x[class]) ** p, over C.

    Args:
        input: scores [N, C] or [C].
        target: class indices [N] or [].
        p: 1 or 2.
        margin: how much higher the target's score should be.
        weight: [C], multiplies the terms of each target class.
        reduction: see `loss`.

    Raises:
        InvalidValue: for another p.
        ShapeError: when the shapes do not fit.
        IndexOutOfRange: for a target outside 0 … C - 1, while running.
    """
    if p not in (1, 2):
        raise InvalidValue(f"multi_margin_loss: p must be 1 or 2, got {p}")
    rows, index = _rows(b, "multi_margin_loss", input, target, False)
    place = b.reshape(index, (rows.shape[0], 1))
    chosen = expand_to(b, b.take_along(rows, place, 1), rows.shape)
    gap = relu(b, b.add(b.sub(rows, chosen), b.scalar(margin, rows.dtype)))
    gap = b.mul(gap, gap) if p == 2 else gap
    if weight is not None:
        scale = b.take(cast(b, weight, rows.dtype), place, 0)
        gap = b.mul(gap, expand_to(b, scale, rows.shape))
    own = b.eq(b.iota(rows.shape, 1, dtypes.int64), expand_to(b, place, rows.shape))
    losses = mean(b, b.where(own, b.scalar(0, rows.dtype), gap), 1)
    return reduced(b, losses if input.rank == 2 else b.reshape(losses, ()), reduction)


def multilabel_margin_loss(b: Builder, input: Node, target: Node, reduction: str = "mean") -> Node:
    """Return the sum over targets t and other classes c of max(0, 1 - (x[t] - x[c])), over C.

    Args:
        input: scores [N, C] or [C].
        target: class indices of the same shape; those from the first -1 on do not count.
        reduction: see `loss`.

    Raises:
        ShapeError: when the shapes differ.
        IndexOutOfRange: for a target of C or more, while running.
    """
    rows, index = _rows(b, "multilabel_margin_loss", input, target, True)
    count, classes = rows.shape
    zero, none = b.scalar(0, rows.dtype), b.scalar(0, dtypes.int64)
    counted = cumprod(b, b.cast(b.ge(index, none), dtypes.int64), 1)
    index = b.where(b.gt(counted, none), index, none)
    marks = b.add_along(full(b, rows.shape, 0, dtypes.int64), index, counted, 1)
    three = (count, classes, classes)
    chosen = b.reshape(b.take_along(rows, index, 1), (count, classes, 1))
    others = expand_to(b, b.reshape(rows, (count, 1, classes)), three)
    gap = relu(b, b.add(b.sub(others, expand_to(b, chosen, three)), b.scalar(1, rows.dtype)))
    real = expand_to(b, b.reshape(b.gt(counted, none), (count, classes, 1)), three)
    other = expand_to(b, b.reshape(b.eq(marks, none), (count, 1, classes)), three)
    kept = b.where(b.bit_and(real, other), gap, zero)
    losses = b.div(total(b, kept, (1, 2)), b.scalar(classes, rows.dtype))
    return reduced(b, losses if input.rank == 2 else b.reshape(losses, ()), reduction)


def multilabel_soft_margin_loss(
    b: Builder, input: Node, target: Node, weight: Node | None = None, reduction: str = "mean"
) -> Node:
    """Return the binary cross-entropy of sigmoid(input), its mean over the last dimension.

    Args:
        input: logits [N, C] or [C].
        target: 0 or 1, of the same shape.
        weight: [C], multiplies the losses of each class.
        reduction: see `loss`.

    Raises:
        ShapeError: when the shapes differ.
    """
    check_floating("multilabel_soft_margin_loss", input)
    if input.shape != target.shape or not input.rank:
        raise ShapeError(
            f"multilabel_soft_margin_loss: the target's shape {target.shape} must be the input's, "
            f"{input.shape}, with a dimension of classes"
        )
    target = cast(b, target, input.dtype)
    rest = b.sub(b.scalar(1, input.dtype), target)
    likely = b.add(b.mul(target, logsigmoid(b, input)), b.mul(rest, logsigmoid(b, b.neg(input))))
    loss = b.neg(likely)
    if weight is not None:
        loss = b.mul(loss, expand_to(b, cast(b, weight, loss.dtype), loss.shape))
    return reduced(b, mean(b, loss, -1), reduction)


FUNCTIONAL: tuple[Callable[..., Any], ...] = (
    *(cosine_similarity, pairwise_distance, hinge_embedding_loss, margin_ranking_loss),
    *(cosine_embedding_loss, triplet_margin_loss, soft_margin_loss, multi_margin_loss),
    *(multilabel_margin_loss, multilabel_soft_margin_loss),
)
PUBLIC: tuple[Callable[..., Any], ...] = (
    *(cosine_similarity, pairwise_distance, hinge_embedding_loss, margin_ranking_loss),
    *(cosine_embedding_loss, triplet_margin_loss),
)
METHODS: tuple[str, ...] = ()
