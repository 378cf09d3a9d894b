"""Distributions made of others, and the multivariate normal one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from talweg.base.errors import InvalidValue
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F
from talweg.distributions.continuous import Normal
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
    """A distribution whose last batch dimensions become dimensions of one value."""

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
    """The distribution of what transforms make of another's values."""

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
    """The distribution of exponentials of normal numbers."""

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
    """Vectors that add up to 1, made of normal numbers by breaking a stick."""

    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base: Any = Normal(loc, scale, validate_args)
        base = base if base.batch_shape else base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)


class MixtureSameFamily(Distribution):
    """A mixture: a category chooses among the last batch dimension of one distribution."""

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


def factor_of(held: Mapping[str, Any]) -> Any:
    """Return Cholesky's factor of a covariance that is given in one of three ways."""
    if "scale_tril" in held:
        return held["scale_tril"]
    if "covariance_matrix" in held:
        return F.cholesky_of(held["covariance_matrix"])
    precision = held["precision_matrix"]
    turned = F.flip(F.cholesky_of(F.flip(precision, (-2, -1))), (-2, -1)).mT
    one = F.eye(precision.shape[-1], dtype=precision.dtype)
    return F.solve_triangular(turned, one, upper=False)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors.

    Args:
        loc: the mean.
        covariance_matrix, precision_matrix, scale_tril: one of these three: the covariance, its
            inverse, or its Cholesky factor.
    """

    arg_constraints: ClassVar = {
        "loc": c.real_vector,
        "covariance_matrix": c.positive_definite,
        "precision_matrix": c.positive_definite,
        "scale_tril": c.lower_cholesky,
    }
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
        given = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        found = {k: v for k, v in given.items() if v is not None}
        if len(found) != 1:
            raise InvalidValue(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                "specified."
            )
        ((name, matrix),) = found.items()
        if loc.ndim < 1 or matrix.ndim < 2:
            raise InvalidValue(f"loc must be a vector and {name} a matrix at least")
        batch = F.broadcast_tensors(loc[..., :1], matrix[..., 0])[0].shape[:-1]
        n = loc.shape[-1]
        self.loc = loc.expand(*batch, n)
        self.__dict__[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n,), validate_args)
        self._expanded()

    def _expanded(self) -> None:
        self._factor = factor_of(self.__dict__)

    def __getattr__(self, name: str) -> Any:
        if name not in self.arg_constraints or "_factor" not in self.__dict__:
            raise AttributeError(name)
        if name == "scale_tril":
            return self._factor
        if name == "covariance_matrix":
            return self._factor @ self._factor.mT
        return F.cholesky_inverse(self._factor)

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
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        gap = (value - self.loc).unsqueeze(-1)
        away = (F.solve_triangular(self._factor, gap, upper=False) ** 2).sum((-2, -1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + away) - self._half_log_det()

    def entropy(self) -> Any:
        return 0.5 * self._event_shape[0] * (1 + math.log(2 * math.pi)) + self._half_log_det()
