"""The gamma distribution and what is made of it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, tensors
from talweg.distributions.distribution import Distribution, ExponentialFamily


class _OfRate(Distribution):
    arg_constraints: ClassVar = {"concentration": c.positive, "rate": c.positive}
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = tensors(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)


class Gamma(_OfRate, ExponentialFamily):
    """The gamma distribution. Samples have gradients with respect to both parameters.

    Args:
        concentration: also called shape, or alpha.
        rate: the inverse of the scale, or beta.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Gamma(1.0, 2.0).mean
        tensor(0.5000)
    """

    support = c.nonnegative

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate**2

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        return F.standard_gamma(self.concentration.expand(shape)) / self.rate

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return F.xlogy(a, b) + F.xlogy(a - 1, value) - b * value - F.lgamma(a)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return F.igamma(self.concentration, self.rate * value)

    def entropy(self) -> Any:
        a = self.concentration
        return a - self.rate.log() + F.lgamma(a) + (1.0 - a) * F.digamma(a)


class Chi2(Gamma):
    """The distribution of sums of `df` squares of standard normal numbers.

    Args:
        df: how many; any positive number.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Chi2(3.0).mean
        tensor(3.)
    """

    arg_constraints: ClassVar = {"df": c.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (self.df,) = tensors(df)
        super().__init__(0.5 * self.df, F.full_like(self.df, 0.5), validate_args=validate_args)

    def _expanded(self) -> None:
        self.concentration = 0.5 * self.df
        self.rate = F.full_like(self.df, 0.5)


class InverseGamma(_OfRate):
    """The distribution of inverses of gamma numbers.

    Args:
        concentration, rate: of these numbers, see `Gamma`.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.InverseGamma(3.0, 4.0).mean
        tensor(2.)
    """

    support = c.positive

    @property
    def mean(self) -> Any:
        a = self.concentration
        return F.where(a > 1, self.rate / (a - 1), F.full_like(a, math.inf))

    @property
    def mode(self) -> Any:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Any:
        a = self.concentration
        found = self.rate**2 / ((a - 1) ** 2 * (a - 2))
        return F.where(a > 2, found, F.full_like(a, math.inf))

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        return self.rate / F.standard_gamma(self.concentration.expand(shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return a * b.log() - F.lgamma(a) - (a + 1) * value.log() - b / value

    def entropy(self) -> Any:
        a = self.concentration
        return a + self.rate.log() + F.lgamma(a) - (1 + a) * F.digamma(a)


class Dirichlet(ExponentialFamily):
    """The Dirichlet distribution of vectors that add up to 1.

    Args:
        concentration: [..., n], positive; the larger their sum, the nearer to the mean.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Dirichlet(tw.tensor([1.0, 3.0])).mean
        tensor([0.2500, 0.7500])
    """

    arg_constraints: ClassVar = {"concentration": c.independent(c.positive, 1)}
    support = c.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Any:
        less = (self.concentration - 1).clamp(min=0.0)
        found = less / less.sum(-1, True)
        few = (self.concentration < 1).all(-1, keepdim=True)
        top = self.concentration.argmax(-1, keepdim=True)
        places = F.arange(self.concentration.shape[-1])
        return F.where(few, (places == top).to(found.dtype), found)

    @property
    def variance(self) -> Any:
        a = self.concentration
        total = a.sum(-1, True)
        return a * (total - a) / (total**2 * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        parts = F.standard_gamma(self.concentration.expand(shape))
        parts = parts.clamp(min=1e-300 if parts.dtype.name == "float64" else 1.2e-38)
        return parts / parts.sum(-1, True)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a = self.concentration
        return F.xlogy(a - 1.0, value).sum(-1) + F.lgamma(a.sum(-1)) - F.lgamma(a).sum(-1)

    def entropy(self) -> Any:
        a = self.concentration
        k, total = a.shape[-1], a.sum(-1)
        return (
            F.lgamma(a).sum(-1)
            - F.lgamma(total)
            - (k - total) * F.digamma(total)
            - ((a - 1.0) * F.digamma(a)).sum(-1)
        )


class Beta(ExponentialFamily):
    """The beta distribution on [0, 1].

    Args:
        concentration1: or alpha: of ones seen.
        concentration0: or beta: of zeros seen.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Beta(1.0, 3.0).mean
        tensor(0.2500)
    """

    arg_constraints: ClassVar = {"concentration1": c.positive, "concentration0": c.positive}
    support = c.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = tensors(concentration1, concentration0)
        super().__init__(self.concentration1.shape, validate_args=validate_args)

    def _dirichlet(self) -> Dirichlet:
        both = F.stack([self.concentration1, self.concentration0], -1)
        return Dirichlet(both, validate_args=False)

    @property
    def mean(self) -> Any:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Any:
        return self._dirichlet().mode[..., 0]

    @property
    def variance(self) -> Any:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self._dirichlet().rsample(sample_shape)[..., 0]

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self._dirichlet().log_prob(F.stack([value, 1.0 - value], -1))

    def entropy(self) -> Any:
        return self._dirichlet().entropy()


class StudentT(Distribution):
    """Student's distribution of `df` degrees of freedom.

    Args:
        df: the smaller, the longer the tails.
        loc: the middle.
        scale: positive.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.StudentT(4.0).variance
        tensor(2.)
    """

    arg_constraints: ClassVar = {"df": c.positive, "loc": c.real, "scale": c.positive}
    support = c.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = tensors(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return F.where(self.df > 1, self.loc, F.full_like(self.loc, math.nan))

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        infinite = F.full_like(self.df, math.inf)
        found = F.where(self.df > 2, self.scale**2 * self.df / (self.df - 2), infinite)
        return F.where(self.df > 1, found, F.full_like(self.df, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        normal = F.randn(shape, dtype=self.df.dtype)
        chi = 2 * F.standard_gamma((0.5 * self.df).expand(shape))
        return self.loc + self.scale * normal * F.rsqrt(chi / self.df)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        df, y = self.df, (value - self.loc) / self.scale
        norm = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi)
        norm = norm + F.lgamma(0.5 * df) - F.lgamma(0.5 * (df + 1.0))
        return -0.5 * (df + 1.0) * F.log1p(y**2.0 / df) - norm

    def entropy(self) -> Any:
        df = self.df
        beta = F.lgamma(0.5 * df) + math.lgamma(0.5) - F.lgamma(0.5 * (df + 1))
        slope = F.digamma(0.5 * (df + 1)) - F.digamma(0.5 * df)
        return self.scale.log() + 0.5 * (df + 1) * slope + 0.5 * df.log() + beta


class FisherSnedecor(Distribution):
    """The distribution of ratios of two mean squares, of F tests.

    Args:
        df1: how many squares are above.
        df2: how many are below.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.FisherSnedecor(2.0, 4.0).mean
        tensor(2.)
    """

    arg_constraints: ClassVar = {"df1": c.positive, "df2": c.positive}
    support = c.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = tensors(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return F.where(self.df2 > 2, self.df2 / (self.df2 - 2), F.full_like(self.df2, math.nan))

    @property
    def mode(self) -> Any:
        found = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return F.where(self.df1 > 2, found, F.full_like(found, math.nan))

    @property
    def variance(self) -> Any:
        a, b = self.df1, self.df2
        found = 2 * b**2 * (a + b - 2) / (a * (b - 2) ** 2 * (b - 4))
        return F.where(b > 4, found, F.full_like(b, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        ours = F.standard_gamma((0.5 * self.df1).expand(shape)) / self.df1
        return ours / (F.standard_gamma((0.5 * self.df2).expand(shape)) / self.df2)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        half, other, ratio = 0.5 * self.df1, 0.5 * self.df2, self.df1 / self.df2
        out = F.lgamma(half + other) - F.lgamma(half) - F.lgamma(other) + half * ratio.log()
        return out + (half - 1) * value.log() - (half + other) * F.log1p(ratio * value)
