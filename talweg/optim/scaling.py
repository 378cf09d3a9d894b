"""Scaled losses: small gradients of float16 do not vanish, and steps that overflow are left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from talweg.base.dtypes import float16
from talweg.base.errors import GradientError, InvalidValue
from talweg.base.source import warn
from talweg.engine.functions import FUNCTIONS
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.optim.optimizer import Optimizer

READY, UNSCALED, STEPPED = "ready", "unscaled", "stepped"


class _Seen:
    """What is known of an optimizer since the last `update`.

    Attributes:
        stage: what was done.
        infinite: whether a gradient is infinite or NaN; None until that was looked at.
    """

    def __init__(self) -> None:
        self.stage = READY
        self.infinite: bool | None = None


class GradScaler:
    """Multiplies losses by a number that grows while gradients stay finite.

    Micikevicius et al., "Mixed precision training" (2018). `step` divides the gradients by the
    scale and leaves out the step of the optimizer if one of them is infinite or NaN; `update`
    makes the scale smaller then. `step` looks at values, so `tw.compile` does not replay it:
    compile the function that computes the loss.

    Args:
        device: "cpu"; for another, scaling is disabled with a warning.
        init_scale: the first scale.
        growth_factor: what the scale is multiplied by after `growth_interval` steps in a row
            without infinities.
        backoff_factor: what it is multiplied by after an infinite gradient.
        growth_interval: see above.
        enabled: False makes `scale` and `unscale_` do nothing, and `step` a plain step.

    Raises:
        InvalidValue: for a `growth_factor` of at most 1 and a `backoff_factor` of at least 1.

    >>> x = tw.tensor([1.0], requires_grad=True)
    >>> sgd, scaler = tw.optim.SGD([x], lr=0.5), tw.amp.GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(x.square().sum()).backward()
    >>> x.grad.item()
    16.0
    >>> scaler.step(sgd)
    >>> scaler.update()
    >>> x.item(), scaler.get_scale()
    (0.0, 8.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device != "cpu":
            warn(f"GradScaler is enabled, but there is no device {device!r} here. Disabling")
            self._enabled = False
        if self._enabled:
            if growth_factor <= 1:
                raise InvalidValue("The growth factor must be > 1.0.")
            if backoff_factor >= 1:
                raise InvalidValue("The backoff factor must be < 1.0.")
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._scale = float(init_scale)
        self._tracker = 0
        self._seen: dict[int, _Seen] = {}

    def scale(self, outputs: Any) -> Any:
        """Return a Tensor, or each of an iterable of them, times the scale.

        Raises:
            InvalidValue: for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            scaled: Any = FUNCTIONS["mul"](outputs, self._scale)
            return scaled
        if not isinstance(outputs, Iterable):
            raise InvalidValue("outputs must be a Tensor or an iterable of Tensors")
        each = map(self.scale, outputs)
        return type(outputs)(each) if isinstance(outputs, list | tuple) else each

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, in place: they can be clipped then.

        Raises:
            GradientError: when that was done since the last `update`.
            InvalidValue: for gradients of float16, which are those of parameters of float16.
        """
        if not self._enabled:
            return
        seen = self._of(optimizer)
        if seen.stage is UNSCALED:
            raise GradientError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if seen.stage is STEPPED:
            raise GradientError("unscale_() is being called after step().")
        with no_grad():
            seen.infinite = self._unscaled(optimizer)
        seen.stage = UNSCALED

    def _unscaled(self, optimizer: Optimizer) -> bool | None:
        """Divide by the scale; return whether a gradient is not finite, None without gradients."""
        inverse = float(np.float32(1 / self._scale)) if self._scale else float("inf")
        held = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        finite: list[Tensor] = []
        for grad in held:
            if grad.dtype is float16:
                raise InvalidValue("Attempting to unscale FP16 gradients.")
            finite.append(FUNCTIONS["isfinite"](grad).all())
            grad.mul_(inverse)
        return not bool(FUNCTIONS["stack"](finite).all()) if finite else None

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Unscale the gradients unless that is done; call `optimizer.step` if all are finite.

        Returns:
            What `optimizer.step` returned; None when it was not called.

        Raises:
            GradientError: when called twice without `update`, with a closure, and when no
                parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise GradientError("Closure use is not currently supported if GradScaler is enabled.")
        seen = self._of(optimizer)
        if seen.stage is STEPPED:
            raise GradientError("step() has already been called since the last update().")
        if seen.stage is READY:
            self.unscale_(optimizer)
        if seen.infinite is None:
            raise GradientError("No inf checks were recorded for this optimizer.")
        result = None if seen.infinite else optimizer.step(*args, **kwargs)
        seen.stage = STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Let the scale grow or fall by what the steps since the last `update` met.

        Args:
            new_scale: the scale from now on, instead.

        Raises:
            GradientError: when no optimizer was stepped.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            found = [s.infinite for s in self._seen.values() if s.infinite is not None]
            if not found:
                raise GradientError("No inf checks were recorded prior to update.")
            self._move(any(found))
        self._seen.clear()

    def _move(self, infinite: bool) -> None:
        if infinite:
            self._scale = float(np.float32(self._scale * self._backoff_factor))
            self._tracker = 0
            return
        self._tracker += 1
        if self._tracker == self._growth_interval:
            grown = self._scale * self._growth_factor
            if grown <= float(np.finfo(np.float32).max):
                self._scale = float(np.float32(grown))
            self._tracker = 0

    def _of(self, optimizer: Optimizer) -> _Seen:
        return self._seen.setdefault(id(optimizer), _Seen())

    def get_scale(self) -> float:
        """Return the scale; 1 when disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """Return what the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """Return what the scale is multiplied by after an infinite gradient."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after an infinite gradient."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """Return after how many finite steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many finite steps the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Return whether losses are scaled."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Return scale, factors and interval, and how many finite steps there were in a row."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned.

        Raises:
            GradientError: for the empty state of a scaler that was disabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise GradientError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._tracker = int(state_dict["_growth_tracker"])
