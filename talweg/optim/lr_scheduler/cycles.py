"""Schedules that go up and down: CyclicLR, OneCycleLR, CosineAnnealingWarmRestarts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.optim.lr_scheduler.base import (
    LRScheduler,
    attributes_of,
    check_optimizer,
    momentum_name,
    per_group,
    set_momentum,
)
from talweg.optim.optimizer import Optimizer


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lets the rate fall along a cosine to `eta_min`, again and again from the base rate.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017).

    Args:
        optimizer: whose rates are set.
        T_0: length of the first fall, in epochs.
        T_mult: how much longer each fall is than the one before.
        eta_min: lowest rate.
        last_epoch: as for `LRScheduler`.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = tw.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, T_0=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates.append(round(schedule.get_last_lr()[0], 3))
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 1.0, 0.5]

    Raises:
        InvalidValue: unless T_0 and T_mult are positive whole numbers.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        _positive(T_0=T_0, T_mult=T_mult)
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        now, length = self.position(self.last_epoch)
        share = (1 + math.cos(math.pi * now / length)) / 2
        return [self.eta_min + (lr - self.eta_min) * share for lr in self.base_lrs]

    def position(self, epoch: float) -> tuple[float, int]:
        """Return the time since the last restart, and the length of the present fall."""
        if self.T_mult == 1:
            return epoch % self.T_0, self.T_0
        length = self.T_0
        while epoch >= length:
            epoch -= length
            length *= self.T_mult
        return epoch, length

    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next epoch, or of a given one, which may be a fraction.

        Raises:
            InvalidValue: for a negative epoch.
        """
        if epoch is not None and epoch < 0:
            raise InvalidValue(f"Expected non-negative epoch, but got {epoch}")
        self._step_count += 1
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        self.set_lr(self.get_lr())
        self.last_epoch = math.floor(self.last_epoch)


