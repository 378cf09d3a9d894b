"""Rewriting: a new Graph in which some Nodes stand for others."""

from __future__ import annotations

from collections.abc import Callable

from talweg.ir.node import Graph, Node, make_node

Rule = Callable[[Node, tuple[Node, ...]], Node]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Return the Graph with every Node replaced by what a rule gives for it, inputs first.

    The inputs of the Graph stay the same Nodes; outputs keep their places. A Node whose value is
    known is not replaced.

    Args:
        graph: what is rewritten.
        rule: called with a Node and its new inputs; `same` returns the Node itself on them.
    """
    new: dict[Node, Node] = {n: n for n in graph.inputs}
    for node in graph.order:
        new[node] = rule(node, tuple(new[i] for i in node.inputs)) if node.inputs else node
    return Graph(graph.inputs, [new[o] for o in graph.outputs])


def same(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the Node on other inputs: the Node itself where they are its own."""
    if all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    return make_node(node.op, inputs, node.type, node.source)
