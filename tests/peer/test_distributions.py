"""`talweg.distributions` beside PyTorch: densities, moments, quantiles, divergences, gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Case, compare, parameters, torch

import talweg as tw

pytestmark = pytest.mark.peer
R = np.random.RandomState(3)
POSITIVE, OTHER, THIRD = (R.rand(2, 3) + 0.3 for _ in range(3))
SIGNED = R.randn(2, 3)
UNIT = R.rand(2, 3) * 0.8 + 0.1
COUNT = R.randint(0, 4, (2, 3)).astype("float64")
BIT = R.randint(0, 2, (2, 3)).astype("float64")
SIMPLEX = R.dirichlet([1.0, 2.0, 3.0], 2)
ONE_HOT = np.eye(3)[[2, 0]]
SPREAD = np.array([[1.0, 0.3, 0], [0.3, 2, 0.1], [0, 0.1, 0.7]])
MOMENTS = ("mean", "variance", "stddev", "mode")


def everything(
    name: str,
    make: Callable[..., Any],
    value: np.ndarray,
    *given: np.ndarray,
    skip: tuple[str, ...] = (),
    quantiles: bool = True,
) -> Case:
    """Return what a distribution says of itself, and of values."""

    def call(T: Any, x: Any, *parameters: Any) -> list[Any]:
        d = make(T.distributions, *parameters)
        out = [d.log_prob(x.detach() if name == "Poisson" else x)]
        out += [getattr(d, m) for m in MOMENTS if m not in skip]
        if "entropy" not in skip:
            out.append(d.entropy())
        if quantiles:
            out += [d.cdf(x), d.icdf(T.tensor(UNIT))]
        return out

    return Case(name, call, (value, *given), slack=1e4)


def plain(name: str, make: Callable[..., Any], *arrays: np.ndarray, skip: Any = ()) -> Case:
    """Return a case of a distribution without quantiles."""
    return everything(name, make, *arrays, skip=skip, quantiles=False)


CASES = [
    everything("Normal", lambda D, a, b: D.Normal(a, b), SIGNED, SIGNED * 2, POSITIVE),
    everything("Laplace", lambda D, a, b: D.Laplace(a, b), SIGNED, SIGNED * 2, POSITIVE),
    everything(
        "Cauchy", lambda D, a, b: D.Cauchy(a, b), SIGNED, SIGNED * 2, POSITIVE, skip=("stddev",)
    ),
    everything("Gumbel", lambda D, a, b: D.Gumbel(a, b), SIGNED, SIGNED * 2, POSITIVE),
    everything(
        "Uniform",
        lambda D, a, b: D.Uniform(-a - 3, b + 3),
        SIGNED,
        POSITIVE,
        OTHER,
        skip=("mode",),
    ),
    everything("Exponential", lambda D, a: D.Exponential(a), POSITIVE, OTHER, skip=("mode",)),
    everything("HalfNormal", lambda D, a: D.HalfNormal(a), POSITIVE, OTHER, skip=("mode",)),
    everything(
        "HalfCauchy",
        lambda D, a: D.HalfCauchy(a),
        POSITIVE,
        OTHER,
        skip=("mode", "variance", "stddev", "mean"),
    ),
    everything(
        "Pareto",
        lambda D, a, b: D.Pareto(a, b + 2),
        POSITIVE + 2,
        OTHER,
        THIRD,
    ),
    everything("Weibull", lambda D, a, b: D.Weibull(a, b + 1), POSITIVE, OTHER, THIRD),
    everything("LogNormal", lambda D, a, b: D.LogNormal(a, b), POSITIVE, SIGNED, OTHER),
    everything("Gamma", lambda D, a, b: D.Gamma(a + 1, b), POSITIVE, OTHER, THIRD, quantiles=False),
    everything("Chi2", lambda D, a: D.Chi2(a + 2), POSITIVE, OTHER, quantiles=False),
    everything(
        "InverseGamma",
        lambda D, a, b: D.InverseGamma(a + 3, b),
        POSITIVE,
        OTHER,
        THIRD,
        quantiles=False,
    ),
    everything("Beta", lambda D, a, b: D.Beta(a + 1, b + 1), UNIT, OTHER, THIRD, quantiles=False),
    everything("Dirichlet", lambda D, a: D.Dirichlet(a + 1), SIMPLEX, OTHER, quantiles=False),
    everything(
        "StudentT",
        lambda D, n, a, b: D.StudentT(n + 3, a, b),
        SIGNED,
        POSITIVE,
        SIGNED * 2,
        OTHER,
        quantiles=False,
    ),
    everything(
        "FisherSnedecor",
        lambda D, a, b: D.FisherSnedecor(a + 3, b + 5),
        POSITIVE,
        OTHER,
        THIRD,
        skip=("entropy",),
        quantiles=False,
    ),
    everything(
        "VonMises",
        lambda D, a, b: D.VonMises(a, b * 5),
        SIGNED,
        SIGNED * 2,
        POSITIVE,
        skip=("variance", "stddev", "entropy"),
        quantiles=False,
    ),
    plain("Bernoulli", lambda D, p: D.Bernoulli(p), BIT, UNIT),
    everything(
        "Bernoulli logits", lambda D, z: D.Bernoulli(logits=z), BIT, SIGNED, quantiles=False
    ),
    everything(
        "Geometric", lambda D, p: D.Geometric(p), COUNT, UNIT, skip=("mode",), quantiles=False
    ),
    everything(
        "Geometric logits",
        lambda D, z: D.Geometric(logits=z),
        COUNT,
        SIGNED,
        skip=("mode",),
        quantiles=False,
    ),
    everything(
        "Binomial", lambda D, p: D.Binomial(4, p), COUNT, UNIT, skip=("mode",), quantiles=False
    ),
    everything(
        "Binomial logits",
        lambda D, z: D.Binomial(5, logits=z),
        COUNT,
        SIGNED,
        skip=("mode",),
        quantiles=False,
    ),
    everything(
        "NegativeBinomial",
        lambda D, p: D.NegativeBinomial(4.0, p),
        COUNT,
        UNIT,
        skip=("mode", "entropy"),
        quantiles=False,
    ),
    everything(
        "Poisson",
        lambda D, r: D.Poisson(r),
        COUNT,
        OTHER,
        skip=("mode", "entropy"),
        quantiles=False,
    ),
    everything(
        "Categorical",
        lambda D, p: D.Categorical(p),
        np.array([2, 0]),
        OTHER,
        skip=("mean", "variance", "stddev", "mode"),
        quantiles=False,
    ),
    everything(
        "Categorical logits",
        lambda D, z: D.Categorical(logits=z),
        np.array([[2, 0], [1, 1]]),
        SIGNED,
        skip=("mean", "variance", "stddev", "mode"),
        quantiles=False,
    ),
    everything(
        "OneHotCategorical",
        lambda D, z: D.OneHotCategorical(logits=z),
        ONE_HOT,
        SIGNED,
        skip=("mode",),
        quantiles=False,
    ),
    everything(
        "Multinomial",
        lambda D, p: D.Multinomial(3, p),
        ONE_HOT * 3,
        OTHER,
        skip=("mode", "entropy"),
        quantiles=False,
    ),
    everything(
        "RelaxedBernoulli",
        lambda D, t, z: D.RelaxedBernoulli(t, logits=z),
        UNIT,
        np.array(0.7),
        SIGNED,
        skip=(*MOMENTS, "entropy"),
        quantiles=False,
    ),
    everything(
        "RelaxedOneHotCategorical",
        lambda D, t, z: D.RelaxedOneHotCategorical(t, logits=z),
        SIMPLEX,
        np.array(0.7),
        SIGNED,
        skip=(*MOMENTS, "entropy"),
        quantiles=False,
    ),
    *[
        everything(
            f"MultivariateNormal {name}",
            lambda D, m, s, n=name: D.MultivariateNormal(
                m, **{n: s.tril() if n == "scale_tril" else s}
            ),
            SIGNED,
            SIGNED * 2,
            np.linalg.cholesky(SPREAD) if name == "scale_tril" else SPREAD,
            quantiles=False,
        )
        for name in ("covariance_matrix", "precision_matrix", "scale_tril")
    ],
    everything(
        "Independent",
        lambda D, a, b: D.Independent(D.Normal(a, b), 1),
        SIGNED,
        SIGNED * 2,
        POSITIVE,
        quantiles=False,
    ),
    everything(
        "MixtureSameFamily",
        lambda D, w, a, b: D.MixtureSameFamily(D.Categorical(logits=w), D.Normal(a, b)),
        SIGNED[:, 0].copy(),
        SIGNED,
        SIGNED * 2,
        POSITIVE,
        skip=("mode", "entropy"),
        quantiles=False,
    ),
    *[
        everything(
            f"Transformed {name}",
            lambda D, a, b, m=make: D.TransformedDistribution(D.Normal(a, b), m(D)),
            value,
            SIGNED,
            POSITIVE,
            skip=(*MOMENTS, "entropy"),
            quantiles=name not in ("breaking", "softplus"),
        )
        for name, value, make in (
            ("exp", POSITIVE, lambda D: [D.ExpTransform()]),
            ("tanh", UNIT, lambda D: D.TanhTransform()),
            ("sigmoid", UNIT, lambda D: [D.AffineTransform(0.5, -2.0), D.SigmoidTransform()]),
            ("power", POSITIVE, lambda D: [D.ExpTransform(), D.PowerTransform(2.0)]),
            ("softplus", POSITIVE, lambda D: [D.SoftplusTransform()]),
            (
                "breaking",
                R.dirichlet([1.0, 2.0, 3.0, 2.0], 2),
                lambda D: [D.StickBreakingTransform()],
            ),
        )
    ],
]

LOW = R.randn(3, 2)
LOWER = np.linalg.cholesky(SPREAD)
ROWS = LOWER / np.linalg.norm(LOWER, axis=-1, keepdims=True)
CASES += [
    everything("Kumaraswamy", lambda D, a, b: D.Kumaraswamy(a + 1, b + 1), UNIT, OTHER, THIRD),
    everything(
        "ContinuousBernoulli",
        lambda D, p: D.ContinuousBernoulli(p),
        UNIT,
        np.array([[0.2, 0.5, 0.4995], [0.9, 0.501, 0.3]]),
        skip=("mode",),
    ),
    everything(
        "ContinuousBernoulli logits",
        lambda D, z: D.ContinuousBernoulli(logits=z),
        UNIT,
        SIGNED,
        skip=("mode",),
    ),
    plain(
        "LowRankMultivariateNormal",
        lambda D, m, w, d: D.LowRankMultivariateNormal(m, w, d),
        SIGNED,
        SIGNED * 2,
        LOW,
        POSITIVE,
    ),
    *[
        plain(
            f"Wishart {name}",
            lambda D, n, s, k=name: D.Wishart(n + 4, **{k: s.tril() if k == "scale_tril" else s}),
            SPREAD * 1.5 + np.eye(3),
            POSITIVE[:, 0].copy(),
            LOWER if name == "scale_tril" else SPREAD,
        )
        for name in ("covariance_matrix", "precision_matrix", "scale_tril")
    ],
    *[
        Case(
            f"LKJCholesky {n}",
            lambda T, x, a: T.distributions.LKJCholesky(x.shape[-1], a, False).log_prob(x),
            (ROWS[:n, :n].copy(), POSITIVE[:, 0].copy()),
            slack=1e4,
        )
        for n in (2, 3)
    ],
    Case(
        "low rank matrices",
        lambda T, w, d: [
            getattr(T.distributions.LowRankMultivariateNormal(T.zeros(3).double(), w, d), name)
            for name in ("covariance_matrix", "precision_matrix", "scale_tril")
        ],
        (LOW, POSITIVE),
        slack=1e4,
    ),
]


def transformed(name: str, make: Callable[..., Any], x: np.ndarray) -> Case:
    """Return what a transform makes of numbers, its inverse, and how it changes volumes."""

    def call(T: Any, x: Any) -> list[Any]:
        t = make(T.distributions, T.distributions.constraints)
        y = t(x)
        out = [y, t.inv(y)]
        if "volume" not in name:
            out.append(t.log_abs_det_jacobian(x, y))
        return out

    return Case(name, call, (x,), slack=1e5)


REGIONS: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "real": (lambda c: c.real, SIGNED),
    "positive": (lambda c: c.positive, SIGNED),
    "nonnegative": (lambda c: c.nonnegative, SIGNED),
    "greater_than": (lambda c: c.greater_than(2.0), SIGNED),
    "greater_than_eq": (lambda c: c.greater_than_eq(-1.0), SIGNED),
    "less_than": (lambda c: c.less_than(2.0), SIGNED),
    "unit_interval": (lambda c: c.unit_interval, SIGNED),
    "interval": (lambda c: c.interval(-1.0, 3.0), SIGNED),
    "half_open": (lambda c: c.half_open_interval(-1.0, 3.0), SIGNED),
    "simplex": (lambda c: c.simplex, SIGNED),
    "independent": (lambda c: c.independent(c.positive, 1), SIGNED),
    "corr_cholesky": (lambda c: c.corr_cholesky, SIGNED),
    "corr_cholesky 2": (lambda c: c.corr_cholesky, SIGNED[:, :1].copy()),
    "cat": (lambda c: c.cat([c.positive, c.real], -1, [2, 1]), SIGNED),
    "stack": (lambda c: c.stack([c.positive, c.unit_interval], 0), SIGNED),
    "lower_cholesky volume": (lambda c: c.lower_cholesky, R.randn(3, 3)),
    "positive_definite volume": (lambda c: c.positive_definite, R.randn(3, 3)),
}
CASES += [
    transformed(f"transform_to {n}", lambda D, c, f=f: D.transform_to(f(c)), x)
    for n, (f, x) in REGIONS.items()
    if n != "simplex"
]
CASES += [
    transformed(f"biject_to {n}", lambda D, c, f=f: D.biject_to(f(c)), x)
    for n, (f, x) in REGIONS.items()
    if "volume" not in n
]
CASES += [
    transformed(
        "cumulative",
        lambda D, c: D.CumulativeDistributionTransform(D.Normal(0.0, 2.0)),
        SIGNED,
    ),
    transformed("softmax volume", lambda D, c: D.transform_to(c.simplex), SIGNED),
    transformed(
        "cat of events",
        lambda D, c: D.CatTransform(
            [D.ExpTransform(), D.AffineTransform(1.0, 2.0, event_dim=1)], -1, [1, 2]
        ),
        SIGNED,
    ),
]

PAIRS: dict[str, tuple[Callable[..., Any], np.ndarray, np.ndarray]] = {
    "Normal": (lambda D, a, b: D.Normal(a, b), SIGNED, POSITIVE),
    "Laplace": (lambda D, a, b: D.Laplace(a, b), SIGNED, POSITIVE),
    "Cauchy": (lambda D, a, b: D.Cauchy(a, b), SIGNED, POSITIVE),
    "Gumbel": (lambda D, a, b: D.Gumbel(a, b), SIGNED, POSITIVE),
    "Gamma": (lambda D, a, b: D.Gamma(a, b), OTHER, POSITIVE),
    "Beta": (lambda D, a, b: D.Beta(a, b), OTHER, POSITIVE),
    "Dirichlet": (lambda D, a, b: D.Dirichlet(a + b), OTHER, POSITIVE),
    "Exponential": (lambda D, a, b: D.Exponential(a + b), OTHER, POSITIVE),
    "HalfNormal": (lambda D, a, b: D.HalfNormal(a + b), OTHER, POSITIVE),
    "Poisson": (lambda D, a, b: D.Poisson(a + b), OTHER, POSITIVE),
    "Bernoulli": (lambda D, a, b: D.Bernoulli(logits=a + b), SIGNED, POSITIVE),
    "Geometric": (lambda D, a, b: D.Geometric(logits=a + b), SIGNED, POSITIVE),
    "Binomial": (lambda D, a, b: D.Binomial(3, logits=a + b), SIGNED, POSITIVE),
    "Categorical": (lambda D, a, b: D.Categorical(logits=a + b), SIGNED, POSITIVE),
    "OneHotCategorical": (lambda D, a, b: D.OneHotCategorical(a + b), OTHER, POSITIVE),
    "LogNormal": (lambda D, a, b: D.LogNormal(a, b), SIGNED, POSITIVE),
    "Independent": (lambda D, a, b: D.Independent(D.Normal(a, b), 1), SIGNED, POSITIVE),
    "MultivariateNormal": (
        lambda D, a, b: D.MultivariateNormal(a, scale_tril=b.diag_embed()),
        SIGNED,
        POSITIVE,
    ),
    "ContinuousBernoulli": (lambda D, a, b: D.ContinuousBernoulli(logits=a), SIGNED, POSITIVE),
    "LowRankMultivariateNormal": (
        lambda D, a, b: D.LowRankMultivariateNormal(a, b.unsqueeze(-1), b),
        SIGNED,
        POSITIVE,
    ),
}
CASES += [
    Case(
        f"kl {name}",
        lambda T, a, b, m=make: T.distributions.kl_divergence(
            m(T.distributions, a, b), m(T.distributions, a.flip(0), b.flip(1) + 0.5)
        ),
        (one, two),
        slack=1e4,
    )
    for name, (make, one, two) in PAIRS.items()
]


# Two members of each family: a small one, whose values lie within the other's support.
CROSSED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "Bernoulli": (lambda D, a: D.Bernoulli(a / 2), lambda D, b: D.Bernoulli(b / 2)),
    "Beta": (lambda D, a: D.Beta(a, a + 1), lambda D, b: D.Beta(b, b + 1)),
    "Binomial": (lambda D, a: D.Binomial(3, a / 2), lambda D, b: D.Binomial(3, b / 2)),
    "ContinuousBernoulli": (
        lambda D, a: D.ContinuousBernoulli(a / 2),
        lambda D, b: D.ContinuousBernoulli(b / 2),
    ),
    "Exponential": (lambda D, a: D.Exponential(a), lambda D, b: D.Exponential(b)),
    "Gamma": (lambda D, a: D.Gamma(a, a + 1), lambda D, b: D.Gamma(b, b + 2)),
    "Gumbel": (lambda D, a: D.Gumbel(a - 1, a), lambda D, b: D.Gumbel(b, b)),
    "Laplace": (lambda D, a: D.Laplace(a - 1, a), lambda D, b: D.Laplace(b, b)),
    "Normal": (lambda D, a: D.Normal(a - 1, a), lambda D, b: D.Normal(b, b)),
    "Pareto": (lambda D, a: D.Pareto(a, a + 2), lambda D, b: D.Pareto(b / 9, b)),
    "Poisson": (lambda D, a: D.Poisson(a), lambda D, b: D.Poisson(b)),
    "Uniform": (lambda D, a: D.Uniform(a / 5, a / 2), lambda D, b: D.Uniform(-b, b + 1)),
}
ACROSS = [
    (p, q)
    for p, q in itertools.permutations(CROSSED, 2)
    if torch is not None
    and any(
        (one.__name__, two.__name__) == (p, q) for one, two in torch.distributions.kl._KL_REGISTRY
    )
]


@pytest.mark.parametrize(("p", "q"), ACROSS)
def test_divergences_between_families(p: str, q: str) -> None:
    def call(T: Any, a: Any, b: Any) -> Any:
        D = T.distributions
        return D.kl_divergence(CROSSED[p][0](D, a), CROSSED[q][1](D, b))

    finite = np.isfinite(call(torch, torch.tensor(OTHER), torch.tensor(THIRD)).numpy())
    if finite.all():
        compare(Case(f"{p} {q}", call, (OTHER, THIRD), slack=1e4))
    else:
        found = call(tw, tw.tensor(OTHER), tw.tensor(THIRD)).numpy()
        np.testing.assert_array_equal(np.isfinite(found), finite)


def test_generalized_paretos() -> None:
    tail = np.array([[0.3, -0.4, 0.0], [0.45, 0.2, -0.1]])
    given = [a.astype("float32") for a in (SIGNED, POSITIVE + 3, tail, SIGNED + 1, UNIT)]
    found = []
    for library in (torch, tw):
        *parameters, x, u = map(library.tensor, given)
        d = library.distributions.GeneralizedPareto(*parameters)
        found.append([d.log_prob(x), d.cdf(x), d.log_cdf(x), d.log_survival_function(x)])
        found[-1] += [d.icdf(u), d.mean, d.variance, d.mode, d.entropy()]
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=2e-5, atol=1e-6)


def test_values_outside_are_infinitely_unlikely() -> None:
    for library in (torch, tw):
        D = library.distributions
        for p, q in (
            (D.Uniform(-1.0, 1.0), D.Exponential(1.0)),
            (D.Uniform(-1.0, 1.0), D.Gamma(1.0, 1.0)),
            (D.Uniform(0.5, 2.0), D.Beta(1.0, 1.0)),
            (D.Uniform(0.5, 2.0), D.ContinuousBernoulli(0.3)),
            (D.Uniform(0.5, 2.0), D.Pareto(1.0, 1.0)),
            (D.Beta(1.0, 1.0), D.Uniform(0.0, 0.5)),
            (D.ContinuousBernoulli(0.3), D.Uniform(0.5, 1.0)),
            (D.Pareto(1.0, 0.5), D.Exponential(1.0)),
            (D.Pareto(1.0, 1.5), D.Normal(1.0, 1.0)),
        ):
            assert float(D.kl_divergence(p, q)) == np.inf


@pytest.mark.parametrize("case", parameters(CASES))
def test_values_and_gradients(case: Case) -> None:
    compare(case)


@pytest.mark.parametrize(
    "call",
    [
        lambda D, t: D.Normal(0.0, -1.0),
        lambda D, t: D.Normal(t([0.0]), t([float("nan")])),
        lambda D, t: D.Normal(0.0, 1.0).log_prob(t(float("nan"))),
        lambda D, t: D.Normal(t([0.0, 1.0]), 1.0).log_prob(t([0.0, 1.0, 2.0])),
        lambda D, t: D.Exponential(1.0).log_prob(t(-1.0)),
        lambda D, t: D.Uniform(1.0, 0.0),
        lambda D, t: D.Bernoulli(1.5),
        lambda D, t: D.Bernoulli(0.5).log_prob(t(0.3)),
        lambda D, t: D.Bernoulli(),
        lambda D, t: D.Bernoulli(0.5, 0.5),
        lambda D, t: D.Categorical(t([0.2, -0.1])),
        lambda D, t: D.Categorical(t(0.2)),
        lambda D, t: D.Categorical(t([0.2, 0.8])).log_prob(t(2)),
        lambda D, t: D.Dirichlet(t(1.0)),
        lambda D, t: D.Gamma(0.0, 1.0),
        lambda D, t: D.Poisson(1.0).log_prob(t(0.5)),
        lambda D, t: D.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 2.0], [2.0, 1.0]])),
        lambda D, t: D.MultivariateNormal(t([0.0, 0.0])),
        lambda D, t: D.Independent(D.Normal(0.0, 1.0), 1),
        lambda D, t: D.kl_divergence(D.Normal(0.0, 1.0), D.Categorical(t([1.0]))),
        lambda D, t: D.Categorical(t([1.0])).rsample(),
        lambda D, t: D.LKJCholesky(1),
        lambda D, t: D.LKJCholesky(2, -1.0),
        lambda D, t: D.LKJCholesky(2).log_prob(t([[1.0, 0.0], [1.0, 1.0]])),
        lambda D, t: D.Wishart(t(1.0), t([[1.0, 0.0], [0.0, 1.0]])),
        lambda D, t: D.Wishart(3.0, t([1.0])),
        lambda D, t: D.LowRankMultivariateNormal(t([0.0, 0.0]), t([[1.0]]), t([1.0, 1.0])),
        lambda D, t: D.Kumaraswamy(-1.0, 1.0),
        lambda D, t: D.ContinuousBernoulli(0.5, 0.5),
        lambda D, t: D.GeneralizedPareto(0.0, 1.0, 0.0).log_prob(t(-1.0)),
        lambda D, t: D.biject_to(D.constraints.boolean),
        lambda D, t: D.CorrCholeskyTransform()(t([1.0, 2.0])),
    ],
)
def test_mistakes_raise_the_same(call: Callable[..., Any]) -> None:
    for library in (torch, tw):
        with pytest.raises((ValueError, NotImplementedError)):
            call(library.distributions, library.tensor)


def test_shapes_of_samples_and_batches() -> None:
    for library in (torch, tw):
        D, ones = library.distributions, library.ones
        d = D.Normal(ones(3), 1.0).expand((2, 3))
        assert tuple(d.sample((4,)).shape) == (4, 2, 3)
        d = D.Categorical(logits=ones(2, 5))
        assert tuple(d.sample((4,)).shape) == (4, 2)
        assert tuple(d.enumerate_support().shape) == (5, 2)
        d = D.Multinomial(6, ones(2, 5))
        assert tuple(d.sample((4,)).shape) == (4, 2, 5)
        d = D.Independent(D.Bernoulli(ones(2, 5) * 0.5), 1)
        assert (tuple(d.batch_shape), tuple(d.event_shape)) == ((2,), (5,))
        d = D.TransformedDistribution(D.Normal(ones(2, 3), 1.0), D.StickBreakingTransform())
        assert (tuple(d.batch_shape), tuple(d.event_shape)) == ((2,), (4,))
        d = D.MultivariateNormal(ones(3), library.eye(3)).expand((4,))
        assert tuple(d.rsample((2,)).shape) == (2, 4, 3)