class CyclicLR(LRScheduler):
    """Moves the rate up and down in straight lines, batch by batch.

    Smith, "Cyclical learning rates for training neural networks" (2017). With `cycle_momentum`, the
    momentum moves the other way.

    Args:
        optimizer: whose rates are set.
        base_lr: lowest rate, for all groups or one per group.
        max_lr: highest rate.
        step_size_up: batches from the lowest to the highest rate.
        step_size_down: batches back; None means as many.
        mode: "triangular" keeps the height, "triangular2" halves it every cycle, "exp_range" scales
            it by `gamma**batch`.
        gamma: for "exp_range".
        scale_fn: a function that scales the height instead of `mode`.
        scale_mode: whether `scale_fn` is given the number of the "cycle" or of "iterations".
        cycle_momentum: see above.
        base_momentum: lowest momentum.
        max_momentum: highest momentum, where the rate is lowest.
        last_epoch: as for `LRScheduler`; it counts batches.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule = tw.optim.lr_scheduler.CyclicLR(sgd, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for batch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]

    Raises:
        InvalidValue: for an unknown mode, and for an optimizer without momentum.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise InvalidValue(f"mode {mode!r} is invalid and scale_fn is None")
        self.min_lrs = per_group("base_lr", base_lr, optimizer)
        self.max_lrs = per_group("max_lr", max_lr, optimizer)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.scale_mode = scale_mode
        self.cycle_momentum = cycle_momentum
        self._scale_fn = scale_fn
        if cycle_momentum:
            self.momentum_name = momentum_name(optimizer)
            self.base_momentums = per_group("base_momentum", base_momentum, optimizer)
            self.max_momentums = per_group("max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, self.min_lrs, strict=True):
                group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = self.min_lrs

    def scale_fn(self, cycle: int, iteration: int) -> float:
        """Return the factor of the height in a cycle (from 1) at an iteration."""
        if self._scale_fn is not None:
            return self._scale_fn(cycle if self.scale_mode == "cycle" else iteration)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (cycle - 1)
        return self.gamma**iteration if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        way = 1 + self.last_epoch / self.total_size - cycle
        up = way <= self.step_ratio
        height = way / self.step_ratio if up else (way - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle, self.last_epoch)
        if self.cycle_momentum:
            ranges = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, ranges, strict=True):
                set_momentum(group, self.momentum_name, high - (high - low) * height)
        ends = zip(self.min_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height for low, high in ends]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_scale_fn": attributes_of(self._scale_fn)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        scale_fn = self._scale_fn
        super().load_state_dict(state_dict)
        self._scale_fn = scale_fn
        if state_dict["_scale_fn"] is not None:
            vars(scale_fn).update(state_dict["_scale_fn"])


class OneCycleLR(LRScheduler):
    """Raises the rate once and lets it fall to almost nothing, batch by batch.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates" (2018). With `cycle_momentum`, the momentum moves the other way.

    Args:
        optimizer: whose rates are set.
        max_lr: highest rate, for all groups or one per group.
        total_steps: batches in all; or give `epochs` and `steps_per_epoch`.
        epochs, steps_per_epoch: see above.
        pct_start: share of the batches in which the rate rises.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: see above.
        base_momentum: lowest momentum.
        max_momentum: highest momentum.
        div_factor: the first rate is `max_lr / div_factor`.
        final_div_factor: the last rate is the first over this.
        three_phase: fall to the first rate in as many batches as the rise took, then to the last.
        last_epoch: as for `LRScheduler`; it counts batches.

    >>> sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule = tw.optim.lr_scheduler.OneCycleLR(sgd, max_lr=1.0, total_steps=10)
    >>> rates = []
    >>> for batch in range(10):
    ...     rates.append(round(schedule.get_last_lr()[0], 2))
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [0.04, 0.52, 1.0, 0.95, 0.81, 0.61, 0.39, 0.19, 0.05, 0.0]

    Raises:
        InvalidValue: for missing or impossible lengths, and for an optimizer without momentum; by
            `step`, after more than `total_steps` batches.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise InvalidValue(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise InvalidValue(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        rise, last = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        self.phases: list[tuple[float, str, str]] = [(rise, "initial_lr", "max_lr")]
        if three_phase:
            fall = float(2 * pct_start * self.total_steps) - 2
            self.phases += [(fall, "max_lr", "initial_lr"), (last, "initial_lr", "min_lr")]
        else:
            self.phases += [(last, "max_lr", "min_lr")]
        highest = per_group("max_lr", max_lr, optimizer)
        if cycle_momentum:
            self.momentum_name = momentum_name(optimizer)
            low = per_group("base_momentum", base_momentum, optimizer)
            high = per_group("max_momentum", max_momentum, optimizer)
        for i, group in enumerate(optimizer.param_groups if last_epoch == -1 else ()):
            first = highest[i] / div_factor
            group.update(initial_lr=first, max_lr=highest[i], min_lr=first / final_div_factor)
            if cycle_momentum:
                group.update(base_momentum=low[i], max_momentum=high[i])
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise InvalidValue(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        begin, (end, start_lr, end_lr) = self._phase()
        way = (self.last_epoch - begin) / (end - begin)
        if self.anneal_strategy == "cos":
            way = (1 - math.cos(math.pi * way)) / 2
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            low_at_start, low_at_end = start_lr == "max_lr", end_lr == "max_lr"
            for group in groups:
                start = group["base_momentum" if low_at_start else "max_momentum"]
                stop = group["base_momentum" if low_at_end else "max_momentum"]
                set_momentum(group, self.momentum_name, start + (stop - start) * way)
        return [g[start_lr] + (g[end_lr] - g[start_lr]) * way for g in groups]

    def _phase(self) -> tuple[float, tuple[float, str, str]]:
        begin = 0.0
        for phase in self.phases[:-1]:
            if self.last_epoch <= phase[0]:
                return begin, phase
            begin = phase[0]
        return begin, self.phases[-1]


def _total(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        _positive(total_steps=total_steps)
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise InvalidValue("You must define either total_steps OR (epochs AND steps_per_epoch)")
    _positive(epochs=epochs, steps_per_epoch=steps_per_epoch)
    return epochs * steps_per_epoch


def _positive(**lengths: Any) -> None:
    for name, value in lengths.items():
        if not isinstance(value, int) or value <= 0:
            raise InvalidValue(f"Expected positive integer {name}, but got {value}")
