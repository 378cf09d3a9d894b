"""Steps that are planned once and launched for every element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.engine.building import build
from talweg.engine.counters import counters
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder
from talweg.ops.recurrence import Recurrence
from talweg.passes.pipeline import compile_graph

F32 = dtypes.float32


def node(*shape: int) -> Node:
    return input_node(tensor_type(F32, shape))


def check(inputs: Sequence[Node], outputs: Sequence[Node], launches: int | None = None) -> None:
    """The compiled program gives what the interpreter gives."""
    graph = Graph(inputs, outputs)
    plan = compile_graph(graph, checking=True)
    if launches is not None:
        assert len(plan.launches) == launches
    rng = np.random.default_rng(3)
    arrays = [0.2 * rng.standard_normal(n.shape, np.float32) for n in inputs]
    expected = interpret(graph, arrays)
    known = [input_node(n.type, a) for n, a in zip(inputs, arrays, strict=True)]
    program = build(graph, [False] * len(inputs))
    for found, right, out in zip(program.run(known), expected, outputs, strict=True):
        out.value = found
        np.testing.assert_allclose(out.array, right, rtol=1e-5, atol=1e-6)


def made_kernels() -> int:
    """How many kernels this process has compiled or loaded."""
    found = counters()
    return found.compiled + found.loaded


def cell(b: OpBuilder, rows: int, width: int) -> Graph:
    """h' = tanh(x + h W); what is stacked are h' and a value made of it."""
    h, x, weight = node(rows, width), node(rows, width), node(width, width)
    new = b.tanh(b.add(x, b.dot(h, weight)))
    return Graph((h, x, weight), (new, new, b.mul(new, x)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_carried_values_lie_in_their_stack(length: int, reverse: bool) -> None:
    b = OpBuilder()
    inputs = node(16, 32), node(length, 16, 32), node(32, 32)
    last, stack, other = b.results(Recurrence(cell(b, 16, 32), 1, 1, reverse), *inputs)
    check(inputs, [last, stack, other])
    check(inputs, [stack])
    check(inputs, [last])
    check(inputs, [b.exp(stack), b.reduce_sum(b.add(other, b.sigmoid(stack)), axes=(0, 1))])


@pytest.mark.parametrize("length", [1, 2, 5])
def test_outputs_that_are_operands_or_equal(length: int) -> None:
    b = OpBuilder()
    h, c, x = node(4, 8), node(4, 8), node(4, 8)
    total = b.add(h, x)
    exchanged = Graph((h, c, x), (c, total, x, total, total, h))
    inputs = node(4, 8), node(4, 8), node(length, 4, 8)
    results = b.results(Recurrence(exchanged, 2, 1), *inputs)
    check(inputs, results)
    same = Graph((h, c, x), (total, total, h))
    check(inputs, b.results(Recurrence(same, 2, 1, True), *inputs))


def test_repeated_graphs_nest_and_stand_between_kernels() -> None:
    b = OpBuilder()
    inner = Recurrence(cell(b, 4, 8), 1, 1)
    h, x, weight = node(4, 8), node(3, 4, 8), node(8, 8)
    last, stack, _ = b.results(inner, h, x, weight)
    outer = Recurrence(Graph((h, x, weight), (last, b.reduce_sum(stack, axes=(0,)))), 1, 1)
    first, many, w = node(4, 8), node(5, 3, 4, 8), node(8, 8)
    last, sums = b.results(outer, b.exp(first), b.flip(many, (0,)), b.permute(w, (1, 0)))
    check((first, many, w), [b.mul(last, last), b.permute(sums, (1, 0, 2))])


def test_what_nobody_reads_is_not_stored() -> None:
    b = OpBuilder()
    inputs = node(16, 32), node(4, 16, 32), node(32, 32)
    last, stack, _ = b.results(Recurrence(cell(b, 16, 32), 1, 1), *inputs)
    plan = compile_graph(Graph(inputs, [last]), checking=True)
    size = last.type.nbytes
    assert plan.arena < stack.type.nbytes + 8 * size
    assert all(len(n.nest.outputs) == 1 for n in plan.launches)


def test_other_lengths_have_the_same_kernels() -> None:
    b = OpBuilder()
    kept = []
    for length in (20, 33, 60, 41):
        inputs = node(16, 32), node(length, 16, 32), node(32, 32)
        _, stack, other = b.results(Recurrence(cell(b, 16, 32), 1, 1), *inputs)
        before = made_kernels()
        kept.append(build(Graph(inputs, [b.mul(stack, other)]), [False] * 3))
        assert len(kept) < 3 or made_kernels() == before
