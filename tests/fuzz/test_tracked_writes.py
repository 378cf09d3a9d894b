"""Random writes through views of a tracked Tensor: values and gradients against NumPy's memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import talweg as tw
from talweg.engine import barrier, evaluate
from talweg.engine.barrier import flush

EPS = 1e-6


def size(x: Any) -> int:
    return int(np.prod(x.shape))


# Each action works on a Tensor (side 0) and on an array (side 1) alike.
VIEWS: tuple[Callable[[Any, int], Any], ...] = (
    lambda x, side: x.reshape(-1),
    lambda x, side: x.reshape(2, -1) if size(x) == 6 else x,
    lambda x, side: x.T if x.ndim == 2 else x,
    lambda x, side: x[1:],
    lambda x, side: x[::2],
    lambda x, side: x[..., :2],
    lambda x, side: x[-1] if x.ndim == 2 and len(x) else x,
    lambda x, side: x[None],
    lambda x, side: x.swapaxes(0, -1),
)
Action = tuple[str, int, int, float]


def act(action: Action, w: Any, handles: list[Any], side: int) -> None:
    """Do one thing to one handle; values come from `w`, from numbers or from another handle."""
    kind, which, other, number = action
    h = handles[which % len(handles)]
    o = handles[other % len(handles)]
    if kind == "view":
        view = VIEWS[other % len(VIEWS)](h, side)
        if size(view) and view.ndim < 4:
            handles.append(view)
        return
    value = o.clone() if side == 0 else o.copy()
    same = tuple(value.shape) == tuple(h.shape)
    if kind == "scale":
        h *= number
    elif kind == "shift":
        h += number * w[0]
    elif kind == "product" and same:
        h *= value * 0.5
    elif kind == "square":
        h *= h.clone() if side == 0 else h.copy()
    elif kind == "set":
        h[0] = w[1] * w[1]
    elif kind == "copy" and same:
        h[...] = value
    elif kind == "constant":
        h[-1] = number
    elif kind == "mask":
        mask = (value if same else h) > 0.3
        h[mask.detach() if side == 0 else mask] = number
    elif kind == "barrier" and side == 0:
        flush()
    elif kind == "read" and side == 0:
        h.detach().numpy()
    elif kind == "tanh":
        h[:] = h.tanh() if side == 0 else np.tanh(h)


def run(actions: list[Action], w: Any, side: int) -> Any:
    """Return a number that depends on what every handle reads at the end."""
    base = w * 1.0
    handles = [base.reshape(2, 3)]
    if side == 1:
        assert np.may_share_memory(handles[0], base)
    for action in actions:
        act(action, w, handles, side)
    total: Any = 0.0
    for k, h in enumerate([base, *handles[-4:]]):
        c = np.cos(np.arange(size(h)) + k).reshape(h.shape)
        total = total + (h * (c if side else tw.tensor(c))).sum()
    return total


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["view"] * 3
            + ["scale", "shift", "product", "square", "set", "copy", "constant", "mask", "tanh"]
            + ["barrier", "read"]
        ),
        st.integers(0, 7),
        st.integers(0, 8),
        st.sampled_from([0.5, -0.7, 0.9]),
    ),
    min_size=1,
    max_size=12,
)


def check(actions: list[Action], pending: int, compile: str = "auto") -> None:
    start = np.array([0.7, -0.4, 1.1, 0.2, -0.9, 0.5])
    with pytest.MonkeyPatch.context() as patch:
        for module in (barrier, evaluate):
            asked = dataclasses.replace(module.CONFIG, pending=pending, compile=compile)
            patch.setattr(module, "CONFIG", asked)
        barrier.flush()
        w = tw.tensor(start, requires_grad=True)
        loss = run(actions, w, 0)
        (g,) = tw.autograd.grad(loss, w, allow_unused=True, materialize_grads=True)
    assert loss.item() == pytest.approx(run(actions, start, 1), rel=1e-10, abs=1e-10)
    rounding = 1e-6 + 1e-8 * abs(loss.item())
    for i in range(6):
        ends = []
        for sign in (1, -1):
            moved = start.copy()
            moved[i] += sign * EPS
            ends.append(float(run(actions, moved, 1)))
        slope = (ends[0] - ends[1]) / (2 * EPS)
        if abs(slope) < 1e4:  # beyond, a mask changed between the two ends
            assert g[i].item() == pytest.approx(slope, rel=1e-5, abs=rounding)


@settings(max_examples=150)
@given(ACTIONS, st.sampled_from([3, 7, 10_000]))
def test_writes_through_views_have_the_gradient_of_what_they_do(
    actions: list[Action], pending: int
) -> None:
    check(actions, pending)


@pytest.mark.slow
@settings(max_examples=3000)
@given(ACTIONS, st.sampled_from([1, 2, 3, 5, 7, 10_000]))
def test_many_writes_through_views(actions: list[Action], pending: int) -> None:
    check(actions, pending, compile="never")  # the tape is tested, not the kernels
