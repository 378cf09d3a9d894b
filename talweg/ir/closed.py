"""Closed Graphs: functions that Ops hold. They read nothing but their inputs."""

from __future__ import annotations

from talweg.base.errors import GraphError
from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.op import INPUT

_CLOSED: dict[tuple[object, ...], Graph] = {}


def close(graph: Graph) -> tuple[Graph, tuple[Node, ...]]:
    """Return the Graph with the data it reads as further inputs, and the Nodes of that data."""
    data = tuple(n for n in graph.order if n.op is INPUT)
    return Graph((*graph.inputs, *data), graph.outputs), data


def shared(graph: Graph) -> Graph:
    """Return the one Graph of this structure, a copy without data.

    Raises:
        GraphError: when it has no output, or is not closed.
    """
    found = _CLOSED.get(graph.key)
    if found is not None:
        return found
    if not graph.outputs or any(n.op is INPUT for n in graph.order):
        raise GraphError("a called graph needs an output and may read no data but its inputs")
    made = {n: input_node(n.type) for n in graph.inputs}
    for node in graph.order:
        made[node] = make_node(node.op, tuple(made[i] for i in node.inputs), node.type, node.source)
    copy = Graph([made[n] for n in graph.inputs], [made[n] for n in graph.outputs])
    return _CLOSED.setdefault(copy.key, copy)
