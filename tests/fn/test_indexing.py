"""Subscripts equal NumPy's for keys drawn at random; reads and writes along a dimension too."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.fn import gathering, indexing
from talweg.ir.node import Node
from talweg.ops import OpBuilder
from talweg.ops.view import Reshape, Slice

from .conftest import spread, value_of

INDEX_SHAPES = [(), (1,), (2,), (3,), (2, 3), (1, 3), (2, 1), (0,)]


@st.composite
def keyed(draw: Any) -> tuple[np.ndarray, tuple[Any, ...]]:
    """An array, and a key of ints, slices, None, Ellipsis, bools and integer arrays."""
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=4)))
    used = draw(st.integers(0, len(shape)))
    ellipsis = draw(st.booleans())
    front = draw(st.integers(0, used)) if ellipsis else used
    common = draw(st.sampled_from([s for s in INDEX_SHAPES if 0 not in s]))
    axes = [*range(front), *range(len(shape) - (used - front), len(shape))]
    key: list[Any] = []
    for position, axis in enumerate(axes):
        if ellipsis and position == front:
            key.append(Ellipsis)
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "array", "array", "none"]))
        if kind == "none":
            key += [None]
        if kind == "int":
            key.append(draw(st.integers(-n, n - 1)))
        elif kind == "array":
            sizes = tuple(draw(st.sampled_from([s, 1])) for s in common)
            count = int(np.prod(sizes))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count))
            key.append(np.array(values, np.int64).reshape(sizes))
        else:
            bound = st.none() | st.integers(-n - 1, n + 1)
            key.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))))
    if ellipsis and front == len(axes):
        key.append(Ellipsis)
    plain = not any(isinstance(p, np.ndarray) for p in key)
    key += draw(st.sampled_from([[], [None], [True], [False] if plain else []]))
    return np.arange(int(np.prod(shape))).reshape(shape), tuple(key)


def halves(key: tuple[Any, ...], rank: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Split into what NumPy does with views, and with arrays on the result.

    An Ellipsis for no axis separates index arrays in NumPy; here, as in PyTorch, it does not.
    """
    arrays = (np.ndarray, bool)
    used = sum(isinstance(p, int | slice | np.ndarray) and not isinstance(p, bool) for p in key)
    key = tuple(p for p in key if p is not Ellipsis or used < rank)
    basic = tuple(
        None if isinstance(p, bool) else slice(None) if isinstance(p, np.ndarray) else p
        for p in key
    )
    rest = tuple(
        np.zeros(int(p), np.int64)
        if isinstance(p, bool)
        else p
        if isinstance(p, arrays) or p is Ellipsis
        else slice(None)
        for p in key
        if isinstance(p, bool) or not isinstance(p, int)
    )
    return basic if any(p is Ellipsis for p in basic) else (*basic, Ellipsis), rest


def nodes(b: Any, key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(b.constant(p) if isinstance(p, np.ndarray) else p for p in key)


@settings(max_examples=200)
@given(keyed())
def test_reading_equals_numpy(drawn: Any) -> None:
    x, key = drawn
    b = OpBuilder()
    basic, rest = halves(key, x.ndim)
    expected = x[basic][rest]
    found = value_of(indexing.getitem(b, b.constant(x), nodes(b, key)))
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    if not any(isinstance(p, int) or p is Ellipsis for p in key):
        np.testing.assert_array_equal(found, x[key])


@settings(max_examples=200)
@given(keyed(), st.integers(0, 2))
def test_writing_equals_numpy(drawn: Any, dropped: int) -> None:
    x, key = drawn
    b = OpBuilder()
    basic, rest = halves(key, x.ndim)
    shape = x[basic][rest].shape[dropped:]
    value = -1 - np.arange(int(np.prod(shape))).reshape(shape)
    expected, added = x.copy(), x.copy()
    expected[basic][rest] = value
    found = indexing.setitem(b, b.constant(x), nodes(b, key), b.constant(value))
    np.testing.assert_array_equal(value_of(found), expected)
    np.add.at(added[basic], rest, value)
    found = indexing.setitem(b, b.constant(x), nodes(b, key), b.constant(value), True)
    np.testing.assert_array_equal(value_of(found), added)


X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(1, None), (slice(None), 1), (..., None), (None, 1, slice(0, 9, 2)), ()],
    ids=str,
)
def test_basic_keys_only_slice_and_reshape(b: Any, key: Any) -> None:
    x = b.constant(X)
    node = indexing.getitem(b, x, key)
    np.testing.assert_array_equal(value_of(node), X[key])
    while node is not x:
        assert type(node.op) in (Slice, Reshape)
        (node,) = node.inputs


