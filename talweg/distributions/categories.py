"""Distributions of categories: their numbers, vectors of one 1, and counts."""

from __future__ import annotations

from typing import Any, ClassVar

from talweg.base.dtypes import int64
from talweg.base.errors import InvalidValue
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, logits_of, one_of, probs_of
from talweg.distributions.distribution import Distribution
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor


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
        given = one_of(probs, logits)
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
    """One of several categories, as a vector of one 1 among zeros; see `Categorical`.

    Args:
        probs: the weights of the categories; or
        logits: logarithms of weights.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.OneHotCategorical(tw.tensor([1.0, 3.0])).mean
        tensor([0.2500, 0.7500])
    """

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

    Args:
        probs, logits: as for `OneHotCategorical`.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> chances = tw.ones(3, requires_grad=True)
        >>> D.OneHotCategoricalStraightThrough(chances).rsample().requires_grad
        True
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(OfCategories):
    """How often each category comes up in `total_count` trials.

    Args:
        total_count: how many trials there are.
        probs: the weights of the categories; or
        logits: logarithms of weights.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Multinomial(3, tw.ones(2)).log_prob(tw.tensor([1.0, 2.0])).exp()
        tensor(0.3750)
    """

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
