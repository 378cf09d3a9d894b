"""Joining, repeating, flipping, masking by place: functions that make new memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations as itertools_combinations
from itertools import combinations_with_replacement

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axes, normalize_axis
from talweg.fn.promotion import cast, expand_to, result_type
from talweg.fn.views import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    movedim,
    reshape_to,
    sizes,
    slice_axis,
    transpose,
    unsqueeze,
)
from talweg.fn.views import diagonal as diagonal_of
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.op import INPUT
from talweg.ops.view import Expand


def _one_dtype(b: Builder, name: str, tensors: Sequence[Node]) -> list[Node]:
    if not tensors:
        raise ShapeError(f"{name}: expected a non-empty list of Tensors")
    dtype = result_type(b, *tensors)
    return [cast(b, t, dtype) for t in tensors]


def cat(b: Builder, tensors: Sequence[Node], dim: int = 0) -> Node:
    """Join Tensors along a dimension, promoted to one dtype.

    Args:
        tensors: of equal shapes but for `dim`; 1-d ones without elements are left out.

    Raises:
        ShapeError: when there are none, or their shapes do not fit.

    >>> import talweg as tw
    >>> tw.cat([tw.tensor([1, 2]), tw.tensor([3])]).tolist()
    [1, 2, 3]
    """
    parts = _one_dtype(b, "cat", tensors)
    for i, part in enumerate(parts):
        if not part.rank:
            raise ShapeError(f"cat: Tensor {i} is 0-d; 0-d values cannot be joined, see stack")
    joined = [p for p in parts if p.shape != (0,)] or parts[:1]
    axis = normalize_axis(dim, joined[0].rank)
    for i, part in enumerate(joined):
        if part.rank != joined[0].rank or any(
            n != m and k != axis
            for k, (n, m) in enumerate(zip(part.shape, joined[0].shape, strict=True))
        ):
            raise ShapeError(
                f"cat: sizes must match except in dimension {axis}: Tensor {i} has shape "
                f"{part.shape}, the first {joined[0].shape}"
            )
    return b.concat(*joined, axis)


def stack(b: Builder, tensors: Sequence[Node], dim: int = 0) -> Node:
    """Join Tensors of one shape along a new dimension.

    Raises:
        ShapeError: when there are none, or their shapes differ.

    >>> import talweg as tw
    >>> tw.stack([tw.tensor([1, 2]), tw.tensor([3, 4])], dim=1).tolist()
    [[1, 3], [2, 4]]
    """
    parts = _one_dtype(b, "stack", tensors)
    first = parts[0].shape
    for i, part in enumerate(parts):
        if part.shape != first:
            raise ShapeError(f"stack: Tensor {i} has shape {part.shape}, the first {first}")
    axis = normalize_axis(dim, len(first) + 1)
    return b.concat(*(unsqueeze(b, part, axis) for part in parts), axis)


def hstack(b: Builder, tensors: Sequence[Node]) -> Node:
    """Join Tensors along the second dimension; 1-d ones along the first."""
    parts = [atleast_1d(b, t) for t in tensors]
    return cat(b, parts, 0 if parts and parts[0].rank == 1 else 1)


def vstack(b: Builder, tensors: Sequence[Node]) -> Node:
    """Join Tensors along the first dimension; 1-d ones become rows."""
    return cat(b, [atleast_2d(b, t) for t in tensors], 0)


def dstack(b: Builder, tensors: Sequence[Node]) -> Node:
    """Join Tensors along the third dimension."""
    return cat(b, [atleast_3d(b, t) for t in tensors], 2)


def column_stack(b: Builder, tensors: Sequence[Node]) -> Node:
    """Join Tensors along the second dimension; 1-d ones become columns."""
    columns = [t if t.rank > 1 else b.reshape(t, (t.type.size, 1)) for t in tensors]
    return cat(b, columns, 1)


def flip(b: Builder, x: Node, *dims: int | Sequence[int]) -> Node:
    """Reverse the order of elements along dimensions.

    >>> import talweg as tw
    >>> tw.flip(tw.tensor([1, 2, 3]), [0]).tolist()
    [3, 2, 1]
    """
    return b.flip(x, normalize_axes(sizes(dims), x.rank))


def fliplr(b: Builder, x: Node) -> Node:
    """Reverse the second dimension."""
    if x.rank < 2:
        raise ShapeError(f"fliplr: expected at least 2 dimensions, got shape {x.shape}")
    return b.flip(x, (1,))


def flipud(b: Builder, x: Node) -> Node:
    """Reverse the first dimension."""
    if x.rank < 1:
        raise ShapeError("flipud: expected at least 1 dimension, got a 0-d value")
    return b.flip(x, (0,))


def roll(
    b: Builder, x: Node, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Node:
    """Move elements along dimensions; those pushed out come in on the other side.

    Without `dims` the elements are taken as one dimension.

    Raises:
        ShapeError: when there are not as many shifts as dimensions.

    >>> import talweg as tw
    >>> tw.roll(tw.tensor([1, 2, 3, 4]), 1).tolist()
    [4, 1, 2, 3]
    """
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    if dims is None:
        flat = roll(b, reshape_to(b, x, (x.type.size,)), moves, (0,))
        return reshape_to(b, flat, x.shape)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if len(moves) != len(axes):
        raise ShapeError(f"roll: {len(moves)} shifts for {len(axes)} dimensions")
    out = x
    for move, dim in zip(moves, axes, strict=True):
        axis = normalize_axis(dim, x.rank)
        n = x.shape[axis] if x.rank else 0
        if n and move % n:
            cut = n - move % n
            out = b.concat(slice_axis(b, out, axis, cut, n), slice_axis(b, out, axis, 0, cut), axis)
    return b.copy(x) if out is x else out


def rot90(b: Builder, x: Node, k: int = 1, dims: Sequence[int] = (0, 1)) -> Node:
    """Turn the plane of two dimensions by k quarters, from the first towards the second.

    Raises:
        ShapeError: when `dims` are not two different dimensions.
    """
    if len(dims) != 2 or len(set(normalize_axes(dims, x.rank))) != 2:
        raise ShapeError(f"rot90: dims must be two different dimensions, got {tuple(dims)}")
    one, two = (normalize_axis(d, x.rank) for d in dims)
    turns = k % 4
    if turns == 0:
        return b.copy(x)
    if turns == 2:
        return b.flip(x, tuple(sorted((one, two))))
    if turns == 1:
        return b.flip(transpose(b, x, one, two), (one,))
    return b.flip(transpose(b, x, one, two), (two,))


def repeat(b: Builder, x: Node, *repeats: int | Sequence[int]) -> Node:
    """Repeat the whole Tensor along every dimension; further leading dimensions may be named.

    Raises:
        ShapeError: when fewer repeats than dimensions are given, or a negative one.

    >>> import talweg as tw
    >>> tw.tensor([1, 2]).repeat(2, 2).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    counts = sizes(repeats)
    lead = len(counts) - x.rank
    if lead < 0 or any(n < 0 for n in counts):
        raise ShapeError(f"repeat: repeats {counts} do not fit a Tensor of shape {x.shape}")
    shape = (*(1,) * lead, *x.shape)
    if all(n == 1 for n in counts):
        return b.copy(reshape_to(b, x, shape))
    between = tuple(k for n in shape for k in (1, n))
    wide = tuple(k for r, n in zip(counts, shape, strict=True) for k in (r, n))
    spread = expand_to(b, reshape_to(b, x, between), wide)
    return b.reshape(spread, tuple(r * n for r, n in zip(counts, shape, strict=True)))


