"""Views equal NumPy's, and are chains of the four ops that a Tensor can alias."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import IndexOutOfRange, InvalidValue, ShapeError
from talweg.fn import views
from talweg.ir.node import Node
from talweg.ops.view import Diagonal, Expand, Permute, Reshape, Slice

X = np.arange(24).reshape(2, 3, 4)

CASES: list[tuple[Any, tuple[Any, ...], Any]] = [
    (views.reshape, (6, -1), X.reshape(6, 4)),
    (views.reshape, ((-1,),), X.reshape(-1)),
    (views.view, (4, 6), X.reshape(4, 6)),
    (views.ravel, (), X.ravel()),
    (views.flatten, (), X.reshape(24)),
    (views.flatten, (1,), X.reshape(2, 12)),
    (views.flatten, (0, 1), X.reshape(6, 4)),
    (views.unflatten, (-1, (2, -1)), X.reshape(2, 3, 2, 2)),
    (views.permute, (2, 0, 1), X.transpose(2, 0, 1)),
    (views.permute, ((0, 2, 1),), X.transpose(0, 2, 1)),
    (views.transpose, (0, -1), X.swapaxes(0, 2)),
    (views.T, (), X.T),
    (views.mT, (), X.swapaxes(-1, -2)),
    (views.movedim, (0, -1), np.moveaxis(X, 0, -1)),
    (views.movedim, ((0, 1), (2, 0)), np.moveaxis(X, (0, 1), (2, 0))),
    (views.unsqueeze, (-1,), X[..., None]),
    (views.unsqueeze, (1,), X[:, None]),
    (views.expand, (5, -1, 3, 4), np.broadcast_to(X, (5, 2, 3, 4))),
    (views.broadcast_to, ((5, 2, 3, 4),), np.broadcast_to(X, (5, 2, 3, 4))),
    (views.select, (1, -1), X[:, -1]),
    (views.narrow, (2, 1, 2), X[:, :, 1:3]),
    (views.narrow, (2, -2, 2), X[:, :, -2:]),
    (views.diagonal, (), X.diagonal()),
    (views.diagonal, (1, 1, 2), X.diagonal(1, 1, 2)),
    (views.diagonal, (-1, 1, 2), X.diagonal(-1, 1, 2)),
    (views.diagonal, (-2, 2, 1), X.diagonal(-2, 2, 1)),
    (views.diagonal, (9, 1, 2), X.diagonal(9, 1, 2)),
    (views.diagonal, (2, 0, -1), X.diagonal(2, 0, -1)),
    (views.unbind, (1,), [X[:, i] for i in range(3)]),
    (views.split, (2, 1), np.split(X, [2], 1)),
    (views.split, ([1, 0, 3], -1), np.split(X, [1, 1], -1)),
    (views.chunk, (3, 2), [X[..., :2], X[..., 2:]]),
    (views.tensor_split, (3, 2), np.array_split(X, 3, 2)),
    (views.tensor_split, ([1, -1], 2), np.split(X, [1, -1], 2)),
    (views.atleast_3d, (), X),
]


def chain(node: Node) -> list[type]:
    ops = []
    while node.inputs:
        ops.append(type(node.op))
        (node,) = node.inputs
    return ops


@pytest.mark.parametrize(("function", "arguments", "expected"), CASES)
def test_equals_numpy(b: Any, function: Any, arguments: Any, expected: Any) -> None:
    results = function(b, b.constant(X), *arguments)
    found = b.run(function, X, *arguments)
    if isinstance(results, Node):
        results, found, expected = [results], [found], [expected]
    assert len(found) == len(expected)
    for node, array, wanted in zip(results, found, expected):
        assert set(chain(node)) <= {Reshape, Permute, Slice, Expand, Diagonal}
        assert array.shape == wanted.shape
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("offset", range(-6, 7))
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (0, 2), (1, 1)])
def test_every_diagonal(b: Any, shape: tuple[int, int], offset: int) -> None:
    x = np.arange(shape[0] * shape[1]).reshape(shape)
    np.testing.assert_array_equal(b.run(views.diagonal, x, offset), np.diagonal(x, offset))


def test_squeeze_keeps_sizes_other_than_one(b: Any) -> None:
    x = np.zeros((1, 3, 1))
    assert b.run(views.squeeze, x).shape == (3,)
    assert b.run(views.squeeze, x, 1).shape == (1, 3, 1)
    assert b.run(views.squeeze, x, (0, -1)).shape == (3,)


def test_scalars(b: Any) -> None:
    x = np.array(3.0)
    assert b.run(views.flatten, x).shape == (1,)
    assert b.run(views.squeeze, x).shape == ()
    assert b.run(views.t, x).shape == ()
    assert b.run(views.unsqueeze, x, 0).shape == (1,)
    assert b.run(views.atleast_1d, x).shape == (1,)
    assert b.run(views.atleast_2d, x).shape == (1, 1)
    assert b.run(views.atleast_3d, np.arange(2)).shape == (1, 2, 1)


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        (views.reshape, (5, -1), ShapeError),
        (views.reshape, (-1, -1), ShapeError),
        (views.flatten, (2, 1), ShapeError),
        (views.flatten, (0, 3), IndexOutOfRange),
        (views.permute, (0, 1), ShapeError),
        (views.permute, (0, 1, 1), ShapeError),
        (views.t, (), ShapeError),
        (views.movedim, ((0, 0), (1, 2)), ShapeError),
        (views.expand, (2, 3), ShapeError),
        (views.expand, (2, 5, 4), ShapeError),
        (views.expand, (-1, 2, 3, 4), ShapeError),
        (views.select, (1, 3), IndexOutOfRange),
        (views.select, (1, -4), IndexOutOfRange),
        (views.narrow, (0, 1, 2), IndexOutOfRange),
        (views.split, ([1, 1], 1), ShapeError),
        (views.split, (0,), InvalidValue),
        (views.chunk, (0,), InvalidValue),
        (views.diagonal, (0, 1, 1), ShapeError),
        (views.unsqueeze, (4,), IndexOutOfRange),
    ],
)
def test_errors(b: Any, function: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\d"):
        function(b, b.constant(X), *arguments)


def test_at_least_so_many_dimensions_of_several() -> None:
    first, second = tw.atleast_1d(tw.tensor(3), tw.ones(2))
    assert (first.shape, second.shape) == ((1,), (2,))
    assert [t.shape for t in tw.atleast_2d([tw.ones(2), tw.tensor(1)])] == [(1, 2), (1, 1)]
    assert tw.atleast_3d(tw.ones(2)).shape == (1, 2, 1)
