"""Tensors given other sizes, new ones of a dtype, values by Python."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw


def test_new_ones_have_the_dtype() -> None:
    x = tw.ones(2, dtype=tw.float64)
    assert x.new().shape == (0,)
    assert x.new(2, 3).shape == x.new(tw.ones(2, 3).size()).shape == (2, 3)
    assert x.new([1, 2]).tolist() == [1, 2]
    assert {t.dtype for t in (x.new(), x.new(2), x.new([1]))} == {tw.float64}


def test_resizing_keeps_elements_in_order() -> None:
    x = tw.arange(6).reshape(2, 3)
    rows = x[1]
    assert x.resize_(2, 2) is x
    assert x.tolist() == [[0, 1], [2, 3]]
    assert x.resize_((5,)).tolist() == [0, 1, 2, 3, 0]
    x[0] = 9
    assert x.resize_as_(tw.ones(1, 2)).tolist() == [[9, 1]]
    assert rows.tolist() == [3, 4, 5]
    x.add_(1)
    assert (x * 2).tolist() == [[20, 4]]
    with pytest.raises(RuntimeError, match="require"):
        tw.ones(2, requires_grad=True).resize_(3)


def test_elements_by_python() -> None:
    x = tw.tensor([1.0, 2.0])
    assert x.map_(tw.tensor([3.0, 4.0]), lambda a, b: a * b).tolist() == [3, 8]
    assert x.map2_(x, tw.tensor(1.0), lambda a, b, c: a + b + c).tolist() == [7, 17]


def test_whole_numbers_and_floats() -> None:
    a, b = np.array([12, -18, 0, 7]), np.array([18, 12, 5, 0])
    x, y = tw.tensor(a), tw.tensor(b)
    np.testing.assert_array_equal(tw.gcd(x, y).numpy(), np.gcd(a, b))
    np.testing.assert_array_equal(x.lcm(y).numpy(), np.lcm(a, b))
    with pytest.raises(TypeError, match="integers"):
        tw.gcd(tw.ones(1), y)
    up = tw.nextafter(tw.ones(1), tw.full((1,), 2.0))
    assert up.item() == np.nextafter(np.float32(1), np.float32(2))
    mantissa, exponent = tw.frexp(tw.tensor([6.0, -0.25]))
    assert (mantissa * 2.0**exponent).tolist() == [6, -0.25]
    counts, edges = tw.histogram(tw.tensor([1.0, 2.0, 2.5]), tw.tensor([0.0, 2.0, 3.0]))
    assert (counts.tolist(), edges.tolist()) == ([1, 2], [0, 2, 3])


def test_sums_undo_broadcasting() -> None:
    x = tw.arange(24).reshape(2, 3, 4)
    assert x.sum_to_size(3, 1).tolist() == x.numpy().sum((0, 2))[:, None].tolist()
    assert x.sum_to_size(2, 3, 4).shape == (2, 3, 4)
    with pytest.raises(ValueError, match="sum_to_size"):
        x.sum_to_size(5, 4)


def test_in_place_functions() -> None:
    x = tw.tensor([-1.0, 2.0])
    assert tw.relu_(x) is x
    assert tw.sqrt_(tw.clamp_(x, 0, 1)).tolist() == [0, 1]
    assert tw.zero_(x).tolist() == [0, 0]


def test_what_is_said_of_a_tensor() -> None:
    x = tw.ones(2, 3)
    assert (x.is_cpu, x.is_sparse, x.is_quantized, x.is_mps) == (True, False, False, False)
    assert (x.get_device(), x.ndimension(), x.is_signed(), x.is_conj()) == (-1, 2, True, False)
    assert x.is_same_size(tw.zeros(2, 3))
    assert tw.broadcast_shapes((3, 1), 4) == (3, 4)
    assert [p.shape for p in tw.split_with_sizes(x, [1, 2], 1)] == [(2, 1), (2, 2)]
    assert x.polygamma(1)[0, 0].item() == pytest.approx(np.pi**2 / 6, rel=1e-5)
