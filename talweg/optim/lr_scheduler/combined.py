"""Schedules made of schedules, and the one that follows a metric."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, SupportsFloat

from talweg.base.errors import InvalidValue
from talweg.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group
from talweg.optim.optimizer import Optimizer


class _Several(LRScheduler):
    """Base of the schedules made of others, whose states it keeps."""

    _schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        states = [s.state_dict() for s in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        schedulers = self._schedulers
        super().load_state_dict(state_dict)
        self._schedulers = schedulers
        for scheduler, state in zip(schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)

    def get_last_lr(self) -> list[float]:
        return self.current_lr()


def _check_parts(name: str, schedulers: Sequence[Any], optimizer: Optimizer | None) -> Optimizer:
    if not schedulers:
        raise InvalidValue(f"{name} expects at least one scheduler, but got none")
    for i, s in enumerate(schedulers):
        if not isinstance(s, LRScheduler):
            raise TypeError(f"{name} got {type(s).__name__} at index {i}, which is no scheduler")
        if isinstance(s, ReduceLROnPlateau):
            raise InvalidValue(
                f"{name} does not support ReduceLROnPlateau (index {i}): its step() needs a metric"
            )
        if s.optimizer is not (optimizer or schedulers[0].optimizer):
            raise InvalidValue(
                f"{name} expects all schedulers to belong to the same optimizer, but "
                f"{type(s).__name__} at index {i} has another"
            )
    found: Optimizer = schedulers[0].optimizer
    return found


class SequentialLR(_Several):
    """Uses one schedule after the other.

    Args:
        optimizer: that of all the schedulers.
        schedulers: in order.
        milestones: the epochs at which the second, third, … take over; each starts at its epoch 0.
        last_epoch: as for `LRScheduler`.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm = tw.optim.lr_scheduler.LinearLR(sgd, start_factor=0.5, total_iters=2)
    >>> decay = tw.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
    >>> schedule = tw.optim.lr_scheduler.SequentialLR(sgd, [warm, decay], milestones=[2])
    >>> for epoch in range(4):
    ...     print(schedule.get_last_lr())
    ...     sgd.step()
    ...     schedule.step()
    [0.5]
    [0.75]
    [1.0]
    [0.5]

    Raises:
        InvalidValue: for schedulers of several optimizers, ReduceLROnPlateau among them, or a wrong
            number of milestones.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = _check_parts("SequentialLR", schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise InvalidValue(
                "SequentialLR expects one scheduler more than milestones, but got "
                f"{len(schedulers)} schedulers and {len(milestones)} milestones"
            )
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo(self)
        self._schedulers[bisect_right(self._milestones, 0)].restart()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch.

        Raises:
            InvalidValue: when an epoch is given.
        """
        if epoch is not None:
            raise InvalidValue("SequentialLR.step() takes no epoch")
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            self._schedulers[i].move_to(0)
        else:
            self._schedulers[i].step()


def _undo(scheduler: LRScheduler) -> None:
    """Take back the first steps that the parts did when they were made."""
    for part in scheduler._schedulers if isinstance(scheduler, _Several) else ():
        if not isinstance(part, _Several):
            part.last_epoch -= 1
        _undo(part)


class ChainedScheduler(_Several):
    """Steps several schedules together; their factors multiply.

    Args:
        schedulers: of one optimizer, stepped in order.
        optimizer: default: theirs.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> warm = tw.optim.lr_scheduler.ConstantLR(sgd, factor=0.25, total_iters=2)
    >>> decay = tw.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
    >>> schedule = tw.optim.lr_scheduler.ChainedScheduler([warm, decay])
    >>> for epoch in range(3):
    ...     print(schedule.get_last_lr())
    ...     sgd.step()
    ...     schedule.step()
    [0.25]
    [0.125]
    [0.25]

    Raises:
        InvalidValue: for schedulers of several optimizers, or ReduceLROnPlateau among them.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self.optimizer = _check_parts("ChainedScheduler", schedulers, optimizer)
        self._schedulers = list(schedulers)

    def restart(self) -> None:
        for scheduler in self._schedulers:
            scheduler.restart()

    def move_to(self, epoch: int | None) -> None:
        for scheduler in self._schedulers:
            scheduler.move_to(epoch)

    def step(self, epoch: int | None = None) -> None:
        """Step all schedules."""
        for scheduler in self._schedulers:
            scheduler.step(epoch)


class ReduceLROnPlateau(LRScheduler):
    """Reduces the rate when a metric has stopped improving.

    Args:
        optimizer: whose rates are set.
        mode: whether the metric should become smaller ("min") or larger ("max").
        factor: of the reduction.
        patience: epochs without improvement that are allowed.
        threshold: how much better counts as an improvement.
        threshold_mode: whether that is a share of the best value ("rel") or a difference ("abs").
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: lowest rate, for all groups or one per group.
        eps: a reduction by less than this is left out.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.ReduceLROnPlateau(sgd, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.1]

    Raises:
        InvalidValue: for a factor of 1 or more, and for unknown modes.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer(optimizer)
        if factor >= 1.0:
            raise InvalidValue(f"Factor should be < 1.0, got {factor}")
        if mode not in ("min", "max"):
            raise InvalidValue(f"mode {mode!r} is unknown; it is 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise InvalidValue(
                f"threshold mode {threshold_mode!r} is unknown; it is 'rel' or 'abs'"
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = per_group("min_lr", min_lr, optimizer)
        self.eps = eps
        self.best = float("inf") if mode == "min" else float("-inf")
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self.last_epoch = 0
        self._last_lr = self.current_lr()

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note the metric of an epoch and reduce the rates where it is time to.

        Args:
            metrics: a number or a Tensor of one element, which is read.
            epoch: its number; default: the next.
        """
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(value, self.best):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self.current_lr()

    @property
    def in_cooldown(self) -> bool:
        """Whether nothing is counted yet after a reduction."""
        return self.cooldown_counter > 0

    def is_better(self, value: float, best: float) -> bool:
        """Return whether a value improves on the best by more than the threshold."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * value > sign * best * (1 + sign * self.threshold)
        return sign * value > sign * best + self.threshold

    def _reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            before = float(group["lr"])
            after = max(before * self.factor, low)
            if before - after > self.eps:
                group["lr"] = after
