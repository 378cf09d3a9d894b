"""Pooling equals a loop over windows, gradients equal finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.fn import adaptive, pool
from tests.fn.conftest import Fn, spread, value_of

MAX = {1: pool.max_pool1d, 2: pool.max_pool2d, 3: pool.max_pool3d}
AVG = {1: pool.avg_pool1d, 2: pool.avg_pool2d, 3: pool.avg_pool3d}
UNPOOL = {1: pool.max_unpool1d, 2: pool.max_unpool2d, 3: pool.max_unpool3d}
LP = {1: pool.lp_pool1d, 2: pool.lp_pool2d, 3: pool.lp_pool3d}
ADAPTIVE_AVG = {
    1: adaptive.adaptive_avg_pool1d,
    2: adaptive.adaptive_avg_pool2d,
    3: adaptive.adaptive_avg_pool3d,
}
ADAPTIVE_MAX = {
    1: adaptive.adaptive_max_pool1d,
    2: adaptive.adaptive_max_pool2d,
    3: adaptive.adaptive_max_pool3d,
}

# shape, window, stride, padding, dilation, ceil_mode
GEOMETRIES: list[tuple[Any, ...]] = [
    ((2, 3, 8), (2,), (2,), (0,), (1,), False),
    ((2, 3, 9), (3,), (2,), (1,), (1,), True),
    ((1, 2, 9), (2,), (4,), (0,), (1,), True),
    ((2, 2, 6, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 2, 7, 6), (3, 2), (2, 3), (1, 0), (1, 2), True),
    ((1, 2, 7, 8), (3, 3), (1, 2), (1, 1), (2, 1), False),
    ((1, 2, 4, 5, 3), (2, 3, 1), (2, 1, 1), (1, 1, 0), (1, 1, 2), True),
]


def starts(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> list[int]:
    """Where windows start: each fits, or with `ceil` at least starts within the left padding."""
    extent = d * (k - 1) + 1
    out, at = [], -p
    while at + extent <= n + p or (ceil and at < n and at - s + extent < n + p):
        out.append(at)
        at += s
    return out


def windows(shape: Any, k: Any, s: Any, p: Any, d: Any, ceil: bool) -> Iterator[tuple[Any, Any]]:
    """For each result index the start of its window along each axis."""
    rows = [starts(*row, ceil) for row in zip(shape[2:], k, s, p, d)]
    for at in product(*(range(len(r)) for r in rows)):
        yield at, tuple(r[i] for r, i in zip(rows, at))


def pooled(
    x: np.ndarray, geometry: Any, reduce: Callable[[list[tuple[int, ...]], np.ndarray], Any]
) -> np.ndarray:
    """Apply `reduce(places inside x, plane)` to each window of each plane."""
    _, k, s, p, d, ceil = geometry
    found = dict(windows(x.shape, k, s, p, d, ceil))
    out = np.zeros((*x.shape[:2], *(i + 1 for i in max(found))))
    for n, c in np.ndindex(*x.shape[:2]):
        for at, start in found.items():
            places = [tuple(a + j * e for a, j, e in zip(start, tap, d)) for tap in np.ndindex(*k)]
            inside = [q for q in places if all(0 <= i < m for i, m in zip(q, x.shape[2:]))]
            out[(n, c, *at)] = reduce(inside, x[n, c])
    return out


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_max_pool_and_indices_equal_loops(b: Fn, geometry: Any) -> None:
    shape, *how = geometry
    x = np.round(spread(shape) * 3)  # with ties
    want = pooled(x, geometry, lambda at, plane: max(plane[q] for q in at))
    places = pooled(
        x,
        geometry,
        lambda at, plane: np.ravel_multi_index(
            max(at, key=lambda q: (plane[q], [-i for i in q])), plane.shape
        ),
    )
    got, index = b.run(MAX[len(shape) - 2], x, *how, return_indices=True)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(index, places)
    assert index.dtype == np.int64
    alone = b.run(MAX[len(shape) - 2], x[0], *how)
    np.testing.assert_array_equal(alone, want[0])


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if set(g[4]) == {1}], ids=str)
def test_avg_pool_equals_loops(b: Fn, geometry: Any, include: bool) -> None:
    shape, k, s, p, _, ceil = geometry
    x = spread(shape)
    total = pooled(x, geometry, lambda at, plane: sum(plane[q] for q in at))
    count = np.ones_like(total)
    for at, start in windows(x.shape, *geometry[1:]):
        edge = p if include else (0,) * len(p)
        sides = [min(a + w, n + e) - max(a, -e) for a, w, n, e in zip(start, k, shape[2:], edge)]
        count[(slice(None), slice(None), *at)] = np.prod(sides)
    got = b.run(AVG[len(k)], x, k, s, p, ceil, include)
    np.testing.assert_allclose(got, total / count, atol=1e-12)
    if len(k) > 1:
        override = b.run(AVG[len(k)], x, k, s, p, ceil, include, 5)
        np.testing.assert_allclose(override, total / 5, atol=1e-12)
    if include and not any(p) and not ceil:
        third = b.run(LP[len(k)], np.abs(x), 3, k, s)
        cubes = pooled(np.abs(x) ** 3, geometry, lambda at, plane: sum(plane[q] for q in at))
        np.testing.assert_allclose(third, cubes ** (1 / 3), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3, 7), 3),
        ((2, 3, 7), 10),
        ((2, 2, 6, 5), (3, 5)),
        ((2, 2, 5, 7), (None, 4)),
        ((2, 2, 5, 7), 1),
        ((1, 2, 3, 4, 5), (2, 3, 7)),
    ],
)
def test_adaptive_pools_equal_loops(b: Fn, shape: Any, size: Any) -> None:
    x = spread(shape)
    axes = len(shape) - 2
    listed = (size,) * axes if isinstance(size, int) else size
    sizes = tuple(n if m is None else m for n, m in zip(shape[2:], listed))
    mean, largest = np.zeros((*shape[:2], *sizes)), np.zeros((*shape[:2], *sizes))
    for at in np.ndindex(*sizes):
        cut = tuple(
            slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(at, shape[2:], sizes)
        )
        part = x[(slice(None), slice(None), *cut)].reshape(*shape[:2], -1)
        mean[(..., *at)], largest[(..., *at)] = part.mean(-1), part.max(-1)
    np.testing.assert_allclose(b.run(ADAPTIVE_AVG[axes], x, size), mean, atol=1e-12)
    got, index = b.run(ADAPTIVE_MAX[axes], x, size, True)
    np.testing.assert_array_equal(got, largest)
    flat = x.reshape(*shape[:2], -1)
    picked = np.take_along_axis(flat, index.reshape(*shape[:2], -1), 2)
    np.testing.assert_array_equal(picked.reshape(largest.shape), largest)
    np.testing.assert_allclose(b.run(ADAPTIVE_AVG[axes], x[0], size), mean[0], atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES[:1] + GEOMETRIES[3:4], ids=str)
def test_unpool_puts_maxima_back(b: Fn, geometry: Any) -> None:
    shape, k, s, *_ = geometry
    x = spread(shape)
    y, index = b.run(MAX[len(k)], x, k, s, return_indices=True)
    back = b.run(UNPOOL[len(k)], y, index, k, s)
    maxima = np.isin(x, y)
    np.testing.assert_array_equal(back, np.where(maxima, x, 0))


def test_unpool_sizes(b: Fn) -> None:
    y, index = b.run(pool.max_pool1d, spread((1, 1, 5)), 2, return_indices=True)
    assert b.run(pool.max_unpool1d, y, index, 2).shape == (1, 1, 4)
    assert b.run(pool.max_unpool1d, y, index, 2, output_size=(1, 1, 5)).shape == (1, 1, 5)
    with pytest.raises(ShapeError, match=r"output_size \(9,\)"):
        b.run(pool.max_unpool1d, y, index, 2, output_size=(9,))
    with pytest.raises(IndexOutOfRange):
        b.run(pool.max_unpool1d, y, index + 4, 2)


def test_nan_and_infinities(b: Fn) -> None:
    x = np.array([[np.nan, 1.0, 2.0, -np.inf, -np.inf, 3.0]])
    got, index = b.run(pool.max_pool1d, x, 2, return_indices=True)
    np.testing.assert_array_equal(got, [[np.nan, 2.0, 3.0]])
    np.testing.assert_array_equal(index, [[0, 2, 5]])
    low = np.full((1, 4), -np.inf)
    _, index = b.run(pool.max_pool1d, low, 2, 2, 1, return_indices=True)
    np.testing.assert_array_equal(index, [[0, 1, 3]])


def test_half_mean_does_not_overflow(b: Fn) -> None:
    x = np.full((1, 4), 60000, np.float16)
    np.testing.assert_array_equal(b.run(pool.avg_pool1d, x, 4), x[:, :1])
    np.testing.assert_array_equal(b.run(adaptive.adaptive_avg_pool1d, x, 1), x[:, :1])


def test_gradients(b: Fn) -> None:
    x = spread((2, 2, 5, 6))
    b.check_gradient(lambda b, x: pool.max_pool2d(b, x, 3, 2, 1), x)
    b.check_gradient(lambda b, x: pool.avg_pool2d(b, x, 3, 2, 1, True, False), x)
    b.check_gradient(lambda b, x: adaptive.adaptive_avg_pool2d(b, x, (3, 4)), x)
    b.check_gradient(lambda b, x: adaptive.adaptive_max_pool2d(b, x, (3, 4)), x)
    b.check_gradient(lambda b, x: pool.lp_pool2d(b, x, 2.0, 2), x)
    index = np.array([[[1, 6, 3]]])
    b.check_gradient(lambda b, x: pool.max_unpool1d(b, x, b.constant(index), 3), spread((1, 1, 3)))


def test_tied_maxima_give_the_gradient_to_the_first(b: Fn) -> None:
    x = b.constant(np.ones((1, 4)))
    y: Any = pool.max_pool1d(b, x, 2)
    (grad,) = vjp(b, [y], [x], [b.constant(np.ones((1, 2)))])
    np.testing.assert_array_equal(value_of(grad), [[1.0, 0.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("function", "arguments", "error", "words"),
    [
        (pool.max_pool2d, (spread((3, 4)), 2), ShapeError, r"\(3, 4\)"),
        (pool.max_pool2d, (spread((1, 4, 4)), 2, 2, 2), InvalidValue, "at most half"),
        (pool.max_pool2d, (spread((1, 4, 4)), 5), ShapeError, r"\(5, 5\).*\(4, 4\)"),
        (pool.max_pool2d, (spread((1, 4, 4)), (2, 2, 2)), ShapeError, "kernel_size"),
        (pool.avg_pool1d, (np.arange(4)[None], 2), DTypeError, "int64"),
        (pool.avg_pool2d, (spread((1, 4, 4)), 2, 2, 0, False, True, 0), InvalidValue, "divisor"),
        (adaptive.adaptive_avg_pool2d, (spread((1, 4, 4)), 0), InvalidValue, "at least 1"),
        (adaptive.adaptive_avg_pool2d, (spread((1, 4, 4)), (1, 2, 3)), ShapeError, "output_size"),
        (pool.max_unpool1d, (spread((1, 2)), np.zeros((1, 3), int), 2), ShapeError, r"\(1, 3\)"),
        (pool.max_unpool1d, (spread((1, 2)), spread((1, 2)), 2), DTypeError, "int64"),
    ],
)
def test_errors_name_shapes(
    b: Fn, function: Any, arguments: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        b.run(function, *arguments)
