"""Distributions whose values lie between bounds."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from talweg.distributions import constraints as c
from talweg.distributions.arrays import (
    EULER,
    F,
    clamped,
    logits_of,
    one_of,
    probs_of,
    tensors,
)
from talweg.distributions.continuous import Uniform
from talweg.distributions.distribution import Distribution, ExponentialFamily
from talweg.distributions.structured import TransformedDistribution
from talweg.distributions.transforms import AffineTransform, PowerTransform


class Kumaraswamy(TransformedDistribution):
    """The Kumaraswamy distribution on [0, 1]: 1 - (1 - x ** a) ** b are its probabilities.

    Args:
        concentration1: a.
        concentration0: b.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Kumaraswamy(2.0, 1.0).mean
        tensor(0.6667)
    """

    arg_constraints: ClassVar = {"concentration1": c.positive, "concentration0": c.positive}
    support = c.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = tensors(concentration1, concentration0)
        a, b = self.concentration1, self.concentration0
        base = Uniform(F.zeros_like(b), F.ones_like(b), validate_args=validate_args)
        parts = [PowerTransform(1 / b), AffineTransform(1.0, -1.0), PowerTransform(1 / a)]
        super().__init__(base, parts, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        a, b = self.concentration1.expand(batch_shape), self.concentration0.expand(batch_shape)
        return Kumaraswamy(a, b, False)

    def _moment(self, n: int) -> Any:
        a, b = self.concentration1, self.concentration0
        more = 1 + n / a
        return b * (F.lgamma(more) + F.lgamma(b) - F.lgamma(more + b)).exp()

    @property
    def mean(self) -> Any:
        return self._moment(1)

    @property
    def mode(self) -> Any:
        a, b = self.concentration1, self.concentration0
        found = (F.log1p(-b) / b - F.log1p(-b * a)).exp()
        return F.where((b < 1) | (a < 1), F.full_like(a, math.nan), found)

    @property
    def variance(self) -> Any:
        return self._moment(2) - self.mean**2

    def entropy(self) -> Any:
        a, b = self.concentration1, self.concentration0
        harmonic = F.digamma(b + 1) + EULER
        return (1 - 1 / b) + (1 - 1 / a) * harmonic - a.log() - b.log()


class ContinuousBernoulli(ExponentialFamily):
    """A distribution on [0, 1] with densities in the ratio of a Bernoulli's probabilities.

    Loaiza-Ganem and Cunningham, "The continuous Bernoulli" (2019).

    Args:
        probs: in (0, 1); or
        logits: their log-odds.
        lims: between these probabilities a series is used, the formulas being unstable there.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.ContinuousBernoulli(0.5).mean
        tensor(0.5000)
    """

    arg_constraints: ClassVar = {"probs": c.unit_interval, "logits": c.real}
    support = c.unit_interval
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        (given,) = tensors(one_of(probs, logits))
        self._lims = lims
        self.probs = probs_of(given, True) if probs is None else given
        self.logits = given if probs is None else logits_of(given, True)
        super().__init__(given.shape, validate_args=validate_args)
        self.probs = clamped(self.probs)

    def _stable(self) -> Any:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Any:
        return F.where(self._stable(), self.probs, F.full_like(self.probs, self._lims[0]))

    def _log_norm(self) -> Any:
        p = self._cut()
        ratio = (F.log1p(-p) - p.log()).abs().log() - (1 - 2 * p).abs().log()
        x = (self.probs - 0.5) ** 2
        return F.where(self._stable(), ratio, math.log(2.0) + (4 / 3 + 104 / 45 * x) * x)

    @property
    def mean(self) -> Any:
        p, x = self._cut(), self.probs - 0.5
        found = p / (2 * p - 1) + 1 / (F.log1p(-p) - p.log())
        return F.where(self._stable(), found, 0.5 + (1 / 3 + 16 / 45 * x**2) * x)

    @property
    def variance(self) -> Any:
        p, x = self._cut(), (self.probs - 0.5) ** 2
        found = p * (p - 1) / (1 - 2 * p) ** 2 + 1 / (F.log1p(-p) - p.log()) ** 2
        return F.where(self._stable(), found, 1 / 12 - (1 / 15 - 128 / 945 * x) * x)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.icdf(F.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return value * self.logits - F.softplus(self.logits) + self._log_norm()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        p = self._cut()
        found = (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1)
        return F.where(self._stable(), found, value).clamp(0, 1)

    def icdf(self, value: Any) -> Any:
        p = self._cut()
        found = F.log1p(-p + value * (2 * p - 1)) - F.log1p(-p)
        return F.where(self._stable(), found / (p.log() - F.log1p(-p)), value)

    def entropy(self) -> Any:
        zero, one = F.log1p(-self.probs), self.probs.log()
        return self.mean * (zero - one) - self._log_norm() - zero


class GeneralizedPareto(Distribution):
    """The generalized Pareto distribution, of what exceeds a high threshold.

    Args:
        loc: the smallest value.
        scale: positive.
        concentration: of the tail: 0 is exponential, below 0 values have an upper bound.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.GeneralizedPareto(0.0, 1.0, 0.0).cdf(tw.tensor(1.0))
        tensor(0.6321)
    """

    arg_constraints: ClassVar = {"loc": c.real, "scale": c.positive, "concentration": c.real}
    has_rsample = True

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = tensors(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """From loc on, up to a bound where the concentration is negative."""
        below = self.concentration < 0
        k = F.where(below, self.concentration, -F.ones_like(self.loc))
        high = F.where(below, self.loc - self.scale / k, F.full_like(self.loc, math.inf))
        return c.interval(self.loc, high)

    def _tail(self) -> tuple[Any, Any]:
        """Return where the concentration is zero, and a concentration that never is."""
        zero = self.concentration.abs() <= 1e-8
        return zero, F.where(zero, F.ones_like(self.concentration), self.concentration)

    @property
    def mean(self) -> Any:
        k = self.concentration
        found = self.loc + self.scale / (1 - F.where(k < 1, k, F.full_like(k, 0.5)))
        return F.where(k < 1, found, F.full_like(found, math.nan))

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        k = self.concentration
        safe = F.where(k < 0.5, k, F.full_like(k, 0.25))
        found = self.scale**2 / ((1 - safe) ** 2 * (1 - 2 * safe))
        return F.where(k < 0.5, found, F.full_like(found, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.icdf(F.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        z, (zero, k) = (value - self.loc) / self.scale, self._tail()
        power = 1 / k + 1
        bent = F.where(power == 0, F.zeros_like(z), power * F.log1p(k * z))
        return -self.scale.log() - F.where(zero, z, bent)

    def log_survival_function(self, value: Any) -> Any:
        """Return the logarithm of the probability of values above these."""
        self._validate_sample(value)
        z, (zero, k) = (value - self.loc) / self.scale, self._tail()
        return F.where(zero, -z, -F.log1p(k * z) / k)

    def log_cdf(self, value: Any) -> Any:
        """Return the logarithm of the probability of values up to these."""
        return F.log1p(-self.log_survival_function(value).exp())

    def cdf(self, value: Any) -> Any:
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Any:
        left, (zero, k) = F.log1p(-value), self._tail()
        bent = self.loc + self.scale / k * F.expm1(-k * left)
        return F.where(zero, self.loc - self.scale * left, bent)

    def entropy(self) -> Any:
        return self.scale.log() + self.concentration + 1
