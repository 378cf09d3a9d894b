"""Interpolation: images, signals and volumes at other sizes.

Along each axis a result element is a weighted sum of a few source elements ("taps"): one for
nearest, two for linear, four for cubic, more where `antialias` widens the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import floor

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape
from talweg.fn.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from talweg.ir.build import Builder
from talweg.ir.node import Node

Sizes = int | Sequence[int]
Scales = float | Sequence[float]

_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}
_MODES = ("nearest", "nearest-exact", "area", *_RANKS)
_AREA = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}
_CUBIC = -0.75  # Keys' parameter as PyTorch has it; -0.5 under antialias, as Pillow has it


def interpolate(
    b: Builder,
    x: Node,
    size: Sizes | None = None,
    scale_factor: Scales | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Node:
    """Return x at another size.

    Args:
        x: [N, C, *spatial] with one to three spatial axes.
        size: the sizes wanted, one int or one per axis.
        scale_factor: instead of `size`: factors, one or one per axis; sizes are rounded down.
        mode: "nearest", "nearest-exact", "linear" (3-d input), "bilinear" and "bicubic" (4-d),
            "trilinear" (5-d) or "area" (the mean of the source elements).
        align_corners: the centres of the corner elements stay in place, instead of the corners.
        recompute_scale_factor: coordinates follow from the sizes, not from `scale_factor`.
        antialias: widen the filter when shrinking; "bilinear" and "bicubic" only.

    Raises:
        InvalidValue: for unknown modes and options that do not go together.
        ShapeError: when x and the mode or the sizes do not fit.
        DTypeError: for integers, other than in the nearest modes.

    >>> import talweg as tw
    >>> x = tw.tensor([[[1., 3.]]])
    >>> tw.interpolate(x, scale_factor=2, mode="linear").tolist()
    [[[1.0, 1.5, 2.5, 3.0]]]
    >>> tw.interpolate(x, size=3, mode="linear", align_corners=True).tolist()
    [[[1.0, 2.0, 3.0]]]
    """
    _check(x, mode, align_corners, antialias)
    sizes, scales = _sizes(x.shape[2:], size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return _AREA[x.rank](b, x, sizes)
    if mode.startswith("nearest"):
        y = x
        for axis, (n, m, scale) in enumerate(zip(x.shape[2:], sizes, scales, strict=True), start=2):
            y = b.take(y, b.constant(_nearest(n, m, scale, mode)), axis) if n != m else y
        return y
    wide = b.cast(x, dtypes.float32) if x.dtype.bits == 16 else x
    for axis, (n, m, scale) in enumerate(zip(x.shape[2:], sizes, scales, strict=True), start=2):
        if n == m and scale is None:
            continue
        places, weights = _taps(n, m, scale, mode, bool(align_corners), antialias)
        wide = _weighted(b, wide, axis, places, weights)
    return wide if wide.dtype is x.dtype else b.cast(wide, x.dtype)


def upsample(
    b: Builder,
    x: Node,
    size: Sizes | None = None,
    scale_factor: Scales | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Node:
    """Return x at another size; see `interpolate`."""
    return interpolate(b, x, size, scale_factor, mode, align_corners)


def _check(x: Node, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode not in _MODES:
        raise InvalidValue(f"interpolate: mode {mode!r} must be one of {', '.join(_MODES)}")
    if x.rank not in (3, 4, 5) or _RANKS.get(mode, x.rank) != x.rank:
        wanted = f"{_RANKS[mode]}" if mode in _RANKS else "3, 4 or 5"
        raise ShapeError(f"interpolate: mode {mode!r} needs {wanted} dimensions, got {x.shape}")
    if align_corners is not None and mode not in _RANKS:
        raise InvalidValue(f"interpolate: mode {mode!r} does not take align_corners")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise InvalidValue("interpolate: antialias needs mode 'bilinear' or 'bicubic'")
    if not mode.startswith("nearest") and not x.dtype.is_inexact:
        raise DTypeError(f"interpolate: mode {mode!r} needs a floating dtype, got {x.dtype.name}")


def _sizes(
    spatial: Shape, size: Sizes | None, scale_factor: Scales | None, recompute: bool
) -> tuple[Shape, tuple[float | None, ...]]:
    """Return the result's sizes, and the factors that coordinates follow (None: the sizes)."""
    if (size is None) == (scale_factor is None):
        raise InvalidValue("interpolate: give either size or scale_factor")
    given = size if size is not None else scale_factor
    listed = (given,) * len(spatial) if isinstance(given, int | float) else tuple(given or ())
    if len(listed) != len(spatial):
        raise ShapeError(f"interpolate: {given} needs one entry per axis of {spatial}")
    if size is not None:
        if recompute:
            raise InvalidValue("interpolate: recompute_scale_factor needs scale_factor")
        sizes = tuple(int(m) for m in listed)
    else:
        sizes = tuple(floor(n * float(f)) for n, f in zip(spatial, listed, strict=True))
    if min((*sizes, *spatial)) < 1:
        raise ShapeError(f"interpolate: sizes {spatial} and {sizes} must be at least 1")
    kept = size is None and not recompute
    return sizes, tuple(float(f) if kept else None for f in listed)


