"""Sorting, searching and counting equal NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import sorting

from .conftest import spread, value_of

X = spread((3, 5, 4))
TIES = np.array([[2, 1, 2, 1, 3], [0, 0, 0, 0, 0]])
ODD = np.array([1.0, np.nan, -np.inf, 3.0, np.inf])


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("descending", [False, True])
def test_sort(b: Any, dim: int, descending: bool) -> None:
    values, indices = b.run(sorting.sort, X, dim, descending)
    expected = np.flip(np.sort(X, dim), dim) if descending else np.sort(X, dim)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.take_along_axis(X, indices, dim), expected)
    np.testing.assert_array_equal(b.run(sorting.argsort, X, dim, descending), indices)
    b.check_gradient(lambda b, x: sorting.sort(b, x, dim, descending).values, X)


def test_equal_elements_keep_their_order(b: Any) -> None:
    np.testing.assert_array_equal(b.run(sorting.argsort, TIES), np.argsort(TIES, kind="stable"))
    down = b.run(sorting.argsort, TIES, descending=True)
    np.testing.assert_array_equal(down, np.argsort(-TIES, kind="stable"))


def test_nan_is_the_largest(b: Any) -> None:
    np.testing.assert_array_equal(b.run(sorting.sort, ODD)[0], np.sort(ODD))
    np.testing.assert_array_equal(b.run(sorting.sort, ODD, 0, True)[0], np.sort(ODD)[::-1])
    assert np.isnan(b.run(sorting.topk, ODD, 1)[0][0])


def test_scalars(b: Any) -> None:
    x = np.array(3.0)
    for result in (
        b.run(sorting.sort, x),
        b.run(sorting.topk, x, 1),
        b.run(sorting.kthvalue, x, 1),
    ):
        assert [v.shape for v in result] == [(), ()]
        assert [v.item() for v in result] == [3, 0]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_selection(b: Any, dim: int) -> None:
    order = np.sort(X, dim)
    largest, indices = b.run(sorting.topk, X, 2, dim)
    np.testing.assert_array_equal(largest, np.flip(order, dim).take(range(2), dim))
    np.testing.assert_array_equal(np.take_along_axis(X, indices, dim), largest)
    smallest, _ = b.run(sorting.topk, X, 2, dim, largest=False)
    np.testing.assert_array_equal(smallest, order.take(range(2), dim))
    second, indices = b.run(sorting.kthvalue, X, 2, dim)
    np.testing.assert_array_equal(second, order.take(1, dim))
    kept, _ = b.run(sorting.kthvalue, X, 2, dim, keepdim=True)
    np.testing.assert_array_equal(kept, order.take([1], dim))
    np.testing.assert_array_equal(b.run(sorting.msort, X), np.sort(X, 0))
    b.check_gradient(lambda b, x: sorting.topk(b, x, 2, dim).values, X)


@pytest.mark.parametrize("right", [False, True])
def test_searching(b: Any, right: bool) -> None:
    sequence = np.array([1.0, 2.0, 2.0, 5.0])
    values = np.array([[0.0, 2.0], [5.0, 9.0]])
    side = "right" if right else "left"
    expected = np.searchsorted(sequence, values, side)
    node = b.constant(values)
    np.testing.assert_array_equal(
        b.run(sorting.searchsorted, sequence, node, right=right), expected
    )
    found = b.run(sorting.bucketize, values, b.constant(sequence), right=right, out_int32=True)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert b.run(sorting.searchsorted, sequence, 2, side=side) == np.searchsorted(sequence, 2, side)
    order = np.array([3, 1, 0, 2])
    shuffled = np.empty(4)
    shuffled[order] = sequence
    found = b.run(sorting.searchsorted, shuffled, node, right=right, sorter=b.constant(order))
    np.testing.assert_array_equal(found, expected)


def test_searching_rows(b: Any) -> None:
    rows = np.sort(spread((3, 6)), 1)
    values = spread((3, 2), seed=1)
    found = b.run(sorting.searchsorted, rows, b.constant(values))
    np.testing.assert_array_equal(found, [np.searchsorted(r, v) for r, v in zip(rows, values)])


@pytest.mark.parametrize("invert", [False, True])
def test_isin(b: Any, invert: bool) -> None:
    x, tests = np.array([[1, 2, 3], [9, -1, 2]]), np.array([2, 9, 4])
    for other in (tests, np.array([], np.int64), tests[:1]):
        found = b.run(sorting.isin, x, b.constant(other), invert=invert)
        np.testing.assert_array_equal(found, np.isin(x, other, invert=invert))
    np.testing.assert_array_equal(b.run(sorting.isin, x, 2, invert=invert), (x == 2) != invert)
    flags = np.array([True, False])
    found = b.run(sorting.isin, flags, b.constant(flags[:1]), invert=invert)
    np.testing.assert_array_equal(found, np.isin(flags, flags[:1], invert=invert))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-1, 1), (0.5, 2)])
def test_histc(b: Any, low: float, high: float) -> None:
    expected, _ = np.histogram(X, 7, None if low == high else (low, high))
    np.testing.assert_array_equal(b.run(sorting.histc, X, 7, low, high), expected)


def test_histc_of_equal_and_nan(b: Any) -> None:
    np.testing.assert_array_equal(b.run(sorting.histc, np.ones(5), 2), [0, 5])
    odd = np.array([np.nan, 0.25, 1.0, 2.0])
    np.testing.assert_array_equal(b.run(sorting.histc, odd, 2, 0, 1), [1, 1])


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        (sorting.topk, (X, 5), InvalidValue),
        (sorting.kthvalue, (X, 0), InvalidValue),
        (sorting.bucketize, (X, X), ShapeError),
        (sorting.searchsorted, (X, X[:2]), ShapeError),
        (sorting.histc, (X, 0), InvalidValue),
        (sorting.histc, (TIES,), DTypeError),
    ],
)
def test_errors(b: Any, function: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        value_of(function(b, *map(b.node, arguments)))
    with pytest.raises(InvalidValue, match="left"):
        sorting.searchsorted(b, b.constant(X), 1, right=True, side="left")


def test_every_listed_name_exists() -> None:
    assert [n for n in sorting.METHODS if not callable(getattr(sorting, n, None))] == []