def tile(b: Builder, x: Node, *dims: int | Sequence[int]) -> Node:
    """Repeat the whole Tensor; where fewer repeats than dimensions are given, 1 comes first."""
    counts = sizes(dims)
    return repeat(b, x, (*(1,) * (x.rank - len(counts)), *counts))


def repeat_interleave(b: Builder, x: Node, repeats: int, dim: int | None = None) -> Node:
    """Repeat every element; without `dim`, of the flattened Tensor.

    Raises:
        InvalidValue: when `repeats` is negative.

    >>> import talweg as tw
    >>> tw.repeat_interleave(tw.tensor([1, 2]), 2).tolist()
    [1, 1, 2, 2]
    """
    if repeats < 0:
        raise InvalidValue(f"repeat_interleave: repeats must not be negative, got {repeats}")
    if dim is None or not x.rank:
        x, dim = reshape_to(b, x, (x.type.size,)), 0
    axis = normalize_axis(dim, x.rank)
    front, n, back = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    spread = b.expand(b.reshape(x, (*front, n, 1, *back)), (*front, n, repeats, *back))
    return b.reshape(spread, (*front, n * repeats, *back))


def _band(b: Builder, x: Node, diagonal: int, name: str) -> Node:
    if x.rank < 2:
        raise ShapeError(f"{name}: expected at least 2 dimensions, got shape {x.shape}")
    rows = b.iota(x.shape[-2:], 0, dtypes.int64)
    columns = b.iota(x.shape[-2:], 1, dtypes.int64)
    if type(diagonal) is int and diagonal in (0, -1):
        inside = b.lt(columns, rows) if diagonal else b.le(columns, rows)
    else:
        inside = b.le(b.sub(columns, rows), b.scalar(diagonal, dtypes.int64))
    return expand_to(b, inside, x.shape)


