"""The special functions against Python's math module, SciPy and their own identities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from talweg.base import special
from talweg.base.errors import InvalidValue

RNG = np.random.default_rng(7)
EDGES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-300, 27.0, -27.0, 1e10])
REAL = np.concatenate([RNG.normal(size=500) * 3, RNG.normal(size=100) * 1e-8, EDGES])
POSITIVE = np.concatenate(
    [10.0 ** RNG.uniform(-10, 10, 500), 1 + RNG.normal(size=50) / 99, [1.0, 2.0, 9.999, 10.0]]
)
NEGATIVE = -np.concatenate([RNG.uniform(0, 30, 500), [1.0, 2.0, 25.0]])


def check(ours: np.ndarray, expected: np.ndarray, rtol: float, atol: float = 0.0) -> None:
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=atol)


def test_erf_and_erfc_equal_the_c_library() -> None:
    check(special.erf(REAL), np.array([math.erf(v) for v in REAL]), 2e-15)
    check(special.erfc(REAL), np.array([math.erfc(v) for v in REAL]), 2e-14, 1e-306)


def test_erfinv_inverts_erf_to_the_last_bits() -> None:
    p = np.concatenate([RNG.uniform(-1, 1, 500), 10.0 ** RNG.uniform(-20, -1, 100)])
    check(special.erf(special.erfinv(p)), p, 3e-15)
    assert special.erfinv(1.0) == np.inf
    assert special.erfinv(-1.0) == -np.inf
    assert np.isnan(special.erfinv(np.array([1.5, -2.0, np.nan]))).all()


def test_lgamma_equals_the_c_library() -> None:
    check(special.lgamma(POSITIVE), np.array([math.lgamma(v) for v in POSITIVE]), 4e-15, 2e-15)
    whole = NEGATIVE == np.floor(NEGATIVE)
    exact = [np.inf if w else math.lgamma(v) for v, w in zip(NEGATIVE, whole, strict=True)]
    check(special.lgamma(NEGATIVE), np.array(exact), 1e-13, 1e-13)
    assert special.lgamma(1.0) == 0.0
    assert special.lgamma(2.0) == 0.0


def test_against_scipy() -> None:
    scipy = pytest.importorskip("scipy.special")
    p = np.concatenate([1 - 10.0 ** RNG.uniform(-16, -1, 300), RNG.uniform(-1, 1, 300)])
    check(special.erfinv(p), scipy.erfinv(p), 3e-15)
    check(special.lgamma(POSITIVE), scipy.gammaln(POSITIVE), 5e-15, 1e-15)
    check(special.digamma(POSITIVE), scipy.digamma(POSITIVE), 1e-14, 1e-15)
    for n in (1, 2, 3, 6):
        check(special.polygamma(n, POSITIVE), scipy.polygamma(n, POSITIVE), 5e-15)
    check(special.zeta(2.5, POSITIVE), scipy.zeta(2.5, POSITIVE), 5e-15)


def test_lgamma_keeps_every_digit_next_to_its_zeros() -> None:
    mpmath = pytest.importorskip("mpmath")
    near = np.concatenate([RNG.uniform(0.9, 1.1, 100), RNG.uniform(1.9, 2.1, 100)])
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.loggamma(mpmath.mpf(v))) for v in near])
    check(special.lgamma(near), exact, 1e-15)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_polygamma_obeys_its_recurrence_left_of_zero(n: int) -> None:
    x = -RNG.uniform(0, 12, 200)
    x = x[np.abs(x - np.round(x)) > 0.05]
    step = (-1) ** n * math.factorial(n) / x ** (n + 1)
    check(special.polygamma(n, x), special.polygamma(n, x + 1) - step, 1e-11, 1e-11)


def test_poles() -> None:
    assert special.digamma(0.0) == -np.inf
    assert special.digamma(-0.0) == np.inf
    assert np.isnan(special.digamma(-3.0))
    assert special.polygamma(1, -3.0) == np.inf
    with pytest.raises(InvalidValue, match="order"):
        special.polygamma(-1, 1.0)


def test_dtype_of_the_answer() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        assert special.erf(np.ones(3, dtype)).dtype == dtype
        assert special.digamma(np.ones((2, 2), dtype)).shape == (2, 2)
    assert special.lgamma(np.arange(3)).dtype == np.float64
