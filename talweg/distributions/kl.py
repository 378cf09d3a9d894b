"""Kullback and Leibler's divergences of pairs of distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from talweg.distributions.arrays import F
from talweg.distributions.categories import Categorical, OneHotCategorical
from talweg.distributions.continuous import (
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    Normal,
    Pareto,
    Uniform,
)
from talweg.distributions.discrete import (
    Bernoulli,
    Binomial,
    Geometric,
    Poisson,
)
from talweg.distributions.distribution import Distribution
from talweg.distributions.gammas import Beta, Dirichlet, Gamma
from talweg.distributions.structured import (
    Independent,
    MultivariateNormal,
    TransformedDistribution,
)
from talweg.distributions.transforms import summed

Divergence = Callable[[Any, Any], Any]
_REGISTERED: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """Return a decorator that makes a function the divergence of two classes.

    Raises:
        TypeError: for something else than distributions.
    """
    for one in (type_p, type_q):
        if not issubclass(one, Distribution):
            raise TypeError(f"Expected a Distribution subclass but got {one}")

    def decorator(function: Divergence) -> Divergence:
        _REGISTERED[type_p, type_q] = function
        return function

    return decorator


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """Return how much p differs from q, for each of a batch.

    Raises:
        NotImplementedError: when nothing is registered for the two classes.

    >>> import talweg as tw
    >>> D = tw.distributions
    >>> D.kl_divergence(D.Normal(0.0, 1.0), D.Normal(1.0, 1.0))
    tensor(0.5000)
    """
    for one in type(p).__mro__:
        for two in type(q).__mro__:
            found = _REGISTERED.get((one, two))
            if found is not None:
                return found(p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normals(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Any, q: Any) -> Any:
    one = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    return one + (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))


@register_kl(Binomial, Binomial)
def _binomials(p: Any, q: Any) -> Any:
    if bool((q.total_count < p.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count < p.total_count")
    found = p.total_count * (
        p.probs * (p.logits - q.logits) + F.log1p(-p.probs) - F.log1p(-q.probs)
    )
    return F.where(p.total_count > q.total_count, F.full_like(found, math.inf), found)


@register_kl(Categorical, Categorical)
def _categoricals(p: Any, q: Any) -> Any:
    probs, others = F.broadcast_tensors(p.probs, q.probs)
    found = probs * (p.logits - q.logits)
    found = F.where(others == 0, F.full_like(found, math.inf), found)
    return F.where(probs == 0, F.zeros_like(found), found).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hots(p: Any, q: Any) -> Any:
    return _categoricals(p._categorical, q._categorical)


@register_kl(Exponential, Exponential)
def _exponentials(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Gamma, Gamma)
def _gammas(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    first = b * (p.rate / q.rate).log() + F.lgamma(b) - F.lgamma(a)
    return first + (a - b) * F.digamma(a) + (q.rate - p.rate) * (a / p.rate)


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    first = F.lgamma(total) - F.lgamma(b.sum(-1)) - (F.lgamma(a) - F.lgamma(b)).sum(-1)
    return first + ((a - b) * (F.digamma(a) - F.digamma(total).unsqueeze(-1))).sum(-1)


@register_kl(Beta, Beta)
def _betas(p: Any, q: Any) -> Any:
    return _dirichlets(p._dirichlet(), q._dirichlet())


@register_kl(Gumbel, Gumbel)
def _gumbels(p: Any, q: Any) -> Any:
    euler = 0.57721566490153286060
    ratio, gap = p.scale / q.scale, p.loc / q.scale
    away = q.loc / q.scale - gap
    rest = (away + F.lgamma(1 + ratio)).exp() - (1 + euler)
    return -ratio.log() - away + ratio * euler + rest


@register_kl(Geometric, Geometric)
def _geometrics(p: Any, q: Any) -> Any:
    return -p.entropy() - F.log1p(-q.probs) / p.probs - q.logits


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: Any, q: Any) -> Any:
    return _normals(p._whole(), q._whole())


@register_kl(Laplace, Laplace)
def _laplaces(p: Any, q: Any) -> Any:
    ratio, gap = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + gap / q.scale + ratio * (-gap / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchys(p: Any, q: Any) -> Any:
    near = ((p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2).log()
    return near - (4 * p.scale * q.scale).log()


@register_kl(Pareto, Pareto)
def _paretos(p: Any, q: Any) -> Any:
    ratio, powers = p.scale / q.scale, q.alpha / p.alpha
    found = q.alpha * ratio.log() - powers.log() + powers - 1
    return F.where(p.scale < q.scale, F.full_like(found, math.inf), found)


@register_kl(Poisson, Poisson)
def _poissons(p: Any, q: Any) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniforms(p: Any, q: Any) -> Any:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    beyond = (q.low > p.low) | (q.high < p.high)
    return F.where(beyond, F.full_like(found, math.inf), found)


@register_kl(Uniform, Normal)
def _uniform_normal(p: Any, q: Any) -> Any:
    width = p.high - p.low
    mean = ((p.high + p.low - 2 * q.loc) / 2) ** 2
    first = (math.sqrt(math.pi * 2) * q.scale / width).log()
    return first + 0.5 * (width**2 / 12 + mean) / q.scale**2


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariates(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    spread = F.solve_triangular(q.scale_tril, p.scale_tril, upper=False)
    gap = F.solve_triangular(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False)
    square = (spread**2).sum((-2, -1)) + (gap**2).sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (square - p.event_shape[0])


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Any:
    if [type(t) for t in p.transforms] != [type(t) for t in q.transforms]:
        raise NotImplementedError("KL between distributions with different transforms")
    if p.event_shape != q.event_shape:
        raise NotImplementedError("KL between distributions with different event shapes")
    found = kl_divergence(p.base_dist, q.base_dist)
    return summed(found, found.ndim - len(p.batch_shape))


@register_kl(Independent, Independent)
def _independents(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL between Independents of different dimensions")
    return summed(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
