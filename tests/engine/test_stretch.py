"""Gradients written as rows without Nodes are those that the general way records."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import GradientError
from talweg.engine.state import STATE
from talweg.engine.tape import Direct
from talweg.ir.node import Late, Node

CHAINS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda x, w: x + w,
    "one operand twice": lambda x, w: (x * x) * (w + w),
    "leaves on both sides": lambda x, w: w - (x * w - x) * (w * x),
    "functions": lambda x, w: tw.tanh(x * w) - tw.exp(-x * x) * tw.sigmoid(w),
    "quotients": lambda x, w: x / (w * w + 2.0) + 3 / (x * x + 1.5) - (1.5 - w) / 2,
    "powers": lambda x, w: (x * x + 1) ** 2.5 + (w * w + 1) ** x,
    "views between": lambda x, w: (x.t() * w).reshape(16)[2:14] * 2 + tw.exp(x).view(16)[:12],
    "sums between": lambda x, w: (x * w.sum(0)) - (x * w).mean() * x.sum(),
    "products between": lambda x, w: tw.tanh(x @ w) @ (x * 0.5) - w,
    "two results between": lambda x, w: tw.stack([tw.exp(c) * 2 for c in (x * w).chunk(2)]),
    "long": lambda x, w: _long(x, w),  # noqa: PLW0108 - it is defined below
}


def _long(x: Any, w: Any) -> Any:
    for i in range(60):
        x = (x * w, x + w, tw.tanh(x), w - x)[i % 4]
    return x


def _leaves(dtype: Any) -> tuple[Any, Any]:
    x, w = np.random.default_rng(3).standard_normal((2, 4, 4)) * 0.7
    return tuple(tw.tensor(a, dtype=dtype, requires_grad=True) for a in (x, w))  # type: ignore[return-value]


def _gradients(chain: Callable[[Any, Any], Any], dtype: Any) -> list[np.ndarray]:
    x, w = _leaves(dtype)
    found = tw.autograd.grad(chain(x, w).sum(), (x, w))
    return [g.double().numpy() for g in found]


@pytest.mark.parametrize("name", CHAINS)
def test_it_is_the_gradient_that_is_recorded_node_by_node(name: str) -> None:
    with tw.autograd.detect_anomaly():
        general = _gradients(CHAINS[name], tw.float64)
    for _ in range(3):  # run once, planned, replayed
        for quick, slow in zip(_gradients(CHAINS[name], tw.float64), general, strict=True):
            np.testing.assert_allclose(quick, slow, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CHAINS)
def test_it_is_the_slope(name: str) -> None:
    chain, step = CHAINS[name], 1e-6
    x, w = _leaves(tw.float64)
    direction = np.random.default_rng(5).standard_normal((2, 4, 4))
    ends = [
        chain(x.detach() + s * tw.tensor(direction[0]), w.detach() + s * tw.tensor(direction[1]))
        for s in (step, -step)
    ]
    slope = (ends[0].sum().item() - ends[1].sum().item()) / (2 * step)
    found = np.sum(np.stack(_gradients(chain, tw.float64)) * direction)
    np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-7)


def test_no_nodes_are_made_of_what_nobody_sees() -> None:
    for _ in range(3):  # its rules are learned
        _gradients(_long, tw.float32)
    x, w = _leaves(tw.float32)
    y = _long(x, w).sum()
    before = len(STATE.now.trace.nodes)
    found = tw.autograd.grad(y, (x, w))
    made = STATE.now.trace.nodes[before:]
    assert sum(n is None for n in made) > 60
    assert all(g.node() in made for g in found)


def test_inputs_are_made_when_they_are_asked_for() -> None:
    for _ in range(3):  # its rules are learned
        x, w = _leaves(tw.float64)
        (found,) = tw.autograd.grad((tw.tanh(x * w) * w).sum(), x)
    node = found.node()
    assert isinstance(node, Late)
    count, stack, seen = 0, [node], set()
    while stack:
        n = stack.pop()
        if n not in seen:
            seen.add(n)
            stack += n.inputs
            count += n.op.name() == "tanh"
    assert type(node) is Node
    assert count == 1
    again = tw.autograd.grad((tw.tanh(x * w) * w).sum(), x)[0]
    np.testing.assert_array_equal(found.numpy(), again.numpy())


def test_a_gradient_is_computed_on_with_before_and_after_it_is_known() -> None:
    x, w = _leaves(tw.float64)
    first, second = tw.autograd.grad((tw.exp(x * w) - w).sum(), (x, w))
    both = first * 2 + second.t()
    expected = w.detach() * tw.exp(x.detach() * w.detach())
    np.testing.assert_allclose(first.numpy(), expected.numpy(), rtol=1e-12)
    other = x.detach() * tw.exp(x.detach() * w.detach()) - 1
    np.testing.assert_allclose(both.numpy(), (expected * 2 + other.t()).numpy(), rtol=1e-12)
    np.testing.assert_allclose((first + second).numpy(), (expected + other).numpy(), rtol=1e-12)


def test_values_between_that_are_held_are_computed_too() -> None:
    x, w = _leaves(tw.float64)
    a = x * w
    b = tw.tanh(a)
    (found,) = tw.autograd.grad((b * w).sum(), x, retain_graph=True)
    found.numpy()
    assert a.node().value is not None
    assert b.node().value is not None
    (again,) = tw.autograd.grad((b * w).sum(), x)
    np.testing.assert_array_equal(found.numpy(), again.numpy())


def test_leaves_that_have_a_gradient_already_get_the_sum() -> None:
    x, w = _leaves(tw.float64)
    for _ in range(2):
        (tw.tanh(x * w) - x).sum().backward()
    assert x.grad is not None
    slope = w.detach() / tw.cosh(x.detach() * w.detach()) ** 2 - 1
    np.testing.assert_allclose(x.grad.numpy(), 2 * slope.numpy(), rtol=1e-12)


def test_an_intermediate_result_that_is_asked_for_gets_its_gradient() -> None:
    x, w = _leaves(tw.float64)
    a = x * w
    b = tw.exp(a) - x
    of_a, of_x = tw.autograd.grad((b * 2).sum(), (a, x))
    np.testing.assert_allclose(of_a.numpy(), 2 * np.exp(a.detach().numpy()), rtol=1e-12)
    np.testing.assert_allclose(of_x.numpy(), of_a.numpy() * w.detach().numpy() - 2, rtol=1e-12)


def test_hooks_see_cotangents_on_the_way() -> None:
    x, w = _leaves(tw.float64)
    a = x * w
    seen: list[Any] = []
    a.register_hook(lambda g: seen.append(g) or g * 3)
    (found,) = tw.autograd.grad((tw.exp(a) * 2).sum(), x)
    expected = 2 * np.exp(a.detach().numpy())
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(found.numpy(), 3 * expected * w.detach().numpy(), rtol=1e-12)


def test_saved_values_are_freed_and_a_second_pass_is_refused() -> None:
    x, w = _leaves(tw.float64)
    y = tw.tanh(x * w).sum()
    tw.autograd.grad(y, (x, w))
    with pytest.raises(GradientError, match="second time"):
        tw.autograd.grad(y, (x, w))


def test_a_value_overwritten_since_is_an_error() -> None:
    x, w = _leaves(tw.float64)
    a = tw.exp(x * w)
    y = tw.sin(a).sum()
    a.detach().mul_(2)
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        tw.autograd.grad(y, x)


def test_a_trace_is_freed_without_the_collector() -> None:
    def alive() -> int:
        return sum(type(o) in (Late, Node) for o in gc.get_objects())

    x, w = _leaves(tw.float32)
    counts = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(8):
            y = _long(x, w).sum() + tw.relu(x @ w).sum()
            found = tw.autograd.grad(y, (x, w))
            found[0].numpy()
            y.item()
            del y, found
            counts.append(alive())
    finally:
        gc.enable()
    assert counts[-1] == counts[-2] == counts[-3]


def test_a_gradient_that_is_a_view_is_known_again_and_again() -> None:
    for _ in range(4):
        x = tw.ones(3, 4, dtype=tw.float64, requires_grad=True)
        (x * 2).sum().backward()
        (x.sum() * 3).backward()
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), np.full((3, 4), 5.0))
        (found,) = tw.autograd.grad((x.sum() * 3).sum(), x)
        np.testing.assert_array_equal(found.t().numpy(), np.full((4, 3), 3.0))
        np.testing.assert_array_equal((found + 1).numpy(), np.full((3, 4), 4.0))


def test_rules_of_many_rows() -> None:
    def chain(x: Any, w: Any) -> Any:
        y = tw.erf(x) + tw.atan2(x, w * w + 1) * tw.asin(x * 0.1)
        return tw.nn.functional.gelu(y) + tw.lgamma(w * w + 1) + tw.maximum(x, w) ** 3

    with tw.autograd.detect_anomaly():
        general = _gradients(chain, tw.float64)
    for quick, slow in zip(_gradients(chain, tw.float64), general, strict=True):
        np.testing.assert_allclose(quick, slow, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", [lambda x: x * 2.0, lambda x: x * x, tw.tanh])
def test_what_is_learned_of_many_sizes_is_learned_of_more(function: Any) -> None:
    for n in range(1, 4200):
        function(tw.ones(n, requires_grad=True))
    for _ in range(2):
        x = tw.ones(7, 3, requires_grad=True)
        y = function(x)
    assert isinstance(y._edge, Direct)


def test_hooks_on_other_leaves_make_no_nodes() -> None:
    other, removed = (tw.ones(4, requires_grad=True) for _ in range(2))
    for leaf in (other, removed):
        leaf.register_post_accumulate_grad_hook(lambda leaf: None).remove()
    other.register_hook(lambda g: g)
    test_no_nodes_are_made_of_what_nobody_sees()


def test_leaves_with_hooks_are_served_before_earlier_steps() -> None:
    seen: list[str] = []
    x, w = _leaves(tw.float64)
    w.register_post_accumulate_grad_hook(lambda leaf: seen.append("leaf"))
    y = tw.tanh(x * 2)
    y.register_hook(lambda g: seen.append("step"))
    (tw.tanh(y) * w).sum().backward()
    assert seen == ["leaf", "step"]
