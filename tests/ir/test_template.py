"""Templates: Nodes recorded again are those that the function would have made."""

from __future__ import annotations

import numpy as np

from talweg.base import dtypes as d
from talweg.ir.build import Builder
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.template import learn
from talweg.ir.trace import Trace
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder


def _given(*arrays: list[float]) -> list[Node]:
    return [input_node(tensor_type(d.float32, (len(a),)), np.array(a, np.float32)) for a in arrays]


def _function(b: Builder, x: Node, y: Node) -> Node:
    third = b.scalar(1 / 3, d.float32)
    return b.where(b.lt(x, y), b.mul(b.reshape(x, x.type.shape), third), b.add(y, y))


def _recorded() -> tuple[OpBuilder, Trace]:
    trace = Trace()
    return OpBuilder(trace), trace


def test_it_records_the_same_structure_on_other_operands() -> None:
    b, trace = _recorded()
    first = _given([1, 2, 3], [3, 2, 1])
    _function(b, *first)
    learned = learn(trace, 0, first)
    assert learned is not None
    template, made = learned
    assert made == [n for n in trace.nodes if n not in first]

    again, other = _recorded()
    second = _given([5, 1, 0.5], [4, 2, 0.75])
    values = list(second)
    template.record(again, values)
    assert other.rows == trace.rows
    (result,) = interpret(Graph(second, [values[-1]]), [n.array for n in second])
    np.testing.assert_array_equal(result, np.float32([8, 1 / 3, np.float32(0.5) / np.float32(3)]))


def test_operands_that_stand_in_the_trace_already_are_found_there() -> None:
    b, trace = _recorded()
    first = _given([1, 2], [2, 1])
    _function(b, *first)
    learned = learn(trace, 0, first)
    assert learned is not None
    count = len(trace.nodes)
    values = [first[0], trace.nodes[-1]]
    learned[0].record(b, values)
    assert len(trace.nodes) == count + len(learned[1])
    assert [n.at for n in values] == sorted(n.at for n in values)


def test_what_is_not_made_of_the_given_alone_is_no_template() -> None:
    b, trace = _recorded()
    x, elsewhere = _given([1, 2], [2, 1])
    b.add(x, elsewhere)
    assert learn(trace, 0, [x]) is None
    b.neg(x)
    assert learn(trace, 3, [x]) is not None
    assert learn(trace, 3, [x, x]) is None


def test_a_pending_operand_of_an_earlier_trace_is_no_part_of_it() -> None:
    b, trace = _recorded()
    (x,) = _given([1, 2])
    pending = b.neg(x)
    trace.clear()
    b.exp(pending)
    assert learn(trace, 0, [pending]) is None
    assert learn(trace, 0, [pending, x]) is None