def _is_true(x: Node) -> bool:
    """Whether all elements are True, and will be the next time."""
    if x.dtype is not dtypes.bool_ or not isinstance(x.op, Expand):
        return False
    (base,) = x.inputs
    return base.op is INPUT and type(base.value) in (bool, int) and bool(base.value)


def tril(b: Builder, x: Node, diagonal: int = 0) -> Node:
    """Keep the lower triangle of the last two dimensions, up to a diagonal; 0 elsewhere.

    >>> import talweg as tw
    >>> tw.tril(tw.ones(2, 3)).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    inside = _band(b, x, diagonal, "tril")
    return inside if _is_true(x) else b.where(inside, x, b.scalar(0, x.dtype))


def triu(b: Builder, x: Node, diagonal: int = 0) -> Node:
    """Keep the upper triangle of the last two dimensions, from a diagonal on; 0 elsewhere."""
    below = _band(b, x, diagonal - 1, "triu")
    return b.logical_not(below) if _is_true(x) else b.where(below, b.scalar(0, x.dtype), x)


def diag_embed(b: Builder, x: Node, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Node:
    """Put the last dimension on a diagonal of two new dimensions, 0 elsewhere.

    Raises:
        ShapeError: when the two dimensions are the same.
    """
    if not x.rank:
        raise ShapeError("diag_embed: expected at least 1 dimension, got a 0-d value")
    rank = x.rank + 1
    one, two = normalize_axis(dim1, rank), normalize_axis(dim2, rank)
    if one == two:
        raise ShapeError(f"diag_embed: dim1 {dim1} and dim2 {dim2} must differ")
    if one > two:
        one, two, offset = two, one, -offset
    n = x.shape[-1] + abs(offset)
    square = (*x.shape[:-1], n, n)
    low = max(0, -offset)
    none = (0,) * (x.rank - 1)
    padded = b.pad(
        x, b.scalar(0, x.dtype), (*none, low), (*none, n - low - x.shape[-1]), (*none, 0)
    )
    rows = b.iota(square, x.rank - 1, dtypes.int64)
    columns = b.iota(square, x.rank, dtypes.int64)
    on = b.eq(b.sub(columns, rows), b.scalar(offset, dtypes.int64))
    spread = b.expand(b.reshape(padded, (*x.shape[:-1], n, 1)), square)
    out = b.where(on, spread, b.scalar(0, x.dtype))
    return movedim(b, out, (-2, -1), (one, two))


def diag(b: Builder, x: Node, diagonal: int = 0) -> Node:
    """Return a copy of a matrix's diagonal, or the matrix with a vector as its diagonal.

    Raises:
        ShapeError: for other numbers of dimensions.
    """
    if x.rank == 1:
        return diag_embed(b, x, diagonal)
    if x.rank != 2:
        raise ShapeError(f"diag: expected 1 or 2 dimensions, got shape {x.shape}")
    return b.copy(diagonal_of(b, x, diagonal))


def meshgrid(b: Builder, *tensors: Node | Sequence[Node], indexing: str = "ij") -> tuple[Node, ...]:
    """Return the coordinates of a grid spanned by vectors: one Tensor per vector.

    Args:
        indexing: "ij" places the first vector along the first dimension, "xy" along the second.

    Raises:
        ShapeError: when one has more than one dimension.
    """
    nodes: list[Node] = []
    for given in tensors:
        nodes += [given] if isinstance(given, Node) else list(given)
    if any(n.rank > 1 for n in nodes):
        raise ShapeError(f"meshgrid: expected vectors, got shapes {[n.shape for n in nodes]}")
    if indexing not in ("ij", "xy"):
        raise InvalidValue(f"meshgrid: indexing must be 'ij' or 'xy', not {indexing!r}")
    shape = tuple(n.type.size for n in nodes)
    grids = []
    for i, node in enumerate(nodes):
        column = b.reshape(node, tuple(n if i == j else 1 for j, n in enumerate(shape)))
        grid = expand_to(b, column, shape)
        grids.append(transpose(b, grid, 0, 1) if indexing == "xy" and len(shape) > 1 else grid)
    return tuple(grids)


def cartesian_prod(b: Builder, *tensors: Node) -> Node:
    """Return every combination of elements of vectors, as rows."""
    if len(tensors) == 1:
        return b.copy(tensors[0])
    grids = meshgrid(b, *tensors)
    return stack(b, [reshape_to(b, g, (g.type.size,)) for g in grids], 1)


def kron(b: Builder, x: Node, other: Node) -> Node:
    """Return the Kronecker product: every element of x times all of `other`."""
    dtype = result_type(b, x, other)
    rank = max(x.rank, other.rank)
    one, two = ((*(1,) * (rank - n.rank), *n.shape) for n in (x, other))
    wide = tuple(k for pair in zip(one, two, strict=True) for k in pair)
    left = b.reshape(cast(b, x, dtype), tuple(k for n in one for k in (n, 1)))
    right = b.reshape(cast(b, other, dtype), tuple(k for n in two for k in (1, n)))
    product = b.mul(expand_to(b, left, wide), expand_to(b, right, wide))
    return b.reshape(product, tuple(n * m for n, m in zip(one, two, strict=True)))


def block_diag(b: Builder, *tensors: Node) -> Node:
    """Return a matrix with the given matrices (or vectors, as rows) along its diagonal."""
    parts = [atleast_2d(b, t) for t in _one_dtype(b, "block_diag", tensors)]
    if any(p.rank > 2 for p in parts):
        raise ShapeError(f"block_diag: at most 2 dimensions, got {[p.shape for p in parts]}")
    columns = sum(p.shape[1] for p in parts)
    rows, left = [], 0
    for part in parts:
        behind = columns - left - part.shape[1]
        rows.append(b.pad(part, b.scalar(0, part.dtype), (0, left), (0, behind), (0, 0)))
        left += part.shape[1]
    return b.concat(*rows, 0)


def unfold(b: Builder, x: Node, dimension: int, size: int, step: int) -> Node:
    """Return windows of a dimension: their number stands in its place, their size comes last.

    Raises:
        ShapeError: when a window is larger than the dimension; InvalidValue: for a step below 1.

    >>> import talweg as tw
    >>> tw.arange(5).unfold(0, 3, 2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    axis = normalize_axis(dimension, x.rank)
    rows = atleast_1d(b, x)
    n = rows.shape[axis]
    if size < 0 or size > n:
        raise ShapeError(f"unfold: window of size {size} on dimension {dimension} of size {n}")
    if step < 1:
        raise InvalidValue(f"unfold: step must be positive, got {step}")
    count = (n - size) // step + 1
    starts = b.mul(b.iota((count, size), 0, dtypes.int64), b.scalar(step, dtypes.int64))
    places = b.add(starts, b.iota((count, size), 1, dtypes.int64))
    return movedim(b, b.take(rows, places, axis), axis + 1, -1)


def combinations(b: Builder, x: Node, r: int = 2, with_replacement: bool = False) -> Node:
    """Return every choice of r elements of a vector, in order, as rows."""
    if x.rank != 1:
        raise ShapeError(f"combinations: expected a vector, got shape {x.shape}")
    choose = combinations_with_replacement if with_replacement else itertools_combinations
    rows = np.array(list(choose(range(x.shape[0]), r)), np.int64)
    return b.take(x, b.constant(rows.reshape(len(rows), r)), 0)


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(cat, stack, hstack, vstack, dstack, column_stack),
    *(flip, fliplr, flipud, roll, rot90, tile, repeat_interleave, tril, triu, diag, diag_embed),
    *(meshgrid, cartesian_prod, kron, block_diag, combinations),
)
METHODS: tuple[str, ...] = (
    *("flip", "fliplr", "flipud", "roll", "rot90", "repeat"),
    *("tile", "repeat_interleave", "tril", "triu", "diag", "diag_embed", "kron", "unfold"),
)
INPLACE: tuple[str, ...] = ("tril", "triu")
ALIASES: dict[str, str] = {"concat": "cat", "concatenate": "cat", "row_stack": "vstack"}
