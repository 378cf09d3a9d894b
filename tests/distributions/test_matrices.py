"""Distributions of matrices and between bounds, and transforms to where parameters lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw

D = tw.distributions
C = D.constraints
SPREAD = np.array([[1.0, 0.3, 0.0], [0.3, 2.0, 0.1], [0.0, 0.1, 0.7]])
RNG = np.random.default_rng(23)
COUNT = 20000


def t(values: Any) -> tw.Tensor:
    return tw.tensor(np.asarray(values, dtype=np.float64))


def test_sums_of_outer_products_are_wisharts() -> None:
    tw.manual_seed(1)
    d = D.Wishart(t(4.5), covariance_matrix=t(SPREAD))
    x = d.sample((COUNT,)).numpy()
    np.testing.assert_allclose(x.mean(0), 4.5 * SPREAD, rtol=0.05, atol=0.05)
    np.testing.assert_allclose(d.mean.numpy(), 4.5 * SPREAD)
    own = np.diag(SPREAD)
    np.testing.assert_allclose(d.variance.numpy(), 4.5 * (SPREAD**2 + np.outer(own, own)))
    np.testing.assert_allclose(x.var(0), d.variance.numpy(), rtol=0.1, atol=0.1)
    np.testing.assert_allclose(
        -d.log_prob(tw.tensor(x)).mean().item(), d.entropy().item(), rtol=0.01
    )


def test_a_wishart_of_one_dimension_is_a_scaled_chi_square() -> None:
    x = np.array([0.3, 1.0, 4.0])
    found = D.Wishart(3.0, covariance_matrix=t([[2.0]])).log_prob(t(x.reshape(3, 1, 1)))
    expected = D.Chi2(t(3.0)).log_prob(t(x / 2)).numpy() - math.log(2)
    np.testing.assert_allclose(found.numpy(), expected)


def test_low_rank_normals_are_normals() -> None:
    tw.manual_seed(2)
    w, d = RNG.standard_normal((2, 4, 2)), RNG.random((2, 4)) + 0.3
    loc, x = RNG.standard_normal(4), RNG.standard_normal((5, 2, 4))
    low = D.LowRankMultivariateNormal(t(loc), t(w), t(d))
    covariance = w @ w.swapaxes(-1, -2) + np.stack([np.diag(one) for one in d])
    full = D.MultivariateNormal(t(loc), t(covariance))
    np.testing.assert_allclose(low.log_prob(t(x)).numpy(), full.log_prob(t(x)).numpy())
    np.testing.assert_allclose(low.entropy().numpy(), full.entropy().numpy())
    np.testing.assert_allclose(low.precision_matrix.numpy(), np.linalg.inv(covariance))
    np.testing.assert_allclose(low.scale_tril.numpy(), np.linalg.cholesky(covariance))
    other = D.LowRankMultivariateNormal(t(loc + 1), t(w * 2), t(d + 1))
    plain = D.MultivariateNormal(other.loc, other.covariance_matrix)
    expected = D.kl_divergence(full, plain).numpy()
    for one in (low, full):
        for two in (other, plain):
            np.testing.assert_allclose(D.kl_divergence(one, two).numpy(), expected)
    drawn = low.expand((2,)).sample((COUNT,)).numpy()
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), covariance[0], rtol=0.1, atol=0.1)


def test_factors_of_correlations() -> None:
    tw.manual_seed(3)
    d = D.LKJCholesky(3, t([1.0, 4.0]))
    x = d.sample((COUNT,))
    assert bool(C.corr_cholesky.check(x).all())
    product = (x @ x.mT).numpy()
    np.testing.assert_allclose(product[..., 0, 0], 1)
    # A correlation is 2 b - 1 with b of Beta(a, a), a = concentration + (n - 2) / 2.
    a = np.array([1.5, 4.5])
    np.testing.assert_allclose(product[..., 2, 0].var(0), 1 / (2 * a + 1), rtol=0.05)
    # For two dimensions the density is that of the one correlation r times |dr / dL|, 1.
    r = np.linspace(-1, 1, 20001)[1:-1]
    rows = np.stack([np.stack([1 + 0 * r, 0 * r], -1), np.stack([r, np.sqrt(1 - r**2)], -1)], -2)
    density = D.LKJCholesky(2, t(2.5)).log_prob(t(rows)).exp().numpy()
    np.testing.assert_allclose(density.sum() * (r[1] - r[0]), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: D.Kumaraswamy(t(2.0), t(3.0)),
        lambda: D.ContinuousBernoulli(t(0.3)),
        lambda: D.ContinuousBernoulli(t(0.4999)),
        lambda: D.GeneralizedPareto(t(0.0), t(0.5), t(-0.5)),
    ],
)
def test_between_bounds(make: Callable[[], Any]) -> None:
    tw.manual_seed(4)
    d = make()
    x = (np.arange(20000) + 0.5) / 20000
    density = d.log_prob(t(x)).exp().numpy()
    assert density.mean() == pytest.approx(1, rel=1e-4)
    assert d.mean.item() == pytest.approx((density * x).mean(), rel=1e-3)
    gap = (density * x**2).mean() - (density * x).mean() ** 2
    assert d.variance.item() == pytest.approx(gap, rel=1e-3)
    surprise = np.where(density > 0, density * np.log(density), 0).mean()
    assert d.entropy().item() == pytest.approx(-surprise, abs=1e-3)
    np.testing.assert_allclose(d.cdf(t(x)).numpy(), density.cumsum() / 20000, atol=1e-3)
    np.testing.assert_allclose(d.cdf(d.icdf(t(x))).numpy(), x, atol=1e-9)
    assert d.sample((COUNT,)).mean().item() == pytest.approx(d.mean.item(), abs=0.02)


def test_divergences_between_families_are_expected_differences() -> None:
    tw.manual_seed(5)
    pairs = [
        (D.Beta(t(2.0), t(1.5)), D.Gamma(t(3.0), t(2.0))),
        (D.Beta(t(2.0), t(1.5)), D.ContinuousBernoulli(t(0.3))),
        (D.Gamma(t(2.0), t(3.0)), D.Gumbel(t(0.5), t(2.0))),
        (D.Uniform(t(0.2), t(0.6)), D.Beta(t(3.0), t(2.0))),
        (D.Normal(t(0.5), t(0.7)), D.Laplace(t(0.0), t(2.0))),
        (D.Pareto(t(1.0), t(4.0)), D.Gamma(t(3.0), t(2.0))),
        (D.Exponential(t(2.0)), D.Normal(t(0.0), t(2.0))),
        (D.Gumbel(t(0.5), t(0.7)), D.Normal(t(0.0), t(2.0))),
    ]
    for p, q in pairs:
        x = p.sample((4 * COUNT,))
        gap = (p.log_prob(x) - q.log_prob(x)).mean(0).item()
        assert D.kl_divergence(p, q).item() == pytest.approx(gap, rel=0.05, abs=0.02)
    assert D.kl_divergence(D.Normal(0.0, 1.0), D.Exponential(1.0)).item() == math.inf
    assert D.kl_divergence(D.Uniform(-1.0, 1.0), D.Exponential(1.0)).item() == math.inf


REGIONS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "positive": (C.positive, (3,)),
    "above": (C.greater_than(2.0), (3,)),
    "from": (C.greater_than_eq(-2.0), (3,)),
    "below": (C.less_than(2.0), (3,)),
    "interval": (C.interval(-1.0, 3.0), (3,)),
    "half open": (C.half_open_interval(0.0, 3.0), (3,)),
    "unit": (C.unit_interval, (3,)),
    "simplex": (C.simplex, (3,)),
    "correlations": (C.corr_cholesky, (6,)),
    "cat": (C.cat([C.positive, C.unit_interval], -1, [1, 2]), (3,)),
    "stack": (C.stack([C.positive, C.unit_interval, C.real], 0), (3, 2)),
    "independent": (C.independent(C.positive, 1), (3,)),
    "lower": (C.lower_cholesky, (3, 3)),
    "definite": (C.positive_definite, (3, 3)),
    "semidefinite": (C.positive_semidefinite, (3, 3)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_transforms_lead_to_their_regions(name: str) -> None:
    region, shape = REGIONS[name]
    x = t(RNG.standard_normal(shape))
    to = D.transform_to(region)
    y = to(x)
    assert bool(region.check(y).all())
    np.testing.assert_allclose(to(to.inv(y)).numpy(), y.numpy())


@pytest.mark.parametrize("name", ["positive", "interval", "below", "correlations", "cat"])
def test_volumes_change_as_determinants_say(name: str) -> None:
    region, shape = REGIONS[name]
    x, to = t(RNG.standard_normal(shape)), D.biject_to(region)
    jacobian = tw.autograd.functional.jacobian(to, x).numpy()
    if name == "correlations":
        jacobian = jacobian[np.tril_indices(4, -1)]
    found = to.log_abs_det_jacobian(x, to(x)).sum().item()
    np.testing.assert_allclose(found, np.linalg.slogdet(jacobian).logabsdet)


def test_a_region_of_ones_own_is_registered() -> None:
    class Even(C.Constraint):  # type: ignore[misc, name-defined]
        pass

    with pytest.raises(NotImplementedError, match="Even"):
        D.biject_to(Even())
    D.biject_to.register(Even, lambda region: D.AffineTransform(0.0, 2.0))
    assert D.biject_to(Even())(t(3.0)).item() == 6
    with pytest.raises(TypeError, match="Constraint"):
        D.transform_to.register(3, lambda region: D.ExpTransform())


def test_a_copula_is_made_of_probabilities() -> None:
    to = D.CumulativeDistributionTransform(D.Normal(0.0, 1.0))
    x = t([-1.0, 0.0, 2.0])
    y = to(x)
    np.testing.assert_allclose(to.inv(y).numpy(), x.numpy())
    expected = [0.5 * math.erfc(-v / math.sqrt(2)) for v in (-1, 0, 2)]
    np.testing.assert_allclose(y.numpy(), expected)
    change = to.log_abs_det_jacobian(x, y).numpy()
    np.testing.assert_allclose(change, -(x.numpy() ** 2) / 2 - 0.5 * math.log(2 * math.pi))


def test_matrices_that_are_checked() -> None:
    square = t([[1.0, 2.0], [3.0, 4.0]])
    assert bool(C.square.check(square).all())
    assert not bool(C.symmetric.check(square).any())
    assert not bool(C.symmetric.check(square[:1]).any())
    assert not bool(C.lower_triangular.check(square).any())
    assert bool(C.positive_semidefinite.check(t([[1.0, 1.0], [1.0, 1.0]])).all())
    assert not bool(C.positive_definite.check(t([[1.0, 2.0], [2.0, 1.0]])).any())
    with pytest.raises(ValueError, match="ndim - 1"):
        D.Wishart(1.0, covariance_matrix=tw.eye(2))
    with pytest.raises(ValueError, match="dim"):
        D.LKJCholesky(1)
