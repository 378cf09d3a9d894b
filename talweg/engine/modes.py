"""Gradient modes: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any, TypeVar

from talweg.engine.state import STATE

_F = TypeVar("_F", bound=Callable[..., Any])


class set_grad_enabled(ContextDecorator):
    """Switch recording of gradients on or off, at once; as a context, back again at its end.

    Example:
        >>> import talweg as tw
        >>> x = tw.ones(2, requires_grad=True)
        >>> with tw.set_grad_enabled(False):
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._before = STATE.grad
        STATE.grad = self.mode

    def __call__(self, func: _F) -> _F:
        STATE.grad = self._before
        return super().__call__(func)

    def __enter__(self) -> None:
        STATE.grad = self.mode

    def __exit__(self, *_: object) -> None:
        STATE.grad = self._before


class _Mode(ContextDecorator):
    grad: bool

    def __new__(cls, function: Any = None) -> Any:
        """Return the context; given a function (`@no_grad` without parentheses), decorate it."""
        made = super().__new__(cls)
        if callable(function):
            made._stack = []
            return made(function)
        return made

    def __init__(self, function: Any = None) -> None:
        self._stack: list[bool] = []

    def __enter__(self) -> None:
        self._stack.append(STATE.grad)
        STATE.grad = self.grad

    def __exit__(self, *_: object) -> None:
        STATE.grad = self._stack.pop()


class no_grad(_Mode):
    """Operations inside are not recorded for gradients; a context or a decorator.

    Example:
        >>> import talweg as tw
        >>> x = tw.ones(2, requires_grad=True)
        >>> with tw.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    grad = False


class enable_grad(_Mode):
    """Operations inside are recorded for gradients, also within `no_grad`."""

    grad = True


class inference_mode(_Mode):
    """Like `no_grad`; older programs call such Tensors volatile.

    Args:
        mode: False leaves the present mode as it is.
    """

    grad = False

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.grad = STATE.grad and not mode


def is_grad_enabled() -> bool:
    """Return whether operations are recorded for gradients in this thread."""
    return STATE.grad
