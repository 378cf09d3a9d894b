"""Distributions of single numbers, drawn by a formula."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from talweg.distributions import constraints as c
from talweg.distributions.arrays import EULER, F, tensors
from talweg.distributions.distribution import Distribution, ExponentialFamily


def _uniform(like: Any, shape: tuple[int, ...]) -> Any:
    """Numbers in (0, 1)."""
    tiny = 1e-300 if like.dtype.name == "float64" else 1.2e-38
    return F.rand(shape, dtype=like.dtype).clamp(min=tiny)


class _LocScale(Distribution):
    arg_constraints: ClassVar = {"loc": c.real, "scale": c.positive}
    support = c.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc


class Normal(_LocScale, ExponentialFamily):
    """The normal distribution.

    Args:
        loc: the mean.
        scale: the standard deviation.

    Example:
        >>> import talweg as tw
        >>> tw.distributions.Normal(0.0, 1.0).log_prob(tw.tensor(0.0))
        tensor(-0.9189)
    """

    @property
    def variance(self) -> Any:
        return self.scale**2

    @property
    def stddev(self) -> Any:
        return self.scale

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        return self.loc + F.randn(shape, dtype=self.loc.dtype) * self.scale

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        gap = value - self.loc
        return -(gap**2) / (2 * self.scale**2) - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 0.5 * (1 + F.erf((value - self.loc) / self.scale / math.sqrt(2)))

    def icdf(self, value: Any) -> Any:
        return self.loc + self.scale * F.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Any:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class Laplace(_LocScale):
    """The Laplace distribution: two exponentials back to back.

    Args:
        loc: the mean.
        scale: the mean distance from it; positive.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Laplace(0.0, 1.0).log_prob(tw.tensor(0.0))
        tensor(-0.6931)
    """

    @property
    def variance(self) -> Any:
        return 2 * self.scale**2

    @property
    def stddev(self) -> Any:
        return math.sqrt(2) * self.scale

    def rsample(self, sample_shape: Any = ()) -> Any:
        u = _uniform(self.loc, self._extended_shape(sample_shape)) * 2 - 1
        return self.loc - self.scale * u.sign() * F.log1p(-u.abs().clamp(max=1 - 2**-24))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        gap = value - self.loc
        return 0.5 - 0.5 * gap.sign() * F.expm1(-gap.abs() / self.scale)

    def icdf(self, value: Any) -> Any:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * F.log1p(-2 * term.abs())

    def entropy(self) -> Any:
        return 1 + (2 * self.scale).log()


class Cauchy(_LocScale):
    """The Cauchy distribution; it has no mean.

    Args:
        loc: the median.
        scale: half of the values are within so much of it; positive.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Cauchy(0.0, 1.0).cdf(tw.tensor(1.0))
        tensor(0.7500)
    """

    @property
    def mean(self) -> Any:
        return F.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Any:
        return F.full_like(self.loc, math.inf)

    def rsample(self, sample_shape: Any = ()) -> Any:
        u = _uniform(self.loc, self._extended_shape(sample_shape))
        return self.icdf(u)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = ((value - self.loc) / self.scale) ** 2
        return -math.log(math.pi) - self.scale.log() - F.log1p(away)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return F.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        return F.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Any:
        return math.log(4 * math.pi) + self.scale.log()


class Gumbel(_LocScale):
    """The Gumbel distribution: of the largest of many numbers.

    Args:
        loc: where the density is largest.
        scale: positive.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Gumbel(0.0, 1.0).mean
        tensor(0.5772)
    """

    @property
    def mean(self) -> Any:
        return self.loc + self.scale * EULER

    @property
    def variance(self) -> Any:
        return self.stddev**2

    @property
    def stddev(self) -> Any:
        return math.pi / math.sqrt(6) * self.scale

    def rsample(self, sample_shape: Any = ()) -> Any:
        u = _uniform(self.loc, self._extended_shape(sample_shape)).clamp(max=1 - 2**-24)
        return self.icdf(u)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return (-((self.loc - value) / self.scale).exp()).exp()

    def icdf(self, value: Any) -> Any:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Any:
        return self.scale.log() + (1 + EULER)


class Uniform(Distribution):
    """The even distribution on [low, high).

    Args:
        low, high: the bounds.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Uniform(0.0, 4.0).cdf(tw.tensor(1.0))
        tensor(0.2500)
    """

    arg_constraints: ClassVar = {"low": c.dependent, "high": c.dependent}
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = tensors(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._checks and not bool((self.low < self.high).all()):
            raise ValueError("Uniform is not defined when low>= high")

    @property
    def support(self) -> Any:
        """From low to high."""
        return c.interval(self.low, self.high)

    @property
    def mean(self) -> Any:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Any:
        return math.nan * self.high

    @property
    def variance(self) -> Any:
        return (self.high - self.low) ** 2 / 12

    @property
    def stddev(self) -> Any:
        return (self.high - self.low) / math.sqrt(12)

    def rsample(self, sample_shape: Any = ()) -> Any:
        u = F.rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Any) -> Any:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        return (self.high - self.low).log()


class Exponential(ExponentialFamily):
    """The exponential distribution of a rate: of the time until something happens.

    Args:
        rate: how often it does; the inverse of the mean.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Exponential(2.0).mean
        tensor(0.5000)
    """

    arg_constraints: ClassVar = {"rate": c.positive}
    support = c.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = tensors(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Any:
        return F.zeros_like(self.rate)

    @property
    def variance(self) -> Any:
        return self.rate**-2

    @property
    def stddev(self) -> Any:
        return self.rate.reciprocal()

    def rsample(self, sample_shape: Any = ()) -> Any:
        return -_uniform(self.rate, self._extended_shape(sample_shape)).log() / self.rate

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Any) -> Any:
        return -F.log1p(-value) / self.rate

    def entropy(self) -> Any:
        return 1.0 - self.rate.log()


class HalfNormal(Distribution):
    """The sizes of normal numbers with mean 0.

    Args:
        scale: the standard deviation of these numbers.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.HalfNormal(1.0).mean
        tensor(0.7979)
    """

    arg_constraints: ClassVar = {"scale": c.positive}
    support = c.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = tensors(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    def _whole(self) -> Any:
        return Normal(F.zeros_like(self.scale), self.scale, validate_args=False)

    @property
    def mean(self) -> Any:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Any:
        return F.zeros_like(self.scale)

    @property
    def variance(self) -> Any:
        return self.scale**2 * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self._whole().expand(self._batch_shape).rsample(sample_shape).abs()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        found = self._whole().log_prob(value) + math.log(2)
        return F.where(value >= 0, found, F.full_like(found, -math.inf))

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 2 * self._whole().cdf(value) - 1

    def icdf(self, value: Any) -> Any:
        return self._whole().icdf((value + 1) / 2)

    def entropy(self) -> Any:
        return self._whole().entropy() - math.log(2)


class HalfCauchy(HalfNormal):
    """The sizes of Cauchy numbers around 0.

    Args:
        scale: the median.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.HalfCauchy(1.0).cdf(tw.tensor(1.0))
        tensor(0.5000)
    """

    def _whole(self) -> Any:
        return Cauchy(F.zeros_like(self.scale), self.scale, validate_args=False)

    @property
    def mean(self) -> Any:
        return F.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Any:
        return F.full_like(self.scale, math.inf)


class Pareto(Distribution):
    """The Pareto distribution: a power law from `scale` on.

    Args:
        scale: the smallest value.
        alpha: the power; the smaller, the longer the tail.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Pareto(1.0, 2.0).cdf(tw.tensor(2.0))
        tensor(0.7500)
    """

    arg_constraints: ClassVar = {"alpha": c.positive, "scale": c.positive}
    has_rsample = True

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = tensors(scale, alpha)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """From scale on."""
        return c.greater_than_eq(self.scale)

    @property
    def mean(self) -> Any:
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Any:
        return self.scale

    @property
    def variance(self) -> Any:
        a = self.alpha.clamp(min=2)
        return self.scale**2 * a / ((a - 1) ** 2 * (a - 2))

    def rsample(self, sample_shape: Any = ()) -> Any:
        u = _uniform(self.scale, self._extended_shape(sample_shape))
        return self.scale * (-u.log() / self.alpha).exp()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a = self.alpha
        return a.log() + a * self.scale.log() - (a + 1) * value.log()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 1 - (self.scale / value) ** self.alpha

    def icdf(self, value: Any) -> Any:
        return self.scale * (-F.log1p(-value) / self.alpha).exp()

    def entropy(self) -> Any:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class Weibull(Distribution):
    """The Weibull distribution: of the time until something breaks.

    Args:
        scale: of the time.
        concentration: above 1 things wear out, below 1 those that last get better.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Weibull(1.0, 2.0).cdf(tw.tensor(1.0))
        tensor(0.6321)
    """

    arg_constraints: ClassVar = {"scale": c.positive, "concentration": c.positive}
    support = c.positive
    has_rsample = True

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = tensors(scale, concentration)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.scale * F.lgamma(1 + self.concentration.reciprocal()).exp()

    @property
    def mode(self) -> Any:
        k = self.concentration
        return self.scale * ((k - 1) / k) ** k.reciprocal()

    @property
    def variance(self) -> Any:
        r = self.concentration.reciprocal()
        return self.scale**2 * (F.lgamma(1 + 2 * r).exp() - (2 * F.lgamma(1 + r)).exp())

    def rsample(self, sample_shape: Any = ()) -> Any:
        u = _uniform(self.scale, self._extended_shape(sample_shape))
        return self.scale * (-u.log()) ** self.concentration.reciprocal()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        k, away = self.concentration, value / self.scale
        return k.log() - self.scale.log() + (k - 1) * away.log() - away**k

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 1 - (-((value / self.scale) ** self.concentration)).exp()

    def icdf(self, value: Any) -> Any:
        return self.scale * (-F.log1p(-value)) ** self.concentration.reciprocal()

    def entropy(self) -> Any:
        r = self.concentration.reciprocal()
        return EULER * (1 - r) + (self.scale * r).log() + 1
