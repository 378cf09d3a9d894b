"""Scans: zeros in products, ties and NaN in orders, recurrences written out."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError

NAN = float("nan")


@pytest.mark.parametrize("op", ["cum_sum", "cum_prod", "cum_arg_max", "cum_arg_min"])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), (3, 1)])
def test_empty_and_single(b, op, shape):
    x = b.constant(np.full(shape, 2.0))
    expected = np.zeros(shape, int) if "arg" in op else np.full(shape, 2.0)
    np.testing.assert_array_equal(b.value(getattr(b, op)(x, len(shape) - 1)), expected)


def test_product_gradient_at_zeros(b):
    x = b.constant(np.array([2.0, 0.0, 3.0, 0.0, 5.0]))
    # d/dx of x0 + x0 x1 + x0 x1 x2 + ...
    assert b.gradient(b.cum_prod(x, 0), x) == [[1, 2 + 6, 0, 0, 0]]


def test_product_second_gradient_at_two_zeros(b):
    x = b.constant(np.array([2.0, 0.0, 3.0, 0.0, 5.0]))
    (first,) = b.gradients(b.cum_prod(x, 0), x)
    of_x1 = b.slice(first, (1,), (2,), (1,))
    # d/dx1 of the sum is x0 (1 + x2 (1 + x3 (1 + x4)))
    assert b.gradient(of_x1, x) == [[4, 0, 2, 2 * 3 * 6, 0]]


def test_half_sums_do_not_stall(b):
    ones = b.constant(np.ones(4096), dtypes.float16)
    assert b.value(b.cum_sum(ones, 0))[-1] == 4096


def test_integers_wrap_in_their_own_dtype(b):
    x = b.constant(np.array([100, 100], np.int8))
    assert b.value(b.cum_sum(x, 0)).tolist() == [100, -56]


@pytest.mark.parametrize("axis", [0, 1])
def test_recurrence_written_out(b, axis):
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((2, 4, 3))
    found = b.value(b.linear_recurrence(b.constant(a), b.constant(x), axis))
    h = np.zeros((4, 3)).take(0, axis)
    for t in range(x.shape[axis]):
        h = a.take(t, axis) * h + x.take(t, axis)
        np.testing.assert_allclose(found.take(t, axis), h, rtol=1e-14)


def test_running_extrema_name_the_last_of_equals_and_keep_nan(b):
    x = b.constant(np.array([[1.0, 3.0, 3.0, 2.0, 5.0], [1.0, NAN, 9.0, NAN, 0.0]]))
    assert b.value(b.cum_arg_max(x, 1)).tolist() == [[0, 1, 2, 2, 4], [0, 1, 1, 3, 3]]
    assert b.value(b.cum_arg_min(x, 1)).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 3, 3]]


def test_sort_is_stable_both_ways_with_nan_largest(b):
    x = b.constant(np.array([2.0, NAN, 1.0, 2.0, NAN, 1.0]))
    assert b.value(b.arg_sort(x, 0, False)).tolist() == [2, 5, 0, 3, 1, 4]
    assert b.value(b.arg_sort(x, 0, True)).tolist() == [1, 4, 0, 3, 2, 5]
    flags = b.constant(np.array([True, False, True]))
    assert b.value(b.arg_sort(flags, 0, False)).tolist() == [1, 0, 2]
    smallest = b.constant(np.array([-128, 127, 0], np.int8))
    assert b.value(b.arg_sort(smallest, 0, True)).tolist() == [1, 2, 0]


def test_errors_name_the_operand(b):
    x = b.constant(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"\(2,\) are not distinct axes of float64\[2,3\]"):
        b.cum_sum(x, 2)
    with pytest.raises(DTypeError, match="bool"):
        b.cum_prod(b.constant(np.zeros(2, bool)), 0)
    with pytest.raises(ShapeError, match="differ"):
        b.linear_recurrence(x, b.constant(np.zeros((2, 2))), 0)
