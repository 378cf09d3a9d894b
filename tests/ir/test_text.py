"""The text form: one golden text, round trips, and refusals that name the line."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.base.errors import GraphError
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, input_node
from talweg.ir.text import parse_graph, print_graph
from talweg.ir.types import tensor_type
from talweg.ops import BY_NAME, OpBuilder

GOLDEN = """\
graph(%0: float32[2,3], %1: float32[])
  %2: float32[2,3] = mul %0 %1
  %3: float32[2] = reduce_sum %2 axes=(1,)
  %4: bfloat16[2] = cast %3 dtype=bfloat16
  return %4 %2
"""


def example() -> Graph:
    b = OpBuilder()
    x = input_node(tensor_type(dtypes.float32, (2, 3)))
    y = b.mul(x, b.scalar(2, dtypes.float32))
    return Graph([x], [b.cast(b.reduce_sum(y, (1,)), dtypes.bfloat16), y])


def test_the_text_of_a_graph() -> None:
    assert print_graph(example()) == GOLDEN


def test_the_text_parses_to_the_same_structure() -> None:
    parsed = parse_graph(GOLDEN, BY_NAME)
    assert print_graph(parsed) == GOLDEN
    b = OpBuilder()
    x, two = (input_node(tensor_type(dtypes.float32, shape)) for shape in ((2, 3), ()))
    y = b.mul(x, two)
    built = Graph([x, two], [b.cast(b.reduce_sum(y, (1,)), dtypes.bfloat16), y])
    assert parsed.key == built.key


def test_a_parsed_graph_computes_what_the_first_did() -> None:
    graph = example()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    parsed = parse_graph(print_graph(graph), BY_NAME)
    given = interpret(parsed, [x, np.float32(2).reshape(())])
    for got, want in zip(given, interpret(graph, [x]), strict=True):
        np.testing.assert_array_equal(got, want)


def test_the_graph_of_a_gradient_round_trips() -> None:
    b = OpBuilder()
    x = input_node(tensor_type(dtypes.float64, (3, 2)))
    y = b.pow(b.maximum(b.sin(x), b.scalar(0.5, dtypes.float64)), b.scalar(3, dtypes.float64))
    ct = input_node(y.type)
    (gradient,) = vjp(b, [y], [x], [ct])
    assert gradient is not None
    text = print_graph(Graph([x, ct], [gradient, y]))
    assert print_graph(parse_graph(text, BY_NAME)) == text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("", "starts with"),
        ("graph(%0: float32[2])", "starts with"),
        (GOLDEN.replace("float32[2,3],", "float31[2,3],"), "unknown dtype 'float31'"),
        (GOLDEN.replace("mul", "mull"), "unknown op 'mull' in '%2: .*mull %0 %1'"),
        (GOLDEN.replace("%0 %1\n", "%0 %7\n"), "%7 is used before it is made: '%2.*"),
        (GOLDEN.replace("%3: float32[2]", "%3: float32[3]"), r"reduce_sum gives float32\[2\]"),
        (GOLDEN.replace("axes=(1,)", "axes=(1"), r"cannot read the attribute '\(1'"),
        (GOLDEN.replace("= mul", ":= mul"), "cannot read the line '%2: .* := mul"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(wrong: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        parse_graph(wrong, BY_NAME)


def test_an_attribute_without_text_is_refused() -> None:
    b = OpBuilder()
    x = input_node(tensor_type(dtypes.float32, (2,)))
    with pytest.raises(GraphError, match="ufunc has no text form"):
        print_graph(Graph([x], [b.host_callback(x, np.negative, (x.type,))]))
