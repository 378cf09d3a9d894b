"""Schedules that scale the learning rate by a function of the epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.optim.lr_scheduler.base import LRScheduler, attributes_of
from talweg.optim.optimizer import Optimizer

Lambda = Callable[[int], float]


class Scaled(LRScheduler):
    """Base of the schedules `lr(t) = low + (base_lr - low) * scale(t)`.

    A step multiplies what the optimizer has by `scale(t) / scale(t - 1)`, so that several such
    schedules of one optimizer act together, and a rate set by hand is kept in proportion.
    """

    low = 0.0

    def scale(self, epoch: int) -> float:
        """Return the share of the base rate at an epoch."""
        raise NotImplementedError(f"{type(self).__name__} does not define scale()")

    def get_lr(self) -> list[float]:
        t, low = self.last_epoch, self.low
        if self._step_count == 1 and t > 0:
            return self.current_lr()
        before = self.scale(t - 1) if t > 0 else 1.0
        if abs(before) < 1e-12:
            return self.closed_form()
        factor = self.scale(t) / before
        return [lr if factor == 1 else low + (lr - low) * factor for lr in self.current_lr()]

    def closed_form(self) -> list[float]:
        factor = self.scale(self.last_epoch)
        return [self.low + (lr - self.low) * factor for lr in self.base_lrs]


class StepLR(Scaled):
    """Multiplies the rate by `gamma` every `step_size` epochs.

    Args:
        optimizer: whose `param_groups` are changed.
        step_size: calls of `step()` from one change to the next.
        gamma: the factor.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.StepLR(sgd, step_size=2, gamma=0.5)
    >>> for epoch in range(4):
    ...     sgd.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(Scaled):
    """Multiplies the rate by `gamma` at each of the epochs `milestones`.

    Args:
        optimizer: whose `param_groups` are changed.
        milestones: numbers of epochs; one that is given twice counts twice.
        gamma: the factor.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.MultiStepLR(sgd, milestones=[2, 3], gamma=0.5)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += schedule.get_last_lr()
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


class ConstantLR(Scaled):
    """Multiplies the rate by `factor` until epoch `total_iters`.

    Args:
        optimizer: whose `param_groups` are changed.
        factor: from 0 to 1.
        total_iters: the epoch from which on the rate is the base rate.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.ConstantLR(sgd, factor=0.5, total_iters=2)
    >>> rates = []
    >>> for epoch in range(3):
    ...     rates += schedule.get_last_lr()
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.5, 1.0]

    Raises:
        InvalidValue: for a factor outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise InvalidValue(
                f"Constant multiplicative factor expected to be between 0 and 1, got {factor}"
            )
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.factor if epoch < self.total_iters else 1.0


class LinearLR(Scaled):
    """Moves the factor of the rate in a line from `start_factor` to `end_factor`; a warm-up.

    Args:
        optimizer: whose `param_groups` are changed.
        start_factor: at epoch 0, above 0.
        end_factor: from epoch `total_iters` on.
        total_iters: calls of `step()` from one to the other.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.LinearLR(sgd, start_factor=0.25, total_iters=3)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 1.0]

    Raises:
        InvalidValue: for a start outside (0, 1] or an end outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise InvalidValue(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to "
                f"1, got {start_factor}"
            )
        if not 0 <= end_factor <= 1:
            raise InvalidValue(
                f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        way = min(self.total_iters, epoch) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * way


class ExponentialLR(Scaled):
    """Multiplies the rate by `gamma` every epoch.

    Args:
        optimizer: whose `param_groups` are changed.
        gamma: the factor.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
    >>> for epoch in range(3):
    ...     sgd.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return self.gamma**epoch


class PolynomialLR(Scaled):
    """Lets the rate fall to 0 at epoch `total_iters`, as a power of what is left.

    Args:
        optimizer: whose `param_groups` are changed.
        total_iters: calls of `step()` until the rate is 0.
        power: 1 is a line; above it, most of the fall comes first.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.PolynomialLR(sgd, total_iters=4, power=2.0)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5625, 0.25, 0.0625, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        left: float = (1 - min(self.total_iters, epoch) / self.total_iters) ** self.power
        return left


class CosineAnnealingLR(Scaled):
    """Lets the rate fall from the base rate to `eta_min` at epoch `T_max`, along a cosine.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), without
    the restarts: after `T_max` the rate rises again along the same cosine.

    Args:
        optimizer: whose `param_groups` are changed.
        T_max: calls of `step()` until the rate is lowest.
        eta_min: the lowest rate.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=4)
    >>> rates = []
    >>> for epoch in range(4):
    ...     sgd.step()
    ...     schedule.step()
    ...     rates.append(round(schedule.get_last_lr()[0], 2))
    >>> rates
    [0.85, 0.5, 0.15, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = self.low = eta_min
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class _OfFunctions(LRScheduler):
    """Base of the schedules given by functions of the epoch, one for all groups or one per group.

    `state_dict` leaves functions out; of callable objects it keeps the attributes.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Lambda | list[Lambda], last_epoch: int = -1
    ) -> None:
        count = len(getattr(optimizer, "param_groups", ()))
        self.lr_lambdas: list[Any] = (
            list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * count
        )
        if len(self.lr_lambdas) != count:
            raise InvalidValue(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}")
        for f in self.lr_lambdas:
            if not callable(f):
                raise TypeError(f"lr_lambda should be a function, but got {type(f).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        kept = [attributes_of(f) for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        functions = self.lr_lambdas
        super().load_state_dict(state_dict)
        self.lr_lambdas = functions
        for f, attributes in zip(functions, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                vars(f).update(attributes)


class LambdaLR(_OfFunctions):
    """Sets the rate to the base rate times `lr_lambda(epoch)`.

    Args:
        optimizer: whose `param_groups` are changed.
        lr_lambda: a function of the epoch, from 0; or a list of them, one per group.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.LambdaLR(sgd, lambda epoch: 1 / (1 + epoch))
    >>> for epoch in range(3):
    ...     sgd.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]

    Raises:
        InvalidValue: when the number of functions is not that of the groups.
    """

    def get_lr(self) -> list[float]:
        t = self.last_epoch
        return [lr * f(t) for lr, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_OfFunctions):
    """Multiplies the rate by `lr_lambda(epoch)` every epoch after the first.

    Args:
        optimizer: whose `param_groups` are changed.
        lr_lambda: a function of the epoch, from 1; or a list of them, one per group.
        last_epoch: where a run goes on; -1 at the beginning.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.MultiplicativeLR(sgd, lambda epoch: 0.5)
    >>> for epoch in range(3):
    ...     sgd.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.125]

    Raises:
        InvalidValue: when the number of functions is not that of the groups.
    """

    def get_lr(self) -> list[float]:
        t, rates = self.last_epoch, self.current_lr()
        if self._step_count == 1:
            return rates
        return [lr * f(t) for lr, f in zip(rates, self.lr_lambdas, strict=True)]
