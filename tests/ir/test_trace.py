"""The trace: structure as a flat key, places of Nodes, and who holds their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.trace import Trace, outside_row
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder
from talweg.ops.control import Call

VECTOR = tensor_type(dtypes.float64, (3,))
MATRIX = tensor_type(dtypes.float64, (2, 3))

Program = Callable[[OpBuilder, Node, Node], Any]


def known(value: float = 0.0, shape: tuple[int, ...] = (3,)) -> Node:
    return input_node(tensor_type(dtypes.float64, shape), np.full(shape, value))


def recorded(program: Program, x: Node | None = None, y: Node | None = None) -> Trace:
    trace = Trace()
    program(OpBuilder(trace), x or known(1.0), y or known(2.0))
    return trace


PROGRAMS: dict[str, Program] = {
    "x + y": lambda b, x, y: b.add(x, y),
    "y + x": lambda b, x, y: (b.neg(x), b.add(y, x)),
    "x + x": lambda b, x, y: b.add(x, x),
    "x - y": lambda b, x, y: b.sub(x, y),
    "x + 2": lambda b, x, y: b.add(x, b.scalar(2.0, x.dtype)),
    "x + 0-d": lambda b, x, y: b.add(x, known(3.0, ())),
    "x + y, y + x": lambda b, x, y: (b.add(x, y), b.add(y, x)),
    "x + y, x + y": lambda b, x, y: (b.add(x, y), b.add(x, y)),
    "exp, neg of x": lambda b, x, y: (b.exp(x), b.neg(x)),
    "exp, neg of it": lambda b, x, y: b.neg(b.exp(x)),
    "sum": lambda b, x, y: b.reduce_sum(x, (0,)),
    "two of three": lambda b, x, y: b.concat(x, y, x, axis=0),
    "two of two": lambda b, x, y: b.concat(x, y, axis=0),
    "where": lambda b, x, y: b.where(b.le(x, y), x, y),
    "nothing": lambda b, x, y: None,
}


def test_equal_programs_on_other_data_have_one_key() -> None:
    for program in PROGRAMS.values():
        first, again = recorded(program), recorded(program, known(5.0), known(6.0))
        assert first.key() == again.key()
        assert hash(first.key()) == hash(again.key())


def test_different_programs_have_different_keys() -> None:
    keys = {name: recorded(program).key() for name, program in PROGRAMS.items()}
    assert len(set(keys.values())) == len(PROGRAMS), keys


def test_types_of_what_is_read_are_part_of_the_key() -> None:
    def program(b: OpBuilder, x: Node, y: Node) -> Node:
        return b.exp(x)

    assert recorded(program).key() != recorded(program, known(1.0, (4,))).key()
    single = input_node(tensor_type(dtypes.float32, (3,)), np.zeros(3, np.float32))
    assert recorded(program).key() != recorded(program, single).key()


def test_numbers_of_a_python_program_are_data() -> None:
    def program(number: float) -> Program:
        return lambda b, x, y: b.mul(x, b.scalar(number, x.dtype))

    assert recorded(program(1.0)).key() == recorded(program(2.0)).key()


def test_places_outside_and_nodes_in_order() -> None:
    trace = Trace()
    b, x, y = OpBuilder(trace), known(), known()
    first = b.exp(x)
    second = b.add(first, y)
    assert trace.nodes == [x, first, y, second]
    assert trace.outside == [0, 2]
    assert [n.at for n in trace.nodes] == [0, 1, 2, 3]
    assert first in trace
    assert known() not in trace
    exp, add = first.op.token, second.op.token
    vector = outside_row(VECTOR, False)
    assert trace.rows == [vector, exp, 0, vector, add, 1, 2]
    tokens, arity, cells, starts, types, pending = map(list, trace.layout())
    assert (types, pending) == ([VECTOR] * 4, [False, True, False, True])
    assert (tokens, arity) == ([0, exp, 0, add], [0, 1, 0, 2])
    assert [cells[a : a + n + 1] for a, n in zip(starts, arity, strict=True)] == [
        [0],
        [1, 0],
        [2],
        [3, 1, 2],
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_operands_stand_at_their_places(name: str) -> None:
    trace = recorded(PROGRAMS[name])
    layout = trace.layout()
    assert len(layout.arity) == len(trace.nodes)
    uses = [0] * len(trace.nodes)
    for node, start, size in zip(trace.nodes, layout.first, layout.arity, strict=True):
        places = layout.cells[start : start + size + 1]
        assert [trace.nodes[place] for place in places] == [node, *node.inputs]
        assert (places >= 0).all()
        for place in places[1:]:
            uses[place] += 1
    assert layout.uses().tolist() == uses


def test_a_cleared_trace_knows_none_of_its_nodes() -> None:
    trace = Trace()
    b, x = OpBuilder(trace), known()
    y = b.exp(x)
    y.array = np.ones(3)
    trace.clear()
    assert y not in trace
    assert (trace.nodes, trace.rows, trace.outside) == ([], [], [])
    b.neg(b.neg(x))
    b.mul(y, x)
    assert trace.outside == [0, 3]


def test_a_pending_value_enters_with_what_it_is_computed_from() -> None:
    trace = Trace()
    b, x = OpBuilder(trace), known()
    y = b.exp(x)
    z = b.mul(b.neg(y), y)
    w = b.iota((3,), dtype=dtypes.float64, axis=0)
    trace.clear()
    out = b.add(z, w)
    assert trace.outside == [0]
    names = [n.op.name() for n in trace.nodes]
    assert names == ["input", "exp", "neg", "mul", "iota", "add"]
    assert trace.nodes[-1] is out
    again = Trace()
    fresh = OpBuilder(again)
    v = fresh.exp(x)
    fresh.add(fresh.mul(fresh.neg(v), v), fresh.iota((3,), dtype=dtypes.float64, axis=0))
    assert trace.key() == again.key()


def test_a_long_pending_chain_needs_no_recursion() -> None:
    plain = OpBuilder()
    node = known()
    for _ in range(5000):
        node = plain.neg(node)
    trace = Trace()
    OpBuilder(trace).exp(node)
    assert len(trace.nodes) == 5002


def test_two_traces_may_read_one_pending_value() -> None:
    ours, theirs = Trace(), Trace()
    x = known()
    y = OpBuilder(ours).exp(x)
    OpBuilder(theirs).neg(y)
    OpBuilder(ours).neg(y)
    assert [n.op.name() for n in theirs.nodes] == ["input", "exp", "neg"]
    for trace in (ours, theirs):
        for node in trace.nodes:
            assert all(i in trace.nodes for i in node.inputs)


def test_nodes_of_called_graphs_and_their_gradients_stay_outside() -> None:
    trace = Trace()
    b = OpBuilder(trace)
    inner = b.apart()
    x, y = input_node(VECTOR), input_node(VECTOR)
    graph = Graph([x, y], [inner.mul(inner.exp(x), y)])
    assert trace.nodes == []
    out = b.apply(Call(graph), known(), known())
    vjp(b, [out], [out.inputs[0]], [known()])
    assert {n.op.name() for n in trace.nodes} == {"input", "call", "pick"}


def names(nodes: list[Node]) -> list[str]:
    return [n.op.name() for n in nodes]


def test_held_are_the_nodes_that_others_reference() -> None:
    trace = Trace()
    b, x = OpBuilder(trace), known()
    a = b.exp(x)
    c = b.neg(a)
    d = b.add(c, c)
    e = b.mul(b.sin(d), a)
    assert names(trace.held()) == ["exp", "neg", "add", "mul"]
    del c
    assert names(trace.held()) == ["exp", "add", "mul"]
    box = [e, e]
    del e, d
    assert names(trace.held()) == ["exp", "mul"]
    box.clear()
    del a
    assert trace.held() == []


def test_references_tell_whether_the_same_places_are_held() -> None:
    def references(keep_first: bool) -> bytes:
        trace = Trace()
        b, x = OpBuilder(trace), known()
        first = b.exp(x)
        second = b.neg(first)
        third = b.add(second, first)
        kept = first if keep_first else third
        del first, second, third
        assert trace.held() == [kept]
        return trace.references()

    assert references(True) == references(True)
    assert references(True) != references(False)


def test_a_node_with_several_results_is_not_held_itself() -> None:
    trace = Trace()
    b = OpBuilder(trace)
    x, y = input_node(VECTOR), input_node(VECTOR)
    call = Call(Graph([x, y], [y, x]))
    node = b.apply(call, known(), known())
    picks = b.results(call, known(), known())
    assert node.op is call
    assert names(trace.held()) == ["pick", "pick"]
    assert trace.held() == list(picks)


@pytest.mark.parametrize("length", [100, 200])
def test_the_key_grows_with_the_number_of_nodes_only(length: int) -> None:
    def program(b: OpBuilder, x: Node, y: Node) -> None:
        for _ in range(length):
            x = b.mul(x, y)

    assert len(recorded(program).key()) == 8 * (2 + 3 * length)
