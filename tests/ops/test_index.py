"""Indices: out of range, repeated, empty, of other shapes; NumPy and plain loops as oracles."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, IndexOutOfRange, ShapeError

WRITES = {
    "add": lambda old, new: old + new,
    "put": lambda _, new: new,
    "max": max,
    "min": min,
}


def written(combine, x, index, updates, axis):
    """Apply updates one after the other."""
    out = x.copy()
    for place in np.ndindex(index.shape):
        to = (*place[:axis], index[place], *place[axis + 1 :])
        out[to] = combine(out[to], updates[place])
    return out


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (4,), (2, 0), (2, 3)])
def test_take_and_its_inverse(b, axis, shape):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (3, 4, 5))
    index = rng.integers(0, x.shape[axis], shape)
    node, at = b.constant(x), b.constant(index)
    taken = np.take(x, index, axis)
    np.testing.assert_array_equal(b.value(b.take(node, at, axis)), taken)
    added, put = x.copy(), x.copy()
    where = (slice(None),) * axis
    for place in np.ndindex(shape):
        one = (*where, index[place])
        added[one] += taken[where + place]
        put[one] = -taken[where + place]
    updates = b.constant(taken)
    np.testing.assert_array_equal(b.value(b.add_at(node, at, updates, axis)), added)
    updates = b.constant(-taken)
    np.testing.assert_array_equal(b.value(b.put_at(node, at, updates, axis)), put)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 1), (1, 1, 1), (0, 2, 2)])
@pytest.mark.parametrize("how", WRITES)
def test_along_with_repeats_and_smaller_indices(b, axis, shape, how):
    rng = np.random.default_rng(1)
    x, updates = rng.integers(0, 50, (3, 4, 5)), rng.integers(0, 50, shape)
    index = rng.integers(0, x.shape[axis], shape)
    found = getattr(b, f"{how}_along")(*map(b.constant, (x, index, updates)), axis)
    expected = written(WRITES[how], x, index, updates, axis)
    np.testing.assert_array_equal(b.value(found), expected)


def test_transposed_operands_are_read_in_their_own_order(b):
    x = b.constant(np.arange(6.0).reshape(2, 3))
    index = b.constant(np.array([[1], [0], [1]]))
    turned = b.permute(x, (1, 0))
    assert b.value(b.take_along(turned, index, 1)).tolist() == [[3], [1], [5]]
    one = b.constant(np.ones((3, 1)))
    assert b.value(b.add_along(turned, index, one, 1)).tolist() == [[0, 4], [2, 4], [2, 6]]


@pytest.mark.parametrize("bad", [4, -1])
def test_out_of_range_names_index_axis_and_size(b, bad):
    x = b.constant(np.zeros((3, 4)))
    flat, full = b.constant(np.array([0, bad])), b.constant(np.array([[0, bad]]))
    nodes = [
        b.take(x, flat, 1),
        b.take_along(x, full, 1),
        b.add_at(x, flat, b.constant(np.zeros((3, 2))), 1),
        b.put_along(x, full, b.constant(np.zeros((1, 2))), 1),
    ]
    for node in nodes:
        with pytest.raises(IndexOutOfRange, match=f"index {bad} .* axis 1 of size 4"):
            b.value(node)


def test_resolve_index_keeps_the_users_number(b):
    index = b.constant(np.array([-4, -1, 0, 3]))
    assert b.value(b.resolve_index(index, 2, 4)).tolist() == [0, 3, 0, 3]
    for bad in (4, -5):
        with pytest.raises(IndexOutOfRange, match=f"index {bad} .* axis 2 of size 4"):
            b.value(b.resolve_index(b.constant(np.array(bad)), 2, 4))


def test_an_empty_axis_accepts_only_empty_indices(b):
    x = b.constant(np.zeros((2, 0)))
    assert b.value(b.take(x, b.constant(np.zeros(0, int)), 1)).shape == (2, 0)
    with pytest.raises(IndexOutOfRange, match="size 0"):
        b.value(b.take(x, b.constant(np.array(0)), 1))


def test_types_are_checked_while_recording(b):
    x = b.constant(np.zeros((3, 4)))
    with pytest.raises(DTypeError, match="int64 index"):
        b.take(x, b.constant(np.zeros(2, np.int32)), 0)
    with pytest.raises(ShapeError, match="no larger size"):
        b.take_along(x, b.constant(np.zeros((4, 1), int)), 1)
    with pytest.raises(ShapeError, match=r"updates are float64\[2\], \(2, 4\) is needed"):
        b.add_at(x, b.constant(np.zeros(2, int)), b.constant(np.zeros(2)), 0)


def test_gradients_of_writes(b):
    x, updates = b.constant(np.zeros(4)), b.constant(np.array([5.0, 6.0, 7.0]))
    index = b.constant(np.array([2, 0, 2]))
    weight = b.constant(np.array([1.0, 10.0, 100.0, 1000.0]))

    def weighted(node):
        return b.gradient(b.mul(node, weight), x, updates)

    through = [[1, 10, 100, 1000], [100, 1, 100]]
    assert weighted(b.add_at(x, index, updates, 0)) == through
    assert weighted(b.add_along(x, index, updates, 0)) == through
    assert weighted(b.put_at(x, index, updates, 0)) == [[0, 10, 0, 1000], [100, 1, 100]]


def test_tied_maxima_share_the_gradient(b):
    x, updates = b.constant(np.array([5.0, 1.0])), b.constant(np.array([5.0, 4.0, 5.0]))
    found = b.max_along(x, b.constant(np.array([0, 0, 0])), updates, 0)
    third = pytest.approx(1 / 3)
    assert b.gradient(found, x, updates) == [[third, 1], [third, 0, third]]


def test_half_sums_do_not_stall(b):
    zero = b.constant(np.zeros(1), dtypes.float16)
    ones = b.constant(np.ones(4096), dtypes.float16)
    index = b.constant(np.zeros(4096, int))
    assert b.value(b.add_at(zero, index, ones, 0)) == 4096


def test_search_sorted_is_numpys_row_by_row(b):
    rng = np.random.default_rng(2)
    rows = np.sort(rng.integers(0, 9, (2, 3, 7)), -1).astype(float)
    values = rng.integers(-1, 10, (2, 3, 5)).astype(float)
    for right in (False, True):
        found = b.value(b.search_sorted(b.constant(rows), b.constant(values), right))
        below = (
            rows[..., None, :] <= values[..., None]
            if right
            else (rows[..., None, :] < values[..., None])
        )
        np.testing.assert_array_equal(found, below.sum(-1))
    with pytest.raises(ShapeError, match="do not match"):
        b.search_sorted(b.constant(rows), b.constant(values[0]), False)
