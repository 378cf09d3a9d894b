"""Adaptive pooling: windows chosen so that the result has the sizes asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import Shape, contiguous_strides
from talweg.fn.spatial import check_floating, like_batch, with_batch
from talweg.ir.build import Builder
from talweg.ir.node import Node

AdaptiveSizes = int | None | Sequence[int | None]


def adaptive_avg_pool1d(b: Builder, x: Node, output_size: AdaptiveSizes) -> Node:
    """Return means of x[N, C, L] or x[C, L] in `output_size` windows; see `adaptive_avg_pool2d`."""
    return _adaptive_avg(b, "adaptive_avg_pool1d", 1, x, output_size)


def adaptive_avg_pool2d(b: Builder, x: Node, output_size: AdaptiveSizes) -> Node:
    """Return means of windows that cut each axis into `output_size` nearly equal parts.

    Window i of m along an axis of n elements goes from floor(i * n / m) to ceil((i + 1) * n / m).

    Args:
        x: [N, C, H, W] or [C, H, W], floating.
        output_size: one int, or one per axis; None keeps an axis as it is.

    Raises:
        ShapeError: when x has other dimensions, or there is not one size per axis.
        InvalidValue: for a size below 1.
        DTypeError: for integers.

    >>> import talweg as tw
    >>> tw.adaptive_avg_pool2d(tw.arange(12.).reshape(1, 3, 4), (1, 2)).tolist()
    [[[4.5, 6.5]]]
    """
    return _adaptive_avg(b, "adaptive_avg_pool2d", 2, x, output_size)


def adaptive_avg_pool3d(b: Builder, x: Node, output_size: AdaptiveSizes) -> Node:
    """Return means of x[N, C, D, H, W] or x[C, D, H, W]; see `adaptive_avg_pool2d`."""
    return _adaptive_avg(b, "adaptive_avg_pool3d", 3, x, output_size)


def adaptive_max_pool1d(
    b: Builder, x: Node, output_size: AdaptiveSizes, return_indices: bool = False
) -> Node | tuple[Node, Node]:
    """Return maxima of x[N, C, L] or x[C, L]; see `adaptive_max_pool2d`."""
    return _adaptive_max(b, "adaptive_max_pool1d", 1, x, output_size, return_indices)


def adaptive_max_pool2d(
    b: Builder, x: Node, output_size: AdaptiveSizes, return_indices: bool = False
) -> Node | tuple[Node, Node]:
    """Return maxima of the windows of `adaptive_avg_pool2d`.

    Args:
        x: [N, C, H, W] or [C, H, W].
        output_size: one int, or one per axis; None keeps an axis as it is.
        return_indices: also return each maximum's place in its flattened [H, W], int64.

    Raises:
        ShapeError: when x has other dimensions, or there is not one size per axis.
        InvalidValue: for a size below 1.

    >>> import talweg as tw
    >>> tw.adaptive_max_pool2d(tw.arange(12.).reshape(1, 3, 4), (1, 2)).tolist()
    [[[9.0, 11.0]]]
    """
    return _adaptive_max(b, "adaptive_max_pool2d", 2, x, output_size, return_indices)


def adaptive_max_pool3d(
    b: Builder, x: Node, output_size: AdaptiveSizes, return_indices: bool = False
) -> Node | tuple[Node, Node]:
    """Return maxima of x[N, C, D, H, W] or x[C, D, H, W]; see `adaptive_max_pool2d`."""
    return _adaptive_max(b, "adaptive_max_pool3d", 3, x, output_size, return_indices)


def _sizes(name: str, spatial: Shape, wanted: AdaptiveSizes) -> Shape:
    listed = (wanted,) * len(spatial) if isinstance(wanted, int | None) else tuple(wanted)
    if len(listed) == 1:
        listed *= len(spatial)
    if len(listed) != len(spatial):
        raise ShapeError(f"{name}: output_size needs one size per axis of {spatial}, got {wanted}")
    sizes = tuple(n if m is None else m for n, m in zip(spatial, listed, strict=True))
    if min((*sizes, *spatial)) < 1:
        raise InvalidValue(f"{name}: sizes {spatial} and output_size {sizes} must be at least 1")
    return sizes


def _places(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [m, longest] indices of each window, those beyond its end equal n, and the lengths."""
    start = np.arange(m) * n // m
    length = -(-(np.arange(1, m + 1) * n) // m) - start
    steps = np.arange(length.max())
    return np.where(steps < length[:, None], start[:, None] + steps, n), length


def _adaptive_avg(b: Builder, name: str, axes: int, x: Node, output_size: AdaptiveSizes) -> Node:
    check_floating(name, x)
    batch = with_batch(b, name, x, axes)
    sizes = _sizes(name, batch.shape[2:], output_size)
    y = b.cast(batch, dtypes.float32) if x.dtype.bits == 16 else batch
    for axis, (n, m) in enumerate(zip(batch.shape[2:], sizes, strict=True), start=2):
        if n != m:
            y = _mean_along(b, y, axis, m)
    return like_batch(b, y if y.dtype is x.dtype else b.cast(y, x.dtype), x)


def _mean_along(b: Builder, x: Node, axis: int, m: int) -> Node:
    n = x.shape[axis]
    if n % m == 0:
        parts = b.reshape(x, (*x.shape[:axis], m, n // m, *x.shape[axis + 1 :]))
        return b.div(b.reduce_sum(parts, (axis + 1,)), b.scalar(n // m, x.dtype))
    places, length = _places(n, m)
    none = (0,) * x.rank
    high = tuple(int(i == axis) for i in range(x.rank))
    longer = b.pad(x, b.scalar(0, x.dtype), none, high, none)
    total = b.reduce_sum(b.take(longer, b.constant(places), axis), (axis + 1,))
    column = b.constant(length.reshape(-1, *(1,) * (x.rank - axis - 1)), x.dtype)
    return b.div(total, b.expand(column, total.shape))


def _adaptive_max(
    b: Builder, name: str, axes: int, x: Node, output_size: AdaptiveSizes, return_indices: bool
) -> Node | tuple[Node, Node]:
    batch = with_batch(b, name, x, axes)
    spatial = batch.shape[2:]
    sizes = _sizes(name, spatial, output_size)
    lead = batch.shape[:2]
    # Behind its end a window repeats its last element: that cannot become the first maximum.
    tables = [_places(n, m) for n, m in zip(spatial, sizes, strict=True)]
    strides = contiguous_strides(spatial)
    flat_places = np.zeros((1, 1), np.int64)
    for (places, _), n, stride in zip(tables, spatial, strides, strict=True):
        kept = np.minimum(places, np.maximum.accumulate(np.where(places < n, places, 0), axis=1))
        grid = flat_places[:, None, :, None] + (kept * stride)[None, :, None, :]
        flat_places = grid.reshape(grid.shape[0] * grid.shape[1], -1)
    flat = b.reshape(batch, (*lead, prod(spatial)))
    winner = b.arg_max(b.take(flat, b.constant(flat_places), 2), (3,))
    table = b.expand(b.constant(flat_places), (*lead, *flat_places.shape))
    chosen = b.take_along(table, b.reshape(winner, (*winner.shape, 1)), 3)
    index = b.reshape(chosen, (*lead, prod(sizes)))
    y = like_batch(b, b.reshape(b.take_along(flat, index, 2), (*lead, *sizes)), x)
    if not return_indices:
        return y
    return y, like_batch(b, b.reshape(index, (*lead, *sizes)), x)


PUBLIC: tuple[Callable[..., Node | tuple[Node, Node]], ...] = (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
METHODS: tuple[str, ...] = ()
