"""What all distributions have in common."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from talweg.base.errors import InvalidValue
from talweg.distributions.constraints import Constraint, Dependent
from talweg.engine.modes import no_grad
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor

Shape = tuple[int, ...]


class Distribution:
    """A distribution, or a batch of them.

    Parameters and values are checked, which computes them, unless `validate_args` is False; while
    `tw.compile` captures they never are.

    Attributes:
        arg_constraints: what parameters must be, by name.
        support: where values lie; None where that is not said.
        has_rsample: whether samples have gradients with respect to the parameters.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    support: Any = None
    has_rsample = False
    has_enumerate_support = False
    _validate_by_default = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Say whether distributions that are made from now on check parameters and values."""
        Distribution._validate_by_default = value

    def __init__(
        self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = tuple(batch_shape), tuple(event_shape)
        self._checks = self._validate_by_default if validate_args is None else validate_args
        if self._checks and STATE.now.capture is None:
            self._check_parameters()

    def _check_parameters(self) -> None:
        for name, constraint in self.arg_constraints.items():
            value = self.__dict__.get(name)
            if isinstance(constraint, Dependent) or not isinstance(value, Tensor):
                continue
            if not _holds(constraint, value):
                raise InvalidValue(
                    f"Expected parameter {name} (Tensor of shape {value.shape}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint}, but found invalid values:\n"
                    f"{value}"
                )

    def _validate_sample(self, value: Any) -> None:
        if not self._checks or STATE.now.capture is not None:
            return
        if not isinstance(value, Tensor):
            raise InvalidValue("The value argument to log_prob must be a Tensor")
        split = value.ndim - len(self._event_shape)
        if split < 0 or value.shape[split:] != self._event_shape:
            raise InvalidValue(
                f"The right-most size of value must match event_shape: {value.shape} vs "
                f"{self._event_shape}."
            )
        pairs = zip(reversed(value.shape[:split]), reversed(self._batch_shape), strict=False)
        if any(n != m and 1 not in (n, m) for n, m in pairs):
            raise InvalidValue(
                f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs "
                f"{self._batch_shape + self._event_shape}."
            )
        support = self.support
        if support is not None and not _holds(support, value):
            raise InvalidValue(
                f"Expected value argument (Tensor of shape {value.shape}) to be within the support "
                f"({support}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    @property
    def batch_shape(self) -> Shape:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Shape:
        """The shape of one value."""
        return self._event_shape

    @property
    def mean(self) -> Any:
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self) -> Any:
        """The value of the largest density."""
        raise NotImplementedError

    @property
    def variance(self) -> Any:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Any:
        """The root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Shape = ()) -> Any:
        """Return values of shape sample_shape + batch_shape + event_shape, without gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Any:
        """Return values that have gradients with respect to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no samples with gradients")

    def sample_n(self, n: int) -> Any:
        """Return n values."""
        return self.sample((n,))

    def log_prob(self, value: Any) -> Any:
        """Return the logarithm of the density (or probability) at values."""
        raise NotImplementedError

    def cdf(self, value: Any) -> Any:
        """Return the probability of values up to these."""
        raise NotImplementedError

    def icdf(self, value: Any) -> Any:
        """Return the values up to which these probabilities lie."""
        raise NotImplementedError

    def entropy(self) -> Any:
        """Return the entropy."""
        raise NotImplementedError

    def perplexity(self) -> Any:
        """Return the exponential of the entropy."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Any:
        """Return all values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """Return the distribution with its batch broadcast to a shape."""
        made = copy.copy(self)
        for name, constraint in self.arg_constraints.items():
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                rest = value.shape[value.ndim - constraint.event_dim :]
                made.__dict__[name] = value.expand((*batch_shape, *rest))
        made._batch_shape = tuple(batch_shape)
        made._expanded()
        return made

    def _expanded(self) -> None:
        """Bring what follows from the parameters to their new shapes."""

    def _extended_shape(self, sample_shape: Any = ()) -> Shape:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def __repr__(self) -> str:
        found = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        shown = (
            f"{k}: {v.item() if isinstance(v, Tensor) and v.ndim == 0 else getattr(v, 'shape', v)}"
            for k, v in found.items()
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _holds(constraint: Constraint, value: Tensor) -> bool:
    with no_grad():
        return bool(constraint.check(value.detach()).all())


class ExponentialFamily(Distribution):
    """A distribution whose density is an exponential of a sum of statistics."""
