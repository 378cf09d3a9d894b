"""Distributions of whole numbers."""

from __future__ import annotations

from typing import Any, ClassVar

from talweg.base.errors import InvalidValue
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, logits_of, one_of, probs_of, tensors
from talweg.distributions.distribution import Distribution, ExponentialFamily
from talweg.engine.modes import no_grad


class Chance(Distribution):
    """A distribution of the probability of success, given as such or as log odds."""

    arg_constraints: ClassVar = {"probs": c.unit_interval, "logits": c.real}

    def __init__(self, probs: Any, logits: Any, validate_args: bool | None, *more: Any) -> None:
        found, *self._more = tensors(one_of(probs, logits), *more)
        self.__dict__["logits" if probs is None else "probs"] = found
        super().__init__(found.shape, validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "probs" and "logits" in self.__dict__:
            return probs_of(self.logits, True)
        if name == "logits" and "probs" in self.__dict__:
            return logits_of(self.probs, True)
        raise AttributeError(name)

    def _expanded(self) -> None:
        self._more = [v.expand(self._batch_shape) for v in self._more]

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self._batch_shape

    def _wide(self, shape: Any) -> Any:
        return self.probs.detach().expand(self._extended_shape(shape))


def _surprise(logits: Any, value: Any) -> Any:
    """Return -log of the chance of a value, its mean where the value is the chance of a 1."""
    return logits.clamp(min=0) - logits * value + (-logits.abs()).exp().log1p()


class Bernoulli(Chance, ExponentialFamily):
    """1 with a probability, else 0.

    Args:
        probs: the probability; or
        logits: its log odds.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Bernoulli(0.25).log_prob(tw.tensor(1.0)).exp()
        tensor(0.2500)
    """

    support = c.boolean
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(probs, logits, validate_args)

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return F.where(self.probs == 0.5, F.full_like(mode, float("nan")), mode)

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return F.bernoulli(self._wide(sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = F.broadcast_tensors(self.logits, value.to(self.logits.dtype))
        return -_surprise(logits, value)

    def entropy(self) -> Any:
        return _surprise(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Any:
        values = F.arange(2, dtype=self.logits.dtype).reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class Geometric(Chance):
    """How often one fails before the first success.

    Args:
        probs: the probability of success, above 0; or
        logits: its log odds.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Geometric(0.25).mean
        tensor(3.)
    """

    support = c.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(probs, logits, validate_args)
        if self._checks and probs is not None and not bool((self.probs > 0).all()):
            raise InvalidValue("Geometric needs probs above 0")

    @property
    def mean(self) -> Any:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Any:
        return F.zeros_like(self.probs)

    @property
    def variance(self) -> Any:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            probs = self._wide(sample_shape)
            u = F.rand(probs.shape, dtype=probs.dtype).clamp(min=1.2e-38)
            return (u.log() / (-probs).log1p()).floor()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value, probs = F.broadcast_tensors(value, self.probs)
        fails = F.where((probs == 1) & (value == 0), F.zeros_like(probs), probs)
        return value * (-fails).log1p() + self.probs.log()

    def entropy(self) -> Any:
        return _surprise(self.logits, self.probs) / self.probs


class Binomial(Chance):
    """How many of `total_count` trials succeed.

    Args:
        total_count: how many trials there are.
        probs: the probability of success; or
        logits: its log odds.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Binomial(4, 0.5).log_prob(tw.tensor(2.0)).exp()
        tensor(0.3750)
    """

    arg_constraints: ClassVar = {
        "total_count": c.nonnegative_integer,
        "probs": c.unit_interval,
        "logits": c.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(probs, logits, validate_args, total_count)
        self.total_count = self._more[0]

    @property
    def support(self) -> Any:
        """Whole numbers up to the count."""
        return c.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Any:
        return self.total_count * self.probs

    @property
    def mode(self) -> Any:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            probs = self._wide(sample_shape)
            return F.binomial(self.total_count.expand(probs.shape), probs)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = F.lgamma(n + 1) - F.lgamma(value + 1) - F.lgamma(n - value + 1)
        least = logits.clamp(min=0) + (-logits.abs()).exp().log1p()
        return ways + value * logits - n * least

    def entropy(self) -> Any:
        total = int(self.total_count.max().item())
        if bool((self.total_count != total).any()):
            raise NotImplementedError("entropy of counts that differ")
        found = self.log_prob(self.enumerate_support(False))
        return -(found.exp() * found).sum(0)

    def enumerate_support(self, expand: bool = True) -> Any:
        total = int(self.total_count.max().item())
        values = F.arange(1 + total, dtype=self.total_count.dtype)
        values = values.reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class NegativeBinomial(Chance):
    """How often one succeeds before `total_count` failures.

    Args:
        total_count: how many failures; any positive number.
        probs: the probability of success; or
        logits: its log odds.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.NegativeBinomial(3.0, 0.5).mean
        tensor(3.)
    """

    arg_constraints: ClassVar = {
        "total_count": c.nonnegative,
        "probs": c.unit_interval,
        "logits": c.real,
    }
    support = c.nonnegative_integer

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(probs, logits, validate_args, total_count)
        self.total_count = self._more[0]

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Any:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            shape = self._extended_shape(sample_shape)
            rate = F.standard_gamma(self.total_count.expand(shape)) * self.logits.exp()
            return F.poisson(rate)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n, logits = self.total_count, self.logits
        plain = n * F.logsigmoid(-logits) + value * F.logsigmoid(logits)
        ways = F.lgamma(n + value) - F.lgamma(1.0 + value) - F.lgamma(n)
        return plain + F.where(n + value == 0.0, F.zeros_like(ways), ways)


class Poisson(ExponentialFamily):
    """The Poisson distribution of counts at a rate.

    Args:
        rate: the mean.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Poisson(2.0).log_prob(tw.tensor(0.0))
        tensor(-2.)
    """

    arg_constraints: ClassVar = {"rate": c.nonnegative}
    support = c.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = tensors(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.rate

    @property
    def mode(self) -> Any:
        return self.rate.floor()

    @property
    def variance(self) -> Any:
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return F.poisson(self.rate.detach().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return F.xlogy(value, self.rate) - self.rate - F.lgamma(value + 1)
