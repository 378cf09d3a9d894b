"""Python's control flow as functions, and functions whose results are asked for later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()
) -> Any:
    """Return what one of two functions gives, chosen by a boolean when called."""
    return (true_fn if bool(pred) else false_fn)(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> Any:
    """Return what is carried when `cond_fn` of it is no longer true; `body_fn` gives the next."""
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        found = body_fn(*carried)
        carried = tuple(found) if isinstance(found, list | tuple) else (found,)
    return carried


class Future:
    """The result of a function that `torch.jit.fork` has run."""

    def __init__(self, value: Any = None) -> None:
        self._value = value

    def wait(self) -> Any:
        """Return the result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """Return True."""
        return True


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """Call a function at once: what it records is computed later, together with all else."""
    return Future(func(*args, **kwargs))


def wait(future: Future) -> Any:
    """Return the result of what was forked."""
    return future.wait()


_LATER: dict[str, Any] = {"fork": fork, "wait": wait}
MODULES: dict[str, dict[str, Any]] = {
    "": {"cond": cond, "while_loop": while_loop, **_LATER},
    "jit": {**_LATER, "Future": Future},
    "futures": {"Future": Future},
}
