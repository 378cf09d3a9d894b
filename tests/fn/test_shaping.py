"""Joining, repeating, flipping and masking equal NumPy, in value and in gradient."""

from __future__ import annotations

from functools import partial
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import pytest

from talweg.base.errors import InvalidValue, ShapeError
from talweg.fn import shaping, views

from .conftest import spread, value_of

X = spread((2, 3, 4))
M = spread((3, 4), seed=1)
V = spread((3,), seed=2)

ONE: list[tuple[Any, tuple[Any, ...], Any]] = [
    (shaping.flip, (0,), np.flip(X, 0)),
    (shaping.flip, ((0, -1),), np.flip(X, (0, 2))),
    (shaping.fliplr, (), np.fliplr(X)),
    (shaping.flipud, (), np.flipud(X)),
    (shaping.roll, (5,), np.roll(X, 5)),
    (shaping.roll, (-1, 2), np.roll(X, -1, 2)),
    (shaping.roll, ((1, 2), (0, 2)), np.roll(X, (1, 2), (0, 2))),
    (shaping.roll, (3, 1), X),
    (shaping.rot90, (), np.rot90(X)),
    (shaping.rot90, (2, (0, 2)), np.rot90(X, 2, (0, 2))),
    (shaping.rot90, (-1, (2, 1)), np.rot90(X, -1, (2, 1))),
    (shaping.rot90, (4,), X),
    (shaping.repeat, (2, 1, 2), np.tile(X, (2, 1, 2))),
    (shaping.repeat, ((3, 1, 1, 1),), np.tile(X, (3, 1, 1, 1))),
    (shaping.repeat, (1, 0, 1), np.tile(X, (1, 0, 1))),
    (shaping.repeat, (1, 1, 1), X),
    (shaping.tile, (2,), np.tile(X, 2)),
    (shaping.tile, ((2, 1, 1, 2),), np.tile(X, (2, 1, 1, 2))),
    (shaping.repeat_interleave, (3,), np.repeat(X, 3)),
    (shaping.repeat_interleave, (2, 1), np.repeat(X, 2, 1)),
    (shaping.tril, (), np.tril(X)),
    (shaping.tril, (-1,), np.tril(X, -1)),
    (shaping.triu, (2,), np.triu(X, 2)),
    (shaping.triu, (-9,), X),
    (views.hsplit, (3,), np.hsplit(X, 3)),
    (views.vsplit, ([1],), np.vsplit(X, [1])),
    (views.dsplit, (2,), np.dsplit(X, 2)),
]


@pytest.mark.parametrize(("function", "arguments", "expected"), ONE)
def test_one_operand(b: Any, function: Any, arguments: Any, expected: Any) -> None:
    found = b.run(function, X, *arguments)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for part, wanted in zip(found, expected):
            np.testing.assert_array_equal(part, wanted)
        return
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    b.check_gradient(lambda b, x: function(b, x, *arguments), X)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cat_and_stack(b: Any, axis: int) -> None:
    parts = [X, X[:1] if axis == 0 else X * 2, X]
    np.testing.assert_array_equal(b.run(shaping.cat, parts, axis), np.concatenate(parts, axis))
    np.testing.assert_array_equal(b.run(shaping.stack, [X, -X], axis), np.stack([X, -X], axis))
    b.check_gradient(lambda b, x, y: shaping.cat(b, [x, y], axis), X, X)
    b.check_gradient(lambda b, x, y: shaping.stack(b, [x, y], axis), X, X)


def test_what_is_joined_twice(b: Any) -> None:
    def nested(b: Any, x: Any, y: Any) -> Any:
        inner = shaping.cat(b, [shaping.cat(b, [x, y, x], 1), y], 1)
        return shaping.cat(b, [inner, shaping.cat(b, [inner, inner], 0)], 0)

    inner = np.concatenate([M, -M, M, -M], 1)
    np.testing.assert_array_equal(b.run(nested, M, -M), np.concatenate([inner] * 3, 0))
    b.check_gradient(nested, M, -M)


@pytest.mark.parametrize(
    ("function", "oracle"),
    [
        (shaping.hstack, np.hstack),
        (shaping.vstack, np.vstack),
        (shaping.dstack, np.dstack),
        (shaping.column_stack, np.column_stack),
    ],
)
def test_other_stacks(b: Any, function: Any, oracle: Any) -> None:
    for parts in ([V, V * 2], [M, M + 1]):
        np.testing.assert_array_equal(b.run(function, parts), oracle(parts))


