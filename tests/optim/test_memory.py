"""A training loop holds the same number of objects after many steps as after few."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.engine.tape import GradFn
from talweg.ir.node import Node

X = tw.tensor(np.random.default_rng(3).normal(size=(8, 3)), dtype=tw.float32)
Metric = Callable[[Any, tw.Tensor], Any]


def live_objects() -> tuple[int, int, int]:
    gc.collect()
    objects = gc.get_objects()
    counts = (sum(issubclass(type(o), c) for o in objects) for c in (Node, GradFn, tw.Tensor))
    return tuple(counts)  # type: ignore[return-value]


def training(optimizer: Any, w: tw.Tensor, metric: Metric, zeros: bool) -> Iterator[Any]:
    """Train for ever; the metric is carried along and never read."""
    carried: Any = None
    while True:
        loss = ((X * w).sum(1) - 1).square().mean()
        carried = loss.detach() if carried is None else metric(carried, loss)
        optimizer.zero_grad(set_to_none=not zeros)
        loss.backward()
        optimizer.step()
        yield carried


def in_place(total: Any, loss: tw.Tensor) -> Any:
    total += loss
    return total


def in_place_detached(total: Any, loss: tw.Tensor) -> Any:
    total += loss.detach()
    return total


METRICS: dict[str, Metric] = {
    "detached": lambda total, loss: total + loss.detach(),
    "taped": lambda total, loss: total + loss,
    "running": lambda mean, loss: 0.9 * mean + 0.1 * loss,
    "in place": in_place,
    "in place, detached": in_place_detached,
}
OPTIMIZERS = [("SGD", {"lr": 0.01, "momentum": 0.9}), ("Adam", {"amsgrad": True}), ("Rprop", {})]


def grows(name: str, options: dict[str, Any], metric: Metric, zeros: bool, steps: int) -> bool:
    w = tw.zeros(3, requires_grad=True)
    loop = training(getattr(tw.optim, name)([w], **options), w, metric, zeros)
    counts = []
    for step in range(1, steps + 1):
        next(loop)
        if step in (steps // 10, steps):
            counts.append(live_objects())
    assert counts[0][0] > 0
    return counts[0] != counts[1]


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_an_unread_metric_takes_constant_memory(metric: str, zeros: bool) -> None:
    assert not grows("SGD", {"lr": 0.01, "momentum": 0.9}, METRICS[metric], zeros, 300)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_every_state_takes_constant_memory(name: str, options: dict[str, Any]) -> None:
    assert not grows(name, options, METRICS["taped"], False, 300)


@pytest.mark.slow
def test_ten_thousand_steps() -> None:
    assert not grows("Adam", {}, METRICS["taped"], False, 10_000)


def test_the_unread_metric_is_right() -> None:
    w = tw.zeros(3, requires_grad=True)
    read: list[float] = []

    def metric(total: Any, loss: tw.Tensor) -> Any:
        read.append(loss.item())
        return total + loss

    loop = training(tw.optim.SGD([w], lr=0.05), w, metric, False)
    for _ in range(50):
        total = next(loop)
    first = 1.0
    assert float(total.detach()) == pytest.approx(first + sum(read), rel=1e-5)


def test_a_barrier_keeps_gradients_that_can_still_be_taken() -> None:
    w, v = tw.ones(3, requires_grad=True), tw.ones(3, requires_grad=True)
    optimizer = tw.optim.SGD([w], lr=0.1)
    later = (v * 2).exp().sum()
    (w * w).sum().backward()
    optimizer.step()
    later.backward()
    assert v.grad is not None
    np.testing.assert_allclose(v.grad.numpy(), 2 * np.exp([2.0] * 3), rtol=1e-6)


def test_a_barrier_does_not_make_a_second_pass_possible() -> None:
    w = tw.ones(3, requires_grad=True)
    optimizer = tw.optim.SGD([w], lr=0.1)
    loss = (w * w).sum()
    total = loss + 1
    loss.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="a second time"):
        total.backward()
