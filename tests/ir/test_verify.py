"""The verifier: each broken Graph is refused, and the message names the Node."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import GraphError
from talweg.base.source import here
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.types import tensor_type
from talweg.ir.verify import verify
from talweg.ops import OpBuilder

TYPE = tensor_type(dtypes.float32, (2, 3))


def well_formed() -> Graph:
    b = OpBuilder()
    b.source = here()
    x, y = input_node(TYPE), input_node(TYPE)
    return Graph([x, y], [b.exp(b.add(x, b.scalar(1, dtypes.float32))), y])


def test_a_well_formed_graph_passes() -> None:
    graph = well_formed()
    verify(graph)
    graph.outputs[0].array = np.zeros((2, 3), np.float32)
    verify(graph)


def twice(graph: Graph) -> None:
    graph.inputs = (graph.inputs[0], graph.inputs[0])


def computed_input(graph: Graph) -> None:
    graph.inputs = (*graph.inputs, graph.outputs[0])


def disordered(graph: Graph) -> None:
    graph.order = graph.order[::-1]


def wrong_type(graph: Graph) -> None:
    graph.outputs[0].type = TYPE.with_dtype(dtypes.float64)


def wrong_shape_of_data(graph: Graph) -> None:
    graph.outputs[0].array = np.zeros(3, np.float32)


def wrong_dtype_of_data(graph: Graph) -> None:
    graph.outputs[0].array = np.zeros((2, 3))


def foreign_output(graph: Graph) -> None:
    graph.outputs = (input_node(TYPE),)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (twice, "listed twice"),
        (computed_input, "listed as an input but computes exp"),
        (disordered, "exp: .* reads <Node add: .*> before it is computed"),
        (
            wrong_type,
            r"exp: float64\[2,3\]> recorded at .*: b.source = here\(\) should have type f",
        ),
        (wrong_shape_of_data, r"exp: .* holds float32\(3,\)"),
        (wrong_dtype_of_data, r"exp: .* holds float64\(2, 3\)"),
        (foreign_output, "output <Node input: .*> is not part of the graph"),
    ],
)
def test_a_broken_graph_is_refused(spoil: Callable[[Graph], None], message: str) -> None:
    graph = well_formed()
    spoil(graph)
    with pytest.raises(GraphError, match=message):
        verify(graph)


def test_bfloat16_data_is_checked_in_its_stored_form() -> None:
    node = input_node(tensor_type(dtypes.bfloat16, (2,)), np.zeros(2, np.uint16))
    verify(Graph([], [OpBuilder().neg(node)]))
    wrong: Node = input_node(tensor_type(dtypes.bfloat16, (2,)), np.zeros(2, np.float32))
    with pytest.raises(GraphError, match="holds float32"):
        verify(Graph([], [OpBuilder().neg(wrong)]))
