"""Edge cases of reductions: zeros, ties, NaN, bool, nothing to reduce."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError

NAN = float("nan")


def test_sums_and_products_of_nothing_are_neutral(b):
    empty = b.constant(np.zeros((2, 0)))
    assert b.value(b.reduce_sum(empty, (1,))).tolist() == [0, 0]
    assert b.value(b.reduce_prod(empty, (1,))).tolist() == [1, 1]
    assert b.gradient(b.reduce_prod(empty, (1,)), empty) == [[[], []]]


@pytest.mark.parametrize("op", ["reduce_max", "reduce_min", "arg_max", "arg_min"])
def test_extremum_of_nothing_is_refused(b, op):
    with pytest.raises(ShapeError, match=r"float64\[2,0\]"):
        getattr(b, op)(b.constant(np.zeros((2, 0))), (1,))
    assert getattr(b, op)(b.constant(np.zeros((0, 2))), (1,)).shape == (0,)


def test_half_sums_do_not_stall(b):
    ones = b.constant(np.ones(4096), dtypes.float16)
    assert b.value(b.reduce_sum(ones, (0,))) == 4096
    ones = b.constant(np.ones(4096), dtypes.bfloat16)
    assert b.value(b.reduce_sum(ones, (0,))) == 4096


@pytest.mark.parametrize(
    ("x", "gradient"),
    [
        ([2.0, 3.0, 4.0], [12, 8, 6]),
        ([2.0, 0.0, 4.0], [0, 8, 0]),
        ([0.0, 0.0, 4.0], [0, 0, 0]),
        ([5.0], [1]),
    ],
)
def test_product_gradient_at_zeros(b, x, gradient):
    x = b.constant(np.array(x))
    assert b.gradient(b.reduce_prod(x, (0,)), x) == [gradient]


def test_product_second_gradient_at_two_zeros(b):
    x = b.constant(np.array([0.0, 0.0, 4.0]))
    (first,) = b.gradients(b.reduce_prod(x, (0,)), x)
    at_zero = b.slice(first, (0,), (1,), (1,))
    assert b.gradient(at_zero, x) == [[0, 4, 0]]


def test_product_gradient_over_separate_axes(b):
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 2, (2, 3, 4))
    x = b.constant(values)
    (found,) = b.gradients(b.reduce_prod(x, (0, 2)), x)
    total = values.prod((0, 2), keepdims=True)
    np.testing.assert_allclose(b.value(found), total / values, rtol=1e-13)


def test_ties_share_the_gradient(b):
    x = b.constant(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]))
    third = pytest.approx(1 / 3)
    assert b.gradient(b.reduce_max(x, (1,)), x) == [[[0, 0.5, 0.5], [third] * 3]]
    assert b.gradient(b.reduce_min(x, (1,)), x) == [[[1, 0, 0], [third] * 3]]


def test_nan_wins(b):
    x = b.constant(np.array([[1.0, NAN, 3.0, NAN], [0.0, 5.0, 5.0, -1.0]]))
    for op, last in (("reduce_max", 5), ("reduce_min", -1)):
        np.testing.assert_array_equal(b.value(getattr(b, op)(x, (1,))), [NAN, last])
    assert b.value(b.arg_max(x, (1,))).tolist() == [1, 1]
    assert b.value(b.arg_min(x, (1,))).tolist() == [1, 3]


def test_bool_is_any_and_all(b):
    x = b.constant(np.array([[False, True], [False, False], [True, True]]))
    assert b.value(b.reduce_max(x, (1,))).tolist() == [True, False, True]
    assert b.value(b.reduce_min(x, (1,))).tolist() == [False, False, True]
    assert b.value(b.arg_max(x, (1,))).tolist() == [1, 0, 0]


def test_bad_axes_and_dtypes(b):
    x = b.constant(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"\(0, 0\)"):
        b.reduce_sum(x, (0, 0))
    with pytest.raises(ShapeError, match="exactly one axis"):
        b.arg_max(x, (0, 1))
    with pytest.raises(DTypeError, match="complex128"):
        b.reduce_max(b.constant(np.zeros(2, complex)), (0,))
