"""The verifier: a Graph is well formed, or an error says which Node is not."""

from __future__ import annotations

from talweg.base.errors import GraphError
from talweg.base.source import describe
from talweg.ir.node import Graph
from talweg.ir.op import INPUT


def verify(graph: Graph) -> None:
    """Check a Graph.

    1. Inputs are distinct Nodes: given values, or values already known.
    2. Every operand stands before its user.
    3. Every Node has the type that its Op infers.
    4. Stored data, where present, has the Node's shape and dtype.

    Raises:
        GraphError: naming the Node and the user's line that recorded it.
    """
    if len(set(graph.inputs)) != len(graph.inputs):
        raise GraphError("an input is listed twice")
    for node in graph.inputs:
        if node.op is not INPUT and node.value is None:
            raise GraphError(f"{node} is listed as an input but computes {node.op.name()}")
    known = set(graph.inputs)
    for node in graph.order:
        where = f"{node} recorded at {describe(node.source)}"
        missing = [i for i in node.inputs if i not in known]
        if missing:
            raise GraphError(f"{where} reads {missing[0]} before it is computed")
        if node.op is not INPUT:
            inferred = node.op.infer(*(i.type for i in node.inputs))
            if inferred != node.type:
                raise GraphError(f"{where} should have type {inferred}")
        if node.array is not None and (
            node.array.shape != node.type.shape or node.array.dtype != node.type.dtype.storage
        ):
            raise GraphError(f"{where} holds {node.array.dtype}{node.array.shape}")
        known.add(node)
    for node in graph.outputs:
        if node not in known:
            raise GraphError(f"output {node} is not part of the graph")
