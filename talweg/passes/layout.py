"""Layout: in which order the axes of stored values stand in memory.

Convolutions sum over channels, so images whose channels fill vectors are stored channels last, and
whatever elementwise or pooling Ops make of them as well: no value is reordered on the way from one
convolution to the next. Inputs, outputs and values that are reshaped stay row-major. Loop nests
read and write through the order; only the gradient of a kernel is moved, once, when it is complete.
"""

from __future__ import annotations

from typing import TypeAlias

from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node, make_node
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Contract, Effect, Elementwise, Move, View, Window
from talweg.passes.simplify import has_one_result

Order: TypeAlias = tuple[int, ...]

LANES = 16
FILLED = 0.6  # channels are stored last if they fill this much of their vectors of so many lanes


def choose_orders(graph: Graph) -> tuple[Graph, dict[Node, Order]]:
    """Return the Graph with Moves put in, and the order of axes of what is not stored row-major."""
    graph = _with_moved_gradients(graph)
    fixed = set(graph.outputs) | set(graph.inputs)
    fixed |= {n.inputs[0] for n in graph.order if isinstance(n.op, View) and n.op.relabels}
    fixed |= {i for n in graph.order if isinstance(n.op, Effect) for i in n.inputs}
    images = any(isinstance(n.op, Contract) and n.op.images for n in graph.order)
    orders: dict[Node, Order] = {}
    for node in graph.order if images else ():
        if node not in fixed and has_one_result(node):
            order = _order_of(node, orders)
            if order is not None:
                orders[node] = order
    for node in reversed(graph.order):
        if not isinstance(node.op, Contract):
            continue
        for place in node.op.images:
            image = node if place < 0 else node.inputs[place]
            if image in orders or image in fixed or not isinstance(image.op, Elementwise):
                continue
            if fills_vectors(image.shape):
                orders[image] = channels_last(image.rank)
    return graph, orders


def _with_moved_gradients(graph: Graph) -> Graph:
    """Read the gradients of kernels O, I, *spatial through a Move: they are summed with O last."""
    moves: dict[Node, Node] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not isinstance(node.op, Contract):
            inputs = tuple(moves.get(i, i) for i in inputs)
        made = same(node, inputs)
        if _sums_kernels(made) and _fills(made.shape[0]):
            moves[made] = make_node(Move(), (made,), made.type, made.source)
        return made

    if not any(_sums_kernels(n) for n in graph.order):
        return graph
    found = rewrite(graph, rule)
    return Graph(found.inputs, [moves.get(o, o) for o in found.outputs])


def _sums_kernels(node: Node) -> bool:
    return isinstance(node.op, Contract) and bool(node.op.images) and -1 not in node.op.images


def _order_of(node: Node, orders: dict[Node, Order]) -> Order | None:
    op = node.op
    if isinstance(op, Contract):
        if _sums_kernels(node):
            return (*range(2, node.rank), 1, 0) if _fills(node.shape[0]) else None
        image = -1 in op.images and fills_vectors(node.shape)
        return channels_last(node.rank) if image else None
    if isinstance(op, Window):
        return channels_last(node.rank) if fills_vectors(node.shape) else None
    if isinstance(op, Elementwise):
        found = (orders.get(i) for i in node.inputs if i.shape == node.shape)
        return next((order for order in found if order is not None), None)
    return None


def channels_last(rank: int) -> Order:
    """Return the order N, *spatial, C of axes N, C, *spatial."""
    return (0, *range(2, rank), 1)


def fills_vectors(shape: Shape) -> bool:
    """Whether images N, C, *spatial are better stored channels last."""
    return len(shape) > 2 and max(shape[2:]) > 1 and _fills(shape[1])


def _fills(channels: int) -> bool:
    return channels >= FILLED * LANES * -(-channels // LANES)
