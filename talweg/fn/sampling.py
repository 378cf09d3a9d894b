"""Values between the elements of images: affine grids, sampling along a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from math import prod

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn.math import clamp
from talweg.fn.promotion import cast, expand_to
from talweg.fn.spatial import check_floating
from talweg.fn.views import reshape_to, select
from talweg.ir.build import Builder
from talweg.ir.node import Node

_MODES = ("bilinear", "nearest", "bicubic")
_BEYOND = ("zeros", "border", "reflection")
_CUBIC = -0.75
Tap = tuple[Node, Node]


def affine_grid(
    b: Builder, theta: Node, size: Sequence[int], align_corners: bool | None = None
) -> Node:
    """Return the places where `grid_sample` reads to give an affine map of images.

    Args:
        theta: [N, 2, 3] for images, [N, 3, 4] for volumes: from places of the output to places of
            the input; both reach from -1 to 1.
        size: the output's, (N, C, H, W) or (N, C, D, H, W).
        align_corners: -1 and 1 are the centres of the corner elements, instead of the corners.

    Returns:
        [N, H, W, 2] or [N, D, H, W, 3]: x, y (and z).

    Raises:
        ShapeError: when theta and size do not fit; DTypeError: for integers.

    >>> import talweg as tw
    >>> same = tw.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> tw.nn.functional.affine_grid(same, (1, 1, 1, 2), align_corners=True).tolist()
    [[[[-1.0, 0.0], [1.0, 0.0]]]]
    """
    check_floating("affine_grid", theta)
    sizes = tuple(int(n) for n in size)
    axes = len(sizes) - 2
    if axes not in (2, 3):
        raise ShapeError(f"affine_grid: only 4 and 5 dimensions are supported, got size {sizes}")
    if theta.shape != (sizes[0], axes, axes + 1):
        raise ShapeError(
            f"affine_grid: expected a batch of {axes}x{axes + 1} matrices for size {sizes}, got "
            f"{theta.shape}"
        )
    if min(sizes) < 1:
        raise ShapeError(f"affine_grid: sizes {sizes} must be at least 1")
    steps = [_from_minus_one(n, bool(align_corners)) for n in sizes[2:]]
    places = np.stack([*reversed(np.meshgrid(*steps, indexing="ij")), np.ones(sizes[2:])], -1)
    base = b.constant(places.reshape(1, -1, axes + 1), theta.dtype)
    turned = b.permute(theta, (0, 2, 1))
    grid = b.dot(b.expand(base, (sizes[0], *base.shape[1:])), turned)
    return b.reshape(grid, (sizes[0], *sizes[2:], axes))


def _from_minus_one(n: int, align_corners: bool) -> np.ndarray:
    if n == 1:
        return np.zeros(1)
    return np.linspace(-1.0, 1.0, n) * (1.0 if align_corners else (n - 1) / n)


def grid_sample(
    b: Builder,
    x: Node,
    grid: Node,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Node:
    """Return x read at the places of a grid (Jaderberg et al., 2015).

    Args:
        x: [N, C, H, W] or [N, C, D, H, W].
        grid: [N, H', W', 2] or [N, D', H', W', 3], of the dtype of x: x, y (and z) of each place,
            from -1 to 1 within the image.
        mode: "bilinear" (along each axis, of volumes too), "nearest" or "bicubic" (images only).
        padding_mode: what lies beyond: "zeros", the nearest element ("border"), or the image again
            ("reflection").
        align_corners: -1 and 1 are the centres of the corner elements, instead of the corners.

    Returns:
        [N, C, H', W'] or [N, C, D', H', W']. Both operands have gradients, the grid in "nearest"
        mode one of zero.

    Raises:
        InvalidValue: for unknown modes; ShapeError: when x and grid do not fit;
        DTypeError: for integers, or two dtypes.

    >>> import talweg as tw
    >>> x = tw.tensor([[[[1.0, 3.0]]]])
    >>> places = tw.tensor([[[[0.0, 0.0], [0.5, 0.0]]]])
    >>> tw.nn.functional.grid_sample(x, places, align_corners=True).tolist()
    [[[[2.0, 2.5]]]]
    """
    _check(x, grid, mode, padding_mode)
    axes = x.rank - 2
    out_shape = (*x.shape[:2], *grid.shape[1:-1])
    image = b.reshape(x, (*x.shape[:2], prod(x.shape[2:])))
    flat = b.reshape(grid, (grid.shape[0], prod(grid.shape[1:-1]), axes))
    sides = [
        _taps(b, select(b, flat, 2, axes - 1 - i), n, mode, padding_mode, bool(align_corners))
        for i, n in enumerate(x.shape[2:])
    ]
    terms = [_term(b, image, taps, x.shape[2:]) for taps in product(*sides)]
    return b.reshape(reduce(b.add, terms), out_shape)


def _check(x: Node, grid: Node, mode: str, padding_mode: str) -> None:
    if mode not in _MODES:
        raise InvalidValue(f"grid_sample: mode {mode!r} must be one of {', '.join(_MODES)}")
    if padding_mode not in _BEYOND:
        raise InvalidValue(
            f"grid_sample: padding_mode {padding_mode!r} must be one of {', '.join(_BEYOND)}"
        )
    check_floating("grid_sample", x)
    if grid.dtype is not x.dtype:
        raise DTypeError(
            f"grid_sample: input and grid must have one dtype, got {x.dtype.name} and "
            f"{grid.dtype.name}"
        )
    if x.rank not in (4, 5) or grid.rank != x.rank:
        raise ShapeError(
            f"grid_sample: expected 4 or 5 dimensions of both, got {x.shape} and {grid.shape}"
        )
    if grid.shape[0] != x.shape[0] or grid.shape[-1] != x.rank - 2:
        raise ShapeError(f"grid_sample: the grid {grid.shape} does not fit the input {x.shape}")
    if mode == "bicubic" and x.rank == 5:
        raise InvalidValue("grid_sample: mode 'bicubic' is for images only")
    if min(x.shape[2:]) < 1:
        raise ShapeError(f"grid_sample: the input {x.shape} has no elements to sample")


def _taps(
    b: Builder, place: Node, n: int, mode: str, padding_mode: str, align_corners: bool
) -> list[Tap]:
    """Return positions and weights along one axis; a position is whole, and may lie beyond."""

    def number(value: float) -> Node:
        return b.scalar(value, place.dtype)

    if align_corners:
        at = b.mul(b.add(place, number(1.0)), number((n - 1) / 2))
    else:
        at = b.mul(b.sub(b.mul(b.add(place, number(1.0)), number(n)), number(1.0)), number(0.5))
    if mode == "bicubic":
        start = b.floor(at)
        share = b.sub(at, start)
        return [
            (
                _inside(b, b.add(start, number(k)), n, padding_mode, align_corners),
                _cubic(b, share, k),
            )
            for k in (-1, 0, 1, 2)
        ]
    at = _inside(b, at, n, padding_mode, align_corners)
    if mode == "nearest":
        # The weight is 1; the grid has a gradient, of zeros.
        return [(b.round(at), b.add(number(1.0), b.mul(b.sign(at), number(0.0))))]
    start = b.floor(at)
    share = b.sub(at, start)
    return [(start, b.sub(number(1.0), share)), (b.add(start, number(1.0)), share)]


def _cubic(b: Builder, share: Node, k: int) -> Node:
    """Return the weight of the tap k of cubic convolution (Keys, 1981), at distance |share - k|."""
    one = b.scalar(1.0, share.dtype)

    def polynomial(t: Node, *factors: float) -> Node:
        total = b.scalar(factors[0], t.dtype)
        for f in factors[1:]:
            total = b.add(b.mul(total, t), b.scalar(f, t.dtype))
        return total

    t = {-1: lambda: b.add(share, one), 0: lambda: share, 1: lambda: b.sub(one, share)}.get(
        k, lambda: b.sub(b.scalar(2.0, share.dtype), share)
    )()
    if k in (0, 1):
        return polynomial(t, _CUBIC + 2.0, -(_CUBIC + 3.0), 0.0, 1.0)
    return polynomial(t, _CUBIC, -5.0 * _CUBIC, 8.0 * _CUBIC, -4.0 * _CUBIC)


def _inside(b: Builder, at: Node, n: int, padding_mode: str, align_corners: bool) -> Node:
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        at = _reflected(b, at, *((0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)))
    known = b.where(b.eq(at, at), at, b.scalar(0.0, at.dtype))
    return clamp(b, known, 0.0, n - 1.0)


def _reflected(b: Builder, at: Node, low: float, high: float) -> Node:
    """Return a place thrown back at both ends, as often as needed."""
    if high <= low:
        return b.mul(at, b.scalar(0.0, at.dtype))
    span = b.scalar(high - low, at.dtype)
    away = b.abs(b.sub(at, b.scalar(low, at.dtype)))
    rest = b.fmod(away, span)
    turns = b.floor(b.div(away, span))
    back = b.ne(b.fmod(turns, b.scalar(2.0, at.dtype)), b.scalar(0.0, at.dtype))
    start = b.scalar(low, at.dtype)
    return b.add(b.where(back, b.sub(span, rest), rest), start)


def _term(b: Builder, image: Node, taps: tuple[Tap, ...], sizes: tuple[int, ...]) -> Node:
    """Return the elements at one combination of positions, times their weights."""
    flat: Node | None = None
    weight: Node | None = None
    held: Node | None = None
    for (place, share), n in zip(taps, sizes, strict=True):
        zero, last = b.scalar(0.0, place.dtype), b.scalar(n - 1.0, place.dtype)
        fits = b.bit_and(b.ge(place, zero), b.le(place, last))
        held = fits if held is None else b.bit_and(held, fits)
        whole = cast(b, b.where(fits, place, zero), dtypes.int64)
        step = b.scalar(n, dtypes.int64)
        flat = whole if flat is None else b.add(b.mul(flat, step), whole)
        weight = share if weight is None else b.mul(weight, share)
    assert flat is not None
    assert held is not None
    assert weight is not None
    shape = (*image.shape[:2], flat.shape[1])

    def wide(t: Node) -> Node:
        return expand_to(b, reshape_to(b, t, (t.shape[0], 1, t.shape[1])), shape)

    taken = b.take_along(image, wide(flat), 2)
    zero = b.scalar(0.0, image.dtype)
    return b.mul(taken, wide(b.where(held, weight, zero)))


PUBLIC: tuple[Callable[..., Node], ...] = (affine_grid, grid_sample)
