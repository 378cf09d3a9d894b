"""Attention: every query reads all values, each by how well its key fits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError
from talweg.base.shapes import broadcast_shapes
from talweg.fn.activation import softmax
from talweg.fn.dense import linear
from talweg.fn.linalg import matmul
from talweg.fn.math import constant
from talweg.fn.promotion import cast, expand_to, full
from talweg.fn.reduction import mean
from talweg.fn.shaping import repeat_interleave
from talweg.fn.spatial import check_floating
from talweg.fn.views import slice_axis, transpose
from talweg.ir.build import Builder
from talweg.ir.node import Node

_LOW = float("-inf")


def _check(query: Node, key: Node, value: Node, mask: Node | None) -> None:
    check_floating("scaled_dot_product_attention", query)
    if min(query.rank, key.rank, value.rank) < 2:
        raise ShapeError(
            "Expected query, key, and value to all be at least 2 dimensional, but got shapes "
            f"{query.shape}, {key.shape} and {value.shape}"
        )
    if not query.dtype is key.dtype is value.dtype:
        raise DTypeError(
            "Expected query, key, and value to have the same dtype, but got "
            f"{query.dtype.name}, {key.dtype.name} and {value.dtype.name}"
        )
    if mask is not None and mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
        raise DTypeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"{mask.dtype.name} for a query of {query.dtype.name}"
        )


def _causal(b: Builder, rows: int, columns: int) -> Node:
    """Return which keys a query may see: those up to its own place."""
    shape = (rows, columns)
    return b.le(b.iota(shape, 1, dtypes.int64), b.iota(shape, 0, dtypes.int64))


def _masked(b: Builder, scores: Node, mask: Node | None, hidden: bool, is_causal: bool) -> Node:
    """Return scores, -inf where a mask says so; others are added.

    Args:
        hidden: what True means in a mask of bools: not to be seen, instead of to be seen.
    """
    if is_causal:
        seen = expand_to(b, _causal(b, *scores.shape[-2:]), scores.shape)
        scores = b.masked(seen, scores, _LOW)
    if mask is None:
        return scores
    low = b.scalar(_LOW, scores.dtype)
    wide = expand_to(b, mask, scores.shape)
    if mask.dtype is not dtypes.bool_:
        return b.add(scores, cast(b, wide, scores.dtype))
    return b.where(wide, low, scores) if hidden else b.where(wide, scores, low)


def _shares(b: Builder, scores: Node) -> Node:
    """Return softmax along the last dimension, zeros for a row of -inf."""
    if not scores.shape[-1]:
        return scores
    axis = scores.rank - 1
    shape = (*scores.shape[:-1], 1)
    low, zero, one = (b.scalar(v, scores.dtype) for v in (_LOW, 0, 1))
    highest = constant(b, b.reduce_max(scores, (axis,)))
    highest = b.where(b.eq(highest, low), zero, highest)
    shifted = b.sub(scores, expand_to(b, b.reshape(highest, shape), scores.shape))
    powers = b.exp(shifted)
    total = b.reduce_sum(powers, (axis,))
    share = b.reciprocal(b.where(b.eq(total, zero), one, total))
    return b.share(shifted, powers, expand_to(b, b.reshape(share, shape), scores.shape), axis)


def _grouped(b: Builder, query: Node, key: Node, value: Node) -> tuple[Node, Node, Node]:
    """Return operands with a dimension for the queries' heads that share one head of keys."""
    if min(query.rank, key.rank, value.rank) < 3:
        raise ShapeError(
            f"enable_gqa needs [*, heads, L, E], got {query.shape}, {key.shape} and {value.shape}"
        )
    heads, count = query.shape[-3], key.shape[-3]
    if any(not n or heads % n for n in (count, value.shape[-3])):
        raise ShapeError(
            f"Number of heads in key and value must divide the number of heads in query; got "
            f"{count} and {value.shape[-3]} for {heads}"
        )
    if value.shape[-3] != count:
        key = repeat_interleave(b, key, heads // count, -3)
        value = repeat_interleave(b, value, heads // value.shape[-3], -3)
        count = heads
    parts = (count, heads // count)
    query = b.reshape(query, (*query.shape[:-3], *parts, *query.shape[-2:]))
    key, value = (b.reshape(x, (*x.shape[:-2], 1, *x.shape[-2:])) for x in (key, value))
    return query, key, value


def scaled_dot_product_attention(
    b: Builder,
    query: Node,
    key: Node,
    value: Node,
    attn_mask: Node | None = None,
    kept: Node | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Node:
    """Return softmax(query @ key.T * scale + mask) @ value.

    Args:
        query: [*, L, E], floating.
        key: [*, S, E].
        value: [*, S, Ev].
        attn_mask: broadcast to [*, L, S]: True where a query sees a key, or added to the scores.
        kept: factors of the shares, [*, L, S]: what dropout keeps of them.
        is_causal: query i sees the keys up to i.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: several heads of queries, along dimension -3, share a head of keys and values.

    Returns:
        [*, L, Ev]; zeros for a query that sees no key.

    Raises:
        ShapeError, DTypeError: when the operands do not fit.
    """
    _check(query, key, value, attn_mask)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            "scaled_dot_product_attention: query, key and value must be [*, L, E], [*, S, E] and "
            f"[*, S, Ev]; got {query.shape}, {key.shape} and {value.shape}"
        )
    heads = query.shape[-3:-2]
    if enable_gqa:
        query, key, value = _grouped(b, query, key, value)
    if scale is None:
        scale = query.shape[-1] ** -0.5 if query.shape[-1] else 1.0
    scores = matmul(b, query, transpose(b, key, -2, -1))
    scores = b.mul(scores, b.scalar(scale, scores.dtype))
    batch = scores.shape[:-2] if not enable_gqa else (*scores.shape[:-4], *heads)
    _check_mask(attn_mask, (*batch, *scores.shape[-2:]))
    if enable_gqa and attn_mask is not None and attn_mask.rank > 2:
        whole = expand_to(b, attn_mask, (*batch, *scores.shape[-2:]))
        attn_mask = b.reshape(whole, scores.shape)
    scores = _masked(b, scores, attn_mask, False, is_causal)
    unseen = attn_mask is not None or not scores.shape[-1]
    shares = _shares(b, scores) if unseen else softmax(b, scores, -1)
    if kept is not None:
        shares = b.mul(shares, b.reshape(kept, shares.shape))
    out = matmul(b, shares, value)
    return b.reshape(out, (*batch, *out.shape[-2:])) if enable_gqa else out


def _check_mask(mask: Node | None, shape: tuple[int, ...]) -> None:
    if mask is not None and broadcast_shapes(mask.shape, shape) != shape:
        raise ShapeError(f"attn_mask of shape {mask.shape} does not broadcast to {shape}")


def _heads(b: Builder, x: Node, count: int, batch_first: bool) -> Node:
    """Return [L, N, E], or [N, L, E] with `batch_first`, as [N, heads, L, E / heads]."""
    split = b.reshape(x, (*x.shape[:2], count, x.shape[2] // count))
    return b.permute(split, (0, 2, 1, 3) if batch_first else (1, 2, 0, 3))


def _projected(
    b: Builder, inputs: Sequence[Node], weights: Sequence[Node], bias: Node | None
) -> list[Node]:
    """Return query, key and value; those made of one input by one product.

    Args:
        inputs: query, key and value.
        weights: one for each, or all of them one above the other.
        bias: of all three, one behind the other.
    """
    size = inputs[0].shape[-1]

    def part(start: int, stop: int, x: Node, weight: Node) -> Node:
        own = None if bias is None else slice_axis(b, bias, 0, start, stop)
        return linear(b, x, weight, own)

    if len(weights) == 3:
        ends = pairwise(range(0, 4 * size, size))
        return [part(*cut, x, w) for cut, x, w in zip(ends, inputs, weights, strict=True)]
    found: list[Node] = []
    while len(found) < 3:
        first = len(found)
        stop = next((i for i in range(first, 3) if inputs[i] is not inputs[first]), 3)
        rows = slice_axis(b, weights[0], 0, first * size, stop * size)
        made = part(first * size, stop * size, inputs[first], rows)
        axis = made.rank - 1
        cuts = [i * size for i in range(stop - first + 1)]
        found += [slice_axis(b, made, axis, *cut) for cut in pairwise(cuts)]
    return found


def _extended(
    b: Builder, masks: list[Node | None], key: Node, value: Node, more: Sequence[Node]
) -> tuple[Node, Node]:
    """Return keys and values with one more at the end, which no mask hides."""
    for i, mask in enumerate(masks):
        if mask is not None:
            shape = (*mask.shape[:-1], 1)
            masks[i] = b.concat(mask, full(b, shape, 0, mask.dtype), mask.rank - 1)
    made = [
        b.concat(x, expand_to(b, row, (*x.shape[:2], 1, x.shape[3])), 2)
        for x, row in zip((key, value), more, strict=True)
    ]
    return made[0], made[1]


def _merged(b: Builder, masks: Sequence[Node | None], query: Node) -> Node | None:
    """Return one mask [N or 1, heads or 1, L or 1, S] of one for pairs and one for keys."""
    pairs, keys = masks
    n, heads = query.shape[:2]
    if pairs is not None:
        lead = (1, 1) if pairs.rank == 2 else (n, heads)
        pairs = b.reshape(pairs, (*lead, *pairs.shape[-2:]))
    if keys is None:
        return pairs
    keys = b.reshape(keys, (n, 1, 1, keys.shape[-1]))
    if pairs is None:
        return keys
    shape = broadcast_shapes(pairs.shape, keys.shape)
    both = pairs.dtype is keys.dtype is dtypes.bool_
    pairs, keys = (m if both else _added(b, m, query) for m in (pairs, keys))
    pairs, keys = expand_to(b, pairs, shape), expand_to(b, keys, shape)
    return b.bit_or(pairs, keys) if both else b.add(pairs, keys)


def _added(b: Builder, mask: Node, query: Node) -> Node:
    """Return a mask to be added; True hides."""
    if mask.dtype is not dtypes.bool_:
        return cast(b, mask, query.dtype)
    low, zero = b.scalar(_LOW, query.dtype), b.scalar(0, query.dtype)
    return b.where(mask, expand_to(b, low, mask.shape), expand_to(b, zero, mask.shape))


def multi_head_attention(
    b: Builder,
    inputs: Sequence[Node],
    num_heads: int,
    weights: Sequence[Node],
    bias: Node | None,
    out: Sequence[Node | None],
    extra: Sequence[Node] | None = None,
    add_zero_attn: bool = False,
    static: Sequence[Node | None] = (None, None),
    masks: Sequence[Node | None] = (None, None),
    is_causal: bool = False,
    kept: Node | None = None,
    need_weights: bool = False,
    average_attn_weights: bool = True,
    batch_first: bool = False,
) -> tuple[Node, ...]:
    """Return the attention of several heads, each with its own projections (Vaswani et al., 2017).

    Args:
        inputs: query [L, N, E], key [S, N, *] and value [S, N, *]; N first with `batch_first`.
        num_heads: divides E.
        weights: of the three projections, [E, *] each; or one above the other [3 * E, E].
        bias: [3 * E].
        out: weight [E, E] and bias [E] of the last projection.
        extra: one more key and value, [1, 1, E].
        add_zero_attn: one more key and value are zeros.
        static: keys and values in place of projected ones, [N * heads, S, E / heads].
        masks: for pairs, [L, S] or [N * heads, L, S], and for keys, [N, S]: True hides, numbers are
            added.
        is_causal: query i sees the keys up to i.
        kept: factors of the shares, [N, heads, L, S]: what dropout keeps of them.
        need_weights: return the shares too.
        average_attn_weights: their mean over the heads.
        batch_first: see `inputs`.

    Returns:
        [L, N, E]; and maybe shares [N, L, S], or [N, heads, L, S].
    """
    query, key, value = (
        _heads(b, x, num_heads, batch_first) for x in _projected(b, inputs, weights, bias)
    )
    size = query.shape[-1]
    if static[0] is not None:
        key = b.reshape(static[0], (*query.shape[:2], *static[0].shape[1:]))
    if static[1] is not None:
        value = b.reshape(static[1], (*query.shape[:2], *static[1].shape[1:]))
    both = list(masks)
    if extra is not None:
        more = [b.reshape(x, (1, num_heads, 1, size)) for x in extra]
        key, value = _extended(b, both, key, value, more)
    if add_zero_attn:
        zeros = full(b, (1, 1, 1, 1), 0, key.dtype)
        key, value = _extended(b, both, key, value, (zeros, zeros))
    mask = _merged(b, both, query)
    scores = matmul(b, query, transpose(b, key, -2, -1))
    scores = b.mul(scores, b.scalar(size**-0.5, scores.dtype))
    scores = _masked(b, scores, mask, True, is_causal)
    safe = mask is not None and not need_weights
    shares = _shares(b, scores) if safe else softmax(b, scores, -1)
    if kept is not None:
        shares = b.mul(shares, kept)
    read = b.permute(matmul(b, shares, value), (0, 2, 1, 3) if batch_first else (2, 0, 1, 3))
    weight, last = out
    assert weight is not None
    result = linear(b, b.reshape(read, (*read.shape[:2], num_heads * size)), weight, last)
    if not need_weights:
        return (result,)
    return result, mean(b, shares, 1) if average_attn_weights else shares
