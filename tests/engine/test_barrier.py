"""Barriers: when what waits is run, and that running it early changes nothing."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import talweg as tw
from talweg.base.errors import GradientError
from talweg.engine import barrier
from talweg.engine.barrier import flush
from talweg.engine.tape import end_of
from talweg.ir.trace import Trace


@pytest.fixture(params=[1, 2, 3, 5, 8])
def _soon(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A barrier after that many operations."""
    monkeypatch.setattr(
        barrier, "CONFIG", dataclasses.replace(barrier.CONFIG, pending=request.param)
    )
    flush()
    yield
    flush()


@pytest.mark.usefixtures("_soon")
def test_a_barrier_in_the_middle_of_recording_keeps_every_gradient() -> None:
    w = tw.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(20):
        y = (w * w).sum()
        y.backward()
        assert w.grad is not None
        assert w.grad.tolist() == [2.0, 4.0]
        w.grad = None


@pytest.mark.usefixtures("_soon")
def test_a_barrier_between_operations_of_several_results() -> None:
    w = tw.tensor([[3.0, 1.0], [2.0, 5.0]], requires_grad=True)
    for _ in range(20):
        values, places = (w * 1).sort(1)
        a, b = (values * values).unbind(1)
        (a + b * 2).sum().backward()
        assert places.tolist() == [[1, 0], [0, 1]]
        assert w.grad.tolist() == [[12.0, 2.0], [4.0, 20.0]]
        w.grad = None


@pytest.mark.usefixtures("_soon")
def test_a_barrier_between_in_place_writes() -> None:
    w = tw.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(10):
        y = w * 1
        v = y[0]
        v.mul_(3)
        y.mul_(y)
        y[1] = w[0] * w[1]
        y.sum().backward()  # 9·w0² + w0·w1
        assert y.tolist() == [9.0, 2.0]
        assert v.item() == 9.0
        assert w.grad.tolist() == [20.0, 1.0]
        w.grad = None


@pytest.mark.usefixtures("_soon")
def test_a_barrier_within_second_derivatives() -> None:
    x = tw.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(10):
        (g,) = tw.autograd.grad((x**3).sum(), x, create_graph=True)
        (h,) = tw.autograd.grad((g * g).sum(), x)  # d/dx 9x⁴
        assert h.tolist() == [36.0, 288.0]


def test_a_barrier_runs_everything_that_is_alive() -> None:
    x = tw.tensor([1.0, 2.0])
    kept = x * 3
    view = kept[1:]
    (x + 5).tanh()  # nobody holds it
    flush()
    assert kept.node().array is not None
    assert kept.node().inputs == ()
    assert view.tolist() == [6.0]
    assert kept.tolist() == [3.0, 6.0]


def test_where_nothing_was_recorded_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tw.tensor([[1.0, 2.0], [3.0, 4.0]])
    rows = [x[1] for _ in range(3)]
    flush()

    def never(trace: Trace) -> None:
        raise AssertionError("the structure of an empty trace")

    monkeypatch.setattr(Trace, "layout", never)
    rows += [x[1]]
    flush()
    assert [row.tolist() for row in rows] == [[3.0, 4.0]] * 4


def test_looking_at_a_long_computation_again_and_again_walks_its_tape_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visited = 0

    def counting(edge: Any) -> Any:
        nonlocal visited
        visited += 1
        return end_of(edge)

    monkeypatch.setattr(barrier, "end_of", counting)
    x = w = tw.tensor([0.5], requires_grad=True)
    looks = 60
    for _ in range(looks):
        x = x * w + 0.25
        assert x.item() > 0
    assert visited < 12 * looks
    x.backward()
    assert w.grad is not None


def test_what_a_pass_has_freed_is_let_go_of_wherever_it_was_looked_at() -> None:
    w = tw.tensor([0.5], requires_grad=True)
    total = tw.zeros(1)
    for _ in range(4):
        before = weakref.ref(total.grad_fn) if total.grad_fn is not None else None
        loss = (w * w).sum()
        total = total + loss
        assert total.item() > 0
        loss.backward()
        flush()
    (total + 1).item()
    assert before is not None
    assert before() is None
    with pytest.raises(GradientError, match="second time"):
        total.backward()
