"""Simplification: called graphs are written out, and every result of an Op has its Node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from talweg.ir.node import Graph, Node, make_node
from talweg.ir.op import Pick
from talweg.ir.rewrite import rewrite, same
from talweg.ir.types import TensorType
from talweg.ops.kinds import Control


def repeats(node: Node) -> bool:
    """Whether a Node runs a Graph for one element of its operands after the other."""
    return isinstance(node.op, Control) and node.op.repeats


def has_one_result(node: Node) -> bool:
    """Whether a Node stands for a value; otherwise Pick Nodes stand for its results."""
    several: Any = node.type
    return isinstance(several, TensorType)


def write_out_calls(graph: Graph) -> Graph:
    """Return the Graph with every called graph put in the place of its call."""
    results: dict[Node, tuple[Node, ...]] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Pick) and inputs[0] in results:
            return results[inputs[0]][node.op.index]
        made = same(node, inputs)
        if not isinstance(node.op, Control) or node.op.repeats:
            return made
        called: Any = node.op
        body = write_out_calls(called.graph)
        new = dict(zip(body.inputs, inputs, strict=True))
        for inner in body.order:
            here = tuple(new[i] for i in inner.inputs)
            new[inner] = make_node(inner.op, here, inner.type, node.source or inner.source)
        written = tuple(new[o] for o in body.outputs)
        if has_one_result(node):
            return written[0]
        results[made] = written
        return made

    if not any(isinstance(n.op, Control) for n in graph.order):
        return graph
    return rewrite(graph, rule)


def leave_out_unread(graph: Graph) -> Graph:
    """Return the Graph whose repeated Graphs stack nothing that nobody reads."""
    read: dict[Node, set[int]] = {n: set() for n in graph.order if repeats(n)}
    for node in graph.order if read else ():
        if isinstance(node.op, Pick) and node.inputs[0] in read:
            read[node.inputs[0]].add(node.op.index)
    kept: dict[Node, list[int]] = {}
    for node, found in read.items():
        op: Any = node.op
        wanted = [i for i in range(len(op.graph.outputs)) if i < op.carried or i in found]
        if len(wanted) < len(op.graph.outputs):
            kept[node] = wanted

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Pick) and node.inputs[0] in kept:
            number = kept[node.inputs[0]].index(node.op.index)
            return make_node(Pick(number), inputs, node.type, node.source)
        if node not in kept:
            return same(node, inputs)
        op: Any = node.op
        several: Any = node.type
        body = Graph(op.graph.inputs, [op.graph.outputs[i] for i in kept[node]])
        types = tuple(several[i] for i in kept[node])
        return make_node(replace(op, graph=body), inputs, types, node.source)

    return rewrite(graph, rule) if kept else graph


def results_of(graph: Graph) -> dict[Node, tuple[Node, ...]]:
    """Return, for every Node with several results, one Pick Node for each of them."""
    found: dict[Node, dict[int, Node]] = {}
    for node in graph.order:
        if not has_one_result(node):
            found[node] = {}
        elif isinstance(node.op, Pick):
            found[node.inputs[0]].setdefault(node.op.index, node)
    complete: dict[Node, tuple[Node, ...]] = {}
    for node, picks in found.items():
        types: Any = node.type
        complete[node] = tuple(
            picks.get(i) or make_node(Pick(i), (node,), t, node.source) for i, t in enumerate(types)
        )
    return complete
