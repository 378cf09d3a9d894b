"""Rearrangements of images: padding, patches, pixel and channel shuffles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import index

import numpy as np

from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import Shape
from talweg.fn.promotion import Numeric, as_node
from talweg.fn.spatial import per_axis
from talweg.fn.views import slice_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node

Sizes = int | Sequence[int]


def pad(
    b: Builder,
    x: Node,
    pad: Sequence[int],
    mode: str = "constant",
    value: Numeric | None = None,
) -> Node:
    """Add places around x, or remove them where a number is negative.

    Args:
        x: any shape.
        pad: places before and after the last dimension, then the one before it, and so on.
        mode: "constant", "reflect" (the edge is not repeated), "replicate" (the edge is repeated)
            or "circular" (the other end goes on).
        value: what constant padding holds; 0 unless given.

    Raises:
        ShapeError: when there are more pairs than dimensions, a number is missing, or reflected or
            circular padding is longer than the dimension allows.
        InvalidValue: for another mode, or a value where the mode does not take one.

    >>> import talweg as tw
    >>> tw.pad(tw.tensor([[1, 2, 3]]), (1, 2), "circular").tolist()
    [[3, 1, 2, 3, 1, 2]]
    """
    numbers = tuple(map(index, pad))
    if len(numbers) % 2 or len(numbers) > 2 * x.rank:
        raise ShapeError(
            f"pad: {numbers} is not one pair for each of the last dimensions of {x.type}"
        )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise InvalidValue(
            f"pad: mode {mode!r} must be 'constant', 'reflect', 'replicate' or 'circular'"
        )
    rows = [(x.rank - 1 - i, *numbers[2 * i : 2 * i + 2]) for i in range(len(numbers) // 2)]
    if mode == "constant":
        low, high, none = [0] * x.rank, [0] * x.rank, (0,) * x.rank
        for axis, before, after in rows:
            low[axis], high[axis] = before, after
        fill = as_node(b, 0 if value is None else value, x.dtype)
        return b.pad(x, fill, tuple(low), tuple(high), none) if any(numbers) else x
    if value not in (None, 0, 0.0):
        raise InvalidValue(f"pad: mode {mode!r} takes no value, got {value}")
    for axis, before, after in rows:
        x = _continued(b, x, axis, before, after, mode)
    return x


def _continued(b: Builder, x: Node, axis: int, before: int, after: int, mode: str) -> Node:
    if mode == "circular":
        # What is removed does not come round again.
        x = _cut(b, x, axis, before, after)
    n = x.shape[axis]
    longest = {"reflect": n - 1, "replicate": max(before, after) if n else 0, "circular": n}[mode]
    if max(before, after) > longest:
        raise ShapeError(
            f"pad: {mode} padding {(before, after)} of dimension {axis} of {x.type} must be at "
            f"most {longest}"
        )
    parts = [x]
    if before > 0:
        parts.insert(0, _beyond(b, x, axis, before, mode, behind=False))
    if after > 0:
        parts.append(_beyond(b, x, axis, after, mode, behind=True))
    whole = b.concat(*parts, axis) if len(parts) > 1 else x
    return whole if mode == "circular" else _cut(b, whole, axis, before, after)


def _cut(b: Builder, x: Node, axis: int, before: int, after: int) -> Node:
    first, last = max(-before, 0), x.shape[axis] - max(-after, 0)
    if first > last:
        raise ShapeError(f"pad: {(before, after)} removes more than dimension {axis} of {x.type}")
    return slice_axis(b, x, axis, first, last)


def _beyond(b: Builder, x: Node, axis: int, count: int, mode: str, behind: bool) -> Node:
    n = x.shape[axis]
    if mode == "circular":
        start = 0 if behind else n - count
        return slice_axis(b, x, axis, start, start + count)
    if mode == "reflect":
        start = n - 1 - count if behind else 1
        return b.flip(slice_axis(b, x, axis, start, start + count), (axis,))
    start = n - 1 if behind else 0
    edge = slice_axis(b, x, axis, start, start + 1)
    return b.expand(edge, (*x.shape[:axis], count, *x.shape[axis + 1 :]))


def unfold(
    b: Builder,
    x: Node,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Node:
    """Return every window of images as one column (im2col).

    Args:
        x: [N, C, H, W] or [C, H, W].
        kernel_size, dilation, padding, stride: those of a convolution.

    Returns:
        [N, C * KH * KW, L], or without N; L windows in row-major order.

    Raises:
        ShapeError: when x has other dimensions or no window fits.

    >>> import talweg as tw
    >>> tw.unfold(tw.arange(9.).reshape(1, 3, 3), 2).shape
    (4, 4)
    """
    if x.rank not in (3, 4):
        raise ShapeError(f"unfold: expected [N, C, H, W] or [C, H, W], got shape {x.shape}")
    batch = b.reshape(x, (1, *x.shape)) if x.rank == 3 else x
    kernel, places, pads = _patches(
        "unfold", batch.shape[2:], kernel_size, dilation, padding, stride
    )
    if any(pads):
        around = (0, 0, *pads)
        batch = b.pad(batch, b.scalar(0, x.dtype), around, around, (0,) * 4)
    rows = b.take(batch, b.constant(places[0]), 2)
    both = b.permute(b.take(rows, b.constant(places[1]), 4), (0, 1, 2, 4, 3, 5))
    n, c = batch.shape[:2]
    y = b.reshape(both, (n, c * prod(kernel), both.shape[4] * both.shape[5]))
    return y if x.rank == 4 else b.reshape(y, y.shape[1:])


def fold(
    b: Builder,
    x: Node,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Node:
    """Add columns back to the windows they came from (col2im): the adjoint of `unfold`.

    Args:
        x: [N, C * KH * KW, L] or [C * KH * KW, L].
        output_size: H and W of the result.
        kernel_size, dilation, padding, stride: those of `unfold`.

    Raises:
        ShapeError: when x does not have the columns or the windows these sizes make.

    >>> import talweg as tw
    >>> tw.fold(tw.ones(1, 4, 4), (3, 3), 2).tolist()
    [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]
    """
    if x.rank not in (2, 3):
        raise ShapeError(f"fold: expected [N, C * KH * KW, L] or without N, got shape {x.shape}")
    sizes = per_axis("fold", "output_size", output_size, 2, 1)
    kernel, places, pads = _patches("fold", sizes, kernel_size, dilation, padding, stride)
    batch = b.reshape(x, (1, *x.shape)) if x.rank == 2 else x
    n, depth, length = batch.shape
    out = places[0].shape[1], places[1].shape[1]
    if depth % prod(kernel) or length != prod(out):
        raise ShapeError(
            f"fold: sizes {sizes} and kernel {kernel} make {prod(out)} windows of a multiple of "
            f"{prod(kernel)} elements, but the input has shape {x.shape}"
        )
    c = depth // prod(kernel)
    both = b.permute(b.reshape(batch, (n, c, *kernel, *out)), (0, 1, 2, 4, 3, 5))
    high, wide = (s + 2 * p for s, p in zip(sizes, pads, strict=True))
    zero = b.scalar(0, x.dtype)
    rows = b.expand(zero, (n, c, kernel[0], out[0], wide))
    rows = b.add_at(rows, b.constant(places[1]), both, 4)
    y = b.add_at(b.expand(zero, (n, c, high, wide)), b.constant(places[0]), rows, 2)
    for axis, size, before in zip((2, 3), sizes, pads, strict=True):
        y = slice_axis(b, y, axis, before, before + size)
    return y if x.rank == 3 else b.reshape(y, y.shape[1:])


def _patches(
    name: str, spatial: Shape, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> tuple[Shape, list[np.ndarray], Shape]:
    """Return the kernel, per axis the [element, window] places in the padded axis, the padding."""
    kernel = per_axis(name, "kernel_size", kernel_size, 2, 1)
    dilations = per_axis(name, "dilation", dilation, 2, 1)
    pads = per_axis(name, "padding", padding, 2, 0)
    strides = per_axis(name, "stride", stride, 2, 1)
    places = []
    for n, k, d, p, s in zip(spatial, kernel, dilations, pads, strides, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        if room < 0:
            raise ShapeError(
                f"{name}: kernel {kernel} with dilation {dilations} does not fit into sizes "
                f"{spatial} with padding {pads}"
            )
        places.append(np.arange(k)[:, None] * d + np.arange(room // s + 1) * s)
    return kernel, places, pads


def pixel_shuffle(b: Builder, x: Node, upscale_factor: int) -> Node:
    """Turn channels into places: [*, C * r * r, H, W] to [*, C, H * r, W * r] (Shi et al., 2016).

    Raises:
        ShapeError: when the channels are not divisible by r * r.

    >>> import talweg as tw
    >>> tw.pixel_shuffle(tw.arange(4).reshape(4, 1, 1), 2).tolist()
    [[[0, 1], [2, 3]]]
    """
    r = upscale_factor
    if x.rank < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle: input {x.shape} must be [*, C, H, W] with C divisible by {r} * {r}"
        )
    *lead, c, h, w = x.shape
    k = len(lead)
    parts = b.reshape(x, (*lead, c // (r * r), r, r, h, w))
    order = (*range(k + 1), k + 3, k + 1, k + 4, k + 2)
    return b.reshape(b.permute(parts, order), (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(b: Builder, x: Node, downscale_factor: int) -> Node:
    """Turn places into channels: [*, C, H * r, W * r] to [*, C * r * r, H, W].

    Raises:
        ShapeError: when height or width are not divisible by r.
    """
    r = downscale_factor
    if x.rank < 3 or r < 1 or x.shape[-2] % r or x.shape[-1] % r:
        raise ShapeError(
            f"pixel_unshuffle: input {x.shape} must be [*, C, H, W] with H and W divisible by {r}"
        )
    *lead, c, h, w = x.shape
    k = len(lead)
    parts = b.reshape(x, (*lead, c, h // r, r, w // r, r))
    order = (*range(k + 1), k + 2, k + 4, k + 1, k + 3)
    return b.reshape(b.permute(parts, order), (*lead, c * r * r, h // r, w // r))


def channel_shuffle(b: Builder, x: Node, groups: int) -> Node:
    """Interleave the channels of groups: [N, C, *] with C = groups * n (Zhang et al., 2018).

    Raises:
        ShapeError: when the channels are not divisible by the groups.

    >>> import talweg as tw
    >>> tw.channel_shuffle(tw.arange(4).reshape(1, 4, 1), 2).flatten().tolist()
    [0, 2, 1, 3]
    """
    if x.rank < 3 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(
            f"channel_shuffle: input {x.shape} must be [N, C, *] with C divisible by {groups}"
        )
    n, c, *rest = x.shape
    parts = b.reshape(x, (n, groups, c // groups, *rest))
    return b.reshape(b.permute(parts, (0, 2, 1, *range(3, x.rank + 1))), x.shape)


PUBLIC: tuple[Callable[..., Node], ...] = (
    pad,
    unfold,
    fold,
    pixel_shuffle,
    pixel_unshuffle,
    channel_shuffle,
)
METHODS: tuple[str, ...] = ()
