"""Incomplete gamma functions against closed forms, the identity of neighbours, and SciPy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from talweg.base.incomplete import gammainc, gammaincc

DRAWS = np.random.default_rng(7)


@pytest.mark.parametrize("whole", [1, 2, 5, 19, 21, 60, 300])
def test_whole_numbers_have_a_finite_sum(whole: int) -> None:
    """Q(n, x) = exp(-x) times the sum of x^k / k! below n."""
    for x in (0.125, 0.75, 0.5 * whole, 0.875 * whole, 1.0 * whole, 1.25 * whole, 2.0 * whole):
        terms = sum(Fraction(x) ** k / math.factorial(k) for k in range(whole))
        wanted = float(terms) * math.exp(-x)
        assert float(gammaincc(float(whole), x)) == pytest.approx(wanted, rel=2e-13)
        rest = sum(Fraction(x) ** k / math.factorial(k) for k in range(whole, whole + 300))
        below = float(rest) * math.exp(-x) if x <= whole else 1 - wanted
        assert float(gammainc(float(whole), x)) == pytest.approx(below, rel=2e-13)


def test_a_half_gives_the_error_functions() -> None:
    for x in (1e-8, 0.01, 0.3, 1.0, 1.2, 4.0, 30.0):
        assert float(gammainc(0.5, x)) == pytest.approx(math.erf(math.sqrt(x)), rel=1e-14)
        assert float(gammaincc(0.5, x)) == pytest.approx(math.erfc(math.sqrt(x)), rel=1e-13)


@pytest.mark.parametrize("size", [1e-5, 0.1, 3.0, 19.5, 25.0, 700.0, 1e5, 1e8])
def test_both_add_up_and_neighbours_differ_by_one_term(size: float) -> None:
    """P(a, x) - P(a + 1, x) = x^a exp(-x) / gamma(a + 1), where neither cancels."""
    a = size * DRAWS.uniform(0.9, 1.1, 50)
    x = a * np.exp(DRAWS.normal(0, 1, 50) * min(2.0, 3 / math.sqrt(size)))
    below, above = gammainc(a, x), gammaincc(a, x)
    np.testing.assert_allclose(below + above, 1.0, rtol=1e-15)
    logs = [v * math.log(w) - w - math.lgamma(v + 1) for v, w in zip(a, x, strict=True)]
    step = np.exp(logs)
    slack = 1e-13 + 1e-15 * size * math.log(size + 2)
    np.testing.assert_allclose(below - gammainc(a + 1, x), step, rtol=slack, atol=4e-15)


def test_ends() -> None:
    inf, nan = math.inf, math.nan
    a = [0.0, 0.0, 2.0, 2.0, inf, inf, -1.0, 2.0, nan]
    x = [0.0, 3.0, 0.0, inf, 2.0, inf, 1.0, -1.0, 1.0]
    wanted = [nan, 1.0, 0.0, 1.0, 0.0, nan, nan, nan, nan]
    np.testing.assert_array_equal(gammainc(a, x), wanted)
    np.testing.assert_array_equal(gammaincc(a, x), 1 - np.array(wanted))
    assert gammainc(np.float32(2), np.float32(1)).dtype == np.float32


def test_scipy_agrees_where_it_is_exact() -> None:
    special = pytest.importorskip("scipy.special")
    a = np.exp(DRAWS.uniform(np.log(1e-6), np.log(1e4), 500))
    x = a * np.exp(DRAWS.normal(0, 1, 500) * np.minimum(3, 3 / np.sqrt(a)))
    for ours, theirs in ((gammainc, special.gammainc), (gammaincc, special.gammaincc)):
        wanted = theirs(a, x)
        kept = wanted > 1e-290
        np.testing.assert_allclose(ours(a, x)[kept], wanted[kept], rtol=2e-12)
