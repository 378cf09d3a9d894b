"""Random values: exact arithmetic on the bits, ranges, moments, distribution functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import random

from .conftest import value_of

N = 20_000
# The distance of an empirical distribution function of N values from the true one exceeds
# 1.95 / sqrt(N) once in a thousand draws; the key is fixed, so these tests do not flicker.
DISTANCE = 1.95 / math.sqrt(N)


def seeds(b: Any, key: int = 1234, offset: int = 0) -> tuple[Any, Any]:
    return b.scalar(key, d.uint64), b.scalar(offset, d.uint64)


def words(b: Any, *shape: int) -> np.ndarray:
    return value_of(b.random_bits(*seeds(b), shape))


def distance(sample: np.ndarray, distribution: Any) -> float:
    ordered = np.sort(sample.ravel().astype(np.float64))
    expected = distribution(ordered)
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()))


def below(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])


def test_uniform_is_the_upper_bits(b: Any) -> None:
    found = value_of(random.uniform(b, *seeds(b), (5,)))
    np.testing.assert_array_equal(found, [(int(w) >> 8) / 2**24 for w in words(b, 5)])
    found = value_of(random.uniform(b, *seeds(b), (5,), dtype=d.float64))
    pairs = zip(*words(b, 2, 5).tolist())
    np.testing.assert_array_equal(found, [((h >> 5 << 26) + (lo >> 6)) / 2**53 for h, lo in pairs])
    for dtype, bits in ((d.float16, 11), (d.bfloat16, 8)):
        found = value_of(random.uniform(b, *seeds(b), (5,), dtype=dtype))
        np.testing.assert_array_equal(
            found, [(int(w) >> (32 - bits)) / 2**bits for w in words(b, 5)]
        )


@pytest.mark.parametrize("dtype", d.FLOATS, ids=repr)
def test_uniform_is_even(b: Any, dtype: d.DType) -> None:
    x = value_of(random.uniform(b, *seeds(b), (N,), dtype=dtype))
    assert x.min() >= 0
    assert x.max() < 1
    coarse = 2.0**-8 if dtype.bits == 16 else 0
    assert distance(x, lambda v: v) < DISTANCE + coarse
    wide = value_of(random.uniform(b, *seeds(b), (N,), -2.0, 3.0, dtype=d.float64))
    assert distance(wide, lambda v: (v + 2) / 5) < DISTANCE


@pytest.mark.parametrize("dtype", d.FLOATS, ids=repr)
def test_normal(b: Any, dtype: d.DType) -> None:
    x = value_of(random.normal(b, *seeds(b), (N,), dtype=dtype))
    coarse = 2.0**-8 if dtype.bits == 16 else 0
    assert distance(x, below) < DISTANCE + coarse
    assert np.isfinite(x).all()
    moved = value_of(random.normal(b, *seeds(b), (N,), 3.0, 0.5, dtype=d.float64))
    assert distance((moved - 3) / 0.5, below) < DISTANCE


def test_the_ends_of_the_normal_distribution_are_finite_and_symmetric(b: Any) -> None:
    class Ends(type(b)):  # type: ignore[misc]
        def random_bits(self, key: Any, offset: Any, shape: Any) -> Any:
            ends = np.array([0, 2**32 - 1], np.uint32)
            return self.constant(np.broadcast_to(ends, shape).copy())

    for dtype, reach in ((d.float32, 5.2), (d.float64, 8.0)):
        low, high = value_of(random.normal(Ends(), *seeds(b), (2,), dtype=dtype))
        assert low == -high
        assert reach < high < reach + 1


def test_normal_takes_tensors_and_differentiates(b: Any) -> None:
    mean, std = np.linspace(-1, 1, 4), np.array(0.5)
    b.check_gradient(
        lambda b, m, s: random.normal(b, *seeds(b), (3, 4), m, s, d.float64), mean, std
    )


@pytest.mark.parametrize(
    ("low", "high"), [(0, 10), (-5, 5), (0, 2**32), (-(2**63), 2**63 - 1), (3, 2**40), (7, 8)]
)
def test_randint_is_the_upper_word_of_a_product(b: Any, low: int, high: int) -> None:
    first, second = words(b, 2, 50).tolist()
    expected = [low + (((h << 32) + lo) * (high - low) >> 64) for h, lo in zip(first, second)]
    found = value_of(random.randint(b, *seeds(b), low, high, (50,)))
    assert found.tolist() == expected


def test_randint_is_even(b: Any) -> None:
    x = value_of(random.randint(b, *seeds(b), 0, 7, (N,), d.int32))
    assert x.dtype == np.int32
    counts = np.bincount(x, minlength=7)
    assert (
        (counts - N / 7) ** 2 / (N / 7)
    ).sum() < 22.5  # chi-square, 6 degrees, one in a thousand


def test_bernoulli(b: Any) -> None:
    p = np.array([0.0, 0.25, 1.0], np.float32).repeat(N)
    x = value_of(random.bernoulli(b, *seeds(b), b.constant(p))).reshape(3, N)
    assert x[0].max() == 0
    assert x[2].min() == 1
    assert abs(x[1].mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / N)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_mask(b: Any, p: float) -> None:
    mask = value_of(random.dropout_mask(b, *seeds(b), (N,), p))
    assert mask.dtype == np.bool_
    assert abs((~mask).mean() - p) <= 4 * math.sqrt(p * (1 - p) / N)


def test_other_distributions(b: Any) -> None:
    x = value_of(random.exponential(b, *seeds(b), (N,), 2.0))
    assert x.min() >= 0
    assert distance(x, lambda v: 1 - np.exp(-2 * v)) < DISTANCE
    x = value_of(random.cauchy(b, *seeds(b), (N,), 1.0, 2.0, d.float64))
    assert distance(x, lambda v: 0.5 + np.arctan((v - 1) / 2) / np.pi) < DISTANCE
    x = value_of(random.geometric(b, *seeds(b), (N,), 0.3))
    assert x.min() == 1
    assert abs(x.mean() - 1 / 0.3) < 4 * math.sqrt(0.7) / 0.3 / math.sqrt(N)


def test_permutation(b: Any) -> None:
    x = value_of(random.permutation(b, *seeds(b), 1000))
    np.testing.assert_array_equal(np.sort(x), np.arange(1000))
    assert np.count_nonzero(x == np.arange(1000)) < 10
    assert value_of(random.permutation(b, *seeds(b), 0)).shape == (0,)


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_follows_the_weights(b: Any, replacement: bool) -> None:
    weights = np.tile(np.array([0.0, 1.0, 3.0, 0.0, 4.0]), (N, 1))
    x = value_of(random.multinomial(b, *seeds(b), b.constant(weights), 2, replacement))
    assert x.shape == (N, 2)
    shares = np.bincount(x[:, 0], minlength=5) / N
    np.testing.assert_allclose(shares, [0, 0.125, 0.375, 0, 0.5], atol=4 * 0.5 / math.sqrt(N))
    assert (x[:, 0] == x[:, 1]).any() == replacement


def test_multinomial_of_one_row(b: Any) -> None:
    weights = b.constant(np.array([1.0, 0.0, 2.0], np.float32))
    assert set(value_of(random.multinomial(b, *seeds(b), weights, 50, True))) == {0, 2}
    assert set(value_of(random.multinomial(b, *seeds(b), weights, 2))) == {0, 2}


def test_the_same_key_and_offset_give_the_same_values(b: Any) -> None:
    one, same, other, later = (
        value_of(random.uniform(b, *seeds(b, *at), (64,)))
        for at in ((5, 0), (5, 0), (6, 0), (5, 16))
    )
    np.testing.assert_array_equal(one, same)
    assert not np.isin(one, other).all()
    assert not np.isin(one, later).any()


def test_draws_do_not_overlap(b: Any) -> None:
    size = 10
    used = random.counters(size)
    first = value_of(b.random_bits(*seeds(b), (2 * size,)))
    second = value_of(b.random_bits(*seeds(b, offset=used), (2 * size,)))
    assert not np.isin(first, second).any()


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        (random.uniform, ((3,), 1.0, 0.0), InvalidValue),
        (random.uniform, ((3,), 0.0, 1.0, d.int32), DTypeError),
        (random.normal, ((3,), 0.0, -1.0), InvalidValue),
        (random.randint, (3, 3, (2,)), InvalidValue),
        (random.dropout_mask, ((3,), 1.5), InvalidValue),
        (random.exponential, ((3,), 0.0), InvalidValue),
        (random.geometric, ((3,), 1.0), InvalidValue),
    ],
)
def test_errors(b: Any, function: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        function(b, *seeds(b), *arguments)
    with pytest.raises(InvalidValue, match="4 of 3"):
        random.multinomial(b, *seeds(b), b.constant(np.ones(3)), 4)
    with pytest.raises(ShapeError, match=r"\(1, 1, 3\)"):
        random.multinomial(b, *seeds(b), b.constant(np.ones((1, 1, 3))), 1)
