"""Special functions against the standard library, sums and integrals."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

import talweg as tw

X = np.array([-35.0, -9.0, -7.5, -1.0, -0.1, 0.0, 0.3, 2.0, 7.9, 8.1, 25.0])


def integral(order: int, x: float) -> float:
    """I(x) is the mean of exp(x cos t) cos(order t): exact for so many points."""
    t = np.arange(400) * 2 * np.pi / 400
    return float(np.mean(np.exp(x * np.cos(t) - abs(x)) * np.cos(order * t)))


@pytest.mark.parametrize("order", [0, 1])
def test_bessel_functions(order: int) -> None:
    wanted = np.array([integral(order, x) for x in X])
    scaled = getattr(tw.special, f"i{order}e")(tw.tensor(X)).numpy()
    np.testing.assert_allclose(scaled, wanted, rtol=1e-12, atol=1e-15)
    plain = getattr(tw.special, f"i{order}")(tw.tensor(X)).numpy()
    np.testing.assert_allclose(plain, wanted * np.exp(np.abs(X)), rtol=1e-12, atol=1e-15)
    half = getattr(tw.special, f"i{order}e")(tw.tensor(X, dtype=tw.float32)).numpy()
    np.testing.assert_allclose(half, wanted, rtol=2e-6, atol=1e-8)


def test_the_normal_distribution() -> None:
    normal = NormalDist()
    below = tw.special.ndtr(tw.tensor(X)).numpy()
    np.testing.assert_allclose(below, [0.5 * math.erfc(-x / math.sqrt(2)) for x in X], rtol=1e-12)
    p = np.array([0.01, 0.3, 0.5, 0.99])
    found = tw.special.ndtri(tw.tensor(p)).numpy()
    np.testing.assert_allclose(found, [normal.inv_cdf(v) for v in p], atol=1e-12)
    logs = tw.special.log_ndtr(tw.tensor(X)).numpy()
    above = [0.5 * math.erfc(x / math.sqrt(2)) for x in X]
    low = X < 0
    np.testing.assert_allclose(logs[low], np.log(below[low]), rtol=1e-11)
    np.testing.assert_allclose(logs[~low], np.log1p(-np.array(above)[~low]), rtol=1e-11)
    far = tw.special.log_ndtr(tw.tensor(-1e3, dtype=tw.float64)).item()
    assert far == pytest.approx(-5e5 - math.log(1e3 * math.sqrt(2 * math.pi)), rel=1e-9)


def test_scaled_complement_of_the_error_function() -> None:
    near = np.array([-2.0, 0.0, 1.0, 5.0])
    found = tw.special.erfcx(tw.tensor(near)).numpy()
    np.testing.assert_allclose(found, [math.exp(x * x) * math.erfc(x) for x in near], rtol=1e-12)
    far = tw.special.erfcx(tw.tensor([1e3, 1e8], dtype=tw.float64)).numpy()
    np.testing.assert_allclose(far, 1 / np.array([1e3, 1e8]) / math.sqrt(math.pi), rtol=1e-6)


def test_entropies_and_gammas() -> None:
    assert tw.special.entr(tw.tensor([-1.0, 0.0, 1.0])).tolist() == [-math.inf, 0.0, 0.0]
    assert tw.special.xlog1py(tw.tensor(0.0), tw.tensor(-1.0)).item() == 0
    wanted = math.log(math.pi) / 2 + math.lgamma(3.0) + math.lgamma(2.5)
    assert tw.special.multigammaln(tw.tensor(3.0), 2).item() == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(ValueError, match="positive"):
        tw.special.multigammaln(tw.tensor(3.0), 0)
    assert tw.special.expit is tw.sigmoid


def test_gradients() -> None:
    x = tw.tensor(X[2:9], requires_grad=True)
    for name in ("i0e", "i1e", "log_ndtr", "erfcx"):
        assert tw.autograd.gradcheck(getattr(tw.special, name), (x,), atol=1e-4)
