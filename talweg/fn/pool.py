"""Pooling: maxima, means and norms of sliding or adaptive windows, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape
from talweg.fn.spatial import check_floating, like_batch, per_axis, with_batch
from talweg.ir.build import Builder
from talweg.ir.node import Node

Sizes = int | Sequence[int]
Pads = tuple[tuple[int, int], ...]


def max_pool1d(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Node | tuple[Node, Node]:
    """Return the maximum of each window of x[N, C, L] or x[C, L]; see `max_pool2d`.

    >>> import talweg as tw
    >>> tw.max_pool1d(tw.tensor([[1., 5., 2., 4.]]), 2).tolist()
    [[5.0, 4.0]]
    """
    how = kernel_size, stride, padding, dilation, ceil_mode, return_indices
    return _max_pool(b, "max_pool1d", 1, x, *how)


def max_pool2d(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Node | tuple[Node, Node]:
    """Return the maximum of each window of images.

    Args:
        x: [N, C, H, W] or [C, H, W].
        kernel_size: window, one int or one per axis.
        stride: step of the window; the window itself unless given.
        padding: places on both sides that never win; at most half the (dilated) window.
        dilation: distance between elements of a window.
        ceil_mode: windows may reach beyond the end, as long as they start inside.
        return_indices: also return each maximum's place in its flattened [H, W], int64.

    Returns:
        [N, C, OH, OW], and the indices where asked for. Of equal elements the first counts: it
        alone receives the gradient. NaN propagates.

    Raises:
        ShapeError: when the shapes do not fit; InvalidValue for too much padding.

    >>> import talweg as tw
    >>> tw.max_pool2d(tw.arange(16.).reshape(1, 1, 4, 4), 2).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    how = kernel_size, stride, padding, dilation, ceil_mode, return_indices
    return _max_pool(b, "max_pool2d", 2, x, *how)


