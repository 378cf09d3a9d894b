"""Distributions against themselves: samples, densities, gradients, checks. No PyTorch is needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw

D = tw.distributions
F64 = tw.float64
COUNT = 20_000


def t(*values: float) -> tw.Tensor:
    return tw.tensor(values, dtype=F64)


MADE: dict[str, Callable[[], Any]] = {
    "Normal": lambda: D.Normal(t(1.0, -2.0), t(0.5, 2.0)),
    "Laplace": lambda: D.Laplace(t(1.0, -2.0), t(0.5, 2.0)),
    "Gumbel": lambda: D.Gumbel(t(1.0, -2.0), t(0.5, 2.0)),
    "Uniform": lambda: D.Uniform(t(1.0, -2.0), t(1.5, 2.0)),
    "Exponential": lambda: D.Exponential(t(1.0, 3.0)),
    "HalfNormal": lambda: D.HalfNormal(t(1.0, 3.0)),
    "Pareto": lambda: D.Pareto(t(1.0, 3.0), t(6.0, 7.0)),
    "Weibull": lambda: D.Weibull(t(1.0, 3.0), t(1.5, 2.0)),
    "LogNormal": lambda: D.LogNormal(t(0.0, 0.2), t(0.2, 0.3)),
    "Gamma": lambda: D.Gamma(t(0.7, 5.0), t(2.0, 3.0)),
    "Chi2": lambda: D.Chi2(t(3.0, 5.0)),
    "InverseGamma": lambda: D.InverseGamma(t(6.0, 7.0), t(2.0, 3.0)),
    "Beta": lambda: D.Beta(t(0.7, 5.0), t(2.0, 3.0)),
    "StudentT": lambda: D.StudentT(t(7.0, 9.0), 1.0, 2.0),
    "FisherSnedecor": lambda: D.FisherSnedecor(t(5.0, 7.0), t(12.0, 14.0)),
    "Bernoulli": lambda: D.Bernoulli(t(0.2, 0.7)),
    "Geometric": lambda: D.Geometric(t(0.2, 0.7)),
    "Binomial": lambda: D.Binomial(5, t(0.2, 0.7)),
    "NegativeBinomial": lambda: D.NegativeBinomial(5.0, t(0.2, 0.5)),
    "Poisson": lambda: D.Poisson(t(0.5, 4.0)),
    "Dirichlet": lambda: D.Dirichlet(t(0.7, 2.0, 3.0)),
    "Multinomial": lambda: D.Multinomial(3, t(0.2, 0.3, 0.5)),
    "OneHotCategorical": lambda: D.OneHotCategorical(t(0.2, 0.3, 0.5)),
    "MultivariateNormal": lambda: D.MultivariateNormal(
        t(1.0, 2.0), tw.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=F64)
    ),
    "MixtureSameFamily": lambda: D.MixtureSameFamily(
        D.Categorical(t(0.3, 0.7)), D.Normal(t(-1.0, 2.0), t(0.5, 1.0))
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_samples_have_the_moments_that_are_stated(name: str) -> None:
    tw.manual_seed(1)
    d = MADE[name]()
    drawn = d.sample((COUNT,))
    assert drawn.shape == (COUNT, *d.batch_shape, *d.event_shape)
    assert bool(d.support.check(drawn).all())
    values, deviation = drawn.numpy(), d.stddev.numpy()
    off = np.abs(values.mean(0) - d.mean.numpy()) / (deviation + 1e-9) * math.sqrt(COUNT)
    assert off.max() < 5
    np.testing.assert_allclose(values.std(0), deviation, rtol=0.12)


CONTINUOUS = (
    *("Normal", "Laplace", "Gumbel", "Exponential", "Weibull", "LogNormal", "Gamma", "StudentT"),
    *("FisherSnedecor", "InverseGamma"),
)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_add_up_to_one(name: str) -> None:
    d = MADE[name]()
    whole = name in ("Normal", "Laplace", "Gumbel", "StudentT")
    edges = np.linspace(-60, 60, 120_001) if whole else np.geomspace(1e-12, 1e4, 100_001)
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    density = d.log_prob(tw.tensor(middle[:, None])).exp().numpy()
    np.testing.assert_allclose((density * width[:, None]).sum(0), 1, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "Gumbel", "Exponential", "Weibull", "Pareto"]
)
def test_quantiles_undo_probabilities(name: str) -> None:
    d, p = MADE[name](), t(0.1, 0.8)
    np.testing.assert_allclose(d.cdf(d.icdf(p)).numpy(), p.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: D.Gamma(a, 2.0),
        lambda a: D.Beta(a, 2.0),
        lambda a: D.StudentT(a + 4, a, a),
        D.Exponential,
        lambda a: D.Normal(a, a),
        lambda a: D.LogNormal(a / 4, a / 4),
    ],
)
def test_gradients_of_samples_are_those_of_the_mean(make: Callable[[Any], Any]) -> None:
    tw.manual_seed(2)
    a = t(0.6, 1.5).requires_grad_()
    (expected,) = tw.autograd.grad(make(a).mean.sum(), a)
    d = make(a)
    (found,) = tw.autograd.grad(d.rsample((COUNT,)).mean(0).sum(), a)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.1, atol=0.05)


def test_divergences_are_expected_differences() -> None:
    tw.manual_seed(3)
    pairs = [
        (D.Normal(t(0.0), t(1.0)), D.Normal(t(0.5), t(2.0))),
        (D.Gamma(t(2.0), t(1.0)), D.Gamma(t(3.0), t(2.0))),
        (D.Beta(t(2.0), t(1.5)), D.Beta(t(3.0), t(2.0))),
        (D.Categorical(t(0.2, 0.8)), D.Categorical(t(0.5, 0.5))),
        (D.Laplace(t(0.0), t(1.0)), D.Laplace(t(0.5), t(2.0))),
    ]
    for p, q in pairs:
        x = p.sample((COUNT,))
        gap = (p.log_prob(x) - q.log_prob(x)).mean(0).numpy()
        np.testing.assert_allclose(D.kl_divergence(p, q).numpy(), gap, rtol=0.05, atol=0.02)


def test_a_divergence_is_registered_for_subclasses() -> None:
    class Mine(D.Normal):  # type: ignore[misc, name-defined]
        pass

    assert D.kl_divergence(Mine(0.0, 1.0), D.Normal(0.0, 1.0)).item() == 0
    with pytest.raises(NotImplementedError, match="Poisson"):
        D.kl_divergence(Mine(0.0, 1.0), D.Poisson(1.0))


def test_checks_name_parameter_value_and_constraint() -> None:
    with pytest.raises(ValueError, match=r"parameter scale .*Normal.*constraint"):
        D.Normal(tw.zeros(2), tw.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="support"):
        D.Exponential(1.0).log_prob(tw.tensor(-1.0))
    unchecked = D.Normal(tw.zeros(2), tw.tensor([1.0, -1.0]), validate_args=False)
    assert unchecked.log_prob(tw.zeros(2)).shape == (2,)


def test_a_seed_gives_the_same_numbers() -> None:
    for make in (MADE["Gamma"], MADE["Poisson"], MADE["Binomial"], MADE["Normal"]):
        drawn = []
        for _ in range(2):
            tw.manual_seed(5)
            drawn.append(make().sample((3,)).tolist())
        assert drawn[0] == drawn[1]


def test_distributions_are_captured() -> None:
    @tw.compile
    def loss(mean: tw.Tensor) -> Any:
        return D.kl_divergence(D.Normal(mean, 1.0), D.Normal(0.0, 1.0)).sum()

    for _ in range(3):
        assert loss(tw.ones(4)).item() == 2.0
