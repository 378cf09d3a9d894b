"""Common subexpressions: equal Ops on the same operands are one Node."""

from __future__ import annotations

from typing import Any

from talweg.ir.node import Graph, Node
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Effect, Routine


def merge_equal(graph: Graph) -> Graph:
    """Return the Graph in which no two Nodes apply equal Ops to the same operands.

    Effects that are no Routine stay apart: each of them happens.
    """
    found: dict[tuple[Any, ...], Node] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Effect) and not isinstance(node.op, Routine):
            return same(node, inputs)
        key = (node.op.token, *map(id, inputs))
        first = found.get(key)
        if first is None:
            first = found[key] = same(node, inputs)
        return first

    return rewrite(graph, rule)
