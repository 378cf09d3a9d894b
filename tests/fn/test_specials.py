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


def test_incomplete_gamma_functions() -> None:
    a = tw.tensor([0.5, 2.0, 30.0], dtype=tw.float64, requires_grad=True)
    x = tw.tensor([0.7, 1.0, 28.0], dtype=tw.float64, requires_grad=True)
    below = tw.igamma(a, x)
    assert below.tolist()[:2] == pytest.approx([math.erf(math.sqrt(0.7)), 1 - 2 / math.e])
    np.testing.assert_allclose((below + tw.igammac(a, x)).detach(), 1.0, rtol=1e-15)
    assert tw.special.gammainc is tw.igamma
    for function in (tw.igamma, tw.igammac):
        assert tw.autograd.gradcheck(function, (a, x))
    assert tw.autograd.gradgradcheck(lambda x: tw.igamma(a.detach(), x), (x,))
    assert tw.igamma(tw.tensor([2, 3]), tw.tensor(1)).dtype is tw.float32
    assert tw.igamma(tw.ones(2, dtype=tw.float16), tw.ones(3, 1)).shape == (3, 2)
    grad = tw.autograd.grad(tw.igamma(a, x * 1e4).sum(), (a, x))
    assert all(g.isfinite().all() for g in grad)


def test_distributions_of_sums_of_squares() -> None:
    chi = tw.distributions.Chi2(tw.tensor([2.0, 4.0]))
    wanted = [1 - math.exp(-0.5), 1 - math.exp(-0.5) * 1.5]
    assert chi.cdf(tw.tensor(1.0)).tolist() == pytest.approx(wanted, rel=1e-6)
    gamma = tw.distributions.Gamma(tw.tensor(1.0), tw.tensor(3.0))
    assert gamma.cdf(tw.tensor(0.5)).item() == pytest.approx(1 - math.exp(-1.5), rel=1e-6)


EDGES = (0.0, -0.0, 1.5, -2.5, math.inf, -math.inf, math.nan)


@pytest.mark.parametrize("name", ["exp", "expm1", "sinh", "cosh", "tanh", "asinh", "acosh", "acos"])
def test_complex_functions_have_the_limits_of_c99(name: str) -> None:
    z = np.array([complex(a, b) for a in EDGES for b in EDGES])
    with np.errstate(all="ignore"):
        wanted = np.exp(z) - 1 if name == "expm1" else getattr(np, name)(z)
    found = getattr(tw, name)(tw.tensor(z)).numpy()
    for part in ("real", "imag"):
        np.testing.assert_allclose(
            np.abs(getattr(found, part)), np.abs(getattr(wanted, part)), rtol=1e-12, atol=1e-15
        )


@pytest.mark.parametrize("name", ["exp", "expm1", "sin", "tanh", "asinh", "atan"])
def test_limits_leave_gradients_of_complex_functions(name: str) -> None:
    z = tw.tensor([0.0, 0.5 + 0.2j, -0.3j], dtype=tw.complex128, requires_grad=True)
    assert tw.autograd.gradcheck(getattr(tw, name), (z,))
