"""Graphs that are run for one element after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.base.errors import GraphError, ShapeError
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.op import Pick
from talweg.ir.text import parse_graph, print_graph
from talweg.ir.types import tensor_type
from talweg.ir.verify import verify
from talweg.ops import BY_NAME
from talweg.ops.effect import HostCallback
from talweg.ops.recurrence import Recurrence, recurrence

F64 = dtypes.float64
ROWS = tensor_type(F64, (2, 3))


def body(b: Any) -> Graph:
    """Two carried values; weights in a product, in a sum and in neither; views of what is kept."""
    h, c, x = (input_node(ROWS) for _ in range(3))
    weight, bias, scale = (input_node(tensor_type(F64, s)) for s in ((6, 3), (6,), (2, 3)))
    sums = b.add(b.dot(h, b.permute(weight, (1, 0))), b.expand(bias, (2, 6)))
    first, second = (b.slice(sums, (0, n), (2, n + 3), (1, 1)) for n in (0, 3))
    kept = b.add(b.mul(b.sigmoid(first), c), b.mul(x, scale))
    new = b.mul(b.tanh(kept), b.sigmoid(second))
    return Graph((h, c, x, weight, bias, scale), (new, kept, new))


def step_by_step(b: Any, graph: Graph, operands: Sequence[Node], reverse: bool) -> list[Node]:
    """What a Recurrence of `body` is, written out."""
    h, c, x, *others = operands
    outputs: list[Node] = []
    length = x.shape[0]
    for t in reversed(range(length)) if reverse else range(length):
        row = b.reshape(b.slice(x, (t, 0, 0), (t + 1, 2, 3), (1, 1, 1)), (2, 3))
        h, c, y = b.results(BY_NAME["call"](graph), h, c, row, *others)
        outputs.append(b.reshape(y, (1, 2, 3)))
    return [h, c, b.concat(*(outputs[::-1] if reverse else outputs), axis=0)]


def operands_of(length: int) -> list[Node]:
    shapes = (2, 3), (2, 3), (length, 2, 3), (6, 3), (6,), (2, 3)
    return [input_node(tensor_type(F64, shape)) for shape in shapes]


def check(b: Any, inputs: Sequence[Node], one: Sequence[Any], other: Sequence[Any]) -> None:
    """Both are the same values of the same inputs."""
    rng = np.random.default_rng(len(inputs))
    arrays = [rng.normal(size=n.shape) for n in inputs]
    found = interpret(Graph(inputs, one), arrays)
    for a, z in zip(found, interpret(Graph(inputs, other), arrays), strict=True):
        np.testing.assert_allclose(a, z, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("kept", [False, True])
def test_values_and_gradients_are_those_of_single_steps(
    b: Any, length: int, reverse: bool, kept: bool
) -> None:
    graph, inputs = body(b), operands_of(length)
    if kept:
        vjp(b, [b.exp(inputs[0])], inputs[:1], [inputs[0]])  # sets what derives sub-graphs
        loop = recurrence(b, graph, inputs, 2, 1, reverse)
    else:
        loop = b.results(Recurrence(graph, 2, 1, reverse), *inputs)
    single = step_by_step(b, graph, inputs, reverse)
    check(b, inputs, loop, single)
    seeds = [input_node(n.type) for n in single]
    for live in ((True, True, True), (True, False, False), (False, False, True)):
        given = [s if use else None for s, use in zip(seeds, live, strict=True)]
        first, second = (vjp(b, outs, inputs, given) for outs in (list(loop), single))
        check(b, [*inputs, *seeds], first, second)


@pytest.mark.parametrize("reverse", [False, True])
def test_second_gradients_are_those_of_single_steps(b: Any, reverse: bool) -> None:
    graph, inputs = body(b), operands_of(3)
    loop = list(b.results(Recurrence(graph, 2, 1, reverse), *inputs))
    single = step_by_step(b, graph, inputs, reverse)
    seeds = [input_node(n.type) for n in single]
    found = []
    for outs in (loop, single):
        first = vjp(b, outs, inputs, seeds)
        found.append(vjp(b, first, [*inputs, *seeds], inputs))
    check(b, [*inputs, *seeds], *found)


def test_what_steps_have_computed_is_not_computed_again(b: Any) -> None:
    graph, inputs = body(b), operands_of(4)
    vjp(b, [b.exp(inputs[0])], inputs[:1], [inputs[0]])
    loop = recurrence(b, graph, inputs, 2, 1)
    seeds = [input_node(n.type) for n in loop]
    gradients = vjp(b, list(loop), inputs, seeds)
    order = Graph([*inputs, *seeds], gradients).order
    loops = [n for n in order if isinstance(n.op, Recurrence)]
    assert [n.op.reverse for n in loops] == [False, True]
    names = [n.op.name() for n in loops[1].op.graph.order]
    assert names.count("dot") == 1  # the cotangent of h; that of the weight is one product behind
    assert "tanh" not in names
    assert [n.op.name() for n in order].count("dot") == 1
    found = [(n.inputs[0], n.op.index) for n in order if isinstance(n.op, Pick)]
    assert len(set(found)) == len(found)


def test_it_prints_and_parses_back(b: Any) -> None:
    inputs = operands_of(4)
    graph = Graph(inputs, b.results(Recurrence(body(b), 2, 1, True), *inputs))
    text = print_graph(graph)
    again = parse_graph(text, BY_NAME)
    verify(again)
    assert print_graph(again) == text
    assert again.key == graph.key


def test_operands_must_fit(b: Any) -> None:
    op = Recurrence(body(b), 2, 1)
    h, c, x, *others = operands_of(4)
    with pytest.raises(ShapeError, match=r"of one length"):
        b.apply(op, h, c, b.scalar(1.0, F64), *others)
    with pytest.raises(ShapeError, match=r"one element at least"):
        b.apply(op, h, c, operands_of(0)[2], *others)
    with pytest.raises(ShapeError, match=r"was given"):
        b.apply(op, h, x, x, *others)
    other = Graph(op.graph.inputs, [op.graph.inputs[3], *op.graph.outputs[1:]])
    with pytest.raises(ShapeError, match=r"carries .* along"):
        b.apply(Recurrence(other, 2, 1), h, c, x, *others)
    called = b.apply(HostCallback(np.exp, (ROWS,)), op.graph.inputs[0])
    with pytest.raises(GraphError, match=r"nothing of the host"):
        Recurrence(Graph(op.graph.inputs, [called, *op.graph.outputs[1:]]), 2, 1)
