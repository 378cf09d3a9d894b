"""Fractional max pooling: windows whose distances are drawn (Graham, 2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.shapes import Shape
from talweg.fn.promotion import cast, expand_to
from talweg.fn.reduction import max as largest
from talweg.ir.build import Builder
from talweg.ir.node import Node


def fractional_max_pool(
    b: Builder, x: Node, samples: Node, kernel_size: Sequence[int], output_size: Sequence[int]
) -> tuple[Node, Node]:
    """Return the maximum of each window, and its place within the flattened spatial axes.

    Args:
        x: [N, C, *spatial].
        samples: [N, C, axes], from 0 to 1, in the order of the axes: where the windows begin.
        kernel_size, output_size: one int per axis.

    Raises:
        ShapeError: when the windows do not fit.
    """
    spatial, count = x.shape[2:], len(kernel_size)
    for n, k, m in zip(spatial, kernel_size, output_size, strict=True):
        if m + k - 1 > n or m < 1:
            raise ShapeError(
                f"fractional_max_pool: {m} windows of {k} elements do not fit into {n}: "
                f"{x.shape} with kernel_size {tuple(kernel_size)}"
            )
    whole = (*x.shape[:2], *output_size, *kernel_size)
    flat: Node | None = None
    for axis, n in enumerate(spatial):
        sample = b.slice(samples, (0, 0, axis), (*x.shape[:2], axis + 1), (1, 1, 1))
        place = _places(b, sample, n, kernel_size[axis], output_size[axis])
        shape = [*x.shape[:2], *(1,) * (2 * count)]
        shape[2 + axis], shape[2 + count + axis] = output_size[axis], kernel_size[axis]
        wide = expand_to(b, b.reshape(place, tuple(shape)), whole)
        flat = wide if flat is None else b.add(b.mul(flat, b.scalar(n, dtypes.int64)), wide)
    assert flat is not None
    rows = (*x.shape[:2], prod(output_size) * prod(kernel_size))
    image = b.reshape(x, (*x.shape[:2], prod(spatial)))
    index = b.reshape(flat, rows)
    windows = (*x.shape[:2], *output_size, prod(kernel_size))
    taken = b.reshape(b.take_along(image, index, 2), windows)
    values, at = largest(b, taken, -1)  # type: ignore[misc]
    column = b.reshape(at, (*at.shape, 1))
    chosen = b.take_along(b.reshape(index, windows), column, len(windows) - 1)
    return values, b.reshape(chosen, at.shape)


def _places(b: Builder, sample: Node, n: int, k: int, m: int) -> Node:
    """Return [N, C, m, k] places along one axis; the last window ends with the axis."""
    shape: Shape = (*sample.shape[:2], m)
    last = b.scalar(n - k, dtypes.int64)
    if m == 1:
        start = b.expand(last, shape)
    else:
        dtype = sample.dtype
        step = b.scalar((n - k) / (m - 1), dtype)
        wide = b.expand(sample, shape)
        count = b.expand(b.reshape(b.iota((m,), 0, dtypes.int64), (1, 1, m)), shape)
        ahead = b.trunc(b.mul(b.add(cast(b, count, dtype), wide), step))
        at = cast(b, b.sub(ahead, b.trunc(b.mul(wide, step))), dtypes.int64)
        start = b.where(b.eq(count, b.scalar(m - 1, dtypes.int64)), last, at)
    inside = b.reshape(b.iota((k,), 0, dtypes.int64), (1, 1, 1, k))
    whole = (*shape, k)
    return b.add(b.expand(b.reshape(start, (*shape, 1)), whole), b.expand(inside, whole))


FUNCTIONAL: tuple[Callable[..., Any], ...] = (fractional_max_pool,)
PUBLIC: tuple[Callable[..., Any], ...] = ()
METHODS: tuple[str, ...] = ()
