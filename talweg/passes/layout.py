"""Layout: in which order the axes of stored values stand in memory.

Convolutions sum over channels, so images whose channels fill vectors are stored channels last, and
whatever elementwise or pooling Ops make of them as well: no value is reordered on the way from one
convolution to the next. Inputs, outputs and values that are reshaped stay row-major. Nothing in the
Graph changes: loop nests read and write through the order.
"""

from __future__ import annotations

from typing import TypeAlias

from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node
from talweg.ops.kinds import Contract, Elementwise, View, Window
from talweg.passes.simplify import has_one_result

Order: TypeAlias = tuple[int, ...]

LANES = 16  # channels are stored last if they fill vectors of so many


def choose_orders(graph: Graph) -> dict[Node, Order]:
    """Return the order of axes in memory of every Node that is not stored row-major."""
    fixed = set(graph.outputs) | set(graph.inputs)
    fixed |= {n.inputs[0] for n in graph.order if isinstance(n.op, View) and n.op.relabels}
    orders: dict[Node, Order] = {}
    for node in graph.order:
        if node not in fixed and has_one_result(node):
            order = _from_operands(node, orders)
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
    return orders


def _from_operands(node: Node, orders: dict[Node, Order]) -> Order | None:
    op = node.op
    if isinstance(op, Contract):
        image = -1 in op.images and fills_vectors(node.shape)
        return channels_last(node.rank) if image else None
    if isinstance(op, Window):
        return orders.get(node.inputs[0]) if fills_vectors(node.shape) else None
    if isinstance(op, Elementwise):
        found = (orders.get(i) for i in node.inputs if i.shape == node.shape)
        return next((order for order in found if order is not None), None)
    return None


def channels_last(rank: int) -> Order:
    """Return the order N, *spatial, C of axes N, C, *spatial."""
    return (0, *range(2, rank), 1)


def fills_vectors(shape: Shape) -> bool:
    """Whether images N, C, *spatial are better stored channels last."""
    return len(shape) > 2 and shape[1] % LANES == 0 and max(shape[2:]) > 1
