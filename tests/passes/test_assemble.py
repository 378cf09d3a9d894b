"""Parts that are made in the memory of what is joined of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import talweg as tw
from talweg.engine.evaluate import compute
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph

from .programs import graph_of, ops_of, plan_of

RNG = np.random.default_rng(3)


def values(*shape: int) -> tw.Tensor:
    return tw.tensor(RNG.normal(size=shape).astype(np.float32) / 8)


def compiled_as_interpreted(*results: tw.Tensor) -> None:
    graph: Graph = graph_of(*results)
    arrays = [n.array for n in graph.inputs]
    wanted = interpret(graph, [a for a in arrays if a is not None])
    compute(graph.outputs)
    for node, expected in zip(graph.outputs, wanted, strict=True):
        np.testing.assert_allclose(node.array, expected, rtol=2e-4, atol=1e-5)


def joins(*results: tw.Tensor) -> int:
    ops = [ops_of(launch) for launch in plan_of(*results).launches]
    return sum(op in ("concat", "joined") for listed in ops for op in listed)


def parts(n: int, rows: int = 64) -> list[tw.Tensor]:
    x, w = values(rows, 64), values(64, 64)
    return [(x * (i + 1) @ w).tanh() for i in range(n)]


def test_parts_lie_one_behind_the_other() -> None:
    w = values(64, 64)
    y = tw.cat(parts(3)) @ w
    assert joins(y) == 0
    compiled_as_interpreted(y)


def test_joins_of_joins() -> None:
    w, p = values(64, 64), parts(4)
    y = tw.cat([tw.cat(p[:2]), p[2], p[3]]) @ w
    assert joins(y) == 0
    compiled_as_interpreted(y)


@pytest.mark.parametrize(
    "build",
    [
        lambda p, w: (tw.cat(p) @ w, p[0]),  # the caller wants a part
        lambda p, w: (tw.cat([p[0], p[1], p[0]]) @ w,),  # one of them twice
        lambda p, w: (tw.cat([w, p[1]]) @ w,),  # one is given
        lambda p, w: (tw.cat(p, 1) @ tw.cat([w] * 3),),  # columns side by side
        lambda p, w: (tw.cat(p),),  # the caller wants the whole
    ],
)
def test_what_cannot_be_made_in_place_is_copied(
    build: Callable[[list[tw.Tensor], tw.Tensor], tuple[tw.Tensor, ...]],
) -> None:
    results = build(parts(3), values(64, 64))
    assert joins(*results) > 0
    compiled_as_interpreted(*build(parts(3), values(64, 64)))


def test_one_part_is_in_one_whole_only() -> None:
    w, p = values(64, 64), parts(3)
    results = tw.cat(p) @ w, tw.cat(p[::-1]) @ w, p[1] @ w
    assert joins(*results) == 1
    compiled_as_interpreted(*results)


@pytest.mark.parametrize("length", [1, 2, 5, 21])
def test_gradients_of_a_recurrence_are_one_product(length: int) -> None:
    x, w = values(length, 32, 64), values(64, 64)
    u = values(64, 64)
    for t in (w, u):
        t.requires_grad_()
    h = tw.zeros(32, 64)
    gates = x @ u
    for t in range(length):
        h = (gates[t] + h @ w.T).tanh()
    found = tw.autograd.grad((h * h).sum(), (w, u))
    assert joins(*found) == 0
    products = [op for la in plan_of(*found).launches for op in ops_of(la) if op == "dot"]
    assert len(products) <= 1 + length + (length - 1) + 2
    compiled_as_interpreted(*found)
