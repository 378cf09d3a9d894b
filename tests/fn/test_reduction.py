"""Reductions, scans and statistics equal NumPy; gradients equal central differences."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes as d
from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.fn import reduction, scans, statistics

from .conftest import spread, value_of

X = spread((2, 3, 4))
COUNTS = np.arange(-3, 9).reshape(3, 4)
NAN = np.where(X > 0.9, np.nan, X)
DIMS = [None, 0, -1, (0, 2), (-1, 1), ()]


def axis_of(dim: Any) -> Any:
    return None if dim == () else dim


FLOATING: list[tuple[Any, Any, np.ndarray]] = [
    (reduction.sum, np.sum, X),
    (reduction.mean, np.mean, X),
    (reduction.amax, np.amax, X),
    (reduction.amin, np.amin, X),
    (reduction.nansum, np.nansum, NAN),
    (reduction.nanmean, np.nanmean, NAN),
    (reduction.var, lambda x, **k: np.var(x, ddof=1, **k), X),
    (reduction.std, lambda x, **k: np.std(x, ddof=1, **k), X),
    (reduction.any, lambda x, **k: np.any(x > 0, **k), X > 0),
    (reduction.all, lambda x, **k: np.all(x > 0, **k), X > 0),
    (reduction.logsumexp, lambda x, **k: np.log(np.sum(np.exp(x), **k)), X),
]


def name(value: Any) -> str | None:
    return getattr(value, "__name__", "") if callable(value) else None


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize(("function", "oracle", "x"), FLOATING, ids=name)
def test_reductions(
    b: Any, function: Any, oracle: Any, x: np.ndarray, dim: Any, keepdim: bool
) -> None:
    found = b.run(function, x, dim, keepdim=keepdim)
    expected = oracle(x, axis=axis_of(dim), keepdims=keepdim)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if x is X:
        b.check_gradient(lambda b, x: function(b, x, dim, keepdim=keepdim), x)


def test_result_dtypes(b: Any) -> None:
    assert b.run(reduction.sum, COUNTS.astype(np.int8)).dtype == np.int64
    assert b.run(reduction.sum, COUNTS > 0).dtype == np.int64
    assert b.run(reduction.prod, COUNTS.astype(np.uint8)).dtype == np.int64
    assert b.run(reduction.sum, COUNTS, dtype=d.float32).dtype == np.float32
    assert b.run(reduction.mean, COUNTS, dtype=d.float64).dtype == np.float64
    assert b.run(reduction.amax, COUNTS.astype(np.int8)).dtype == np.int8
    assert b.run(reduction.argmax, X, 0).dtype == np.int64
    assert b.run(scans.cumsum, COUNTS.astype(np.int8), 0).dtype == np.int64


def test_mean_of_halves_does_not_overflow(b: Any) -> None:
    x = np.full(4096, 100, np.float16)
    assert b.run(reduction.mean, x) == 100
    assert b.run(reduction.var, x) == 0


@pytest.mark.parametrize("dim", [None, 0, 2])
def test_prod(b: Any, dim: int | None) -> None:
    x = X.copy()
    x[0, 0, 0] = 0
    np.testing.assert_allclose(b.run(reduction.prod, x, dim), np.prod(x, axis=dim))
    b.check_gradient(lambda b, x: reduction.prod(b, x, dim), x)


@pytest.mark.parametrize("correction", [0, 1, 1.5, 2])
def test_variance_and_mean(b: Any, correction: float) -> None:
    variance, mean = b.run(reduction.var_mean, X, 1, correction=correction)
    np.testing.assert_allclose(variance, np.var(X, axis=1, ddof=correction))
    np.testing.assert_allclose(mean, np.mean(X, axis=1))
    deviation, _ = b.run(reduction.std_mean, X, (0, 1), keepdim=True, correction=correction)
    np.testing.assert_allclose(deviation, np.std(X, axis=(0, 1), keepdims=True, ddof=correction))


def test_variance_spellings(b: Any) -> None:
    np.testing.assert_allclose(b.run(reduction.var, X, unbiased=False), np.var(X))
    np.testing.assert_allclose(b.run(reduction.var, X, False), np.var(X))
    np.testing.assert_allclose(b.run(reduction.var, X, 1, False), np.var(X, axis=1))
    z = X + 1j * X[::-1]
    np.testing.assert_allclose(b.run(reduction.var, z), np.var(z, ddof=1))
    with pytest.raises(InvalidValue, match="unbiased"):
        b.run(reduction.var, X, unbiased=True, correction=1)


def gradient(b: Any, function: Any, x: np.ndarray) -> np.ndarray:
    node = b.constant(x)
    result = function(b, node)
    (out,) = vjp(b, [result], [node], [b.constant(np.ones(result.shape))])
    return value_of(out)


def test_gradients_at_kinks(b: Any) -> None:
    same = np.array([1.0, 3.0, 3.0])
    np.testing.assert_array_equal(gradient(b, reduction.std, np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(gradient(b, reduction.norm, np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(gradient(b, reduction.max, same), [0, 0.5, 0.5])
    one = gradient(b, lambda b, x: reduction.max(b, x, 0).values, same)
    np.testing.assert_array_equal(one, [0, 1, 0])
    np.testing.assert_allclose(
        gradient(b, lambda b, x: reduction.logsumexp(b, x, 0), same),
        np.exp(same) / np.exp(same).sum(),
    )


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_extrema_with_indices(b: Any, dim: int, keepdim: bool) -> None:
    largest = b.run(reduction.max, X, dim, keepdim)
    smallest = b.run(reduction.min, X, dim, keepdim)
    np.testing.assert_array_equal(largest[0], X.max(dim, keepdims=keepdim))
    np.testing.assert_array_equal(largest[1], X.argmax(dim, keepdims=keepdim))
    np.testing.assert_array_equal(smallest[0], X.min(dim, keepdims=keepdim))
    np.testing.assert_array_equal(smallest[1], X.argmin(dim, keepdims=keepdim))
    np.testing.assert_array_equal(
        b.run(reduction.argmax, X, dim, keepdim), X.argmax(dim, keepdims=keepdim)
    )
    b.check_gradient(lambda b, x: reduction.max(b, x, dim, keepdim).values, X)


def test_the_other_forms_of_max(b: Any) -> None:
    assert b.run(reduction.max, X) == X.max()
    assert b.run(reduction.min, X) == X.min()
    np.testing.assert_array_equal(
        b.run(reduction.max, X, b.constant(X[::-1].copy())), np.maximum(X, X[::-1])
    )
    assert b.run(reduction.argmax, X) == X.argmax()
    assert b.run(reduction.argmin, X, keepdim=True).shape == (1, 1, 1)
    low, high = b.run(reduction.aminmax, X, dim=1)
    np.testing.assert_array_equal(low, X.min(1))
    np.testing.assert_array_equal(high, X.max(1))
    result = reduction.max(b, b.constant(X), 0)
    assert result._fields == ("values", "indices")


def test_scalars(b: Any) -> None:
    x = np.array(3.0)
    assert b.run(reduction.sum, x, 0) == 3
    assert [v.item() for v in b.run(reduction.max, x, 0)] == [3, 0]
    assert b.run(reduction.argmin, x, -1) == 0
    assert b.run(scans.cumsum, x, 0) == 3
    assert [v.item() for v in b.run(statistics.median, x, 0)] == [3, 0]


def test_no_elements(b: Any) -> None:
    empty = np.zeros((0, 3))
    assert b.run(reduction.sum, empty) == 0
    assert b.run(reduction.prod, empty) == 1
    assert np.isnan(b.run(reduction.mean, empty))
    assert np.isnan(b.run(statistics.median, empty))
    assert not b.run(reduction.any, empty)
    assert b.run(reduction.all, empty)
    np.testing.assert_array_equal(b.run(reduction.all, empty, 0), [True] * 3)
    np.testing.assert_array_equal(b.run(reduction.logsumexp, empty, 0), [-np.inf] * 3)
    with pytest.raises(ShapeError, match="0"):
        b.run(reduction.max, empty)
    with pytest.raises(ShapeError, match="0"):
        b.run(statistics.median, empty, 0)


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, 3, np.inf, -np.inf, -1])
@pytest.mark.parametrize("dim", [None, 1, (0, 2)])
def test_norms(b: Any, order: float, dim: Any) -> None:
    axes = (0, 1, 2) if dim is None else dim if isinstance(dim, tuple) else (dim,)
    rest = [i for i in range(3) if i not in axes]
    rows = X.transpose(*rest, *axes).reshape(*[X.shape[i] for i in rest], -1)
    expected = np.linalg.norm(rows, order, axis=-1)
    np.testing.assert_allclose(b.run(reduction.norm, X, order, dim), expected)
    if order not in (0, -1):
        b.check_gradient(lambda b, x: reduction.norm(b, x, order, dim), X)


def test_norm_names(b: Any) -> None:
    np.testing.assert_allclose(b.run(reduction.norm, X), np.linalg.norm(X))
    np.testing.assert_allclose(b.run(reduction.dist, X, X[0], 1), np.abs(X - X[0]).sum())
    z = X + 2j
    np.testing.assert_allclose(b.run(reduction.norm, z), np.linalg.norm(z))
    with pytest.raises(InvalidValue, match="nuc"):
        b.run(reduction.norm, X, "nuc")
    with pytest.raises(DTypeError, match="int64"):
        b.run(reduction.norm, COUNTS)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scans(b: Any, dim: int) -> None:
    np.testing.assert_allclose(b.run(scans.cumsum, X, dim), np.cumsum(X, dim))
    np.testing.assert_allclose(b.run(scans.cumprod, X, dim), np.cumprod(X, dim))
    np.testing.assert_array_equal(b.run(scans.cummax, X, dim)[0], np.maximum.accumulate(X, dim))
    values, indices = b.run(scans.cummin, X, dim)
    np.testing.assert_array_equal(values, np.minimum.accumulate(X, dim))
    np.testing.assert_array_equal(values, np.take_along_axis(X, indices, dim))
    np.testing.assert_allclose(
        b.run(scans.logcumsumexp, X, dim), np.logaddexp.accumulate(X, dim), rtol=1e-12
    )
    for function in (scans.cumsum, scans.cumprod, scans.logcumsumexp, scans.diff):
        b.check_gradient(partial(function, dim=dim), X)


def test_logcumsumexp_keeps_small_beginnings(b: Any) -> None:
    x = np.array([-np.inf, -np.inf, -2000.0, 0.0, 1000.0, 1000.0, np.inf, np.inf])
    np.testing.assert_allclose(b.run(scans.logcumsumexp, x, 0), np.logaddexp.accumulate(x))


def test_diff_and_integrals(b: Any) -> None:
    for n in (0, 1, 2, 5):
        np.testing.assert_allclose(b.run(scans.diff, X, n, 1), np.diff(X, n, 1))
    found = b.run(scans.diff, COUNTS, 1, 1, b.constant(COUNTS[:, :1]), b.constant(COUNTS))
    np.testing.assert_array_equal(found, np.diff(COUNTS, 1, 1, COUNTS[:, :1], COUNTS))
    np.testing.assert_array_equal(b.run(scans.diff, COUNTS > 0), np.diff(COUNTS > 0))
    np.testing.assert_allclose(b.run(scans.trapezoid, X, dx=0.5), np.trapezoid(X, dx=0.5))
    places = np.array([0.0, 0.5, 2.0])
    np.testing.assert_allclose(
        b.run(scans.trapezoid, X, places, dim=1), np.trapezoid(X, places, axis=1)
    )
    running = b.run(scans.cumulative_trapezoid, X)
    np.testing.assert_allclose(running[..., -1], np.trapezoid(X))


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
def test_medians(b: Any, dim: int | None) -> None:
    odd = spread((3, 5, 7))
    even = spread((4, 6, 2))
    wanted = np.median(odd, axis=dim)
    lower = np.quantile(even, 0.5, axis=dim, method="lower")
    for x, expected in ((odd, wanted), (even, lower)):
        found = b.run(statistics.median, x, dim)
        values = found if dim is None else found[0]
        np.testing.assert_array_equal(values, expected)
        if dim is not None:
            picked = np.take_along_axis(x, np.expand_dims(found[1], dim), dim)
            np.testing.assert_array_equal(picked.squeeze(dim), expected)
    nan = np.where(np.abs(odd) > 4.5, np.nan, odd)
    for function, oracle, data in [
        (statistics.median, np.median, nan),
        (statistics.nanmedian, np.nanquantile, nan),
    ]:
        found = b.run(function, data, dim)
        arguments = {} if oracle is np.median else {"q": 0.5, "method": "lower"}
        expected = oracle(data, axis=dim, **arguments)
        np.testing.assert_array_equal(found if dim is None else found[0], expected)


def test_mode(b: Any) -> None:
    x = np.array([[3, 1, 3, 1, 2], [5, 5, 4, 4, 4], [0, 1, 2, 3, 4]])
    values, indices = b.run(statistics.mode, x)
    np.testing.assert_array_equal(values, [1, 4, 0])
    np.testing.assert_array_equal(x[np.arange(3), indices], values)


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "nearest", "midpoint"])
@pytest.mark.parametrize("dim", [None, 0, 2])
def test_quantiles(b: Any, method: str, dim: int | None) -> None:
    for q in (0.0, 0.3, 1.0, np.array([0.1, 0.5, 0.9])):
        found = b.run(statistics.quantile, X, q, dim, interpolation=method)
        np.testing.assert_allclose(found, np.quantile(X, q, axis=dim, method=method))
        kept = b.run(statistics.quantile, X, q, dim, True, interpolation=method)
        assert kept.shape == np.quantile(X, q, axis=dim, keepdims=True).shape


def test_quantile_of_nan_is_nan(b: Any) -> None:
    found = b.run(statistics.quantile, NAN, np.array([0.2, 0.7]), 1)
    np.testing.assert_allclose(found, np.quantile(NAN, [0.2, 0.7], axis=1))


def test_covariance(b: Any) -> None:
    x = spread((3, 8))
    counts, weights = np.arange(1, 9), np.linspace(0.5, 2, 8)
    np.testing.assert_allclose(b.run(statistics.cov, x), np.cov(x))
    np.testing.assert_allclose(b.run(statistics.cov, x[0]), np.cov(x[0]))
    found = statistics.cov(
        b, b.constant(x), correction=0, fweights=b.constant(counts), aweights=b.constant(weights)
    )
    np.testing.assert_allclose(
        value_of(found), np.cov(x, ddof=0, fweights=counts, aweights=weights)
    )
    found = statistics.cov(b, b.constant(x), aweights=b.constant(weights))
    np.testing.assert_allclose(value_of(found), np.cov(x, aweights=weights))
    np.testing.assert_allclose(b.run(statistics.corrcoef, x), np.corrcoef(x))
    b.check_gradient(statistics.corrcoef, x)


def test_count_nonzero(b: Any) -> None:
    np.testing.assert_array_equal(
        b.run(reduction.count_nonzero, COUNTS, 1), np.count_nonzero(COUNTS, axis=1)
    )


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        (reduction.sum, (X, 3), IndexOutOfRange),
        (reduction.sum, (X, (0, 0)), ShapeError),
        (reduction.mean, (COUNTS,), DTypeError),
        (reduction.var, (COUNTS,), DTypeError),
        (reduction.argmax, (X, 3), IndexOutOfRange),
        (scans.cumsum, (X, -4), IndexOutOfRange),
        (scans.diff, (np.array(1.0),), ShapeError),
        (statistics.quantile, (X, 1.5), InvalidValue),
        (statistics.cov, (X,), ShapeError),
    ],
    ids=name,
)
def test_errors(b: Any, function: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\w"):
        b.run(function, *arguments)


def test_every_listed_name_exists() -> None:
    for module in (reduction, scans, statistics):
        assert [n for n in module.METHODS if not callable(getattr(module, n, None))] == []
