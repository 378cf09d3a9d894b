"""Divergences of pairs of distributions of different families.

Each is -entropy(p) - E_p[log q], whose second part needs only a few expectations under p: of x,
its square, log(x), log(1 - x) and exp(-x / s).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from talweg.distributions.arrays import EULER, F
from talweg.distributions.bounded import ContinuousBernoulli
from talweg.distributions.continuous import Exponential, Gumbel, Laplace, Normal, Pareto, Uniform
from talweg.distributions.discrete import Bernoulli, Binomial, Poisson
from talweg.distributions.gammas import Beta, Gamma
from talweg.distributions.kl import register_kl
from talweg.distributions.matrices import LowRankMultivariateNormal
from talweg.distributions.structured import MultivariateNormal


def _uniform_log(low: Any, high: Any) -> Any:
    return (F.xlogy(high, high) - F.xlogy(low, low)) / (high - low) - 1


# What is expected of log(x), of log(1 - x), and of exp(-x / s).
_LOG: dict[type, Callable[[Any], Any]] = {
    Beta: lambda p: F.digamma(p.concentration1) - F.digamma(p.concentration1 + p.concentration0),
    Exponential: lambda p: -EULER - p.rate.log(),
    Gamma: lambda p: F.digamma(p.concentration) - p.rate.log(),
    Pareto: lambda p: p.scale.log() + 1 / p.alpha,
    Uniform: lambda p: _uniform_log(p.low, p.high),
}
_LOG_REST: dict[type, Callable[[Any], Any]] = {
    Beta: lambda p: F.digamma(p.concentration0) - F.digamma(p.concentration1 + p.concentration0),
    Uniform: lambda p: _uniform_log(1 - p.high, 1 - p.low),
}
_DECAY: dict[type, Callable[[Any, Any], Any]] = {
    Exponential: lambda p, s: p.rate / (p.rate + 1 / s),
    Gamma: lambda p, s: (1 + 1 / (p.rate * s)) ** -p.concentration,
    Normal: lambda p, s: (-p.loc / s + 0.5 * (p.scale / s) ** 2).exp(),
    Uniform: lambda p, s: s * ((-p.low / s).exp() - (-p.high / s).exp()) / (p.high - p.low),
}


# -E_p[log q], by the family of q.
def _to_normal(p: Any, q: Any) -> Any:
    spread = (p.variance + (p.mean - q.loc) ** 2) / (2 * q.scale**2)
    return 0.5 * math.log(2 * math.pi) + q.scale.log() + spread


def _to_exponential(p: Any, q: Any) -> Any:
    return q.rate * p.mean - q.rate.log()


def _to_gamma(p: Any, q: Any) -> Any:
    a, b = q.concentration, q.rate
    return F.lgamma(a) - a * b.log() - (a - 1) * _LOG[type(p)](p) + b * p.mean


def _to_gumbel(p: Any, q: Any) -> Any:
    decay = (q.loc / q.scale).exp() * _DECAY[type(p)](p, q.scale)
    return q.scale.log() + (p.mean - q.loc) / q.scale + decay


def _to_pareto(p: Any, q: Any) -> Any:
    return -q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _LOG[type(p)](p)


def _to_beta(p: Any, q: Any) -> Any:
    a, b = q.concentration1, q.concentration0
    norm = F.lgamma(a) + F.lgamma(b) - F.lgamma(a + b)
    return norm - (a - 1) * _LOG[type(p)](p) - (b - 1) * _LOG_REST[type(p)](p)


def _to_continuous_bernoulli(p: Any, q: Any) -> Any:
    return F.softplus(q.logits) - p.mean * q.logits - q._log_norm()


def _to_uniform(p: Any, q: Any) -> Any:
    return (q.high - q.low).log()


_AGAINST: dict[type, Callable[[Any, Any], Any]] = {
    Beta: _to_beta,
    ContinuousBernoulli: _to_continuous_bernoulli,
    Exponential: _to_exponential,
    Gamma: _to_gamma,
    Gumbel: _to_gumbel,
    Normal: _to_normal,
    Pareto: _to_pareto,
    Uniform: _to_uniform,
}


def _bounds(d: Any) -> tuple[Any, Any]:
    region = d.support
    return getattr(region, "lower_bound", None), getattr(region, "upper_bound", None)


def _divergence(p: Any, q: Any) -> Any:
    found = _AGAINST[type(q)](p, q) - p.entropy()
    (low, high), (least, most) = _bounds(p), _bounds(q)
    endless = F.full_like(found, math.inf)
    for bound, limit, sign in ((low, least, 1.0), (high, most, -1.0)):
        if limit is not None and bound is not None:
            out = F.zeros_like(found) + sign * (bound - limit) < 0
            found = F.where(out, endless, found)
    return found


def _infinite(p: Any, q: Any) -> Any:
    return F.full(p.batch_shape, math.inf, dtype=p.mean.dtype)


_FINITE: dict[type, tuple[type, ...]] = {
    Beta: (ContinuousBernoulli, Exponential, Gamma, Normal, Uniform),
    ContinuousBernoulli: (Exponential, Normal, Uniform),
    Exponential: (Gamma, Gumbel, Normal),
    Gamma: (Exponential, Gumbel, Normal),
    Gumbel: (Normal,),
    Laplace: (Normal,),
    Normal: (Gumbel,),
    Pareto: (Exponential, Gamma, Normal),
    Uniform: (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Pareto),
}
# Values of the first may lie where the second has none.
_ENDLESS: dict[type, tuple[type, ...]] = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Laplace: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Normal: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}
for _pairs, _function in ((_FINITE, _divergence), (_ENDLESS, _infinite)):
    for _one, _others in _pairs.items():
        for _other in _others:
            register_kl(_one, _other)(_function)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoullis(p: Any, q: Any) -> Any:
    return _to_continuous_bernoulli(p, q) - p.entropy()


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Any:
    return q.rate - p.probs * q.rate.log() - p.entropy()


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Any:
    gap = p.loc - q.loc
    z = gap / (math.sqrt(2) * p.scale)
    away = p.scale * math.sqrt(2 / math.pi) * (-(z**2)).exp() + gap * F.erf(z)
    return (2 * q.scale).log() + away / q.scale - p.entropy()


def _same_size(p: Any, q: Any) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event "
            "shapes cannot be computed"
        )


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _against_low_rank(p: Any, q: Any) -> Any:
    _same_size(p, q)
    covariance = p.covariance_matrix
    # The trace of Woodbury's inverse times the covariance of p.
    inner = q._away(q._scaled)
    own = (covariance.diagonal(dim1=-2, dim2=-1) / q.cov_diag).sum(-1)
    trace = own - (inner @ covariance * inner).sum((-2, -1))
    return 0.5 * (
        q._log_det() - _log_det(p) + trace + q._distance(q.loc - p.loc) - p.event_shape[0]
    )


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_rank_against_full(p: Any, q: Any) -> Any:
    _same_size(p, q)
    spread = F.solve_triangular(q.scale_tril, p.scale_tril, upper=False)
    gap = F.solve_triangular(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False)
    square = (spread**2).sum((-2, -1)) + (gap**2).sum((-2, -1))
    return 0.5 * (_log_det(q) - p._log_det() + square - p.event_shape[0])


def _log_det(d: Any) -> Any:
    return 2 * d._half_log_det() if isinstance(d, MultivariateNormal) else d._log_det()