def _nearest(n: int, m: int, factor: float | None, mode: str) -> np.ndarray:
    # In float32, as PyTorch: a coordinate rounded to the next element must round the same way.
    scale = np.float32(1.0 / factor) if factor is not None else np.float32(n) / np.float32(m)
    shift = np.float32(0.5 if mode == "nearest-exact" else 0.0)
    places = np.floor((np.arange(m, dtype=np.float32) + shift) * scale)
    return np.asarray(np.minimum(places, n - 1), np.int64)


def _taps(
    n: int, m: int, factor: float | None, mode: str, align_corners: bool, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return [m, taps] source places and their weights along one axis."""
    if align_corners:
        scale = (n - 1) / (m - 1) if m > 1 else 0.0
    else:
        scale = 1.0 / factor if factor is not None else n / m
    if antialias:
        return _wide_taps(n, m, scale, mode)
    at = np.arange(m) * scale if align_corners else (np.arange(m) + 0.5) * scale - 0.5
    if mode == "bicubic":
        start = np.floor(at)
        offsets = np.arange(-1, 3)
        places = np.clip(start[:, None] + offsets, 0, n - 1)
        return places.astype(np.int64), _cubic((at - start)[:, None] - offsets, _CUBIC)
    at = np.maximum(at, 0.0)
    start = np.minimum(np.floor(at), n - 1)
    share = at - start
    places = np.stack([start, np.minimum(start + 1, n - 1)], 1)
    return places.astype(np.int64), np.stack([1.0 - share, share], 1)


def _wide_taps(n: int, m: int, scale: float, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the taps of a filter stretched over all source elements that a result covers."""
    stretch = max(scale, 1.0)
    support = stretch * (2.0 if mode == "bicubic" else 1.0)
    centre = scale * (np.arange(m) + 0.5)
    first = np.maximum(np.floor(centre - support + 0.5), 0)
    count = np.minimum(np.floor(centre + support + 0.5), n) - first
    steps = np.arange(count.max())
    away = (first[:, None] + steps - centre[:, None] + 0.5) / stretch
    weights = _cubic(away, -0.5) if mode == "bicubic" else np.maximum(1.0 - np.abs(away), 0.0)
    weights = np.where(steps < count[:, None], weights, 0.0)
    places = first[:, None] + np.minimum(steps, count[:, None] - 1)
    return places.astype(np.int64), weights / weights.sum(axis=1, keepdims=True)


def _cubic(t: np.ndarray, a: float) -> np.ndarray:
    """Return the cubic convolution kernel (Keys, 1981)."""
    t = np.abs(t)
    near = ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    far = ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    return np.where(t <= 1.0, near, np.where(t < 2.0, far, 0.0))


def _weighted(b: Builder, x: Node, axis: int, places: np.ndarray, weights: np.ndarray) -> Node:
    """Return the sum over taps of weighted elements along one axis."""
    column = (-1, *(1,) * (x.rank - axis - 1))
    terms = []
    for place, weight in zip(places.T, weights.T, strict=True):
        taken = b.take(x, b.constant(np.ascontiguousarray(place)), axis)
        share = b.constant(weight.reshape(column), x.dtype)
        terms.append(b.mul(taken, b.expand(share, taken.shape)))
    return reduce(b.add, terms)


PUBLIC: tuple[Callable[..., Node], ...] = (interpolate, upsample)
METHODS: tuple[str, ...] = ()