def test_cat_promotes_and_skips_empty_vectors(b: Any) -> None:
    found = b.run(shaping.cat, [np.arange(3), V])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.concatenate([np.arange(3), V]))
    np.testing.assert_array_equal(b.run(shaping.cat, [np.zeros(0), M], 1), M)
    assert b.run(shaping.cat, [np.zeros(0), np.zeros(0)]).shape == (0,)


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_diagonals(b: Any, offset: int) -> None:
    np.testing.assert_array_equal(b.run(shaping.diag, V, offset), np.diag(V, offset))
    np.testing.assert_array_equal(b.run(shaping.diag, M, offset), np.diag(M, offset))
    b.check_gradient(lambda b, x: shaping.diag(b, x, offset), V)
    for dims in ((-2, -1), (0, 2), (2, 1)):
        found = b.run(shaping.diag_embed, M, offset, *dims)
        np.testing.assert_array_equal(np.diagonal(found, offset, *dims), M)
        assert np.count_nonzero(found) == np.count_nonzero(M)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_grids(b: Any, indexing: str) -> None:
    vectors = [np.arange(2), np.arange(3.0), np.array(5)]
    found = value_of(shaping.meshgrid(b, *map(b.constant, vectors), indexing=indexing))
    for array, wanted in zip(found, np.meshgrid(*vectors, indexing=indexing)):
        np.testing.assert_array_equal(array, wanted)
    nodes = [b.constant(v) for v in vectors[:2]]
    assert len(shaping.meshgrid(b, nodes)) == 2


def test_products_of_sets(b: Any) -> None:
    x = np.array([3, 1, 4, 1])
    y = np.array([5, 9])
    found = b.run(shaping.cartesian_prod, x, b.constant(y))
    np.testing.assert_array_equal(found, [(i, j) for i in x for j in y])
    for r in (1, 2, 3, 5):
        for repeated, choose in ((False, combinations), (True, combinations_with_replacement)):
            found = b.run(shaping.combinations, x, r, repeated)
            wanted = np.array(list(choose(x, r))).reshape(-1, r)
            np.testing.assert_array_equal(found, wanted)


def test_kron_and_block_diag(b: Any) -> None:
    np.testing.assert_allclose(b.run(shaping.kron, M, b.constant(X)), np.kron(M, X))
    np.testing.assert_allclose(b.run(shaping.kron, X, b.constant(V)), np.kron(X, V))
    b.check_gradient(shaping.kron, M, V)
    found = value_of(shaping.block_diag(b, *map(b.constant, (M, V, np.array(7.0)))))
    expected = np.zeros((5, 8))
    expected[:3, :4], expected[3, 4:7], expected[4, 7] = M, V, 7
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("dimension", "size", "step"), [(2, 2, 1), (-2, 3, 1), (2, 1, 3)])
def test_unfold(b: Any, dimension: int, size: int, step: int) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(X, size, dimension)
    every = [slice(None)] * 4
    every[dimension % 3] = slice(None, None, step)
    run = partial(shaping.unfold, dimension=dimension, size=size, step=step)
    np.testing.assert_array_equal(b.run(run, X), windows[tuple(every)])
    b.check_gradient(run, X)


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        (shaping.cat, ([],), ShapeError),
        (shaping.cat, ([M, X],), ShapeError),
        (shaping.cat, ([M, M[:, :2]],), ShapeError),
        (shaping.cat, ([np.array(1.0), np.array(2.0)],), ShapeError),
        (shaping.stack, ([M, V],), ShapeError),
        (shaping.roll, (X, (1, 2), 0), ShapeError),
        (shaping.rot90, (X, 1, (0, 0)), ShapeError),
        (shaping.repeat, (X, 2), ShapeError),
        (shaping.repeat_interleave, (X, -1), InvalidValue),
        (shaping.tril, (V,), ShapeError),
        (shaping.diag, (X,), ShapeError),
        (shaping.diag_embed, (X, 0, 1, 1), ShapeError),
        (shaping.unfold, (X, 0, 3, 1), ShapeError),
        (shaping.unfold, (X, 0, 1, 0), InvalidValue),
        (views.hsplit, (X, 2), ShapeError),
        (views.dsplit, (M, 2), ShapeError),
    ],
)
def test_errors(b: Any, function: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\w"):
        b.run(function, *arguments)


def test_every_listed_name_exists() -> None:
    for module in (shaping, views):
        names = [*module.METHODS, *module.INPLACE]
        assert [n for n in names if not callable(getattr(module, n, None))] == []
