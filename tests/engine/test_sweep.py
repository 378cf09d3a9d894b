"""Gradients of long ways, written by operations on columns, are those that are written in turn."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import GradientError
from talweg.engine import sweep
from talweg.engine.state import STATE
from talweg.ir.rule import Rows

LENGTH = 150


def _leaves() -> tuple[Any, Any, Any]:
    found = np.random.default_rng(3).standard_normal((3, 4, 4)) * 0.5
    return tuple(tw.tensor(a, requires_grad=True) for a in found)  # type: ignore[return-value]


def _drawn(seed: int) -> Callable[..., Any]:
    """Return a random program of operations that are one Op each, which read each other."""

    def program(*leaves: Any) -> Any:
        draw = random.Random(seed)
        values = list(leaves)
        while len(values) < LENGTH:
            x, y = draw.choice(values[-6:]), draw.choice([*values[-6:], *leaves])
            kind = draw.randrange(9)
            made = (x * y, x + y, y - x, x * x, x + x) if kind < 5 else (tw.tanh(x),) * 5
            if kind > 6:
                made = (x * 0.5, 1.5 - x, x + 2.0, tw.sin(x), x / (y * y + 1.0))
            values.append(tw.tanh(made[draw.randrange(5)]) if kind == 8 else made[kind % 5])
        total = values[-1]
        for value in values[3:-1:7]:
            total = total + tw.sigmoid(value)
        return total.sum()

    return program


def _chain(x: Any, w: Any, _: Any) -> Any:
    for i in range(LENGTH):
        x = (x * w, x + w, tw.tanh(x), w - x)[i % 4]
    return x.sum()


def _sums(x: Any, w: Any, _: Any) -> Any:
    for _ in range(LENGTH):
        x = x + w
    return x.sum()


PROGRAMS = {"chain": _chain, "sums": _sums} | {f"drawn {n}": _drawn(n) for n in range(12)}


def _swept() -> bool:
    return any(isinstance(part, Rows) for part in STATE.now.trace.runs)


def _gradients(program: Callable[..., Any], swept: bool = True) -> list[np.ndarray]:
    leaves = _leaves()
    program(*leaves)  # what it calls is learned
    found = tw.autograd.grad(program(*leaves), leaves, allow_unused=True)
    assert _swept() == swept
    return [g.double().numpy() for g in found if g is not None]


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_those_written_in_turn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = PROGRAMS[name]
    found = [_gradients(program) for _ in range(3)]  # run at once, planned, replayed
    monkeypatch.setattr(sweep, "FEWEST", 1 << 30)
    in_turn = _gradients(program, swept=False)
    for one in found:
        for quick, slow in zip(one, in_turn, strict=True):
            np.testing.assert_array_equal(quick, slow)
    with tw.autograd.detect_anomaly():
        general = _gradients(program, swept=False)
    for quick, slow in zip(in_turn, general, strict=True):
        np.testing.assert_allclose(quick, slow, rtol=1e-5, atol=1e-6)


def test_gradients_are_added_to_those_of_before() -> None:
    leaves = _leaves()
    once = tw.autograd.grad(_chain(*leaves), leaves[:2])
    for _ in range(2):
        _chain(*leaves).backward()
        assert _swept()
    for leaf, found in zip(leaves, once, strict=False):
        np.testing.assert_array_equal(leaf.grad.numpy(), 2 * found.numpy())


def test_what_arrived_at_leaves_before_is_added() -> None:
    x, w, v = _leaves()
    y, late = _chain(x, w, v), (x * 3).cumsum(0).sum()
    (alone,) = tw.autograd.grad(_chain(x, w, v), x)
    both = tw.autograd.grad((y, late), x)[0]
    (other,) = tw.autograd.grad((x * 3).cumsum(0).sum(), x)
    np.testing.assert_allclose(both.numpy(), alone.numpy() + other.numpy(), rtol=1e-5, atol=1e-6)


def test_a_step_of_another_kind_below_or_above() -> None:
    def program(x: Any, w: Any, v: Any) -> Any:
        return _chain(x.softmax(0), w, v) * _chain(x, w, v).mean()

    leaves = _leaves()
    found = tw.autograd.grad(program(*leaves), leaves[:2])
    with tw.autograd.detect_anomaly():
        general = tw.autograd.grad(program(*leaves), leaves[:2])
    for quick, slow in zip(found, general, strict=True):
        np.testing.assert_allclose(quick.numpy(), slow.numpy(), rtol=1e-5, atol=1e-6)


def test_saved_values_are_freed_or_kept() -> None:
    leaves = _leaves()
    y = _chain(*leaves)
    kept = tw.autograd.grad(y, leaves[:2], retain_graph=True)
    again = tw.autograd.grad(y, leaves[:2])
    for a, b in zip(kept, again, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    with pytest.raises(GradientError, match="second time"):
        tw.autograd.grad(y, leaves[:2])


def test_a_value_overwritten_since_is_an_error() -> None:
    x, w, v = _leaves()
    a = tw.exp(x)
    y = _chain(a, w, v)
    a.detach().mul_(2)
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        tw.autograd.grad(y, x)


def test_hooks_on_the_way_are_called() -> None:
    x, w, v = _leaves()
    a = x * 2
    seen: list[Any] = []
    a.register_hook(seen.append)
    found = tw.autograd.grad(_chain(a, w, v), x)[0]
    np.testing.assert_array_equal(found.numpy(), 2 * seen[0].numpy())


def test_rows_have_the_lines_of_their_operations() -> None:
    x, w, v = _leaves()
    y = _chain(x, w, v)
    (found,) = tw.autograd.grad(y, x)
    source = found.node().source
    assert source is not None
    assert source[0] is _chain.__code__


def test_steps_have_names_when_they_are_looked_at() -> None:
    x, w, v = _leaves()
    y = tw.tanh(x * w)
    assert type(y.grad_fn).__name__ == "TanhBackward0"
    ((product, _),) = y.grad_fn.next_functions
    assert (product.name(), type(product).__name__) == ("MulBackward0", "MulBackward0")
    found = tw.autograd.grad(_chain(y, w, v), (x, w))
    assert _swept()
    assert found[0].shape == (4, 4)
