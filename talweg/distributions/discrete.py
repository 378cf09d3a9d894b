"""Distributions of whole numbers and of categories."""

from __future__ import annotations

from typing import Any, ClassVar

from talweg.base.dtypes import int64
from talweg.base.errors import InvalidValue
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, logits_of, probs_of, tensors
from talweg.distributions.distribution import Distribution, ExponentialFamily
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor


def _one_of(probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise InvalidValue("Either `probs` or `logits` must be specified, but not both.")


class Chance(Distribution):
    """A distribution of the probability of success, given as such or as log odds."""

    arg_constraints: ClassVar = {"probs": c.unit_interval, "logits": c.real}

    def __init__(self, probs: Any, logits: Any, validate_args: bool | None, *more: Any) -> None:
        _one_of(probs, logits)
        found, *self._more = tensors(logits if probs is None else probs, *more)
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


class Bernoulli(Chance, ExponentialFamily):
    """1 with a probability, else 0.

    Args:
        probs: the probability; or
        logits: its log odds.
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
        return -(logits.clamp(min=0) - logits * value + (-logits.abs()).exp().log1p())

    def entropy(self) -> Any:
        logits, probs = self.logits, self.probs
        return logits.clamp(min=0) - logits * probs + (-logits.abs()).exp().log1p()

    def enumerate_support(self, expand: bool = True) -> Any:
        values = F.arange(2, dtype=self.logits.dtype).reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class Geometric(Chance):
    """How often one fails before the first success."""

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
        logits, probs = self.logits, self.probs
        bits = logits.clamp(min=0) - logits * probs + (-logits.abs()).exp().log1p()
        return bits / probs


class Binomial(Chance):
    """How many of `total_count` trials succeed."""

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
    """How often one succeeds before `total_count` failures."""

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
    """The Poisson distribution of counts at a rate."""

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


class Categorical(Distribution):
    """One of several categories: its number, int64.

    Args:
        probs: their weights in the last dimension, not negative; or
        logits: logarithms of weights.

    Example:
        >>> import talweg as tw
        >>> tw.distributions.Categorical(tw.tensor([1.0, 3.0])).log_prob(tw.tensor(1)).exp()
        tensor(0.7500)
    """

    arg_constraints: ClassVar = {"probs": c.simplex, "logits": c.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        _one_of(probs, logits)
        given = logits if probs is None else probs
        if not isinstance(given, Tensor) or given.ndim < 1:
            name = "logits" if probs is None else "probs"
            raise InvalidValue(f"`{name}` parameter must be at least one-dimensional.")
        if probs is None:
            self.__dict__["logits"] = logits - logits.logsumexp(-1, keepdim=True)
        else:
            self.__dict__["probs"] = probs / probs.sum(-1, True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "probs" and "logits" in self.__dict__:
            return probs_of(self.logits)
        if name == "logits" and "probs" in self.__dict__:
            return logits_of(self.probs)
        raise AttributeError(name)

    @property
    def support(self) -> Any:
        """The numbers of the categories."""
        return c.integer_interval(0, self._num_events - 1)

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return (*self._batch_shape, self._num_events)

    @property
    def mean(self) -> Any:
        return F.full(self._batch_shape, float("nan"), dtype=self.probs.dtype)

    @property
    def mode(self) -> Any:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Any:
        return self.mean

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            probs = self.probs.detach().expand((*sample_shape, *self.param_shape))
            total = probs.cumsum(-1)
            u = F.rand((*probs.shape[:-1], 1), dtype=probs.dtype) * total[..., -1:]
            return (total <= u).sum(-1).clamp(max=self._num_events - 1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value = value.to(int64).unsqueeze(-1)
        shape = F.broadcast_tensors(value, self.logits[..., :1])[0].shape
        logits = self.logits.expand((*shape[:-1], self._num_events))
        return logits.gather(-1, value.expand(shape)).squeeze(-1)

    def entropy(self) -> Any:
        low = -3.4028234663852886e38 if self.logits.dtype.name == "float32" else -1.8e308
        logits = self.logits.clamp(min=max(low, -1.7976931348623157e308))
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        values = F.arange(self._num_events).reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class OfCategories(Distribution):
    """What distributions of vectors with a number for each category share.

    Args:
        probs: the probabilities, up to a factor; or
        logits: their logarithms, up to a summand.
        validate_args: whether they are checked.
    """

    arg_constraints: ClassVar = {"probs": c.simplex, "logits": c.real_vector}

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        count = self._categorical._num_events
        super().__init__(self._categorical.batch_shape, (count,), validate_args)

    @property
    def probs(self) -> Any:
        """The probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """Their logarithms."""
        return self._categorical.logits

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        made = Distribution.expand(self, batch_shape)
        made._categorical = self._categorical.expand(batch_shape)
        return made


class OneHotCategorical(OfCategories):
    """One of several categories, as a vector of one 1 among zeros; see `Categorical`."""

    support = c.one_hot
    has_enumerate_support = True

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self._categorical.param_shape

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return self._vectors(self.probs.argmax(-1))

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def _vectors(self, numbers: Any) -> Any:
        places = F.arange(self._event_shape[0])
        return (places == numbers.unsqueeze(-1)).to(self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Any:
        return self._vectors(self._categorical.sample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Any:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Any:
        return self._vectors(self._categorical.enumerate_support(expand))


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """`OneHotCategorical` whose samples pass gradients to the probabilities unchanged.

    Source: Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic
    neurons for conditional computation", 2013.
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(OfCategories):
    """How often each category comes up in `total_count` trials."""

    def __init__(
        self,
        total_count: int = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> Any:
        """Counts that add up to the number of trials at most."""
        return c.multinomial(self.total_count)

    @property
    def mean(self) -> Any:
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        places = F.arange(self._event_shape[0])
        return (places == drawn.unsqueeze(-1)).to(self.probs.dtype).sum(0)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = F.broadcast_tensors(self.logits, value)
        impossible = (value == 0) & (logits == -float("inf"))
        logits = F.where(impossible, F.zeros_like(logits), logits)
        ways = F.lgamma(value.sum(-1) + 1) - F.lgamma(value + 1).sum(-1)
        return ways + (logits * value).sum(-1)
