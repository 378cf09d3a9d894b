"""Rows of a table looked up by index, and sums, means and maxima of bags of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn.math import constant
from talweg.fn.promotion import cast, expand_to, full
from talweg.ir.build import Builder
from talweg.ir.node import Node


def whole_index(b: Builder, name: str, index: Node) -> Node:
    """Return an index as int64.

    Raises:
        DTypeError: unless it holds integers.
    """
    if index.dtype.category not in ("int", "uint"):
        raise DTypeError(f"{name}: indices must be integers, got {index.dtype.name}")
    return cast(b, index, dtypes.int64)


def embedding(
    b: Builder,
    input: Node,
    weight: Node,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
) -> Node:
    """Return the rows of a table at the given indices.

    Args:
        input: integers of any shape, 0 <= index < num_embeddings.
        weight: [num_embeddings, embedding_dim].
        padding_idx: the row that receives no gradient; negative ones count from the end.
        scale_grad_by_freq: divide a row's gradient by how often the row stands in the input.

    Returns:
        [*, embedding_dim].

    Raises:
        IndexOutOfRange: for an index outside the table, while running.
        ShapeError: unless the weight has two dimensions.

    >>> import talweg as tw
    >>> table = tw.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> tw.nn.functional.embedding(tw.tensor([1, 0]), table).tolist()
    [[2.0, 3.0], [0.0, 1.0]]
    """
    if weight.rank != 2:
        raise ShapeError(f"embedding: weight must have 2 dimensions, got shape {weight.shape}")
    index = whole_index(b, "embedding", input)
    rows = b.take(weight, index, 0)
    if padding_idx is not None:
        place = checked_row("embedding", padding_idx, weight.shape[0])
        held = b.eq(index, b.scalar(place, dtypes.int64))
        rows = b.where(_per_row(b, held, rows), constant(b, rows), rows)
    if scale_grad_by_freq:
        ones = full(b, index.shape, 1, weight.dtype)
        counts = b.add_at(full(b, weight.shape[:1], 0, weight.dtype), index, ones, 0)
        share = _per_row(b, b.reciprocal(b.take(counts, index, 0)), rows)
        kept = constant(b, rows)
        rows = b.add(kept, b.mul(b.sub(rows, kept), share))
    return rows


def _per_row(b: Builder, values: Node, rows: Node) -> Node:
    return expand_to(b, b.reshape(values, (*values.shape, 1)), rows.shape)


def checked_row(name: str, row: int, count: int) -> int:
    """Return a row counted from the front.

    Raises:
        InvalidValue: when the table has no such row.
    """
    if not -count <= row < count:
        raise InvalidValue(f"{name}: padding_idx {row} must be within a table of {count} rows")
    return row % count


def embedding_bag(
    b: Builder,
    input: Node,
    weight: Node,
    offsets: Node | None = None,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    per_sample_weights: Node | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Node:
    """Return the sum, mean or maximum of the table's rows of each bag; 0 for an empty bag.

    Args:
        input: indices, [B, N] for B bags of N, or [n] for the bags that `offsets` cuts.
        weight: [num_embeddings, embedding_dim].
        offsets: [B], ascending from 0: where each bag begins; only with an input of one dimension.
        scale_grad_by_freq: see `embedding`.
        mode: "sum", "mean" or "max".
        per_sample_weights: of the input's shape, multiplies the rows; only with "sum".
        include_last_offset: `offsets` has one more entry, the end of the last bag.
        padding_idx: rows that do not count.

    Returns:
        [B, embedding_dim].

    Raises:
        ShapeError, InvalidValue: when the arguments do not go together.
        IndexOutOfRange: for an index outside the table, while running.
    """
    _check_bags(input, offsets, mode, per_sample_weights)
    rows = embedding(b, input, weight, padding_idx, scale_grad_by_freq)
    index = b.reshape(whole_index(b, "embedding_bag", input), (input.type.size,))
    rows = b.reshape(rows, (input.type.size, weight.shape[1]))
    if per_sample_weights is not None:
        share = b.reshape(cast(b, per_sample_weights, rows.dtype), index.shape)
        rows = b.mul(rows, _per_row(b, share, rows))
    bags, count = _bags(b, input, offsets, include_last_offset)
    held = full(b, index.shape, 1, rows.dtype)
    if padding_idx is not None:
        place = checked_row("embedding_bag", padding_idx, weight.shape[0])
        padded = b.eq(index, b.scalar(place, dtypes.int64))
        held = b.where(padded, b.scalar(0, rows.dtype), held)
        low = b.scalar(float("-inf") if mode == "max" else 0, rows.dtype)
        rows = b.where(_per_row(b, padded, rows), low, rows)
    empty = full(b, (count, weight.shape[1]), 0, rows.dtype)
    present = b.add_at(full(b, (count,), 0, rows.dtype), bags, held, 0)
    if mode == "max":
        least = full(b, empty.shape, float("-inf"), rows.dtype)
        found = b.max_along(least, _per_row(b, bags, rows), rows, 0)
        some = _per_row(b, b.gt(present, b.scalar(0, rows.dtype)), empty)
        return b.where(some, found, b.scalar(0, rows.dtype))
    total = b.add_at(empty, bags, rows, 0)
    if mode == "sum":
        return total
    one = b.scalar(1, rows.dtype)
    return b.div(total, _per_row(b, b.where(b.lt(present, one), one, present), total))


def _check_bags(
    input: Node, offsets: Node | None, mode: str, per_sample_weights: Node | None
) -> None:
    if mode not in ("sum", "mean", "max"):
        raise InvalidValue(f"embedding_bag: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if input.rank not in (1, 2) or (offsets is None) == (input.rank == 1):
        raise ShapeError(
            "embedding_bag: the input must have 2 dimensions, or 1 with offsets; got shape "
            f"{input.shape} and {'no ' if offsets is None else ''}offsets"
        )
    if offsets is not None and offsets.rank != 1:
        raise ShapeError(f"embedding_bag: offsets must have 1 dimension, got {offsets.shape}")
    if per_sample_weights is None:
        return
    if mode != "sum":
        raise InvalidValue(f"embedding_bag: per_sample_weights need mode 'sum', not {mode!r}")
    if per_sample_weights.shape != input.shape:
        raise ShapeError(
            f"embedding_bag: per_sample_weights of shape {per_sample_weights.shape} must have the "
            f"input's shape {input.shape}"
        )


def _bags(
    b: Builder, input: Node, offsets: Node | None, include_last_offset: bool
) -> tuple[Node, int]:
    """Return the bag of each element, int64 [n], and the number of bags."""
    if offsets is None:
        bag = b.iota(input.shape, 0, dtypes.int64)
        return b.reshape(bag, (input.type.size,)), input.shape[0]
    starts = cast(b, offsets, dtypes.int64)
    count = offsets.shape[0]
    if include_last_offset:
        count -= 1
        starts = b.slice(starts, (0,), (count,), (1,))
    place = b.iota(input.shape, 0, dtypes.int64)
    bag = b.sub(b.search_sorted(starts, place, right=True), b.scalar(1, dtypes.int64))
    return bag, count


FUNCTIONAL: tuple[Callable[..., Any], ...] = (embedding, embedding_bag)
PUBLIC: tuple[Callable[..., Any], ...] = ()
METHODS: tuple[str, ...] = ()
