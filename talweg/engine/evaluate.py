"""Values when they are wanted: pending Nodes become a Graph, and the Graph is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from talweg.engine.state import CONFIG
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node
from talweg.ir.op import INPUT
from talweg.ir.verify import verify


def evaluate(nodes: Sequence[Node]) -> None:
    """Compute the Nodes whose value is not known yet, leaving it in `Node.array`.

    Raises:
        IndexOutOfRange and other run-time errors, with the line that recorded the Node.
    """
    wanted = [n for n in nodes if n.value is None]
    if not wanted:
        return
    graph = pending_graph(wanted)
    if CONFIG.check:
        verify(graph)
    arrays = interpret(graph, [n.array for n in graph.inputs if n.array is not None])
    for node, array in zip(wanted, arrays, strict=True):
        node.array = _settled(array)


def pending_graph(outputs: Sequence[Node]) -> Graph:
    """Return the Graph from known values to `outputs`."""
    known: list[Node] = []
    seen: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.value is not None or node.op is INPUT:
            known.append(node)
        else:
            stack.extend(node.inputs)
    return Graph(known, outputs)


def _settled(array: np.ndarray) -> np.ndarray:
    """Return the array in row-major order, without holding on to a much larger one."""
    owner = array.base
    if isinstance(owner, np.ndarray) and owner.nbytes > 2 * array.nbytes:
        return array.copy()
    return np.asarray(array, order="C")
