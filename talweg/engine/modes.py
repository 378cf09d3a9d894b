"""Gradient modes: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ContextDecorator
from inspect import isgeneratorfunction
from typing import Any, TypeVar, cast

from talweg.engine.state import STATE

_F = TypeVar("_F", bound=Callable[..., Any])


class _Decorator(ContextDecorator, ABC):
    @abstractmethod
    def again(self) -> _Decorator:
        """Return a context of the same mode, entered and left on its own."""

    @abstractmethod
    def __enter__(self) -> Any: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    def __call__(self, func: _F) -> _F:
        """Return the function under this mode; a generator is under it while it runs."""
        wrapped = _generator(self, func) if isgeneratorfunction(func) else _function(self, func)
        return cast(_F, functools.wraps(func)(wrapped))


def _function(mode: _Decorator, func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mode.again():
            return func(*args, **kwargs)

    return wrapped


def _generator(mode: _Decorator, func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        inner = func(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, inner)
        while True:
            try:
                with mode.again():
                    value = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = functools.partial(inner.send, (yield value))
            except GeneratorExit:
                with mode.again():
                    inner.close()
                raise
            except BaseException as error:
                resume = functools.partial(inner.throw, error)

    return wrapped


class set_grad_enabled(_Decorator):
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

    def again(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)

    def __call__(self, func: _F) -> _F:
        STATE.grad = self._before
        return super().__call__(func)

    def __enter__(self) -> None:
        STATE.grad = self.mode

    def __exit__(self, *_: object) -> None:
        STATE.grad = self._before


class _Mode(_Decorator):
    grad: bool
    _stack: list[tuple[bool, bool]]

    def __new__(cls, function: Any = None) -> Any:
        """Return the context; given a function (`@no_grad` without parentheses), decorate it."""
        made = object.__new__(cls)
        made._stack = []
        return made if function is None else made(function)

    def again(self) -> _Mode:
        made: _Mode = object.__new__(type(self))
        made.grad = self.grad
        made._stack = []
        return made

    def __enter__(self) -> None:
        now = STATE.now
        self._stack.append((now.grad, now.inference))
        now.grad = self.grad

    def __exit__(self, *_: object) -> None:
        now = STATE.now
        now.grad, now.inference = self._stack.pop()


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
    """Like `no_grad`, and `is_inference_mode_enabled` tells; older programs say volatile.

    Args:
        mode: False is like `enable_grad`.
    """

    def __new__(cls, mode: Any = True) -> Any:
        """Return the context; given a function (`@inference_mode`), decorate it."""
        made = object.__new__(cls)
        made._stack = []
        made.grad = False if callable(mode) else not mode
        return made(mode) if callable(mode) else made

    def __enter__(self) -> None:
        now = STATE.now
        self._stack.append((now.grad, now.inference))
        now.grad = self.grad
        now.inference = not self.grad


class steady(_Decorator):
    """Compute what comes for the first time as what comes again, by compiled code.

    Elsewhere, small graphs that come for the first time run in a quicker way, whose sums may round
    in another order. Here results do not depend on what the process has computed before.
    """

    def __init__(self) -> None:
        self._before: list[bool] = []

    def again(self) -> steady:
        return steady()

    def __enter__(self) -> None:
        self._before.append(STATE.now.steady)
        STATE.now.steady = True

    def __exit__(self, *_: object) -> None:
        STATE.now.steady = self._before.pop()


def is_inference_mode_enabled() -> bool:
    """Return whether `inference_mode` is on in this thread."""
    return STATE.inference


def is_grad_enabled() -> bool:
    """Return whether operations are recorded for gradients in this thread."""
    return STATE.grad
