"""Distributions made of others, and the multivariate normal one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from talweg.base.errors import InvalidValue
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F
from talweg.distributions.continuous import Normal
from talweg.distributions.covariances import MATRICES, Covaried, log_diagonal, the_one_given
from talweg.distributions.distribution import Distribution
from talweg.distributions.transforms import (
    ComposeTransform,
    ExpTransform,
    StickBreakingTransform,
    Transform,
    summed,
)
from talweg.engine.modes import no_grad


class Independent(Distribution):
    """A distribution whose last batch dimensions become dimensions of one value.

    Args:
        base_distribution: of the parts; their log-densities are summed.
        reinterpreted_batch_ndims: how many dimensions.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> d = D.Independent(D.Normal(tw.zeros(2, 3), 1.0), 1)
        >>> d.batch_shape, d.event_shape, d.log_prob(tw.zeros(2, 3)).shape
        ((2,), (3,), (2,))
    """

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        base, count = base_distribution, reinterpreted_batch_ndims
        if count > len(base.batch_shape):
            raise InvalidValue(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{count} vs {len(base.batch_shape)}"
            )
        split = len(base.batch_shape) - count
        self.base_dist, self.reinterpreted_batch_ndims = base, count
        self.has_rsample = base.has_rsample
        shape = base.batch_shape
        super().__init__(shape[:split], (*shape[split:], *base.event_shape), validate_args)

    @property
    def support(self) -> Any:
        """That of the parts."""
        base = self.base_dist.support
        return c.independent(base, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Any:
        return self.base_dist.mean

    @property
    def mode(self) -> Any:
        return self.base_dist.mode

    @property
    def variance(self) -> Any:
        return self.base_dist.variance

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        inner = self._event_shape[: self.reinterpreted_batch_ndims]
        base = self.base_dist.expand((*batch_shape, *inner))
        return Independent(base, self.reinterpreted_batch_ndims, False)

    def sample(self, sample_shape: Any = ()) -> Any:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Any:
        return summed(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Any:
        return summed(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist!r}, {self.reinterpreted_batch_ndims})"


class TransformedDistribution(Distribution):
    """The distribution of what transforms make of another's values.

    Args:
        base_distribution: of what they are given.
        transforms: one, or several in order.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.TransformedDistribution(D.Normal(0.0, 1.0), D.ExpTransform()).cdf(tw.tensor(1.0))
        tensor(0.5000)
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        parts = [transforms] if isinstance(transforms, Transform) else list(transforms)
        self.transforms, self._whole = parts, ComposeTransform(parts)
        base = base_distribution
        shape = (*base.batch_shape, *base.event_shape)
        needed = self._whole.domain.event_dim - len(base.event_shape)
        self.base_dist = Independent(base, needed, False) if needed > 0 else base
        self.has_rsample = base.has_rsample
        gap = self._whole.codomain.event_dim - self._whole.domain.event_dim
        count = max(len(self.base_dist.event_shape), self._whole.domain.event_dim) + gap
        made = self._whole.forward_shape(shape)
        split = len(made) - count
        super().__init__(made[:split], made[split:], validate_args)

    @property
    def support(self) -> Any:
        """Where the last transform leads."""
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self._event_shape) - found.event_dim
        return c.independent(found, more) if more > 0 else found

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        shape = self._whole.inverse_shape((*batch_shape, *self._event_shape))
        base = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        return TransformedDistribution(base, self.transforms, False)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return self._whole(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self._whole(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        y, out, count = value, 0.0, len(self._event_shape)
        for part in reversed(self.transforms):
            x = part.inv(y)
            count += part.domain.event_dim - part.codomain.event_dim
            change = part.log_abs_det_jacobian(x, y)
            out = out - summed(change, count - part.domain.event_dim)
            y = x
        found = self.base_dist.log_prob(y)
        return out + summed(found, count - len(self.base_dist.event_shape))

    def _monotone(self, value: Any) -> Any:
        return self._whole.sign * (value - 0.5) + 0.5

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return self._monotone(self.base_dist.cdf(self._whole.inv(value)))

    def icdf(self, value: Any) -> Any:
        return self._whole(self.base_dist.icdf(self._monotone(value)))


class LogNormal(TransformedDistribution):
    """The distribution of exponentials of normal numbers.

    Args:
        loc, scale: mean and standard deviation of the logarithms.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.LogNormal(0.0, 1.0).mean
        tensor(1.6487)
    """

    arg_constraints: ClassVar = {"loc": c.real, "scale": c.positive}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        base: Any = self.base_dist.expand(batch_shape)
        return LogNormal(base.loc, base.scale, False)

    @property
    def loc(self) -> Any:
        """The mean of the logarithm."""
        return self._normal.loc

    @property
    def scale(self) -> Any:
        """The standard deviation of the logarithm."""
        return self._normal.scale

    @property
    def _normal(self) -> Any:
        return self.base_dist

    @property
    def mean(self) -> Any:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Any:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Any:
        square = self.scale**2
        return F.expm1(square) * (2 * self.loc + square).exp()

    def entropy(self) -> Any:
        return self.base_dist.entropy() + self.loc


class LogisticNormal(TransformedDistribution):
    """Vectors that add up to 1, made of normal numbers by breaking a stick.

    Args:
        loc, scale: of the normal numbers, one less than the vectors have.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.LogisticNormal(tw.zeros(2), tw.ones(2)).sample().shape
        (3,)
    """

    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base: Any = Normal(loc, scale, validate_args)
        base = base if base.batch_shape else base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)


class MixtureSameFamily(Distribution):
    """A mixture: a category chooses among the last batch dimension of one distribution.

    Args:
        mixture_distribution: a `Categorical`.
        component_distribution: a batch of distributions.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> parts = D.Normal(tw.tensor([-1.0, 3.0]), 1.0)
        >>> D.MixtureSameFamily(D.Categorical(tw.ones(2)), parts).mean
        tensor(1.)
    """

    def __init__(
        self,
        mixture_distribution: Any,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        parts = component_distribution
        if mixture_distribution.probs.shape[-1] != (parts.batch_shape or (0,))[-1]:
            raise InvalidValue(
                f"`mixture_distribution component` ({mixture_distribution.probs.shape[-1]}) does "
                f"not equal `component_distribution.batch_shape[-1]` ({parts.batch_shape})"
            )
        self.mixture_distribution, self.component_distribution = mixture_distribution, parts
        super().__init__(parts.batch_shape[:-1], parts.event_shape, validate_args)

    @property
    def support(self) -> Any:
        """That of the parts."""
        return self.component_distribution.support

    def _weights(self) -> Any:
        probs = self.mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * len(self._event_shape))

    @property
    def mean(self) -> Any:
        axis = -1 - len(self._event_shape)
        return (self._weights() * self.component_distribution.mean).sum(axis)

    @property
    def variance(self) -> Any:
        axis, weights = -1 - len(self._event_shape), self._weights()
        within = (weights * self.component_distribution.variance).sum(axis)
        gap = self.component_distribution.mean - self.mean.unsqueeze(axis)
        return within + (weights * gap**2).sum(axis)

    def cdf(self, value: Any) -> Any:
        found = self.component_distribution.cdf(value.unsqueeze(-1))
        return (found * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value = value.unsqueeze(-1 - len(self._event_shape))
        found = self.component_distribution.log_prob(value)
        return (found + F.log_softmax(self.mixture_distribution.logits, -1)).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            drawn = self.component_distribution.sample(sample_shape)
            axis = drawn.ndim - 1 - len(self._event_shape)
            mixture = self.mixture_distribution.expand(self._batch_shape)
            chosen = mixture.sample(sample_shape)
            at = chosen.reshape(*chosen.shape, 1, *(1,) * len(self._event_shape))
            at = at.expand(*drawn.shape[:axis], 1, *drawn.shape[axis + 1 :])
            return drawn.gather(axis, at).squeeze(axis)


class MultivariateNormal(Covaried):
    """The normal distribution of vectors.

    Args:
        loc: the mean, [..., n].
        covariance_matrix, precision_matrix, scale_tril: one of these three, [..., n, n]: the
            covariance, its inverse, or its Cholesky factor.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.MultivariateNormal(tw.zeros(2), tw.eye(2)).log_prob(tw.zeros(2))
        tensor(-1.8379)
    """

    arg_constraints: ClassVar = {"loc": c.real_vector, **MATRICES}
    support = c.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = the_one_given(covariance_matrix, precision_matrix, scale_tril)
        if loc.ndim < 1:
            raise InvalidValue("loc must be at least one-dimensional.")
        batch = F.broadcast_tensors(loc[..., :1], matrix[..., 0])[0].shape[:-1]
        n = loc.shape[-1]
        self.loc = loc.expand(*batch, n)
        self.__dict__[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n,), validate_args)
        self._expanded()

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return (self._factor**2).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Any:
        noise = F.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + (self._factor @ noise.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Any:
        return log_diagonal(self._factor)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        gap = (value - self.loc).unsqueeze(-1)
        away = (F.solve_triangular(self._factor, gap, upper=False) ** 2).sum((-2, -1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + away) - self._half_log_det()

    def entropy(self) -> Any:
        return 0.5 * self._event_shape[0] * (1 + math.log(2 * math.pi)) + self._half_log_det()
