"""Averages of the weights that training goes through: exponential ones, and equal ones (SWA)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from talweg.base.dtypes import int64
from talweg.base.errors import InvalidValue
from talweg.engine.barrier import settle
from talweg.engine.creation import check_device, tensor
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module
from talweg.nn.normalization import _BatchNorm
from talweg.optim.lr_scheduler.base import LRScheduler, per_group
from talweg.optim.optimizer import Optimizer

One = Callable[[Tensor, Tensor, Any], Tensor]
Several = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise InvalidValue(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_avg_fn(decay: float = 0.999) -> One:
    """Return `avg_fn` of an exponential mean: `decay` of the mean, the rest of the new weights.

    Raises:
        InvalidValue: for a decay outside [0, 1].
    """
    _check_decay(decay)

    def update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            found: Tensor = decay * ema_param + (1 - decay) * current_param
            return found

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Several:
    """Return `multi_avg_fn` of an exponential mean.

    Raises:
        InvalidValue: for a decay outside [0, 1].
    """
    _check_decay(decay)

    def update(
        ema_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], _: Any
    ) -> None:
        with no_grad():
            for mean, now in zip(ema_param_list, current_param_list, strict=True):
                if mean.dtype.is_inexact:
                    mean.copy_(mean + (now - mean) * (1 - decay))
                else:
                    mean.copy_(mean * decay + now * (1 - decay))

    return update


def get_swa_avg_fn() -> One:
    """Return `avg_fn` of the mean of all weights so far."""

    def update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            found: Tensor = averaged_param + (current_param - averaged_param) / (num_averaged + 1)
            return found

    return update


def get_swa_multi_avg_fn() -> Several:
    """Return `multi_avg_fn` of the mean of all weights so far."""
    one = get_swa_avg_fn()

    def update(
        averaged_param_list: Sequence[Tensor],
        current_param_list: Sequence[Tensor],
        num_averaged: Any,
    ) -> None:
        with no_grad():
            for mean, now in zip(averaged_param_list, current_param_list, strict=True):
                mean.copy_(one(mean, now, num_averaged))

    return update


class AveragedModel(Module):
    """A copy of a Module whose parameters are means of those that the Module goes through.

    Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018);
    with an exponential mean, Polyak and Juditsky (1992).

    Args:
        model: is copied.
        device: "cpu" or None.
        avg_fn: `avg_fn(mean, weights, n)` returns the new mean of a parameter, n being how many
            were averaged so far. An equal mean unless given.
        multi_avg_fn: the same for all parameters of one dtype, which it changes in place.
        use_buffers: average buffers, too; otherwise they are those of the last update.

    Attributes:
        module: the copy; calls go to it.
        n_averaged: how often `update_parameters` was called, an int64 Tensor.

    Raises:
        InvalidValue: for both functions.

    >>> layer = tw.nn.Linear(1, 1, bias=False)
    >>> ema = tw.optim.swa_utils.AveragedModel(
    ...     layer, multi_avg_fn=tw.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    >>> for value in (1.0, 3.0):
    ...     _ = tw.nn.init.constant_(layer.weight, value)
    ...     ema.update_parameters(layer)
    >>> ema.module.weight.item()
    2.0
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: One | None = None,
        multi_avg_fn: Several | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise InvalidValue("Only one of avg_fn and multi_avg_fn should be provided")
        check_device(device)
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", tensor(0, int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the copy."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of a Module into the means; the first time, copy them."""
        with no_grad():
            means, news = _weights(self.module, self.use_buffers), _weights(model, self.use_buffers)
            if int(self.n_averaged) == 0:
                for mean, new in zip(means, news, strict=True):
                    mean.copy_(new)
            elif self.avg_fn is not None:
                for mean, new in zip(means, news, strict=True):
                    mean.copy_(self.avg_fn(mean, new, self.n_averaged))
            else:
                average = self.multi_avg_fn or get_swa_multi_avg_fn()
                for dtype in dict.fromkeys(m.dtype for m in means):
                    pairs = [(m, n) for m, n in zip(means, news, strict=True) if m.dtype is dtype]
                    average([m for m, _ in pairs], [n for _, n in pairs], self.n_averaged)
            if not self.use_buffers:
                for mean, new in zip(self.module.buffers(), model.buffers(), strict=True):
                    mean.detach().copy_(new.detach())
            self.n_averaged += 1
            settle([*means, *self.module.buffers(), self.n_averaged])


def _weights(model: Module, buffers: bool) -> list[Tensor]:
    held = chain(model.parameters(), model.buffers()) if buffers else model.parameters()
    return [t.detach() for t in held]


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running means and variances of batch normalization to those over some data.

    Args:
        loader: gives Tensors, or tuples and lists whose first is what the Module takes.
        model: runs in training mode over all of it; its mode is restored.
        device: "cpu" or None.
    """
    with no_grad():
        check_device(device)
        layers: list[Any] = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        if not layers:
            return
        momenta = [layer.momentum for layer in layers]
        training = model.training
        model.train()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        for batch in loader:
            model(batch[0] if isinstance(batch, list | tuple) else batch)
            settle(b for layer in layers for b in layer.buffers())
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(training)


def _cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2


class SWALR(LRScheduler):
    """Moves the rate of every group to a fixed one, and leaves it there.

    Args:
        optimizer: whose rates are set.
        swa_lr: the last rate, or one per group; entry `"swa_lr"` of the groups.
        anneal_epochs: steps until it is reached.
        anneal_strategy: "cos" or "linear".
        last_epoch: as for `LRScheduler`.

    Raises:
        InvalidValue: for another strategy, and for a number of steps that is negative or no int.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = per_group("swa_lr", swa_lr, optimizer)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise InvalidValue(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if type(anneal_epochs) is not int or anneal_epochs < 0:
            raise InvalidValue(
                f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}"
            )
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            lr, last = float(group["lr"]), group["swa_lr"]
            first = last if before == 1 else (lr - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates

    def _share(self, step: int) -> float:
        """Return how much of the way is done."""
        done = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return _cosine(done) if self._anneal_strategy == "cos" else done