def max_pool3d(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Node | tuple[Node, Node]:
    """Return the maximum of each window of x[N, C, D, H, W] or x[C, D, H, W]; see `max_pool2d`."""
    how = kernel_size, stride, padding, dilation, ceil_mode, return_indices
    return _max_pool(b, "max_pool3d", 3, x, *how)


def avg_pool1d(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """Return the mean of each window of x[N, C, L] or x[C, L]; see `avg_pool2d`.

    >>> import talweg as tw
    >>> tw.avg_pool1d(tw.tensor([[1., 5., 2., 4.]]), 2).tolist()
    [[3.0, 3.0]]
    """
    how = kernel_size, stride, padding, ceil_mode, count_include_pad, None
    return _avg_pool(b, "avg_pool1d", 1, x, *how)


def avg_pool2d(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Node:
    """Return the mean of each window of images.

    Args:
        x: [N, C, H, W] or [C, H, W], floating.
        kernel_size, stride, padding, ceil_mode: as in `max_pool2d`; padding counts as zeros.
        count_include_pad: divide by the window's size with its padding, else without.
        divisor_override: divide by this number instead.

    Raises:
        ShapeError: when the shapes do not fit; InvalidValue for too much padding.
        DTypeError: for integers.

    >>> import talweg as tw
    >>> tw.avg_pool2d(tw.ones(1, 1, 2, 2), 2, padding=1).tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    how = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    return _avg_pool(b, "avg_pool2d", 2, x, *how)


def avg_pool3d(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Node:
    """Return the mean of each window of x[N, C, D, H, W] or x[C, D, H, W]; see `avg_pool2d`."""
    how = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    return _avg_pool(b, "avg_pool3d", 3, x, *how)


def lp_pool1d(
    b: Builder,
    x: Node,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Node:
    """Return (sum of x ** norm_type) ** (1 / norm_type) of each window; see `lp_pool2d`."""
    return _lp_pool(b, "lp_pool1d", 1, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    b: Builder,
    x: Node,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Node:
    """Return (sum of x ** norm_type) ** (1 / norm_type) of each window.

    The power is taken of x itself, not of its magnitude: a negative sum gives NaN. A window that
    `ceil_mode` cuts short counts as if its mean went on.

    Args:
        x: [N, C, H, W] or [C, H, W], floating.
        kernel_size, stride, ceil_mode: as in `max_pool2d`.

    >>> import talweg as tw
    >>> tw.lp_pool2d(tw.tensor([[[3., 0.], [0., 4.]]]), 2, 2).tolist()
    [[[5.0]]]
    """
    return _lp_pool(b, "lp_pool2d", 2, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    b: Builder,
    x: Node,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Node:
    """Return (sum of x ** norm_type) ** (1 / norm_type) of each window; see `lp_pool2d`."""
    return _lp_pool(b, "lp_pool3d", 3, x, norm_type, kernel_size, stride, ceil_mode)


def max_unpool1d(
    b: Builder,
    x: Node,
    indices: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Node:
    """Undo `max_pool1d` up to zeros; see `max_unpool2d`."""
    how = kernel_size, stride, padding, output_size
    return _max_unpool(b, "max_unpool1d", 1, x, indices, *how)


def max_unpool2d(
    b: Builder,
    x: Node,
    indices: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Node:
    """Put pooled values back to the places of the maxima, zeros elsewhere.

    Args:
        x, indices: what `max_pool2d(..., return_indices=True)` gave.
        kernel_size, stride, padding: those of that pooling.
        output_size: the shape wanted (its last entries count); the smallest that fits otherwise.

    Raises:
        ShapeError: when the shapes of x and indices differ, or the size wanted cannot be.
        IndexOutOfRange: while running, when an index lies outside the output.

    >>> import talweg as tw
    >>> x, at = tw.max_pool2d(tw.arange(4.).reshape(1, 2, 2), 2, return_indices=True)
    >>> tw.max_unpool2d(x, at, 2).tolist()
    [[[0.0, 0.0], [0.0, 3.0]]]
    """
    how = kernel_size, stride, padding, output_size
    return _max_unpool(b, "max_unpool2d", 2, x, indices, *how)


def max_unpool3d(
    b: Builder,
    x: Node,
    indices: Node,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Node:
    """Undo `max_pool3d` up to zeros; see `max_unpool2d`."""
    how = kernel_size, stride, padding, output_size
    return _max_unpool(b, "max_unpool3d", 3, x, indices, *how)


def _window(
    name: str,
    axes: int,
    spatial: Shape,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Shape, Shape, Pads, Shape]:
    """Return the fields of a window op; `ceil_mode` becomes padding behind."""
    window = per_axis(name, "kernel_size", kernel_size, axes, 1)
    given = stride is None or (not isinstance(stride, int) and not stride)
    strides = window if given or stride is None else per_axis(name, "stride", stride, axes, 1)
    pads = per_axis(name, "padding", padding, axes, 0)
    dilations = per_axis(name, "dilation", dilation, axes, 1)
    both = []
    for n, k, s, p, d in zip(spatial, window, strides, pads, dilations, strict=True):
        extent = d * (k - 1) + 1
        if 2 * p > extent:
            raise InvalidValue(
                f"{name}: padding {pads} must be at most half of kernel_size {window}"
                + (f" with dilation {dilations}" if d > 1 else "")
            )
        room = n + 2 * p - extent
        last = room // s
        if ceil_mode:
            last = -(-room // s)
            last -= last * s >= n + p
        if last < 0 or (room < 0 and not ceil_mode):
            raise ShapeError(
                f"{name}: a window {window} with dilation {dilations} does not fit into sizes "
                f"{spatial} with padding {pads}"
            )
        both.append((p, max(last * s + extent - n - p, 0) if ceil_mode else p))
    return window, strides, tuple(both), dilations


def _max_pool(
    b: Builder,
    name: str,
    axes: int,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Node | tuple[Node, Node]:
    batch = with_batch(b, name, x, axes)
    fields = _window(name, axes, batch.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    y = like_batch(b, b.window_max(batch, *fields), x)
    if not return_indices:
        return y
    return y, like_batch(b, b.window_arg_max(batch, *fields), x)


def _avg_pool(
    b: Builder,
    name: str,
    axes: int,
    x: Node,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Node:
    check_floating(name, x)
    if divisor_override == 0:
        raise InvalidValue(f"{name}: divisor_override must not be 0")
    batch = with_batch(b, name, x, axes)
    fields = _window(name, axes, batch.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    total = b.window_sum(_widened(b, batch), *fields)
    if divisor_override is not None:
        count: Node = b.scalar(divisor_override, total.dtype)
    else:
        pads = per_axis(name, "padding", padding, axes)
        margin = pads if count_include_pad else (0,) * axes
        count = _counts(b, batch.shape[2:], total, fields, margin)
    return like_batch(b, _narrowed(b, b.div(total, count), x), x)


def _counts(
    b: Builder,
    spatial: Shape,
    total: Node,
    fields: tuple[Shape, Shape, Pads, Shape],
    margin: Shape,
) -> Node:
    """Return how many places of each window lie inside the sizes widened by `margin`."""
    counts: list[np.ndarray] = []
    rows = zip(spatial, total.shape[2:], *fields[:3], margin, strict=True)
    for n, m, k, s, (low, _), edge in rows:
        start = np.arange(m) * s - low
        counts.append(np.minimum(start + k, n + edge) - np.maximum(start, -edge))
    if all((c == c[0]).all() for c in counts if c.size):
        return b.scalar(prod(int(c[0]) for c in counts if c.size), total.dtype)
    table = b.constant(np.asarray(prod(np.ix_(*counts))), total.dtype)
    return b.expand(table, total.shape)


def _lp_pool(
    b: Builder,
    name: str,
    axes: int,
    x: Node,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
) -> Node:
    check_floating(name, x)
    power = b.pow(x, b.scalar(norm_type, x.dtype))
    mean = _avg_pool(b, name, axes, power, kernel_size, stride, 0, ceil_mode, True, None)
    size = prod(per_axis(name, "kernel_size", kernel_size, axes))
    zero = b.scalar(0, x.dtype)
    some = b.ne(mean, zero)
    # A zero sum has an infinite slope: as in PyTorch it passes no gradient.
    total = b.where(some, b.mul(mean, b.scalar(size, x.dtype)), b.scalar(1, x.dtype))
    return b.where(some, b.pow(total, b.scalar(1.0 / norm_type, x.dtype)), zero)


def _max_unpool(
    b: Builder,
    name: str,
    axes: int,
    x: Node,
    indices: Node,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Sequence[int] | None,
) -> Node:
    if indices.shape != x.shape:
        raise ShapeError(f"{name}: input {x.shape} and indices {indices.shape} must agree in shape")
    if indices.dtype is not dtypes.int64:
        raise DTypeError(f"{name}: indices must be int64, got {indices.dtype.name}")
    batch = with_batch(b, name, x, axes)
    spatial = batch.shape[2:]
    window = per_axis(name, "kernel_size", kernel_size, axes, 1)
    strides = window if stride is None else per_axis(name, "stride", stride, axes, 1)
    pads = per_axis(name, "padding", padding, axes, 0)
    rows = zip(spatial, window, strides, pads, strict=True)
    sizes = tuple((n - 1) * s - 2 * p + k for n, k, s, p in rows)
    if output_size is not None:
        wanted = tuple(output_size)[-axes:]
        near = zip(wanted, sizes, strides, strict=False)
        if len(wanted) != axes or any(abs(n - m) >= s for n, m, s in near):
            raise ShapeError(
                f"{name}: output_size {tuple(output_size)} must end with sizes nearer to {sizes} "
                f"than stride {strides}"
            )
        sizes = wanted
    lead = batch.shape[:2]
    zeros = b.expand(b.scalar(0, x.dtype), (*lead, prod(sizes)))
    flat = (*lead, prod(spatial))
    placed = b.put_along(zeros, b.reshape(indices, flat), b.reshape(x, flat), 2)
    return like_batch(b, b.reshape(placed, (*lead, *sizes)), x)


def _widened(b: Builder, x: Node) -> Node:
    return b.cast(x, dtypes.float32) if x.dtype.bits == 16 else x


def _narrowed(b: Builder, y: Node, x: Node) -> Node:
    return y if y.dtype is x.dtype else b.cast(y, x.dtype)


PUBLIC: tuple[Callable[..., Node | tuple[Node, Node]], ...] = (
    max_pool1d,
    max_pool2d,
    max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
METHODS: tuple[str, ...] = ()
