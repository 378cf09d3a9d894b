"""Borders: inputs and outputs of a Graph that stand in memory with their channels last.

Such a Tensor is a view of a stored value N, *spatial, C, so a Graph meets it as a view of an input,
or gives it as a view that is wanted. Here the value itself, N, C, *spatial, becomes the input or
output, with an order of its axes. So nothing is read or written through a view, and kernels are
those that stand between convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from talweg.base.shapes import inverse_order
from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.rewrite import same
from talweg.ops.kinds import Contract, Control, Effect, Move, View
from talweg.passes.reads import indices_of, place_of

RANKS = (4, 5)


class Borders(NamedTuple):
    """A Graph whose borders are named by what they are.

    Args:
        graph: with inputs and outputs N, C, *spatial.
        orders: of the axes of inputs that stand in memory with the channels last.
        last: the numbers of the outputs that are to stand so.
    """

    graph: Graph
    orders: Mapping[Node, tuple[int, ...]]
    last: frozenset[int]


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the order of the axes N, C, *spatial with the channels last."""
    return (0, *range(2, rank), 1)


def name_borders(graph: Graph) -> Borders:
    """Return a Graph with inputs and outputs in the place of their views in another order."""
    axes = {n: _axes(n) for n in graph.order if isinstance(n.op, View) and n.rank in RANKS}
    turned = {n for n, found in axes.items() if found == channels_last(n.rank)}
    seen = {n for n, found in axes.items() if found == inverse_order(channels_last(n.rank))}
    last = frozenset(
        i for i, o in enumerate(graph.outputs) if o in turned and o.inputs[0] not in seen
    )
    given = {n.inputs[0] for n in seen}.intersection(graph.inputs)
    for node in graph.order:
        if node not in seen:
            given.difference_update(node.inputs)
        if isinstance(node.op, Contract) and not node.op.images:  # reads through views as well
            given.difference_update(i.inputs[0] for i in node.inputs if i in seen)
    given.difference_update(graph.outputs)
    if not given and not last:
        return Borders(graph, {}, frozenset())
    return _named(graph, given, seen, turned, last)


def _named(
    graph: Graph, given: set[Node], seen: set[Node], turned: set[Node], last: frozenset[int]
) -> Borders:
    new: dict[Node, Node] = {n: n for n in graph.inputs}
    orders: dict[Node, tuple[int, ...]] = {}
    for node in given:
        shape = (node.shape[0], node.shape[-1], *node.shape[1:-1])
        new[node] = input_node(node.type.with_shape(shape))
        orders[new[node]] = channels_last(node.rank)
    rows: dict[Node, Node] = {}

    def met(node: Node, reader: Node) -> Node:
        """What a reader finds of a Node: a copy, where it names memory in rows."""
        found = new[node]
        named = isinstance(reader.op, Control | Effect) or (
            isinstance(reader.op, View) and reader.op.relabels
        )
        if found not in orders or not named:
            return found
        if found not in rows:
            rows[found] = make_node(Move(), (found,), found.type, reader.source)
        return rows[found]

    for node in graph.order:
        if node in seen and (node.inputs[0] in given or node.inputs[0] in turned):
            (base,) = node.inputs
            new[node] = new[base] if base in given else new[base.inputs[0]]
        else:
            new[node] = same(node, tuple(met(i, node) for i in node.inputs))
    outputs = [new[o.inputs[0] if i in last else o] for i, o in enumerate(graph.outputs)]
    outputs = [
        make_node(Move(), (o,), o.type) if o in orders and i not in last else o
        for i, o in enumerate(outputs)
    ]
    return Borders(Graph([new[n] for n in graph.inputs], outputs), orders, last)


def _axes(node: Node) -> tuple[int, ...] | None:
    """The operand's axis that each axis of a view is, where it only puts them in another order."""
    if len(node.inputs) != 1:
        return None
    (base,) = node.inputs
    if base.rank != node.rank or base.type.size != node.type.size:
        return None
    at, here = place_of(node.op, base.type, node.type), indices_of(node.rank)
    if at is None or set(at) != set(here):
        return None
    return inverse_order(tuple(here.index(i) for i in at))
