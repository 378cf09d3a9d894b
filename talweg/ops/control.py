"""Ops that run a sub-graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GradientError, ShapeError
from talweg.base.frozen import frozen
from talweg.ir.build import Builder
from talweg.ir.closed import close, shared
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Control

_Backward = tuple["Call | None", tuple[Node, ...], tuple[int, ...]]

_BACKWARD: dict[Graph, _Backward] = {}


@frozen
class Call(Control):
    """Apply a Graph to operands: one result, or as many as the Graph has outputs.

    1. The Graph is closed: it reads no data but its inputs (`close` makes it so). It has an output.
    2. Operands have the types of its inputs.
    3. Graphs of one structure are one: `graph` is a copy, without data, shared by equal Calls.
    4. The gradient computes the Graph again: no value inside it is kept.
    """

    graph: Graph

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", shared(self.graph))
        super().__post_init__()

    def infer(self, *types: TensorType) -> TensorType | tuple[TensorType, ...]:
        wanted = tuple(n.type for n in self.graph.inputs)
        if types != wanted:
            raise ShapeError(f"call: the graph takes {_list(wanted)}, got {_list(types)}")
        results = tuple(n.type for n in self.graph.outputs)
        return results[0] if len(results) == 1 else results

    def reference(self, *arrays: np.ndarray) -> Any:
        graph = self.graph
        stored = [dtypes.encode(a, n.type.dtype) for a, n in zip(arrays, graph.inputs, strict=True)]
        results = tuple(
            dtypes.decode(r, n.type.dtype)
            for r, n in zip(interpret(graph, stored), graph.outputs, strict=True)
        )
        return results[0] if len(results) == 1 else results

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        found = _BACKWARD.get(self.graph)
        if found is None:
            found = _BACKWARD[self.graph] = _backward(b, self.graph)
        call, constants, reached = found
        rows: list[Node | None] = [None] * len(node.inputs)
        if call is not None:
            results = b.results(call, *node.inputs, *cotangents, *constants)
            for i, ct in zip(reached, results, strict=True):
                rows[i] = ct
        return tuple(rows)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        x, y = (input_node(tensor_type(dtypes.float64, (2, 3))) for _ in range(2))
        inputs = Draw((2, 3)), Draw((2, 3))
        exchange = cls(Graph((x, y), (y, x, y)))
        yield Sample(exchange, inputs, (dtypes.float64,))
        first = Builder().results(exchange, x, y)[0]
        yield Sample(cls(Graph((x, y), (first,))), inputs, (dtypes.float64,))


def _backward(b: Builder, graph: Graph) -> _Backward:
    if b.vjp_of is None:
        raise GradientError("this Builder differentiates no sub-graph: its vjp_of is not set")
    gradient, reached = b.vjp_of(graph)
    if not reached:
        return None, (), ()
    closed, data = close(gradient)
    return Call(closed), data, reached


def _list(types: tuple[TensorType, ...]) -> str:
    return ", ".join(map(repr, types)) or "nothing"


OPS: tuple[type[Op], ...] = (Call,)
