"""Functions whose result depends on values, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DTypeError, InvalidValue, ShapeError

RNG = np.random.default_rng(2)
WHOLE = RNG.integers(0, 3, (4, 5))


def arrays(result: Any) -> list[np.ndarray]:
    return [t.numpy() for t in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 1, 3)])
def test_places_that_are_not_zero(shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 2, shape)
    x = tw.tensor(array)
    np.testing.assert_array_equal(tw.argwhere(x).numpy(), np.argwhere(array))
    np.testing.assert_array_equal(x.nonzero().numpy(), np.argwhere(array))
    if shape:
        for ours, theirs in zip(tw.where(x > 0), np.nonzero(array), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs)
    np.testing.assert_array_equal(tw.masked_select(x, x > 0).numpy(), array[array > 0])


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_unique(dim: int | None) -> None:
    ours = tw.unique(tw.tensor(WHOLE), return_inverse=True, return_counts=True, dim=dim)
    theirs = np.unique(WHOLE, return_inverse=True, return_counts=True, axis=dim)
    for a, b in zip(arrays(ours), theirs, strict=True):
        np.testing.assert_array_equal(a.ravel(), b.ravel())
    assert tw.unique(tw.tensor(WHOLE)).tolist() == [0, 1, 2]


def test_unique_consecutive() -> None:
    x = tw.tensor([1, 1, 2, 2, 2, 1])
    kept, inverse, counts = tw.unique_consecutive(x, return_inverse=True, return_counts=True)
    assert (kept.tolist(), counts.tolist()) == ([1, 2, 1], [2, 3, 1])
    assert tw.equal(kept[inverse], x)
    rows = tw.tensor([[1, 2], [1, 2], [3, 4]])
    assert rows.unique_consecutive(dim=0).tolist() == [[1, 2], [3, 4]]
    assert tw.unique_consecutive(tw.zeros(0)).shape == (0,)


def test_counts() -> None:
    flat = WHOLE.ravel()
    np.testing.assert_array_equal(tw.bincount(tw.tensor(flat)).numpy(), np.bincount(flat))
    weights = RNG.standard_normal(flat.size)
    got = tw.bincount(tw.tensor(flat), tw.tensor(weights), minlength=6)
    np.testing.assert_allclose(got.numpy(), np.bincount(flat, weights, 6))
    for wrong in (tw.tensor([[1]]), tw.tensor([-1]), tw.tensor([1.0])):
        with pytest.raises(ShapeError, match="vector of non-negative integers"):
            tw.bincount(wrong)


def test_repeats() -> None:
    x = tw.tensor(WHOLE)
    for repeats, dim in ((2, None), (3, 1), ([1, 0, 2, 1], 0)):
        count = repeats if isinstance(repeats, int) else tw.tensor(repeats)
        got = tw.repeat_interleave(x, count, dim).numpy()
        np.testing.assert_array_equal(got, np.repeat(WHOLE, repeats, dim))
    w = tw.ones(3, requires_grad=True)
    w.repeat_interleave(tw.tensor([2, 0, 1])).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [2, 0, 1]


def test_comparisons_of_whole_tensors() -> None:
    x = tw.tensor([1.0, float("nan")])
    assert not tw.allclose(x, x)
    assert tw.allclose(x, x, equal_nan=True)
    assert tw.allclose(tw.ones(2), tw.ones(2) + 1e-9)
    assert not tw.ones(2).allclose(tw.ones(2) * 1.1)
    assert tw.ones(2).allclose(tw.ones(2) * 1.1, rtol=0.2)
    assert tw.equal(tw.ones(2), tw.ones(2))
    assert not tw.equal(tw.ones(2), tw.ones(2, 1))
    assert tw.is_nonzero(tw.tensor([2]))
    assert not tw.is_nonzero(tw.tensor(0.0))
    with pytest.raises(RuntimeError, match=r"2 values .*\.any\(\) or \.all\(\)"):
        tw.is_nonzero(tw.ones(2))


def test_where_takes_the_condition_alone_or_both_values() -> None:
    c = tw.tensor([True, False])
    assert tw.where(c, 1.0, tw.zeros(2)).tolist() == [1, 0]
    assert tw.zeros(2).where(c, tw.ones(2)).tolist() == [0, 1]
    with pytest.raises(InvalidValue, match="both"):
        tw.where(c, 1.0)


def test_dtypes_of_results() -> None:
    assert tw.result_type(tw.ones(2, dtype=tw.int8), 2.5) is tw.float32
    assert tw.result_type(tw.ones(2, dtype=tw.int8), tw.ones((), dtype=tw.int64)) is tw.int8
    assert tw.promote_types(tw.int8, tw.uint8) is tw.int16
    assert tw.can_cast(tw.float64, tw.float16)
    assert not tw.can_cast(tw.float16, tw.int64)
    assert tw.is_tensor(tw.ones(1))
    assert not tw.is_tensor(np.ones(1))


def test_apply_calls_a_function_on_every_element() -> None:
    x = tw.tensor([[1, 2], [3, 4]])
    assert x.apply_(lambda v: v * v) is x
    assert x.tolist() == [[1, 4], [9, 16]]
    with pytest.raises(DTypeError, match=r"float64, .* int64"):
        x.apply_(lambda v: v / 2)
