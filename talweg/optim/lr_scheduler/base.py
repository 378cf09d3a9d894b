"""The base of all schedules of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.base.source import warn
from talweg.optim.optimizer import Group, Optimizer


class LRScheduler:
    """Sets the learning rate of every parameter group, step by step.

    A subclass defines `get_lr`. The first rates are set when the scheduler is made; afterwards
    `step()` is called once per epoch (or batch), after `optimizer.step()`.

    Args:
        optimizer: whose rates are set.
        last_epoch: -1 starts the schedule. Otherwise the schedule goes on after that epoch, with
            the rates that the optimizer has, and its groups need an entry `"initial_lr"`.

    Attributes:
        base_lrs: the rates from which the schedule starts, one per group.
        last_epoch: number of steps done.

    >>> class Halving(tw.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = Halving(sgd)
    >>> for epoch in range(2):
    ...     sgd.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]

    Raises:
        TypeError: when `optimizer` is none.
        InvalidValue: when going on without `"initial_lr"`.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise InvalidValue(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming with "
                    f"last_epoch={last_epoch}; load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.restart()

    def restart(self) -> None:
        """Do the first step, as when the scheduler is made."""
        self._step_count = 1
        self.last_epoch += 1
        self.set_lr(self.get_lr())

    def get_lr(self) -> list[float]:
        """Return the rates of the groups at `last_epoch`, which may follow from the present ones.

        To read the rates in use, call `get_last_lr`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def closed_form(self) -> list[float]:
        """Return the rates at `last_epoch`, whatever the present ones are."""
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch, or of a given one."""
        trained = self.optimizer._step_count or type(self.optimizer).step is not Optimizer.step
        if self._step_count == 1 and not trained:
            warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first "
                "learning rate of the schedule is never used"
            )
        self._step_count += 1
        self.move_to(epoch)

    def move_to(self, epoch: int | None) -> None:
        """Set the rates of an epoch; None means the next one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self.set_lr(self.get_lr() if epoch is None else self.closed_form())

    def current_lr(self) -> list[float]:
        """Return the rates the optimizer has."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def set_lr(self, rates: Sequence[float]) -> None:
        """Give the optimizer these rates, one per group."""
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = list(rates)

    def get_last_lr(self) -> list[float]:
        """Return the rates that this scheduler set last, one per group."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned. The optimizer is loaded separately."""
        self.__dict__.update(state_dict)


def check_optimizer(optimizer: Any) -> None:
    """Raise TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def per_group(name: str, value: float | Sequence[float], optimizer: Optimizer) -> list[float]:
    """Return one value per parameter group from a number, or a sequence of the right length."""
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * count  # type: ignore[list-item]
    if len(value) != count:
        raise InvalidValue(
            f"{name} must have the same length as optimizer.param_groups: {len(value)} values for "
            f"{count} groups"
        )
    return list(value)


def attributes_of(function: Any) -> dict[str, Any] | None:
    """Return what a callable object carries; None for plain functions."""
    if isinstance(function, FunctionType) or not hasattr(function, "__dict__"):
        return None
    return dict(vars(function))


def momentum_name(optimizer: Optimizer) -> str:
    """Return the option that is the optimizer's momentum: "momentum", or "betas" for its first.

    Raises:
        InvalidValue: when it has neither.
    """
    for name in ("betas", "momentum"):
        if name in optimizer.defaults:
            return name
    raise InvalidValue(
        f"optimizer must support momentum or beta1 with `cycle_momentum` option enabled; "
        f"{type(optimizer).__name__} has neither, pass cycle_momentum=False"
    )


def set_momentum(group: Group, name: str, value: float) -> None:
    """Set the momentum of a group."""
    group[name] = (value, *group["betas"][1:]) if name == "betas" else value