def test_places_of_index_arrays(b: Any) -> None:
    i, j = b.constant(np.array([0, 1])), b.constant(np.array([[1], [2]]))
    x = b.constant(X)
    assert indexing.getitem(b, x, (i, j)).shape == (2, 2, 4)
    assert indexing.getitem(b, x, (slice(None), i, j)).shape == (2, 2, 2)
    assert indexing.getitem(b, x, (i, slice(None), j)).shape == (2, 2, 3)
    assert indexing.getitem(b, x, (slice(None), slice(None), i)).shape == (2, 3, 2)
    assert indexing.getitem(b, x, (0, slice(None), i)).shape == (3, 2)


def test_gradients_of_subscripts(b: Any) -> None:
    i, j = b.constant(np.array([1, 0, 1])), b.constant(np.array([2, -1, 2]))

    def read(b: Any, x: Node) -> Node:
        return indexing.getitem(b, x, (i, slice(None), j))

    def write(b: Any, x: Node, v: Node) -> Node:
        return indexing.setitem(b, x, (slice(None), slice(0, 3, 2), j), v, True)

    b.check_gradient(read, X)
    b.check_gradient(write, X, spread((2, 3)))


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (2, IndexOutOfRange, "index 2 is out of bounds for dimension 0 with size 2"),
        ((0, -4), IndexOutOfRange, "index -4 is out of bounds for dimension 1 with size 3"),
        ((0, 0, 0, 0), IndexOutOfRange, "too many indices for tensor of dimension 3"),
        ((..., ...), IndexOutOfRange, "ellipsis"),
        (slice(None, None, -1), InvalidValue, "-1"),
        ("a", DTypeError, "str"),
        (1.5, DTypeError, "float"),
        (np.array([0.5]), DTypeError, "float64"),
        (np.array([2]), IndexOutOfRange, "2"),
        ((np.array([0, 1]), np.array([0, 1, 2])), IndexOutOfRange, "shape mismatch"),
    ],
)
def test_errors(b: Any, key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        value_of(
            indexing.getitem(b, b.constant(X), nodes(b, key if isinstance(key, tuple) else (key,)))
        )


def test_value_must_fit_the_part(b: Any) -> None:
    x = b.constant(X)
    with pytest.raises(ShapeError, match=r"\(5,\).*\(3, 4\)"):
        indexing.setitem(b, x, 0, b.constant(np.zeros(5)))
    found = indexing.setitem(b, x, (0, 0), b.constant(np.zeros((1, 1, 4))))
    assert value_of(found)[0, 0].sum() == 0


def test_index_put(b: Any) -> None:
    i, j = np.array([0, 1, 1]), np.array([2, 0, 0])
    expected = X.copy()
    np.add.at(expected, (i, slice(None), j), 1.0)
    ones = b.constant(np.ones(()))
    keys = [b.constant(i), None, b.constant(j)]
    found = indexing.index_put(b, b.constant(X), keys, ones, accumulate=True)
    np.testing.assert_array_equal(value_of(found), expected)
    with pytest.raises(DTypeError, match="int64"):
        indexing.index_put(b, b.constant(X), keys, b.constant(np.array(1)))


ALONG = np.array([[0, 2, 1], [2, 2, 0]])
M = spread((3, 4))
S = spread((2, 4), seed=3)


def loops(x: np.ndarray, dim: int, index: np.ndarray, src: np.ndarray, combine: Any) -> np.ndarray:
    out = x.copy()
    for place in np.ndindex(index.shape):
        target = list(place)
        target[dim] = index[place]
        out[tuple(target)] = combine(out[tuple(target)], src[place])
    return out


def test_gather(b: Any) -> None:
    index = ALONG.T
    np.testing.assert_array_equal(
        b.run(gathering.gather, M, 1, b.constant(index)), np.take_along_axis(M, index, 1)
    )
    small = index[:2]
    np.testing.assert_array_equal(
        b.run(gathering.gather, M, 1, b.constant(small)), np.take_along_axis(M[:2], small, 1)
    )
    b.check_gradient(lambda b, x: gathering.gather(b, x, 1, b.constant(index)), M)
    with pytest.raises(IndexOutOfRange, match="-1"):
        b.run(gathering.gather, M, 1, b.constant(index - 1))
    with pytest.raises(ShapeError, match="rank"):
        b.run(gathering.gather, M, 1, b.constant(index[0]))


COMBINE = {
    "sum": lambda x, y: x + y,
    "prod": lambda x, y: x * y,
    "amax": max,
    "amin": min,
}


@pytest.mark.parametrize("reduce", COMBINE)
def test_scatter_reduce(b: Any, reduce: str) -> None:
    index = b.constant(ALONG)
    run = partial(gathering.scatter_reduce, dim=0, index=index, reduce=reduce)
    expected = loops(M, 0, ALONG, S, COMBINE[reduce])
    np.testing.assert_allclose(b.run(run, M, src=b.constant(S)), expected)
    b.check_gradient(lambda b, x, s: run(b, x, src=s), M, S)
    start = {"sum": 0, "prod": 1, "amax": -np.inf, "amin": np.inf}[reduce]
    emptied = loops(M, 0, ALONG, S, lambda x, y: start)
    expected = loops(emptied, 0, ALONG, S, COMBINE[reduce])
    found = b.run(run, M, src=b.constant(S), include_self=False)
    np.testing.assert_allclose(found, expected)


def test_scatter_means(b: Any) -> None:
    index = b.constant(np.array([0, 0, 2]))
    x, src = np.array([9.0, 9.0, 9.0]), b.constant(np.array([1.0, 2.0, 5.0]))
    found = b.run(gathering.scatter_reduce, x, 0, index, src, "mean")
    np.testing.assert_allclose(found, [4, 9, 7])
    found = b.run(gathering.scatter_reduce, x, 0, index, src, "mean", include_self=False)
    np.testing.assert_allclose(found, [1.5, 9, 5])


def test_scatter(b: Any) -> None:
    distinct = np.array([[0, 2, 1], [2, 1, 0]])
    index = b.constant(distinct)
    expected = loops(M, 0, distinct, S, lambda x, y: y)
    np.testing.assert_array_equal(b.run(gathering.scatter, M, 0, index, b.constant(S)), expected)
    b.check_gradient(lambda b, x, s: gathering.scatter(b, x, 0, index, s), M, S)
    np.testing.assert_array_equal(
        b.run(gathering.scatter, M, 0, index, 7.0), loops(M, 0, distinct, S, lambda x, y: 7)
    )
    found = b.run(gathering.scatter, M, 0, b.constant(ALONG), b.constant(S), reduce="add")
    np.testing.assert_allclose(found, loops(M, 0, ALONG, S, lambda x, y: x + y))
    found = b.run(gathering.scatter_add, M, 0, b.constant(ALONG), b.constant(S))
    np.testing.assert_allclose(found, loops(M, 0, ALONG, S, lambda x, y: x + y))
    with pytest.raises(ShapeError, match="exceed"):
        b.run(gathering.scatter, M, 0, index, b.constant(S[:1]))
    with pytest.raises(DTypeError, match="float32"):
        b.run(gathering.scatter, M, 0, index, b.constant(S.astype(np.float32)))


def test_whole_slices(b: Any) -> None:
    index = np.array([2, 0, 2])
    node = b.constant(index)
    np.testing.assert_array_equal(b.run(gathering.index_select, M, 0, node), M[index])
    np.testing.assert_array_equal(b.run(gathering.index_select, M, 1, node), M[:, index])
    source = spread((3, 4), seed=5)
    expected = M.copy()
    np.add.at(expected, index, 2 * source)
    found = b.run(gathering.index_add, M, 0, node, b.constant(source), alpha=2)
    np.testing.assert_allclose(found, expected)
    expected = M.copy()
    expected[:, [3, 1]] = source[:, :2]
    two = b.constant(np.array([3, 1]))
    found = b.run(gathering.index_copy, M, 1, two, b.constant(source[:, :2]))
    np.testing.assert_array_equal(found, expected)
    expected[:, [3, 1]] = 8
    np.testing.assert_array_equal(b.run(gathering.index_fill, M, 1, two, 8), expected)
    b.check_gradient(lambda b, x, s: gathering.index_add(b, x, 0, node, s), M, source)
    with pytest.raises(ShapeError, match=r"\(3, 4\)"):
        b.run(gathering.index_copy, M, 0, two, b.constant(source))


def test_flat_places(b: Any) -> None:
    index = np.array([[0, -1], [5, 5]])
    node = b.constant(index)
    np.testing.assert_array_equal(b.run(gathering.take, M, node), np.take(M, index))
    expected = M.copy()
    np.put(expected, index, np.arange(4.0))
    source = b.constant(np.arange(4.0))
    np.testing.assert_array_equal(b.run(gathering.put, M, node, source), expected)
    expected = M.copy()
    np.add.at(expected.reshape(-1), index.reshape(-1), np.arange(4.0))
    np.testing.assert_allclose(b.run(gathering.put, M, node, source, True), expected)


def test_take_along_dim(b: Any) -> None:
    index = np.array([[0, 2, 1, 1]])
    np.testing.assert_array_equal(
        b.run(gathering.take_along_dim, M, b.constant(index), 0), np.take_along_axis(M, index, 0)
    )
    column = M[:, :1]
    np.testing.assert_array_equal(
        b.run(gathering.take_along_dim, column, b.constant(index), 0),
        np.take_along_axis(column, index, 0),
    )
    order = np.argsort(M, axis=None)
    np.testing.assert_array_equal(
        b.run(gathering.take_along_dim, M, b.constant(order)), np.sort(M, axis=None)
    )


def test_masked_scatter(b: Any) -> None:
    mask = M > 0
    expected = M.copy()
    expected[mask] = np.arange(float(mask.sum()))
    source = np.arange(12.0)
    run = partial(gathering.masked_scatter, mask=b.constant(mask))
    np.testing.assert_array_equal(b.run(run, M, source=b.constant(source)), expected)
    b.check_gradient(lambda b, x, s: run(b, x, source=s), M, source)
    with pytest.raises(IndexOutOfRange):
        b.run(run, M, source=b.constant(source[:2]))


def test_one_hot(b: Any) -> None:
    index = np.array([[0, 2], [1, 2]])
    np.testing.assert_array_equal(b.run(gathering.one_hot, index, 4), np.eye(4, dtype=int)[index])
    with pytest.raises(IndexOutOfRange, match="4"):
        b.run(gathering.one_hot, index + 2, 4)


def test_every_listed_name_exists() -> None:
    for module in (indexing, gathering):
        names = [*module.METHODS, *module.INPLACE]
        assert [n for n in names if not callable(getattr(module, n, None))] == []
